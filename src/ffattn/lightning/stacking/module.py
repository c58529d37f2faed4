"""Several models trained as one: stacked parameters, a data stream each, one loop for all."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import pad

from ffattn.lightning.data import BatchLoader
from ffattn.lightning.stacking.member import Member
from ffattn.lightning.stacking.parameters import StackedParameters
from ffattn.lightning.trainer import threads
from ffattn.tasks.batch import Batch

FEWEST = 2  # one model alone is trained faster by itself
_LINE = 30.0  # seconds between lines of progress


def stack_batches(batches: Sequence[Batch]) -> Batch:
    """Put an axis in front of every field.

    Args:
        batches: Of one size; shorter ones are padded.
    """
    longest = max(batch.x.shape[1] for batch in batches)
    columns = [list(column) for column in zip(*batches, strict=True)]
    columns[0] = [x if x.shape[1] == longest else pad(x, (0, 0, 0, longest - x.shape[1])) for x in columns[0]]
    return Batch(*map(torch.stack, columns))


class _Optimizers:
    """The members' optimisers as one, which is what Lightning steps and counts."""

    def __init__(self, stack: "StackedModule") -> None:
        self.stack = stack
        self.param_groups: list[dict[str, Any]] = []
        self.defaults: dict[str, Any] = {}
        self.state: dict[Any, Any] = defaultdict(dict)

    def step(self, closure: Callable[[], Any]) -> Any:
        """Let every member make an update.

        Args:
            closure: Computes the gradients, and returns the loss.
        """
        loss = closure()
        with threads(1):  # torch would wake all of them for each parameter
            for member in self.stack.members:
                member.step()
        return loss

    def zero_grad(self) -> None:
        """Clear the gradients of all."""
        self.stack.stacked.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: each member writes its own."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing: there is nothing to restore."""


class StackedModule(LightningModule):
    """Trains several models on their own streams, and ends up with the weights that each would have had alone.

    A member that has finished or failed leaves after the next validation. When fewer than two are left training stops:
    one alone goes on faster by itself.

    Args:
        members: Of the same task, model, batch size and course of training, all after the same number of updates.
        say: Told now and then how far it is; None for no word.
    """

    def __init__(self, members: Sequence[Member], say: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self.say = say
        self.said = time.monotonic()
        self.total = len(members)
        self.members = list(members)
        self.updates = members[0].module.updates
        self.saving = members[0]

    def setup(self, stage: str) -> None:
        """Stack the parameters."""
        for member in self.members:
            member.trainer.attach(self.trainer)
        self._gather()

    def _gather(self) -> None:
        modules = [member.module for member in self.members]
        self.stacked = StackedParameters([module.network for module in modules], modules[0].task)

    def configure_optimizers(self) -> Any:
        """Return the members' own, stepped together."""
        return _Optimizers(self)

    def train_dataloader(self) -> BatchLoader:
        """Return the members' batches, stacked."""
        one = self.members[0].data.train_dataloader()
        return BatchLoader(self._training_batches, one.numbers, one.size, one.group)

    def _training_batches(self, numbers: range) -> list[Batch]:
        streams = [member.data.training_batches(numbers) for member in self.members]
        return [stack_batches(batches) for batches in zip(*streams, strict=True)]

    def val_dataloader(self) -> BatchLoader:
        """Return the members' validation sets, side by side."""
        one = self.members[0].data.val_dataloader()
        return BatchLoader(self._validation_batches, one.numbers, one.size)  # type: ignore[arg-type]

    def _validation_batches(self, numbers: range) -> list[list[Batch]]:
        return [[member.data.val_dataloader().make(numbers)[0] for member in self.members]]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return the batches: they were made on the device."""
        return batch

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the place in the course of training from a member's checkpoint; its tensors it has taken itself."""
        checkpoint |= {"state_dict": {}, "optimizer_states": [], "lr_schedulers": []}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make the checkpoint that of the member who asked for it."""
        self.saving.fill(checkpoint)

    def on_train_start(self) -> None:
        """Start everybody."""
        for member in self.members:
            member.start()
        self._watch()

    def _watch(self) -> None:
        """Let the members' notes of bad updates be parts of one tensor, which is written at once."""
        self.bad_updates = torch.stack([member.module.bad_update for member in self.members])
        for member, row in zip(self.members, self.bad_updates.unbind(), strict=True):
            member.module.bad_update = row

    def on_train_epoch_start(self) -> None:
        """Stack anew those who are left."""
        if len(self.members) < len(self.bad_updates):
            self._gather()
            self._watch()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Let members who will log read their learning rates."""
        update = self.global_step + 1
        for member in (member for member in self.members if update % member.curves.every == 0):
            member.curves.on_train_batch_start(member.trainer, member.module, batch, batch_idx)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return the sum of the losses, of which each has its own parameters; and what each member logs."""
        losses, predictions = self.stacked.losses(batch)
        bad = ~losses.detach().isfinite()
        update = self.global_step + 1
        self.bad_updates.masked_fill_(bad & (self.bad_updates > update), update)
        return {"loss": losses.sum(), "losses": losses.detach(), "predictions": predictions.detach()}

    def end_update(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Log; and ask for a last validation at the last update.

        Args:
            outputs: Of `training_step`.
            batch: Of all.
            batch_idx: Its number since the last validation.
        """
        update = self.global_step
        losses = outputs["losses"] / self.trainer.accumulate_grad_batches  # as alone
        for i, member in enumerate(self.members):
            if update % member.curves.every == 0:
                own = {"loss": losses[i], "prediction": outputs["predictions"][i]}
                member.log(own, Batch(*(column[i] for column in batch)), batch_idx)
        if update >= self.updates:
            for member in self.members:
                member.checkpoints.on_train_batch_end(member.trainer)
            self.trainer.should_stop = True

    def on_validation_start(self) -> None:
        """Stop a member before validating if a loss of its own was not finite."""
        for member in self.members:
            member.module.eval()
            with member.alone():
                member.module.on_validation_start()

    def validation_step(self, batches: list[Batch], batch_idx: int) -> None:
        """Count a batch of each member's validation set."""
        for member, batch in zip(self.members, batches, strict=True):
            member.module.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of those who are well."""
        for member in self.members:
            if member.failure is None:
                with member.alone():
                    member.module.on_validation_epoch_end()

    def on_validation_end(self) -> None:
        """Write checkpoints; let members leave who have finished or failed."""
        for member in self.members:
            member.module.train()
            if member.failure is None:
                member.end_validation()
        self.members = [member for member in self.members if member.is_active]
        if len(self.members) < FEWEST:
            self.trainer.should_stop = True
        if self.say is not None and time.monotonic() > self.said + _LINE:
            self.said = time.monotonic()
            self.say(f"update {self.global_step} of at most {self.updates}: {len(self.members)} of {self.total} go on")


class EndOfUpdate(Callback):
    """Ends a stack's updates, as a callback that is called before the one that saves and ends the run on a signal."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """See `StackedModule.end_update`."""
        pl_module.end_update(outputs, batch, batch_idx)


def save_members(trainer: Trainer) -> None:
    """Write the checkpoints of all members who are well between two validations, and their curves so far.

    Args:
        trainer: Whose module is a `StackedModule`.
    """
    stack: Any = trainer.lightning_module
    for member in stack.members:
        if member.failure is None:
            with member.alone():
                member.save()

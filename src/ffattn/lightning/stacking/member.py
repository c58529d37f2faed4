"""One of the models that are trained as one: what it keeps for itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger

from ffattn.errors import TrainingError
from ffattn.inference.checkpoint import load_weights, read
from ffattn.inference.checkpoint_files import LAST
from ffattn.lightning.callbacks.checkpoints import Checkpoints, save_curves
from ffattn.lightning.callbacks.curves import Curves
from ffattn.lightning.data import SequenceData
from ffattn.lightning.modules.base import SequenceModule
from ffattn.tasks.batch import Batch


class MemberModule(SequenceModule):
    """Evaluates and logs as `SequenceModule` does, by the loggers of its trainer; the arguments are the same."""

    def log_dict(self, dictionary: Any, *_: Any, **__: Any) -> None:
        """Log numbers at the update that `step` states.

        Args:
            dictionary: Scalar tensors by name.
        """
        values = {name: float(value) for name, value in dictionary.items()}
        step = int(values.pop("step"))
        for logger in self.trainer.loggers:
            logger.log_metrics(values, step)
            logger.save()


class MemberTrainer:
    """The Trainer as a member's module and callbacks see it: the stack's, but for what each member has of its own.

    Args:
        member: Who is trained.
    """

    def __init__(self, member: "Member") -> None:
        self.member = member
        self.stack: Any = None  # Lightning's Trainer, once it is there
        self.should_stop = False
        self.loggers = member.loggers
        self.optimizers = [member.optimizer]
        self.lr_scheduler_configs = [SimpleNamespace(scheduler=member.scheduler)] if member.scheduler else []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stack, name)

    def attach(self, trainer: Trainer) -> None:
        """Let the member take part in a Trainer's run.

        Args:
            trainer: Of the stack.
        """
        self.stack = trainer
        module: Any = self.member.module
        module.trainer = self
        self.member.data.trainer = trainer
        if self.member.checkpoint is not None:
            self.member.checkpoints.on_load_checkpoint(trainer, module, read(self.member.checkpoint))

    def save_checkpoint(self, filepath: Any, weights_only: bool | None = None, storage_options: Any = None) -> None:
        """Write the checkpoint that a Trainer of this member's own would write.

        Args:
            filepath: Where.
            weights_only: See Lightning's Trainer.
            storage_options: Likewise.
        """
        self.stack.lightning_module.saving = self.member
        self.stack.save_checkpoint(filepath, weights_only, storage_options)


@dataclass
class Member:
    """A model of a stack, with everything that is its own.

    Attributes:
        module: Its network, seed and scores.
        data: Its stream.
        loggers: Where its curves go.
        curves: Log them.
        checkpoints: Writes them, and decides when the member has finished.
        gradient_clip: Largest norm of its gradient, or None.
        checkpoint: The checkpoint that it goes on from, or None.
    """

    module: MemberModule
    data: SequenceData
    loggers: list[Logger]
    curves: Curves
    checkpoints: Checkpoints
    gradient_clip: float | None = None
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        self.failure: TrainingError | None = None
        self.parameters = list(self.module.network.parameters())
        self.optimizer = self.module.optim.optimizer(self.parameters)
        self.scheduler = self.module.optim.scheduler(self.optimizer, self.module.updates)
        if self.checkpoint is not None:
            self._take_up(read(self.checkpoint), self.checkpoint)
        self.trainer: Any = MemberTrainer(self)

    def _take_up(self, contents: dict[str, Any], path: Path) -> None:
        load_weights(self.module.network, contents, path)
        self.optimizer.load_state_dict(contents["optimizer_states"][0])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(contents["lr_schedulers"][0])

    @property
    def is_active(self) -> bool:
        """Whether it is to be trained further."""
        return self.failure is None and not self.trainer.should_stop

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Note a failure of this member, which is none of the others."""
        try:
            yield
        except TrainingError as error:
            self.failure = error

    def start(self) -> None:
        """Tell everything of its own that training starts."""
        self.curves.on_train_start(self.trainer, self.module)
        self.checkpoints.on_train_start(self.trainer, self.module)
        self.module.on_train_start()

    def step(self) -> None:
        """Make an update, with the gradients that are there."""
        if self.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.gradient_clip)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()

    def log(self, outputs: dict[str, Any], batch: Batch, number: int) -> None:
        """Log what is due after an update.

        Args:
            outputs: Loss and predictions of this member.
            batch: Its batch.
            number: Of the batch since the last validation.
        """
        with self.alone():
            self.curves.on_train_batch_end(self.trainer, self.module, outputs, batch, number)

    def end_validation(self) -> None:
        """Write checkpoints, and decide whether to go on."""
        self.curves.on_validation_end(self.trainer, self.module)
        self.checkpoints.on_validation_end(self.trainer, self.module)

    def save(self) -> None:
        """Write a checkpoint between two validations, and the curves so far.

        Raises:
            TrainingError: A loss was not finite: what was saved before is better.
        """
        self.module.require_finite()
        save_curves(self.trainer)
        self.trainer.save_checkpoint(self.checkpoints.folder / LAST)

    def fill(self, checkpoint: dict[str, Any]) -> None:
        """Make a checkpoint of the stack this member's own.

        Args:
            checkpoint: What the stack's Trainer has collected.
        """
        state = self.module.state_dict()
        checkpoint["state_dict"] = {name: value.clone() for name, value in state.items()}  # a row alone, not all rows
        checkpoint["optimizer_states"] = [self.optimizer.state_dict()]
        checkpoint["lr_schedulers"] = [self.scheduler.state_dict()] if self.scheduler is not None else []
        self.checkpoints.on_save_checkpoint(self.trainer, self.module, checkpoint)

    def leave(self) -> None:
        """Close the files of curves."""
        for logger in self.loggers:
            logger.finalize("success" if self.failure is None else "failed")

"""How a signal ends a run: after its update, with a checkpoint, and with the signal's own exit status."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.strategies import Strategy
from torch import distributed

from ffattn.lightning.callbacks.checkpoints import save_curves
from ffattn.lightning.private import skip_signal_broadcast
from ffattn.system import signals


class Interruptions(Checkpoint):
    """Save and end after the update in which a signal came; at a second Ctrl-C, end at once.

    A run that goes on from there makes the batches, and has the validations, that it would have had. A signal that
    comes shortly before or within a validation waits for its end, which saves by itself; one that comes within the test
    waits for the end of a batch. Lightning alone would end with status 0 after SIGTERM and save nothing.

    Of several processes only the first one takes signals. It saves alone; the others wait for it to be gone, and are
    ended by whoever started them. Where each process has a part of the parameters it tells the others, after every
    update, whether a signal has come, and all save together.

    Args:
        save: Writes the checkpoint.
        is_sharded: Whether each process has a part of the parameters.
    """

    def __init__(self, save: Callable[[Trainer], None], is_sharded: bool = False) -> None:
        self.save = save
        self.is_sharded = is_sharded
        self.number: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take signals."""
        self._take(trainer)
        if trainer.world_size > 1:  # a broadcast at each update, for which a GPU would have to wait
            skip_signal_broadcast(trainer)
        if self.is_sharded:
            self.group = distributed.new_group(backend="gloo")  # of CPUs, so that no GPU has to

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take signals; training has ended and has been saved."""
        self._take(trainer)

    def _take(self, trainer: Trainer) -> None:
        """Take the place of Lightning's handlers, which it removes after the run."""
        signals.handle(signals.deliver if trainer.is_global_zero else signal.SIG_IGN)
        signals.push(self._note)

    def _note(self, number: int) -> None:
        if self.number == number == signal.SIGINT:
            signals.end(number)
        self.number = self.number or number

    def _told(self) -> int | None:
        """The signal that has come; where all must know of it, called by all."""
        if not self.is_sharded:
            return self.number
        number = torch.tensor(self.number or 0)
        distributed.broadcast(number, 0, group=self.group)
        return int(number) or None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and end, unless the update is not complete, or a validation comes next."""
        number = self._told()
        if number is None or trainer.should_stop or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if (batch_idx + 1) % trainer.accumulate_grad_batches != 0:
            return
        self.save(trainer)
        raise SystemExit(128 + number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End; the validation has saved."""
        if (number := self._told()) is not None:
            raise SystemExit(128 + number)

    def on_test_batch_end(self, *_: Any) -> None:
        """End; the test is made again."""
        self._end()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take no more signals, and end if one has come since the last batch."""
        signals.pop(self._note)
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take no more signals."""
        signals.pop(self._note)

    def _end(self) -> None:
        if self.number is not None:
            raise SystemExit(128 + self.number)


def save_run(path: Path, is_sharded: bool, trainer: Trainer) -> None:
    """Write a checkpoint between two validations, and the curves so far.

    Args:
        path: The checkpoint.
        is_sharded: Whether all processes call this, each with a part of the parameters, or only the first one.
        trainer: Whose module is a `SequenceModule`.

    Raises:
        TrainingError: A loss was not finite: what was saved before is better.
    """
    module: Any = trainer.lightning_module
    module.require_finite(by_all=is_sharded)
    save_curves(trainer)
    if is_sharded:
        trainer.save_checkpoint(path)
    else:
        with _without_waiting(trainer.strategy):
            trainer.save_checkpoint(path)


@contextmanager
def _without_waiting(strategy: Strategy) -> Iterator[None]:
    """Keep a process from waiting for the others, which do not do what it does."""
    barrier = strategy.barrier
    strategy.barrier = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        strategy.barrier = barrier  # type: ignore[method-assign]

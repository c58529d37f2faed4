"""How a signal ends a run: after its update, with a checkpoint, and with the signal's own exit status."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from ffattn.lightning.checkpoints import save_curves

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1  # Ctrl-C; a system's; a scheduler's, some time before its end


class Interruptions(Checkpoint):
    """Save and end after the update in which a signal came; at a second Ctrl-C, end at once.

    A run that goes on from there makes the batches, and has the validations, that it would have had. A signal that
    comes shortly before or within a validation waits for its end, which saves by itself. Lightning alone would end with
    status 0 after SIGTERM and save nothing.

    Of several processes the first one saves; the others wait for it to be gone, and are ended by whoever started them.
    Where each process has a part of the parameters, nobody has them all, and a signal ends a process at once: nothing
    is lost but the updates since the last validation.

    Args:
        last: The checkpoint that is written.
        is_sharded: Whether each process has a part of the parameters.
    """

    def __init__(self, last: Path, is_sharded: bool = False) -> None:
        self.last, self.is_sharded = last, is_sharded
        self.number: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of Lightning's handlers, which it removes after the run."""
        self._handle(signal.SIG_DFL if self.is_sharded else self._note if trainer.is_global_zero else signal.SIG_IGN)
        if trainer.world_size > 1:  # a broadcast at each update, for which a GPU would have to wait
            trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training has ended and has been saved."""
        self._handle(self._end)

    def _handle(self, handler: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number == number == signal.SIGINT:
            self._end(number, frame)
        self.number = self.number or number

    def _end(self, number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save and end, unless the update is not complete, or a validation comes next."""
        if self.number is None or trainer.should_stop or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if trainer.fit_loop._should_accumulate():
            return
        save_curves(trainer)
        checkpoint = trainer._checkpoint_connector.dump_checkpoint()  # save_checkpoint waits for the other processes
        trainer.strategy.save_checkpoint(checkpoint, self.last)
        raise SystemExit(128 + self.number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End; the validation has saved."""
        if self.number is not None:
            raise SystemExit(128 + self.number)

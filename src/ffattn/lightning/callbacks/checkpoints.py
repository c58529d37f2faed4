"""When checkpoints are written, and what they say about their run."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Checkpoint

from ffattn.inference.checkpoint import FORMAT, upgrade
from ffattn.inference.checkpoint_files import BEST, KEY, LAST
from ffattn.inference.metric_names import is_result_metric
from ffattn.lightning.callbacks.stopping import StopRule
from ffattn.lightning.callbacks.validations import Validations


class Checkpoints(Checkpoint):
    """Write `best.ckpt` and `last.ckpt` after every validation, and end training by a rule.

    The trainer of its methods is Lightning's, or what a member of a stack has for one.

    Args:
        folder: Where.
        settings: Plain settings of the run, for whoever loads the file.
        rule: When training ends.
        data: What the task has learned from data, for whoever loads the file; then the best validation has the smallest
            error, else the highest accuracy.
        fingerprint: What tells whether data and split have changed since (see `GivenTask.fingerprint`).
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        rule: StopRule,
        data: dict[str, Any] | None = None,
        fingerprint: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.rule = rule
        self.data = data or {}
        self.fingerprint = fingerprint or {}
        self.validations = Validations(by_error=bool(data))
        self.seconds = 0.0  # of training before this start, over all the times that the run was resumed
        self.stopped_because: str | None = None

    def on_load_checkpoint(self, trainer: Any, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up the run that is resumed."""
        about = upgrade(checkpoint[KEY])
        self.seconds = about["seconds"]
        self.validations.restore(about)

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Ask for a last validation at the last update; Lightning's max_steps would stop without one."""
        if trainer.global_step >= self.rule.updates:
            self._stop(trainer, "updates")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Decide whether to stop, then write."""
        scores = {name: value for name, value in pl_module.latest.items() if is_result_metric(name)}
        is_best = self.validations.add(scores | {"update": trainer.global_step})
        if (reason := self.rule.reason(trainer, self.validations)) is not None:
            self._stop(trainer, reason)
        save_curves(trainer)
        if is_best:
            trainer.save_checkpoint(self.folder / BEST)
        trainer.save_checkpoint(self.folder / LAST)

    def _stop(self, trainer: Any, reason: str) -> None:
        self.stopped_because = reason
        trainer.should_stop = True

    def on_save_checkpoint(self, trainer: Any, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what makes the file understandable without the command line."""
        checkpoint[KEY] = {
            "format": FORMAT,
            "settings": self.settings,
            "update": trainer.global_step,
            "seconds": self.seconds + time.monotonic() - self.started,
            "stopped_because": self.stopped_because,
            "best": self.validations.best,
            "history": self.validations.history,
            "data": self.data,
            "fingerprint": self.fingerprint,
        }


def save_curves(trainer: Any) -> None:
    """Let loggers write what they hold back: a run that goes on from a checkpoint does not log it again.

    Args:
        trainer: Lightning's, or what a member of a stack has for one.
    """
    for logger in trainer.loggers:
        logger.save()

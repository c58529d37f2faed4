"""When checkpoints are written, and how."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ffattn.errors import TrainingError, reason_of
from ffattn.inference.checkpoint import BEST, FORMAT, KEY, LAST, PREVIOUS, upgrade
from ffattn.inference.metrics import RESULT_METRICS
from ffattn.system.atomic_files import sync

HISTORY = "update", "accuracy", "error"  # what is kept of every validation


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, sync, rename: a file of that name is always whole, and the last but one is kept."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: Tensors and plain values.
            path: The file, replaced if it exists.
            storage_options: Not used.

        Raises:
            TrainingError: The disk is full, or the folder cannot be written to; what was there before is untouched.
        """
        target = Path(path)
        part = target.with_suffix(".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(checkpoint, part)
        except (OSError, RuntimeError) as error:  # torch's writer has errors of its own, behind which is the system's
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise TrainingError(
                f"{target}: cannot be written: {reason_of(error)}; what was saved before is whole"
            ) from error
        if target.name == LAST and target.exists():
            target.replace(target.with_name(PREVIOUS))
        part.replace(target)
        sync(target.parent)


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(checkpoint, file)
    sync(path)


class Checkpoints(Checkpoint):
    """Write `best.ckpt` (highest accuracy; among equals the smallest error) and `last.ckpt` after every validation.

    Args:
        folder: Where.
        settings: Plain settings of the run, for whoever loads the file.
        updates: Stop training after so many.
        stop_when_solved: Stop training at the first validation with accuracy 1.
        patience: Stop after so many validations without a better one, or None.
        data: What the task has learned from data, for whoever loads the file.
        to_beat: Asked at every validation for a number of updates at which training is stopped (None: not yet).
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        updates: int,
        stop_when_solved: bool,
        *,
        patience: int | None = None,
        data: dict[str, Any] | None = None,
        to_beat: Callable[[], int | None] | None = None,
    ) -> None:
        self.folder, self.settings = folder, settings
        self.updates, self.stop_when_solved, self.to_beat = updates, stop_when_solved, to_beat
        self.patience, self.data = patience, data or {}
        self.best: dict[str, float] = {}
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY}
        self.seconds = 0.0  # of training, over all the times that the run was resumed
        self.stopped_because: str | None = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up the run that is resumed."""
        about = upgrade(checkpoint[KEY])
        self.best, self.seconds = about["best"], about["seconds"]
        known = about.get("history", self.history)  # earlier versions kept none
        self.history = {name: list(values) for name, values in known.items()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.started

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Ask for a last validation at the last update; Lightning's max_steps would stop without one."""
        if trainer.global_step >= self.updates:
            self.stopped_because = "updates"
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Decide whether to stop, then write."""
        now = {name: value for name, value in pl_module.latest.items() if name in RESULT_METRICS}
        now["update"] = trainer.global_step
        for name, values in self.history.items():
            values.append(now[name])
        if self.stop_when_solved and now["accuracy"] == 1:
            self.stopped_because = "solved"
        elif self.to_beat is not None and _is_beaten(trainer, self.to_beat()):
            self.stopped_because = "raced"
        is_better = not self.best or self._rank(now) > self._rank(self.best)
        if self.stopped_because is None and not is_better and self._is_patient_no_more():
            self.stopped_because = "patience"
        if self.stopped_because is not None:
            trainer.should_stop = True
        save_curves(trainer)
        if is_better:
            self.best = now
            trainer.save_checkpoint(self.folder / BEST)
        trainer.save_checkpoint(self.folder / LAST)

    def _rank(self, validation: dict[str, float]) -> tuple[float, ...]:
        """What is better is larger. Of given data it is the error that counts, as in training."""
        return (-validation["error"],) if self.data else (validation["accuracy"], -validation["error"])

    def _is_patient_no_more(self) -> bool:
        """Whether the best validation lies so many validations back."""
        since = sum(update > self.best["update"] for update in self.history["update"])  # earlier versions kept none
        return self.patience is not None and since >= self.patience

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what makes the file understandable without the command line."""
        checkpoint[KEY] = {
            "format": FORMAT,
            "settings": self.settings,
            "update": trainer.global_step,
            "seconds": self._elapsed(),
            "stopped_because": self.stopped_because,
            "best": self.best,
            "history": self.history,
            "data": self.data,
        }


def save_curves(trainer: Trainer) -> None:
    """Let loggers write what they hold back: a run that goes on from a checkpoint does not log it again.

    Args:
        trainer: Whose loggers.
    """
    for logger in trainer.loggers:
        logger.save()


def _is_beaten(trainer: Trainer, updates: int | None) -> bool:
    """Whether so many updates have been made; the first process decides for all, which may look at another moment."""
    limit = trainer.strategy.broadcast(updates)
    return limit is not None and trainer.global_step >= limit

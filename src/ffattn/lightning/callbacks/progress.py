"""What a person sees while a run is trained."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ffattn.inference.metric_names import percent
from ffattn.lightning.callbacks.rate import UpdateRate

_REFRESH = 0.5  # seconds between looks at the loss, which stall a GPU
_LINE = 30.0  # seconds between lines where there is no terminal


class RunProgress(ProgressBar):
    """Show loss, accuracy, updates per second and time left: a bar in a terminal, lines elsewhere.

    Args:
        mode: `auto`, `bar`, `lines`, or `none` or `quiet`, which show nothing.
        updates: The most updates of the run.
        console: Where to print.
    """

    def __init__(self, mode: str, updates: int, console: Console) -> None:
        super().__init__()
        self.console = console
        self.updates = updates
        self.mode = ("bar" if console.is_terminal else "lines") if mode == "auto" else mode
        self.is_enabled = self.mode in {"bar", "lines"}
        self.bar: Progress | None = None
        self.bar_task = TaskID(0)
        self.shown: dict[str, float] = {}

    def disable(self) -> None:
        """Show nothing from now on."""
        self.is_enabled = False

    def enable(self) -> None:
        """Show what the mode says."""
        self.is_enabled = self.mode in {"bar", "lines"}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar. The rate is unknown until the first look: the first update compiles kernels."""
        self.rate = UpdateRate()
        self.next_look = 0.0
        if self.is_enabled and self.mode == "bar":
            columns = (MofNCompleteColumn(), BarColumn(bar_width=24), TextColumn("{task.description}"))
            self.bar = Progress(*columns, TimeRemainingColumn(), TextColumn("left"), console=self.console)
            self.bar_task = self.bar.add_task("starting", total=self.updates, completed=trainer.global_step)
            self.bar.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look at the loss now and then, and before a validation."""
        is_last = (batch_idx + 1) % trainer.num_training_batches == 0 or trainer.global_step >= self.updates
        if not self.is_enabled or (time.monotonic() < self.next_look and not is_last):
            return
        if trainer.world_size == 1:
            self.shown |= pl_module.measure(outputs["loss"], outputs["prediction"], batch.y)
        else:  # the time of a look is each process's own, so that several look at what was measured last, by all
            self.shown |= pl_module.measured
        self.rate.look(trainer.global_step)
        if not is_last:
            self._show(trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Show the validation."""
        self.shown["val"] = pl_module.latest["accuracy"]
        self.shown |= {name: value for name, value in pl_module.latest.items() if name == "r2"}
        if self.is_enabled:
            self._show(trainer.global_step)
        self.rate.look(trainer.global_step)  # validation is no part of the rate of training

    def _show(self, update: int) -> None:
        if self.bar is not None:
            self.bar.update(self.bar_task, completed=update, description=self._numbers())
        else:
            left = ""
            if self.rate.value:
                left = f"  at most {_hours((self.updates - update) / self.rate.value)} left"
            line = f"update {update:>6} of at most {self.updates}  {self._numbers()}{left}"
            self.console.print(line, soft_wrap=True, highlight=False)
        self.next_look = time.monotonic() + (_REFRESH if self.bar is not None else _LINE)

    def _numbers(self) -> str:
        parts = []
        if "loss" in self.shown:
            parts += [f"loss {self.shown['loss']:.2e}", f"accuracy {percent(self.shown['accuracy']):>6}"]
        if "val" in self.shown:
            parts.append(f"val accuracy {percent(self.shown['val'])}")
        if "r2" in self.shown:
            parts.append(f"R2 {self.shown['r2']:.4f}")
        if self.rate.value:
            parts.append(f"{self.rate.value:.4g} updates/s")
        return "  ".join(parts)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the last state of the bar on the screen."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _hours(seconds: float) -> str:
    """Return a time as hours:minutes:seconds."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"

"""What a person sees while it runs: curves and progress."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ffattn.inference.metrics import percent
from ffattn.tasks.batch import Batch

_REFRESH = 0.5  # seconds between looks at the loss, which stall a GPU
_LINE = 30.0  # seconds between lines where there is no terminal


class _Rate:
    """Updates per second between two looks; zero, which means unknown, before the second."""

    def __init__(self) -> None:
        self.update: int | None = None
        self.time = self.value = 0.0

    def look(self, update: int) -> float:
        """The rate since the last look, or the last known one if nothing has been done since."""
        now = time.monotonic()
        if self.update is not None and update > self.update:
            self.value = (update - self.update) / max(now - self.time, 1e-9)
        self.update, self.time = update, now
        return self.value


def _measure(module: Any, outputs: Any, batch: Batch) -> dict[str, float]:
    """Measure loss and accuracy of a training batch; stops the run if a loss was not finite."""
    measured: dict[str, float] = module.measure(outputs["loss"], outputs["prediction"], batch.y)
    return measured


class Curves(Callback):
    """Log loss, accuracy, learning rate and speed of training.

    Args:
        every: Updates between entries.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.rate = _Rate()
        self.rate.look(trainer.global_step)
        self.logged = trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Read the learning rate before the schedule goes on."""
        if (trainer.global_step + 1) % self.every == 0:
            self.lr = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log at every so many updates."""
        update = trainer.global_step
        if update % self.every or update == self.logged:
            return
        self.logged = update
        metrics = {f"train/{name}": value for name, value in _measure(pl_module, outputs, batch).items()}
        metrics["train/lr"] = self.lr
        metrics["train/updates_per_second"] = self.rate.look(update)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=update)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation is no part of the speed of training."""
        self.rate.look(trainer.global_step)


class Watch(Callback):
    """Show loss, accuracy, updates per second and time left: a bar in a terminal, lines elsewhere.

    Args:
        mode: `auto`, `bar`, `lines`, or `none` or `quiet`, which show nothing.
        updates: The most updates of the run.
        console: Where to print.
    """

    def __init__(self, mode: str, updates: int, console: Console) -> None:
        self.console, self.updates = console, updates
        self.mode = ("bar" if console.is_terminal else "lines") if mode == "auto" else mode
        self.bar: Progress | None = None
        self.bar_task = TaskID(0)
        self.shown: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar. The rate is unknown until the first look: the first update compiles kernels."""
        self.rate, self.next_look = _Rate(), 0.0
        if self.mode == "bar":
            columns = (MofNCompleteColumn(), BarColumn(bar_width=24), TextColumn("{task.description}"))
            self.bar = Progress(*columns, TimeRemainingColumn(), TextColumn("left"), console=self.console)
            self.bar_task = self.bar.add_task("starting", total=self.updates, completed=trainer.global_step)
            self.bar.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look at the loss now and then, and before a validation."""
        is_last = (batch_idx + 1) % trainer.num_training_batches == 0 or trainer.global_step >= self.updates
        if self.mode not in {"bar", "lines"} or (time.monotonic() < self.next_look and not is_last):
            return
        # the time of a look is each process's own, so that several look at what was measured last, by all
        self.shown |= _measure(pl_module, outputs, batch) if trainer.world_size == 1 else pl_module.measured
        self.rate.look(trainer.global_step)
        if not is_last:
            self._show(trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Show the validation."""
        self.shown["val"] = pl_module.latest["accuracy"]
        self.shown |= {name: value for name, value in pl_module.latest.items() if name == "r2"}
        if self.mode in {"bar", "lines"}:
            self._show(trainer.global_step)
        self.rate.look(trainer.global_step)  # validation is no part of the rate of training

    def _show(self, update: int) -> None:
        parts = []
        if "loss" in self.shown:
            parts += [f"loss {self.shown['loss']:.2e}", f"accuracy {percent(self.shown['accuracy']):>6}"]
        parts += [f"val accuracy {percent(self.shown['val'])}"] if "val" in self.shown else []
        parts += [f"R2 {self.shown['r2']:.4f}"] if "r2" in self.shown else []
        parts += [f"{self.rate.value:.4g} updates/s"] if self.rate.value else []
        text = "  ".join(parts)
        if self.bar is not None:
            self.bar.update(self.bar_task, completed=update, description=text)
        else:
            left = f"  at most {_clock((self.updates - update) / self.rate.value)} left" if self.rate.value else ""
            line = f"update {update:>6} of at most {self.updates}  {text}{left}"
            self.console.print(line, soft_wrap=True, highlight=False)
        self.next_look = time.monotonic() + (_REFRESH if self.bar is not None else _LINE)

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


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"

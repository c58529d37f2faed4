"""What is logged of training."""

from typing import Any

from lightning.pytorch import Callback

from ffattn.lightning.callbacks.rate import UpdateRate


class Curves(Callback):
    """Log loss, accuracy, learning rate and speed of training.

    The trainer of its methods is Lightning's, or what a member of a stack has for one.

    Args:
        every: Updates between entries.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self.rate = UpdateRate()
        self.rate.look(trainer.global_step)
        self.logged = trainer.global_step

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Read the learning rate before the schedule goes on."""
        if (trainer.global_step + 1) % self.every == 0:
            self.lr = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log at every so many updates."""
        update = trainer.global_step
        if update % self.every or update == self.logged:
            return
        self.logged = update
        measured = pl_module.measure(outputs["loss"], outputs["prediction"], batch.y)
        metrics = {f"train/{name}": value for name, value in measured.items()}
        metrics["train/lr"] = self.lr
        metrics["train/updates_per_second"] = self.rate.look(update)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=update)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave the validation out of the speed of training."""
        self.rate.look(trainer.global_step)

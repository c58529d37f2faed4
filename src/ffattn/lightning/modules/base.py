"""Any model on any task."""

import hashlib
import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ffattn.errors import TrainingError
from ffattn.inference.checkpoint import build_network, load_weights
from ffattn.inference.metric_names import ATTENTION_METRICS, STANDARD_METRICS
from ffattn.inference.metrics import EvaluationMetrics
from ffattn.lightning.callbacks.curves import Curves
from ffattn.lightning.private import cache_batch_hooks
from ffattn.models import Answer, Model
from ffattn.nn import Dropout
from ffattn.ops.reference import full_precision
from ffattn.optim import Adam, Optim
from ffattn.tasks import GivenTask, Task
from ffattn.tasks.batch import Batch, as_batch

_NEVER = torch.iinfo(torch.int64).max
# attributes that are set at every update, and are no tensors; the first is Lightning's, and need not be there
_PLAIN = "_current_fx_name", "threads", "batch_seed"


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators in use; torch.manual_seed formats a stack trace for every kind of device that is absent.

    Args:
        seed: Of the CPU's generator, and of the GPU's where it is used.
        device: Where training runs.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


class SequenceModule(LightningModule):
    """Trains a model on a task.

    Args:
        task: Gives sizes, loss and accuracy.
        model: Builds the network.
        optim: Builds optimiser and schedule; Adam with the paper's settings if not given.
        seed: Of weights, dropout and score jitter.
        updates: The most updates of the run, which schedules refer to.
    """

    def __init__(
        self,
        task: Task,
        model: Model,
        *,
        optim: Optim | None = None,
        seed: int = 0,
        updates: int = 100_000,
    ) -> None:
        super().__init__()
        self.task = task
        self.model = model
        self.optim = optim or Adam()
        self.seed = seed
        self.updates = updates
        self.network = build_network(model, task, seed)
        self.metrics = EvaluationMetrics(task)
        self.latest: dict[str, float] = {}  # metrics of the last evaluation
        self.measured: dict[str, float] = {}  # of the training batch that was last looked at
        self.updates_before = 0  # of a run that has been trained, and is only to be tested
        self.bad_update = torch.tensor(_NEVER)  # no buffer: weight averaging averages those

    def __setattr__(self, name: str, value: Any) -> None:
        """Lightning notes the name of every hook here, some 40 times an update; torch's way for modules is slow."""
        if name in _PLAIN:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def load(self, contents: dict[str, Any], path: str | Path) -> None:
        """Copy a checkpoint's weights into the network (see `ffattn.inference.checkpoint.load_weights`)."""
        load_weights(self.network, contents, path)

    @property
    def lr(self) -> float:
        """The learning rate, which Lightning's `Tuner.lr_find` reads and sets."""
        return self.optim.lr

    @lr.setter
    def lr(self, lr: float) -> None:
        """Set the learning rate."""
        self.optim = replace(self.optim, lr=lr)

    def forward(self, batch: Batch) -> Answer:
        """Return the network's answers, without weights."""
        answer: Answer = self.network(batch.x, batch.lengths)
        return answer

    def forward_with_weights(self, batch: Batch) -> Answer:
        """Return the network's answers, with weights."""
        answer: Answer = self.network(batch.x, batch.lengths, return_weights=True)
        return answer

    def on_fit_start(self) -> None:
        """Tell dropout which part of a batch is this process's."""
        cache_batch_hooks(self.trainer)
        for layer in self.network.modules():
            if isinstance(layer, Dropout):
                layer.part = self.trainer.global_rank
                layer.parts = self.trainer.world_size

    def on_train_start(self) -> None:
        """Start to watch the loss; and set the rate, since the horizon of a resumed schedule may have moved."""
        self.threads = torch.get_num_threads()
        self.bad_update = torch.tensor(_NEVER, device=self.device)
        self.update_number = torch.tensor(0, device=self.device)
        self.has_curves = any(isinstance(callback, Curves) for callback in self.trainer.callbacks)  # type: ignore[attr-defined]
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:  # a run that used a CUDA graph may go on without one
                group.update(lr=float(group["lr"]), **({"capturable": False} if "capturable" in group else {}))
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, LambdaLR):
            for group, base, factor in zip(
                scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
            ):
                group["lr"] = base * factor(scheduler.last_epoch)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Let one thread update the parameters: torch would wake all of them for each one, however small it is."""
        self.threads = torch.get_num_threads()
        torch.set_num_threads(1)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, if gradients are to be clipped; without a limit Lightning would check everything else about it."""
        if gradient_clip_val is not None:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let all threads work again, if an update has been made; log, under a Trainer of someone else's."""
        torch.set_num_threads(self.threads)
        if not self.has_curves:
            self._log_training(outputs, self._as_batch(batch), batch_idx)

    def _log_training(self, outputs: dict[str, Tensor], batch: Batch, batch_idx: int) -> None:
        """Log loss and accuracy as often as the Trainer is to log, after the last batch of an update."""
        is_update = (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0
        if is_update and self.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            measured = self.measure(outputs["loss"], outputs["prediction"], batch.y)
            self.log_dict({f"train/{name}": value for name, value in measured.items()})

    def _as_batch(self, given: Any) -> Batch:
        return given if isinstance(given, Batch) else as_batch(given, self.task.is_classification)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make dropout and jitter functions of (seed, batch number), so that a resumed run repeats them."""
        update = self.trainer.global_step
        batches = self.trainer.accumulate_grad_batches
        number = update * batches + batch_idx % batches
        digest = hashlib.blake2b(f"{self.seed}/{number}".encode(), digest_size=8).digest()
        self.batch_seed = int.from_bytes(digest) >> 1
        seed_generators(self.batch_seed, self.device)
        self.update_number.fill_(update + 1)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Return the loss, and the predictions for whoever wants to log them.

        Args:
            batch: A `Batch`, or what a DataLoader of one's own gives (see `ffattn.tasks.batch.as_batch`).
            batch_idx: Its place in the epoch.
        """
        loss, prediction = self._loss_of(self._as_batch(batch))
        self._note_if_bad(loss)
        return {"loss": loss, "prediction": prediction.detach()}

    def _loss_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        prediction = full_precision(self(batch).prediction)
        return self.task.error(prediction, batch.y).mean(), prediction

    def _note_if_bad(self, loss: Tensor) -> None:
        """Remember the first update with a non-finite loss; on a GPU without reading it, which would stall."""
        loss = loss.detach()
        if loss.is_cpu and math.isfinite(loss):
            return
        update = torch.where(loss.isfinite(), _NEVER, self.update_number)
        self.bad_update.copy_(torch.minimum(self.bad_update, update))

    def require_finite(self, by_all: bool = True) -> None:
        """Stop if a loss was not finite; called where the device is read anyway.

        Args:
            by_all: Whether all processes call this, and stop if it was not finite in any.

        Raises:
            TrainingError: Says at which update it happened first.
        """
        if (update := int(self._reduce(self.bad_update, "min") if by_all else self.bad_update)) != _NEVER:
            self._stop(f"the loss of update {update}")

    def _reduce(self, numbers: Tensor, how: str) -> Tensor:
        """Return `min` or `mean` over all processes."""
        reduced: Tensor = self.trainer.strategy.reduce(numbers.clone(), reduce_op=how)
        return reduced

    def measure(self, loss: Tensor, prediction: Tensor, y: Tensor) -> dict[str, float]:
        """Measure loss and accuracy of a training batch, over all processes, each of which must call this.

        Args:
            loss: Of this process's part.
            prediction: Likewise.
            y: Likewise.

        Raises:
            TrainingError: A loss was not finite.
        """
        self.require_finite()
        accuracy = self.task.is_correct(prediction, y).double().mean()
        loss, accuracy = self._reduce(torch.stack((loss.double(), accuracy)), "mean")
        self.measured = {"loss": float(loss), "accuracy": float(accuracy)}
        return self.measured

    def _stop(self, what: str) -> NoReturn:
        advice = "lower it, set trainer.gradient_clip=0.1, or use precision=32"
        raise TrainingError(f"{what} is not finite (optim.lr={self.optim.lr:g}){self._bad_weights()}: {advice}")

    def _bad_weights(self) -> str:
        """Name the first parameter that is not finite, or whose gradient is not."""
        for name, weight in self.network.named_parameters():
            for kind, numbers in ("", weight), ("the gradient of ", weight.grad):
                if numbers is not None and not numbers.isfinite().all():
                    return f", nor is {kind}{name}"
        return ""

    def _evaluation_step(self, batch: Any) -> None:
        batch = self._as_batch(batch)
        answer = self.forward_with_weights(batch)
        self.metrics.update(answer, batch)
        self.has_weights = answer.weights is not None

    def _log_metrics(self, split: str) -> None:
        metrics = self.metrics.compute()
        self.metrics.reset()
        self.latest = {name: value.item() for name, value in metrics.items()}
        if not metrics["error"].isfinite():
            self._stop(f"the {split} error after {self.global_step} updates")
        names = {"accuracy": f"{split}/accuracy", "error": f"{split}/error"}
        if self.has_weights and split == "val":
            names |= {name: _attention_tag(name) for name in ("dead", *ATTENTION_METRICS) if name in metrics}
        names |= {name: f"{split}/{name}" for name in metrics if name.partition("/")[0] in STANDARD_METRICS}
        values = {name: metrics[key].float() for key, name in names.items()}
        update = max(self.global_step, self.updates_before)  # Lightning's own is one less
        self.log_dict(values | {"step": torch.tensor(float(update))})

    def on_validation_start(self) -> None:
        """Stop before validating if a loss was not finite."""
        self.require_finite()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch of the validation set."""
        self._evaluation_step(batch)

    def on_validation_epoch_end(self) -> None:
        """Log `val/accuracy`, `val/error`, `attention/dead` and more."""
        self._log_metrics("val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch of the test set."""
        self._evaluation_step(batch)

    def on_test_epoch_end(self) -> None:
        """Log `test/accuracy` and `test/error`."""
        self._log_metrics("test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return class indices, (batch,), or numbers in the unit of the targets, (batch, output)."""
        prediction = full_precision(self(self._as_batch(batch)).prediction)
        if self.task.is_classification:
            return prediction.argmax(dim=1)
        if isinstance(self.task, GivenTask):
            return torch.from_numpy(self.task.target_scaling().restore(prediction.cpu()))
        return prediction

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make the optimiser, and the schedule where there is one."""
        is_mixed = isinstance(self.trainer.precision_plugin, MixedPrecision)
        fused = not (is_mixed and self.trainer.gradient_clip_val)  # Lightning refuses the three together
        optimizer = self.optim.optimizer(self.network.parameters(), fused)
        scheduler = self.optim.scheduler(optimizer, self.updates)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _attention_tag(metric: str) -> str:
    """Return where a metric of attention is logged: `attention/mass` for `attention_mass`."""
    return f"attention/{metric.removeprefix('attention_')}"


# Lightning looks the signature up at every update, which takes a tenth of a short update unless it is stored.
SequenceModule.training_step.__signature__ = inspect.signature(SequenceModule.training_step)  # type: ignore[attr-defined]

"""Training where memory may not suffice for a whole batch at a time."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from ffattn.lightning.modules.base import SequenceModule, seed_generators
from ffattn.models import Answer
from ffattn.nn import Dropout
from ffattn.system.out_of_memory import is_out_of_memory
from ffattn.tasks.batch import Batch

_Outcome = TypeVar("_Outcome")


class _TrainedOn(NamedTuple):
    """What comes of a training batch.

    Attributes:
        loss: Its mean.
        gradients: Of the weights.
        prediction: For every sequence.
    """

    loss: Tensor
    gradients: list[Tensor | None]
    prediction: Tensor


class _KnownGradient(torch.autograd.Function):
    """A loss whose gradient has been computed already, so that nothing of its computation is kept."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor | None], *weights: Tensor) -> Tensor:
        """Return the loss, and keep its gradients."""
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> Any:
        """Return what was kept, times the gradient of what follows the loss."""
        return None, None, *(None if gradient is None else outer * gradient for gradient in ctx.gradients)


class PartedModule(SequenceModule):
    """Trains as `SequenceModule` does; where an allocation fails, it takes every batch in more parts from then on.

    Each part of the sequences has a forward and a backward pass of its own, and the mean of their gradients is the
    gradient of the whole batch: the same updates, up to the order of a sum, in less memory. Dropout and jitter are
    those of the whole batch. Batches that are evaluated are divided likewise, when they have to be.

    Example:
        PartedModule(task, model, seed=0)  # the arguments are those of `SequenceModule`

    Attributes:
        parts: In how many parts the last training batch was taken; a divisor of its size.
        evaluated_parts: Likewise of the last batch that was evaluated, which may need more memory, or less.
    """

    parts = 1
    evaluated_parts = 1

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return the loss, which knows its gradient, and the predictions.

        Raises:
            RuntimeError: Memory does not suffice for one sequence (MemoryError, too).
        """
        done, self.parts = _in_parts(self._train_on, batch, self.parts, "batches")
        self._note_if_bad(done.loss)
        known: Tensor = _KnownGradient.apply(done.loss, done.gradients, *self._weights())  # type: ignore[no-untyped-call]
        return {"loss": known, "prediction": done.prediction}

    def forward_with_weights(self, batch: Batch) -> Answer:
        """Return the network's answers, with weights, from parts of a batch that is evaluated.

        Raises:
            RuntimeError: Memory does not suffice for one sequence (MemoryError, too).
        """
        answer, self.evaluated_parts = _in_parts(self._evaluate_on, batch, self.evaluated_parts, "evaluated batches")
        return answer

    def _weights(self) -> list[nn.Parameter]:
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def _train_on(self, parts: list[Batch]) -> _TrainedOn:
        losses = []
        predictions = []
        gradients: list[Tensor | None] = [None for _ in self._weights()]
        for number, part in enumerate(parts):
            self._enter(number, len(parts))
            loss, prediction = self._loss_of(part)
            gradients = [_plus(*pair) for pair in zip(gradients, self._gradients(loss / len(parts)), strict=True)]
            losses.append(loss.detach() / len(parts))
            predictions.append(prediction.detach())
        return _TrainedOn(torch.stack(losses).sum(), gradients, torch.cat(predictions))

    def _evaluate_on(self, parts: list[Batch]) -> Answer:
        answers = [super(PartedModule, self).forward_with_weights(part) for part in parts]
        prediction, weights, scores = map(_concatenated, zip(*answers, strict=True))
        assert prediction is not None
        return Answer(prediction, weights, scores)

    def _enter(self, part: int, parts: int) -> None:
        """Let dropout and jitter be those of the whole batch."""
        seed_generators(self.batch_seed, self.device)
        for layer in self.network.modules():
            if isinstance(layer, Dropout):
                layer.part = self.trainer.global_rank * parts + part
                layer.parts = self.trainer.world_size * parts

    def _gradients(self, loss: Tensor) -> list[Tensor | None]:
        """Of the weights; in mixed float16 from a scaled loss, since small numbers would become zeros on the way."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        scale = 1.0 if scaler is None else float(scaler.get_scale())
        with torch.autocast(loss.device.type, enabled=False):
            gradients = torch.autograd.grad(loss * scale, self._weights(), allow_unused=True)
        return [None if gradient is None else gradient / scale for gradient in gradients]


def _in_parts(work: Callable[[list[Batch]], _Outcome], batch: Batch, parts: int, what: str) -> tuple[_Outcome, int]:
    """Return what comes of a batch in at least so many parts, and in how many it was taken."""
    size = len(batch.y)
    parts = _divisor_from(size, parts)
    while (outcome := _try(work, batch, parts)) is None:
        parts = _divisor_from(size, 2 * parts)
        torch.cuda.empty_cache()
        print(f"out of memory: {what} are taken in {parts} parts from now on", file=sys.stderr, flush=True)
    return outcome, parts


def _try(work: Callable[[list[Batch]], _Outcome], batch: Batch, parts: int) -> _Outcome | None:
    """Return what comes of a batch in parts, or None where more of them may help.

    The next try follows the return: an exception that is being handled keeps everything of its computation.
    """
    try:
        return work([Batch(*columns) for columns in zip(*(column.chunk(parts) for column in batch), strict=True)])
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) or parts == len(batch.y):
            raise
    return None


def _divisor_from(size: int, least: int) -> int:
    """Return the smallest divisor that is so large; a set's last batch may have fewer sequences than parts."""
    return next(count for count in range(min(least, size), size + 1) if size % count == 0)


def _concatenated(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there) if there else None


def _plus(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other

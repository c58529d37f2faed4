"""Training where memory may not suffice for a whole batch at a time."""

import sys
from typing import Any

import torch
from torch import Tensor, nn

from ffattn.batch import Batch
from ffattn.lightning.module import SequenceModule, seed_generators
from ffattn.memory import is_out_of_memory
from ffattn.nn import Dropout


class _KnownGradient(torch.autograd.Function):
    """A loss whose gradient has been computed already, so that nothing of its computation is kept."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor | None], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> Any:
        return None, None, *(None if gradient is None else outer * gradient for gradient in ctx.gradients)


class PartedModule(SequenceModule):
    """Trains as `SequenceModule` does; where an allocation fails, it takes every batch in more parts from then on.

    Each part of the sequences has a forward and a backward pass of its own, and the mean of their gradients is the
    gradient of the whole batch: the same updates, up to the order of a sum, in less memory. Dropout and jitter are
    those of the whole batch.

    Example:
        PartedModule(task, model, seed=0)  # the arguments are those of `SequenceModule`

    Attributes:
        parts: In how many parts the last batch was taken; a divisor of its size.
    """

    parts = 1

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The loss, which knows its gradient, and the predictions.

        Raises:
            RuntimeError: Memory does not suffice for one sequence (MemoryError, too).
        """
        size = len(batch.y)
        self._divide(size, self.parts)
        while (outcome := self._try(batch)) is None:
            self._divide(size, 2 * self.parts)
            torch.cuda.empty_cache()
            print(f"out of memory: batches are taken in {self.parts} parts from now on", file=sys.stderr, flush=True)
        loss, gradients, prediction = outcome
        self._note_if_bad(loss)
        known: Tensor = _KnownGradient.apply(loss, gradients, *self._weights())  # type: ignore[no-untyped-call]
        return {"loss": known, "prediction": prediction}

    def _divide(self, size: int, least: int) -> None:
        self.parts = next(count for count in range(least, size + 1) if size % count == 0)

    def _weights(self) -> list[nn.Parameter]:
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def _try(self, batch: Batch) -> tuple[Tensor, list[Tensor | None], Tensor] | None:
        """Loss, gradients and predictions, or None where more parts may help.

        The next try follows the return: an exception that is being handled keeps everything of its computation.
        """
        try:
            return self._in_parts(batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or self.parts == len(batch.y):
                raise
        return None

    def _in_parts(self, batch: Batch) -> tuple[Tensor, list[Tensor | None], Tensor]:
        losses, predictions = [], []
        gradients: list[Tensor | None] = [None for _ in self._weights()]
        for part, columns in enumerate(zip(*(column.chunk(self.parts) for column in batch), strict=True)):
            self._enter(part)
            loss, prediction = self._loss_of(Batch(*columns))
            gradients = [_sum(*pair) for pair in zip(gradients, self._gradients(loss / self.parts), strict=True)]
            losses.append(loss.detach() / self.parts)
            predictions.append(prediction.detach())
        return torch.stack(losses).sum(), gradients, torch.cat(predictions)

    def _enter(self, part: int) -> None:
        """Let dropout and jitter be those of the whole batch."""
        seed_generators(self.batch_seed, self.device)
        for layer in self.network.modules():
            if isinstance(layer, Dropout):
                layer.part = self.trainer.global_rank * self.parts + part
                layer.parts = self.trainer.world_size * self.parts

    def _gradients(self, loss: Tensor) -> list[Tensor | None]:
        """Of the weights; in mixed float16 from a scaled loss, since small numbers would become zeros on the way."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        scale = 1.0 if scaler is None else float(scaler.get_scale())
        with torch.autocast(loss.device.type, enabled=False):
            gradients = torch.autograd.grad(loss * scale, self._weights(), allow_unused=True)
        return [None if gradient is None else gradient / scale for gradient in gradients]


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other

"""A training step captured as a CUDA graph: its hundred kernels become one launch, which the CPU waits for least."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer

from ffattn.errors import TrainingError
from ffattn.lightning.modules.base import SequenceModule
from ffattn.tasks.batch import Batch

_EAGER = 3  # updates before the capture, in which libraries allocate and choose what they may not within it
Step = Callable[[], Any]


def run_aside(step: Step) -> None:
    """Run on a stream other than the default one, as everything that precedes a capture must be."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)


def capture(step: Step) -> Step:
    """Record what a function launches, without executing it; return what launches all of it again."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


class CapturedModule(SequenceModule):
    """Trains as `SequenceModule` does, with forward pass, backward pass and optimiser step in one CUDA graph.

    A graph reads and writes the same memory each time. So batches are copied into one place, all of one shape, and the
    learning rate is a tensor. Random numbers go on: a replay takes the generator's present state.

    Example:
        CapturedModule(task, model, seed=0)  # the arguments are those of `SequenceModule`

    Raises:
        TrainingError: The model does what a graph cannot hold, such as reading a number back from the GPU.
    """

    run_aside = staticmethod(run_aside)
    capture = staticmethod(capture)

    def on_train_start(self) -> None:
        """Forget what was captured; put learning rates where a graph finds them."""
        super().on_train_start()
        self.eager_updates = 0
        self.replay: Step | None = None
        self.place: Batch | None = None
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group.update(lr=torch.tensor(group["lr"], device=self.device), capturable=True)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Copy the batch to where the graph reads it."""
        super().on_train_batch_start(batch, batch_idx)
        if self.place is None:
            self.place = Batch(*(column.clone() for column in batch))
        for column, new in zip(self.place, batch, strict=True):
            column.copy_(new)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return the loss of the copied batch."""
        return super().training_step(self.place or batch, batch_idx)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Any = None,
    ) -> None:
        """Make an update: as usual at first, then captured, then replayed."""
        step = partial(super().optimizer_step, epoch, batch_idx, optimizer, optimizer_closure)
        if self.eager_updates < _EAGER:
            self.eager_updates += 1
            self.run_aside(step)
            return
        if self.replay is None:
            self.replay = self._capture(step)
            self.outcome = optimizer_closure.consume_result()
        self.replay()
        _run_instead(optimizer_closure, lambda: self.outcome)  # Lightning wants a result of every closure

    def _capture(self, step: Step) -> Step:
        try:
            return self.capture(step)
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise TrainingError(f"accelerator.cuda_graph=true does not work with this model ({reason})") from error


def _run_instead(closure: Any, work: Callable[[], Any]) -> None:
    """Run a closure of Lightning's once with other work; its result is what that returns."""
    closure.closure = work
    try:
        closure()
    finally:
        del closure.closure

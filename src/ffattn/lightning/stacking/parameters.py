"""The parameters of several equal networks as rows of stacked tensors."""

import copy
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from ffattn.models import Network
from ffattn.ops.reference import full_precision
from ffattn.tasks import Task
from ffattn.tasks.batch import Batch


class StackedParameters:
    """The parameters of several networks, stacked, with which all losses are computed at once.

    Each network remains whole, with a row of every tensor as its parameter, so that its own optimiser, state dict and
    evaluation work as ever. Gradients are rows too.

    Args:
        networks: Of one structure; their parameters move into the stacked tensors.
        task: Gives the losses.

    Raises:
        RuntimeError: What a network or the task computes cannot be stacked, or is random; raised by `losses`.
    """

    def __init__(self, networks: Sequence[Network], task: Task) -> None:
        self.task = task
        self.skeleton = copy.deepcopy(networks[0]).to("meta").train()
        self.tensors: dict[str, Tensor] = {}
        for parts in zip(*(chain(n.named_parameters(), n.named_buffers()) for n in networks), strict=True):
            self._stack(parts[0][0], [tensor for _, tensor in parts])

    def _stack(self, name: str, parts: list[Tensor]) -> None:
        stacked = torch.stack([part.detach() for part in parts])
        for part, row in zip(parts, stacked.unbind(), strict=True):
            part.data = row
        self.tensors[name] = stacked.requires_grad_(parts[0].requires_grad)
        if stacked.requires_grad:
            stacked.grad = torch.zeros_like(stacked)
            for part, row in zip(parts, stacked.grad.unbind(), strict=True):
                part.grad = row

    def zero_grad(self) -> None:
        """Clear the gradients, in their place."""
        for tensor in self.tensors.values():
            if tensor.grad is not None:
                tensor.grad.zero_()

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute the loss of every network, (member,), and their predictions, (member, batch, output).

        Args:
            batch: One for each network: every field has an axis in front of its own.
        """
        losses, predictions = vmap(self._loss)(self.tensors, batch.x, batch.lengths, batch.y)
        return losses, predictions

    def _loss(self, tensors: dict[str, Tensor], x: Tensor, lengths: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        prediction = full_precision(functional_call(self.skeleton, tensors, (x, lengths)).prediction)
        return self.task.error(prediction, y).mean(), prediction

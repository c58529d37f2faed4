"""Attention over sequences that several processes share: each has some steps, and all get the result for the whole."""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup, ReduceOp

from ffattn.ops import Pooled
from ffattn.ops.reference import divisor


class _Sum(torch.autograd.Function):
    """The sum over all processes, forward and backward: each one's numbers reach the losses of all."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor, group: ProcessGroup | None) -> Tensor:
        """The sum, the same in every process."""
        ctx.group = group
        numbers = numbers.clone()
        distributed.all_reduce(numbers, group=group)
        return numbers

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The sum of the gradients."""
        gradient = gradients[0].clone()
        distributed.all_reduce(gradient, group=ctx.group)
        return gradient, None


def merge_all(pooled: Pooled, group: ProcessGroup | None = None) -> Pooled:
    """Attention over the steps of all processes, from that over each one's own.

    For each sequence hidden + 2 numbers are exchanged in the forward pass (the maximum, then the two sums), and
    hidden + 1 in the backward pass, however long it is.

    Gradients are those of the sum of all processes' losses. Where every process goes on to compute the same loss, their
    mean over the processes, which DistributedDataParallel takes, is the gradient of that loss.

    Args:
        pooled: Attention over this process's steps; any number of them, none included.
        group: The processes; all of them if not given.

    Returns:
        The same in every process.
    """
    own = pooled.maximum.detach()  # a constant for the gradient: it cancels in the context
    maximum = own.clone()
    distributed.all_reduce(maximum, ReduceOp.MAX, group)
    total = pooled.total * torch.exp(own - maximum.masked_fill(maximum == -torch.inf, 0.0))
    mine = torch.cat((total[:, None], total[:, None] * pooled.context), dim=1)
    sums: Tensor = _Sum.apply(mine, group)  # type: ignore[no-untyped-call]
    return Pooled(maximum, sums[:, 0], sums[:, 1:] / divisor(sums[:, 0]))

"""The operators under `torch.func.vmap`: a kernel takes one set of parameters, so each member is a call of its own.

All of these calls are one operator, since a node of autograd's graph for each would cost as much as a short call.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from ffattn.ops.operators import FEED_FORWARD, POOLING
from ffattn.ops.registration import Definition, define, library


def _for_each(function: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
    """Return a function that takes and returns stacks of what another one takes and returns."""

    @wraps(function)  # and so of the same signature, from which the operator's is made
    def _call(*arguments: Any) -> tuple[Tensor, ...]:
        members = next(len(argument) for argument in arguments if isinstance(argument, Tensor))
        columns = (a.unbind() if isinstance(a, Tensor) else (a,) * members for a in arguments)
        results = [function(*own) for own in zip(*columns, strict=True)]
        return tuple(map(torch.stack, zip(*results, strict=True)))

    return _call


def _stacked(argument: Any, dim: int | None, members: int) -> Any:
    """Return a tensor with the members along its first axis, also if all of them have the same."""
    if not isinstance(argument, Tensor):
        return argument
    return argument.expand(members, *argument.shape) if dim is None else argument.movedim(dim, 0)


def _register_under_vmap(definition: Definition) -> None:
    name, *functions, gradients = definition
    kernel, shapes, backward_kernel, backward_shapes = map(_for_each, functions)
    each = define(Definition(f"{name}_for_each", kernel, shapes, backward_kernel, backward_shapes, gradients))

    def _under_vmap(
        info: Any, dims: tuple[int | None, ...], *arguments: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        results = each(*(_stacked(*pair, info.batch_size) for pair in zip(arguments, dims, strict=True)))
        return tuple(results), (0,) * len(results)

    torch.library.register_vmap(f"ffattn::{name}", _under_vmap, lib=library)


def register_vmap() -> None:
    """Tell `torch.func.vmap` what to do with the operators."""
    _register_under_vmap(FEED_FORWARD)
    _register_under_vmap(POOLING)

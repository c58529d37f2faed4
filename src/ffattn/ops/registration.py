"""How an operator and its gradient are registered with PyTorch."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.autograd import Function
from torch.library import Library, infer_schema, register_autograd, register_fake

library = Library("ffattn", "FRAGMENT")
_SKIPPED = getattr(torch._C, "_AutoDispatchBelowAutograd", None)  # skips autograd; torch has no public name for it


class Definition(NamedTuple):
    """An operator with a gradient, which is another operator.

    Attributes:
        name: Of the operator; that of its gradient ends in `_backward`.
        kernel: Computes the operator.
        shapes: Returns empty results of the right shapes.
        backward_kernel: Computes the gradient.
        backward_shapes: Returns empty gradients of the right shapes.
        gradients: Called with the backward operator, autograd's context, and the gradients from outside.
    """

    name: str
    kernel: Callable[..., Any]
    shapes: Callable[..., Any]
    backward_kernel: Callable[..., Any]
    backward_shapes: Callable[..., Any]
    gradients: Callable[..., Any]


class _Operator(NamedTuple):
    """What calls an operator, and what calls it faster, where nothing is to be differentiated."""

    call: Callable[..., Any]
    call_below_autograd: Callable[..., Any]


def define(definition: Definition) -> Callable[..., Any]:
    """Register an operator and its gradient.

    Args:
        definition: Of the operator.

    Returns:
        What calls it.
    """
    backward = _register(f"{definition.name}_backward", definition.backward_kernel, definition.backward_shapes, _refuse)

    def _differentiate(*arguments: Any) -> Any:
        return (backward.call if torch.is_grad_enabled() else backward.call_below_autograd)(*arguments)

    gradients = partial(definition.gradients, _differentiate)
    return _register(definition.name, definition.kernel, definition.shapes, gradients).call


def _refuse(ctx: Any, *gradients: Any) -> None:
    raise NotImplementedError("attention has no second derivative: its gradient cannot be differentiated again")


def _register(
    name: str, kernel: Callable[..., Any], shapes: Callable[..., Any], gradients: Callable[..., Any]
) -> _Operator:
    """Register an operator: how it is computed, which shapes it has, and its gradients."""
    schema = infer_schema(kernel, mutates_args=())
    library.define(name + schema, tags=torch.Tag.pt2_compliant_tag)
    library.impl(name, kernel, "CompositeExplicitAutograd")
    register_fake(f"ffattn::{name}", shapes, lib=library)
    operator = getattr(torch.ops.ffattn, name).default
    tensors = schema.partition("->")[0].count("Tensor")  # arguments; options come after them

    def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.save_for_backward(*inputs[:tensors], *output)
        ctx.options = inputs[tensors:]
        ctx.set_materialize_grads(False)

    if _SKIPPED is None:
        register_autograd(f"ffattn::{name}", gradients, setup_context=_save, lib=library)
        return _Operator(operator, operator)
    return _Operator(operator, _register_autograd(name, operator, gradients, _save))


def _register_autograd(
    name: str, operator: Callable[..., Any], gradients: Callable[..., Any], save: Callable[..., None]
) -> Callable[..., Any]:
    """Do what `torch.library.register_autograd` does, in half of the time; returns what calls the operator below it."""

    skipped = _SKIPPED

    def _call_below_autograd(*arguments: Any) -> Any:
        with skipped():
            return operator(*arguments)

    def _forward(ctx: Any, *arguments: Any) -> Any:
        output = _call_below_autograd(*arguments)
        save(ctx, arguments, output)
        return output

    methods = {"forward": staticmethod(_forward), "backward": staticmethod(gradients)}
    function: Any = type(name, (Function,), methods)

    def _call(*arguments: Any) -> Any:
        return function.apply(*arguments) if torch.is_grad_enabled() else _call_below_autograd(*arguments)

    library.impl(name, _call, "Autograd")
    return _call_below_autograd

"""Attention over time as PyTorch operators, and which implementation serves which tensors.

An operator hides its loops from torch.compile and autocast; it computes in float32 (float64 for float64 inputs).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import Library, infer_schema, register_fake

from ffattn.kernels.backends import compiled
from ffattn.ops import reference
from ffattn.ops.pooled import Pooled
from ffattn.ops.reference import MEAN, NORMALIZERS, SCORES, TANH_STATES

_FUSED = torch.float32, torch.bfloat16
_PARAMETERS = torch.float32, torch.bfloat16, torch.float16  # types for any sequences; others for their own alone


def implementation(x: Tensor) -> Any:
    """The module whose functions serve a tensor: `ops.cpu`, `ops.triton` or `ops.reference`."""
    return (compiled("ffattn.ops", x.device.type) if x.dtype in _FUSED else None) or reference


def _check_values(lengths: Tensor, scale: Tensor | None, time: int) -> None:
    """Refuse what would read beyond a sequence, or overflow; on a GPU the kernels stand both, and reading stalls it."""
    if lengths.device.type != "cpu" or lengths.shape[0] == 0:
        return
    low, high = map(int, lengths.aminmax())
    if not 0 <= low <= high <= time:
        raise ValueError(f"lengths must be on 0..{time}, the number of steps; got {low}..{high}")
    if scale is not None and scale.min() < 0:
        raise ValueError(f"scale must not be negative; got {scale.min().item():g}")


def _empty_results(x: Tensor, hidden: int, normalizer: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    batch, time, _ = x.shape
    shapes: tuple[tuple[int, ...], ...] = (
        (batch,),
        (batch,),
        (batch, hidden),
        (batch, 0 if normalizer == MEAN else time),
    )
    maximum, total, context, scores = (x.new_empty(shape, dtype=dtype) for shape in shapes)
    return maximum, total, context, scores


def _empty_like(parameter: Tensor | None, x: Tensor) -> Tensor:
    return x.new_empty(0) if parameter is None else torch.empty_like(parameter, memory_format=torch.contiguous_format)


def _feed_forward_kernel(
    x: Tensor,
    lengths: Tensor,
    weight: Tensor,
    bias: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    slope: float,
    score: str,
    normalizer: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check_values(lengths, scale, x.shape[1])
    arguments = x, lengths, weight, bias, query, query_bias, shift, scale, slope, score, normalizer
    return implementation(x).feed_forward_attention_forward(*arguments)  # type: ignore[no-any-return]


def _feed_forward_shapes(
    x: Tensor, lengths: Tensor, weight: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _empty_results(x, weight.shape[0], others[-1])


def _feed_forward_backward_kernel(
    grad_total: Tensor | None,
    grad_context: Tensor | None,
    grad_scores: Tensor | None,
    x: Tensor,
    lengths: Tensor,
    weight: Tensor,
    bias: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    maximum: Tensor,
    total: Tensor,
    context: Tensor,
    scores: Tensor,
    slope: float,
    score: str,
    normalizer: str,
    needs_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    outer, inputs = (grad_total, grad_context, grad_scores), (x, lengths, weight, bias, query, query_bias, shift, scale)
    arguments = *outer, *inputs, maximum, total, context, scores, slope, score, normalizer, needs_x
    return implementation(x).feed_forward_attention_backward(*arguments)  # type: ignore[no-any-return]


def _feed_forward_backward_shapes(
    grad_total: Tensor | None,
    grad_context: Tensor | None,
    grad_scores: Tensor | None,
    x: Tensor,
    lengths: Tensor,
    weight: Tensor,
    bias: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    *others: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad_x = _empty_like(x if others[-1] else None, x)
    return grad_x, _empty_like(weight, x), _empty_like(bias, x), _empty_like(query, x), _empty_like(query_bias, x)


def _pooling_kernel(
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    score: str,
    normalizer: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check_values(lengths, scale, sequence.shape[1])
    arguments = sequence, lengths, query, query_bias, shift, scale, score, normalizer
    return implementation(sequence).attention_pooling_forward(*arguments)  # type: ignore[no-any-return]


def _pooling_shapes(sequence: Tensor, lengths: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _empty_results(sequence, sequence.shape[2], others[-1])


def _pooling_backward_kernel(
    grad_total: Tensor | None,
    grad_context: Tensor | None,
    grad_scores: Tensor | None,
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    maximum: Tensor,
    total: Tensor,
    context: Tensor,
    scores: Tensor,
    score: str,
    normalizer: str,
    needs_sequence: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    outer, inputs = (grad_total, grad_context, grad_scores), (sequence, lengths, query, query_bias, shift, scale)
    arguments = *outer, *inputs, maximum, total, context, scores, score, normalizer, needs_sequence
    return implementation(sequence).attention_pooling_backward(*arguments)  # type: ignore[no-any-return]


def _pooling_backward_shapes(
    grad_total: Tensor | None,
    grad_context: Tensor | None,
    grad_scores: Tensor | None,
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    *others: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    g_sequence = _empty_like(sequence if others[-1] else None, sequence)
    return g_sequence, _empty_like(query, sequence), _empty_like(query_bias, sequence)


def _feed_forward_gradients(
    backward: Callable[..., Any], ctx: Any, grad_maximum: Tensor | None, *outer: Tensor | None
) -> tuple[Tensor | None, ...]:
    saved, (slope, score, normalizer) = ctx.saved_tensors, ctx.options
    needs_x, has_query = ctx.needs_input_grad[0], saved[4] is not None
    arguments = *outer, *saved, slope, score, normalizer, needs_x
    g_x, g_weight, g_bias, g_query, g_query_bias = backward(*arguments)
    g_queries = (g_query, g_query_bias) if has_query else (None, None)
    return g_x if needs_x else None, None, g_weight, g_bias, *g_queries, None, None, None, None, None


def _pooling_gradients(
    backward: Callable[..., Any], ctx: Any, grad_maximum: Tensor | None, *outer: Tensor | None
) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    needs_sequence, has_query = ctx.needs_input_grad[0], saved[2] is not None
    g_sequence, g_query, g_query_bias = backward(*outer, *saved, *ctx.options, needs_sequence)
    g_queries = (g_query, g_query_bias) if has_query else (None, None)
    return g_sequence if needs_sequence else None, None, *g_queries, None, None, None, None


library = Library("ffattn", "FRAGMENT")


def _refuse(ctx: Any, *gradients: Any) -> None:
    raise NotImplementedError("attention has no second derivative: its gradient cannot be differentiated again")


def _operator(
    name: str, kernel: Callable[..., Any], shapes: Callable[..., Any], gradients: Callable[..., Any] = _refuse
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Tell PyTorch of an operator: how it is computed, which shapes it has, and its gradients.

    This is what `torch.library.custom_op` and `register_autograd` do, in half of the time.

    Returns:
        What calls it, and what calls it faster, where nothing is to be differentiated.
    """
    library.define(name + infer_schema(kernel, mutates_args=()), tags=torch.Tag.pt2_compliant_tag)
    library.impl(name, kernel, "CompositeExplicitAutograd")
    register_fake(f"ffattn::{name}", shapes, lib=library)
    operator = getattr(torch.ops.ffattn, name).default
    tensors = sum("Tensor" in str(argument.type) for argument in operator._schema.arguments)  # options come after them

    def below(*arguments: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*arguments)

    def forward(ctx: Any, *arguments: Any) -> Any:
        outputs = below(*arguments)
        ctx.save_for_backward(*arguments[:tensors], *outputs)
        ctx.options = arguments[tensors:]
        ctx.set_materialize_grads(False)
        return outputs

    function: Any = type(name, (Function,), {"forward": staticmethod(forward), "backward": staticmethod(gradients)})
    library.impl(name, lambda *a: function.apply(*a) if torch.is_grad_enabled() else below(*a), "Autograd")
    return operator, below


class Definition(NamedTuple):
    """An operator with a gradient, which is another operator."""

    name: str
    kernel: Callable[..., Any]
    shapes: Callable[..., Any]
    backward_kernel: Callable[..., Any]
    backward_shapes: Callable[..., Any]
    gradients: Callable[..., Any]  # of the backward operator, autograd's context, and the gradients from outside


def define(definition: Definition) -> Callable[..., Any]:
    """Tell PyTorch of an operator and its gradient.

    Args:
        definition: Of the operator.

    Returns:
        What calls it.
    """
    name, kernel, shapes, backward_kernel, backward_shapes, gradients = definition
    backward, faster = _operator(f"{name}_backward", backward_kernel, backward_shapes)

    def differentiate(*arguments: Any) -> Any:
        return (backward if torch.is_grad_enabled() else faster)(*arguments)

    return _operator(name, kernel, shapes, partial(gradients, differentiate))[0]


FEED_FORWARD = Definition(
    "feed_forward_attention",
    _feed_forward_kernel,
    _feed_forward_shapes,
    _feed_forward_backward_kernel,
    _feed_forward_backward_shapes,
    _feed_forward_gradients,
)
POOLING = Definition(
    "attention_pooling",
    _pooling_kernel,
    _pooling_shapes,
    _pooling_backward_kernel,
    _pooling_backward_shapes,
    _pooling_gradients,
)
_feed_forward, _pooling = define(FEED_FORWARD), define(POOLING)


def _require(name: str, tensor: Tensor | None, shape: tuple[int, ...], like: Tensor) -> None:
    """Refuse a tensor of another shape or on another device, in a line that says which."""
    if tensor is None:
        return
    if tensor.shape != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; must be {tuple(shape)}")
    if tensor.device != like.device:
        raise ValueError(f"{name} is on {tensor.device}; the sequences are on {like.device}")


def _require_parameter(name: str, tensor: Tensor | None, shape: tuple[int, ...], like: Tensor) -> None:
    """Refuse a parameter that does not fit, or that would lose half of its digits without a word."""
    _require(name, tensor, shape, like)
    if tensor is not None and not (tensor.dtype in _PARAMETERS or tensor.dtype == like.dtype):
        allowed = " or ".join(map(str, dict.fromkeys((*_PARAMETERS, like.dtype))))
        raise ValueError(f"{name} is {tensor.dtype}; must be {allowed} for sequences in {like.dtype}")


def require_lengths(lengths: Tensor, x: Tensor) -> None:
    """Refuse lengths that are not one integer for each sequence.

    Args:
        lengths: How many steps of each sequence are real.
        x: The sequences, (batch, ...).

    Raises:
        ValueError: A type, shape or device does not fit.
    """
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise ValueError(f"lengths are {lengths.dtype}; must be integers")
    _require("lengths", lengths, x.shape[:1], x)


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse an unknown option."""
    if value not in choices:
        raise ValueError(f"{name}={value}: must be one of {', '.join(choices)}")


def _check(
    x: Tensor,
    lengths: Tensor,
    queries: tuple[Tensor | None, Tensor | None],
    jitter: tuple[Tensor | None, Tensor | None],
    hidden: int,
    normalizer: str,
) -> None:
    """What both operators ask of their arguments."""
    (query, query_bias), (shift, scale) = queries, jitter
    if not x.is_floating_point():
        raise ValueError(f"sequences are {x.dtype}; must be floating-point numbers")
    require_lengths(lengths, x)
    _require_choice("normalizer", normalizer, NORMALIZERS)
    if (query is None) != (normalizer == MEAN) or (query_bias is None) != (query is None):
        raise ValueError("query and query_bias belong to every normalizer but mean")
    _require_parameter("query", query, (hidden,) if query is not None and query.ndim == 1 else (1, hidden), x)
    _require_parameter("query_bias", query_bias, (1,), x)
    _require("shift", shift, (), x)
    _require("scale", scale, x.shape[:1], x)


def feed_forward_attention(
    x: Tensor,
    lengths: Tensor,
    weight: Tensor,
    bias: Tensor,
    query: Tensor | None = None,
    query_bias: Tensor | None = None,
    *,
    shift: Tensor | None = None,
    scale: Tensor | None = None,
    slope: float = 0.01,
    score: str = "tanh",
    normalizer: str = "softmax",
) -> tuple[Pooled, Tensor]:
    """Embed each step, score it, and average: h_t = LReLU(W x_t + b), e_t = tanh(q . h_t + c), mean of h_t by w(e_t).

    Nothing of size batch x time x hidden is stored, and time is spent on real steps only.

    Args:
        x: Inputs, (batch, time, feature), of any strides. What lies beyond a sequence's length is not read.
        lengths: How many steps of each sequence are real, (batch,), 0..time.
        weight: W, (hidden, feature).
        bias: b, (hidden,).
        query: q, (hidden,), or (1, hidden) as in `torch.nn.Linear(hidden, 1)`; None for `mean`.
        query_bias: c, (1,); None for `mean`.
        shift: Score jitter: one number, added to every score; a constant for the gradient.
        scale: Factors of each sequence's scores, (batch,), not negative; constants for the gradient.
        slope: Slope of the leaky ReLU for negative inputs, 0..1.
        score: `tanh` or `linear` (without the tanh).
        normalizer: Weights are exp(score) (`softmax`), max(score, 0)^2 (`relu2`) or 1 (`mean`).

    Returns:
        The weighted mean and what merging it with others takes; and the scores e_t, (batch, time), before shift and
        scale, zero in padding ((batch, 0) for `mean`). All in float32, or float64 for float64 inputs.

    Raises:
        ValueError: A shape, type, device or option does not fit, or (on the CPU) a length is beyond time, or a scale
            negative.
        NotImplementedError: In a backward pass through the gradient: there is no second derivative.

    Source:
        Raffel & Ellis, equations 1-4 and section 2.2.
    """
    if x.ndim != 3 or weight.ndim != 2:
        raise ValueError(
            f"inputs have shape {tuple(x.shape)}, weight {tuple(weight.shape)}; must be (batch, time, feature) "
            "and (hidden, feature)"
        )
    if not 0 <= slope <= 1:
        raise ValueError(f"slope={slope}: must be on 0..1")
    _require_choice("score", score, SCORES)
    hidden = weight.shape[0]
    _require_parameter("weight", weight, (hidden, x.shape[2]), x)
    _require_parameter("bias", bias, (hidden,), x)
    _check(x, lengths, (query, query_bias), (shift, scale), hidden, normalizer)
    arguments = x, lengths, weight, bias, query, query_bias, shift, scale, float(slope), score, normalizer
    *pooled, scores = _feed_forward(*arguments)
    return Pooled(*pooled), scores


def attention_pooling(
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None = None,
    query_bias: Tensor | None = None,
    *,
    shift: Tensor | None = None,
    scale: Tensor | None = None,
    score: str = "tanh",
    normalizer: str = "softmax",
) -> tuple[Pooled, Tensor]:
    """Score and average states that have been computed already; the sequence is not copied.

    Args:
        sequence: States h, (batch, time, hidden), of any strides. What lies beyond a sequence's length is not read.
        lengths: How many steps of each sequence are real, (batch,), 0..time.
        query: q, (hidden,), or (1, hidden) as in `torch.nn.Linear(hidden, 1)`; None for `mean`.
        query_bias: c, (1,); None for `mean`.
        shift: Score jitter: one number, added to every score; a constant for the gradient.
        scale: Factors of each sequence's scores, (batch,), not negative; constants for the gradient.
        score: `tanh`: e_t = tanh(q . h_t + c); `linear`: q . h_t + c; `tanh_states`: q . tanh(h_t) + c.
        normalizer: Weights are exp(score) (`softmax`), max(score, 0)^2 (`relu2`) or 1 (`mean`).

    Returns:
        Weighted mean and scores, as in `feed_forward_attention`.

    Raises:
        ValueError: A shape, type, device or option does not fit, or (on the CPU) a length is beyond time, or a scale
            negative.
        NotImplementedError: In a backward pass through the gradient: there is no second derivative.

    Source:
        Raffel & Ellis, equations 1-3.
    """
    if sequence.ndim != 3:
        raise ValueError(f"the sequence has shape {tuple(sequence.shape)}; must be (batch, time, hidden)")
    _require_choice("score", score, (*SCORES, TANH_STATES))
    _check(sequence, lengths, (query, query_bias), (shift, scale), sequence.shape[2], normalizer)
    *pooled, scores = _pooling(sequence, lengths, query, query_bias, shift, scale, score, normalizer)
    return Pooled(*pooled), scores

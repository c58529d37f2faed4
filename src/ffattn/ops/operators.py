"""Attention over time as PyTorch operators, and the choice of an implementation for a tensor.

An operator hides its loops from torch.compile and autocast; it computes in float32 (float64 for float64 inputs).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ffattn.choices import MEAN, SCORES, TANH_STATES
from ffattn.kernels.backends import compiled
from ffattn.ops import reference
from ffattn.ops.arguments import check_common, check_values, require_choice, require_parameter
from ffattn.ops.pooled import Pooled
from ffattn.ops.reference import Results
from ffattn.ops.registration import Definition, define

_FUSED_TYPES = (torch.float32, torch.bfloat16)


def implementation(x: Tensor) -> Any:
    """Return the module whose functions serve a tensor: `ops.cpu`, `ops.triton` or `ops.reference`."""
    return (compiled("ffattn.ops", x.device.type) if x.dtype in _FUSED_TYPES else None) or reference


def _empty_results(x: Tensor, hidden: int, normalizer: str) -> Results:
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
) -> Results:
    check_values(lengths, scale, x.shape[1])
    arguments = x, lengths, weight, bias, query, query_bias, shift, scale, slope, score, normalizer
    return implementation(x).feed_forward_attention_forward(*arguments)  # type: ignore[no-any-return]


def _feed_forward_shapes(x: Tensor, lengths: Tensor, weight: Tensor, *others: Any) -> Results:
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
    outer = grad_total, grad_context, grad_scores
    inputs = x, lengths, weight, bias, query, query_bias, shift, scale
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
) -> Results:
    check_values(lengths, scale, sequence.shape[1])
    arguments = sequence, lengths, query, query_bias, shift, scale, score, normalizer
    return implementation(sequence).attention_pooling_forward(*arguments)  # type: ignore[no-any-return]


def _pooling_shapes(sequence: Tensor, lengths: Tensor, *others: Any) -> Results:
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
    outer = grad_total, grad_context, grad_scores
    inputs = sequence, lengths, query, query_bias, shift, scale
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
    """Return a gradient, or None, for each argument of the operator."""
    query = ctx.saved_tensors[4]
    needs_x = ctx.needs_input_grad[0]
    g_x, g_weight, g_bias, *g_queries = backward(*outer, *ctx.saved_tensors, *ctx.options, needs_x)
    g_queries = [None, None] if query is None else g_queries
    return g_x if needs_x else None, None, g_weight, g_bias, *g_queries, None, None, None, None, None


def _pooling_gradients(
    backward: Callable[..., Any], ctx: Any, grad_maximum: Tensor | None, *outer: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Return a gradient, or None, for each argument of the operator."""
    query = ctx.saved_tensors[2]
    needs_sequence = ctx.needs_input_grad[0]
    g_sequence, *g_queries = backward(*outer, *ctx.saved_tensors, *ctx.options, needs_sequence)
    g_queries = [None, None] if query is None else g_queries
    return g_sequence if needs_sequence else None, None, *g_queries, None, None, None, None


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
_feed_forward = define(FEED_FORWARD)
_pooling = define(POOLING)


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
    require_choice("score", score, SCORES)
    hidden = weight.shape[0]
    require_parameter("weight", weight, (hidden, x.shape[2]), x)
    require_parameter("bias", bias, (hidden,), x)
    check_common(x, lengths, (query, query_bias), (shift, scale), hidden, normalizer)
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
    require_choice("score", score, (*SCORES, TANH_STATES))
    check_common(sequence, lengths, (query, query_bias), (shift, scale), sequence.shape[2], normalizer)
    *pooled, scores = _pooling(sequence, lengths, query, query_bias, shift, scale, score, normalizer)
    return Pooled(*pooled), scores

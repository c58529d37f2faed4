"""Attention over time on NVIDIA GPUs, compiled by Triton: a tile of steps at a time, nothing stored but the scores.

A program is one warp, and walks over the tiles of a piece of a sequence. A thread holds some hidden units of all steps
of a tile: sums over time stay within it, and sums over hidden units take five shuffles. The backward pass computes the
states again. Pieces and programs are functions of the shape, and partial sums are added in a fixed order, without
atomics. Nothing waits for the GPU, so that a CUDA graph can hold it all.

Kernels have no annotations but Triton's: it takes all of them for its own.
"""

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ffattn.ops.reference import Results

_TILE = 1024  # (step, hidden unit) pairs in a tile: 32 states for each thread; twice as many spill registers
_WIDEST = 512  # hidden units that one warp holds; wider layers take more warps
_PIECES = 4096  # programs of the forward pass, about: a few rounds of what a large GPU runs at a time
_SHORTEST = 64  # steps of a piece, at least: short sequences have nothing to merge
_GROUPS = 2048  # programs of the backward pass, at most: each adds up gradients of its own
_NUMBERS = 2**24  # at most so many numbers in all programs' gradients
_FEW = 16  # up to so many features, loops over them are unrolled
_SCORES = {"linear": 0, "tanh": 1, "tanh_states": 2}
_NORMALIZERS = {"softmax": 0, "relu2": 1, "mean": 2}
_TANH, _TANH_STATES = tl.constexpr(1), tl.constexpr(2)
_SOFTMAX, _RELU2, _MEAN = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)
_LOWEST = tl.constexpr(-1e30)  # below every score; finite, so that differences are numbers
_CHANGING = "time", "pieces", "piece", "items", "stride_batch"  # numbers that do not make a kernel of their own

Optional = tuple[Tensor | None, ...]


def _kernel(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call. A wrapper, such as the tests' type checks, is taken off first."""
    function = unwrap(function)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return triton.jit(function, do_not_specialize=[name for name in _CHANGING if name in names])


@_kernel
def _tanh(x):
    """Within 2e-7."""
    return 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)


@_kernel
def _larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@_kernel
def _load_parameter(pointer, unit, HIDDEN: tl.constexpr):
    """A number for each hidden unit; zeros beyond them."""
    return tl.load(pointer + unit, unit < HIDDEN, 0.0).to(tl.float32)


@_kernel
def _load_feature(x, f, valid, stride):
    """One feature of the steps of a tile; padding is not read."""
    return tl.load(x + f * stride, valid, 0.0).to(tl.float32)


@_kernel
def _load_steps(pointer, first, step, valid):
    """A number for each step of a tile; zeros for padding, and where there are none."""
    numbers = tl.zeros(valid.shape, tl.float32)
    if pointer is not None:
        numbers = tl.load(pointer + first + step, valid, 0.0)
    return numbers


@_kernel
def _add_feature(z, x, weight, f, valid, unit, stride, HIDDEN: tl.constexpr, FEATURES: tl.constexpr):
    """z + W_f x_f."""
    column = tl.load(weight + unit * FEATURES + f, unit < HIDDEN, 0.0).to(tl.float32)
    return z + _load_feature(x, f, valid, stride)[:, None] * column[None, :]


@_kernel
def _states(
    x, weight, bias, valid, unit, stride, slope, HIDDEN: tl.constexpr, FEATURES: tl.constexpr, UNROLLED: tl.constexpr
):
    """h = LReLU(W x + b), [step, hidden unit]; without a weight the inputs are the states. x points at each step."""
    if weight is None:
        known = valid[:, None] & (unit < HIDDEN)[None, :]
        h = tl.load(x[:, None] + unit[None, :] * stride, known, 0.0).to(tl.float32)
    else:
        z = tl.zeros([valid.shape[0], unit.shape[0]], tl.float32) + _load_parameter(bias, unit, HIDDEN)[None, :]
        if UNROLLED:
            for f in tl.static_range(FEATURES):
                z = _add_feature(z, x, weight, f, valid, unit, stride, HIDDEN, FEATURES)
        else:
            for f in range(FEATURES):
                z = _add_feature(z, x, weight, f, valid, unit, stride, HIDDEN, FEATURES)
        h = _larger(z, slope * z)
    return h


@_kernel
def _scaled(e, shift, scale, sequence):
    """Scores as the normalizer sees them."""
    if shift is not None:
        e += tl.load(shift)
    if scale is not None:
        e *= tl.load(scale + sequence)
    return e


@_kernel
def _weights(s, maximum, valid, NORMALIZER: tl.constexpr):
    """Unnormalised weights; zero for padding."""
    if NORMALIZER == _SOFTMAX:
        w = tl.exp(s - maximum)
    elif NORMALIZER == _RELU2:
        positive = _larger(s, 0.0)
        w = positive * positive
    else:
        w = tl.full(s.shape, 1.0, tl.float32)
    return tl.where(valid, w, 0.0)


@_kernel
def _piece_of(item, lengths, time, pieces, piece):
    """Sequence, first step and end of a piece, as far as steps are real."""
    sequence = (item // pieces).to(tl.int64)
    start = (item % pieces).to(tl.int64) * piece
    length = tl.minimum(tl.load(lengths + sequence), time)
    return sequence, start, tl.minimum(start + piece, length)


@_kernel
def _stored_maximum(highest, has_steps, NORMALIZER: tl.constexpr):
    """-inf where there are no steps; zero for weights that are not shifted."""
    if NORMALIZER == _SOFTMAX:
        highest = tl.where(has_steps, highest, -float("inf"))
    else:
        highest = highest * 0.0
    return highest


@_kernel
def _divisor(total):
    """What a sum of states is divided by: a total of zero becomes one."""
    return tl.where(total == 0.0, 1.0, total)


@_kernel
def _forward_kernel(
    x, lengths, weight, bias, query, query_bias, shift, scale, scores, maximum, total, state,
    time, pieces, piece, stride_batch, stride_time, stride_feature, slope,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, FEATURES: tl.constexpr,
    UNROLLED: tl.constexpr, IS_WHOLE: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Scores, and maximum, total and state of a piece of a sequence; of a whole one the context, not the state."""
    item = tl.program_id(0)
    sequence, start, stop = _piece_of(item, lengths, time, pieces, piece)
    unit = tl.arange(0, BLOCK)
    highest, sum_w, sum_h = tl.full([], _LOWEST, tl.float32), tl.zeros([], tl.float32), tl.zeros([BLOCK], tl.float32)
    for first in range(start, stop, STEPS):
        step = first + tl.arange(0, STEPS)
        valid = step < stop
        x_step = x + sequence * stride_batch + step * stride_time
        h = _states(x_step, weight, bias, valid, unit, stride_feature, slope, HIDDEN, FEATURES, UNROLLED)
        s = tl.zeros([STEPS], tl.float32)
        if NORMALIZER != _MEAN:
            inner = _tanh(h) if SCORE == _TANH_STATES else h
            q = _load_parameter(query, unit, HIDDEN)
            e = tl.sum(inner * q[None, :], axis=1) + tl.load(query_bias).to(tl.float32)
            e = _tanh(e) if SCORE == _TANH else e
            tl.store(scores + sequence * time + step, e, valid)
            s = _scaled(e, shift, scale, sequence)
        if NORMALIZER == _SOFTMAX:
            higher = tl.maximum(highest, tl.max(tl.where(valid, s, _LOWEST), axis=0))
            factor = tl.exp(highest - higher)
            highest, sum_w, sum_h = higher, sum_w * factor, sum_h * factor
        w = _weights(s, highest, valid, NORMALIZER)
        sum_w += tl.sum(w, axis=0)
        sum_h += tl.sum(tl.where(valid[:, None], w[:, None] * h, 0.0), axis=0)
    tl.store(maximum + item, _stored_maximum(highest, start < stop, NORMALIZER))
    tl.store(total + item, sum_w)
    if IS_WHOLE:
        sum_h /= _divisor(sum_w)
    tl.store(state + item.to(tl.int64) * HIDDEN + unit, sum_h, unit < HIDDEN)


@_kernel
def _merge_kernel(
    maxima, totals, states, maximum, total, context, pieces,
    NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add up the pieces of one sequence, in order, and divide."""
    sequence, unit = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    first = sequence * pieces
    highest, sum_w, sum_h = tl.full([], _LOWEST, tl.float32), tl.zeros([], tl.float32), tl.zeros([BLOCK], tl.float32)
    for item in range(first, first + pieces):
        highest = tl.maximum(highest, tl.load(maxima + item))
    for item in range(first, first + pieces):
        factor = 1.0
        if NORMALIZER == _SOFTMAX:
            factor = tl.exp(tl.load(maxima + item) - highest)
        sum_w += tl.load(totals + item) * factor
        sum_h += tl.load(states + item * HIDDEN + unit, unit < HIDDEN, 0.0) * factor
    has_steps = tl.load(maxima + first) != -float("inf")
    tl.store(maximum + sequence, _stored_maximum(highest, has_steps, NORMALIZER))
    tl.store(total + sequence, sum_w)
    tl.store(context + sequence * HIDDEN + unit, sum_h / _divisor(sum_w), unit < HIDDEN)


@_kernel
def _through_division(
    g_total, g_context, total, context, sequence, unit, HIDDEN: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Gradients of a sequence's total and state, where context = state / total."""
    g_sum, g = 0.0, tl.zeros([BLOCK], tl.float32)
    if g_total is not None:
        g_sum += tl.load(g_total + sequence)
    if g_context is not None:
        place = sequence * HIDDEN + unit
        g = tl.load(g_context + place, unit < HIDDEN, 0.0) / _divisor(tl.load(total + sequence))
        g_sum -= tl.sum(g * tl.load(context + place, unit < HIDDEN, 0.0), axis=0)
    return g_sum, g


@_kernel
def _score_gradient(p, e, w, s, g_scores, scale, sequence, SCORE: tl.constexpr, NORMALIZER: tl.constexpr):
    """The gradient of a score before its tanh, from p = dL/dw."""
    if NORMALIZER == _RELU2:
        du = 2.0 * _larger(s, 0.0) * p
    else:
        du = w * p
    if scale is not None:
        du *= tl.load(scale + sequence)
    du += g_scores
    if SCORE == _TANH:
        du *= 1.0 - e * e
    return du


@_kernel
def _feature_gradient(
    dz, x, weight, g_weight, g_x, f, valid, unit, stride, HIDDEN: tl.constexpr, FEATURES: tl.constexpr
):
    """Gradients that one feature has: of its weights, added to the program's own, and of the inputs."""
    place, known = unit * FEATURES + f, unit < HIDDEN
    product = tl.sum(dz * _load_feature(x, f, valid, stride)[:, None], axis=0)
    tl.store(g_weight + place, tl.load(g_weight + place, known, 0.0) + product, known)
    if g_x is not None:
        column = tl.load(weight + place, known, 0.0).to(tl.float32)
        tl.store(g_x + f, tl.sum(dz * column[None, :], axis=1), valid)


@_kernel
def _through_score(h, w, du, g, q, SCORE: tl.constexpr):
    """dL/dh, by way of the weighted sum and of the scores; and what is added to dL/dquery."""
    dh = w[:, None] * g[None, :]
    inner = _tanh(h) if SCORE == _TANH_STATES else h
    through = du[:, None] * q[None, :]
    dh += through * (1.0 - inner * inner) if SCORE == _TANH_STATES else through
    return dh, tl.sum(du[:, None] * inner, axis=0)


@_kernel
def _through_embedding(
    dz, x, weight, g_weight, g_x, valid, unit, stride,
    HIDDEN: tl.constexpr, FEATURES: tl.constexpr, UNROLLED: tl.constexpr,
):  # fmt: skip
    """Gradients of the weights, added to the program's own, and of the inputs. x and g_x point at each step."""
    if UNROLLED:
        for f in tl.static_range(FEATURES):
            _feature_gradient(dz, x, weight, g_weight, g_x, f, valid, unit, stride, HIDDEN, FEATURES)
    else:
        for f in range(FEATURES):
            _feature_gradient(dz, x, weight, g_weight, g_x, f, valid, unit, stride, HIDDEN, FEATURES)


@_kernel
def _backward_kernel(
    g_total, g_context, g_scores, x, lengths, weight, bias, query, shift, scale,
    maximum, total, context, scores, g_x, partial,
    items, time, pieces, piece, stride_batch, stride_time, stride_feature, slope,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, FEATURES: tl.constexpr,
    UNROLLED: tl.constexpr, WEIGHTS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients that every so many pieces contribute; partial has (weight, bias, query, query_bias) of each program."""
    unit = tl.arange(0, BLOCK)
    known, g_own = unit < HIDDEN, partial + tl.program_id(0).to(tl.int64) * (WEIGHTS + 2 * HIDDEN + 1)
    q = tl.zeros([BLOCK], tl.float32)
    if query is not None:
        q = _load_parameter(query, unit, HIDDEN)
    sum_dz, sum_q, sum_du = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.zeros([], tl.float32)
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        sequence, start, stop = _piece_of(item, lengths, time, pieces, piece)
        shared, g = _through_division(g_total, g_context, total, context, sequence, unit, HIDDEN, BLOCK)
        highest = tl.load(maximum + sequence)
        for first in range(start, stop, STEPS):
            step = first + tl.arange(0, STEPS)
            valid = step < stop
            x_step = x + sequence * stride_batch + step * stride_time
            h = _states(x_step, weight, bias, valid, unit, stride_feature, slope, HIDDEN, FEATURES, UNROLLED)
            e = _load_steps(None if NORMALIZER == _MEAN else scores, sequence * time, step, valid)
            outer = _load_steps(g_scores, sequence * time, step, valid)
            s = _scaled(e, shift, scale, sequence)
            w = _weights(s, highest, valid, NORMALIZER)
            if NORMALIZER == _MEAN:
                dh = w[:, None] * g[None, :]
            else:
                p = tl.sum(h * g[None, :], axis=1) + shared
                du = _score_gradient(p, e, w, s, outer, scale, sequence, SCORE, NORMALIZER)
                du = tl.where(valid, du, 0.0)
                dh, dq = _through_score(h, w, du, g, q, SCORE)
                sum_q += dq
                sum_du += tl.sum(du, axis=0)
            g_step = None if g_x is None else g_x + (sequence * time + step) * FEATURES
            if weight is not None:
                dz = tl.where(valid[:, None], tl.where(h > 0.0, dh, slope * dh), 0.0)
                sum_dz += tl.sum(dz, axis=0)
                _through_embedding(
                    dz, x_step, weight, g_own, g_step, valid, unit, stride_feature, HIDDEN, FEATURES, UNROLLED
                )
            elif g_x is not None:
                tl.store(g_step[:, None] + unit[None, :], dh, valid[:, None] & known[None, :])
    g_own += WEIGHTS
    tl.store(g_own + unit, sum_dz, known)
    tl.store(g_own + HIDDEN + unit, sum_q, known)
    tl.store(g_own + 2 * HIDDEN, sum_du)


class _Launch:
    """How a problem is cut into pieces and tiles; both passes have the same.

    Args:
        x: Inputs, (batch, time, feature).
        hidden: Number of hidden units.
        score: `tanh`, `linear` or `tanh_states`.
        normalizer: `softmax`, `relu2` or `mean`.
    """

    def __init__(self, x: Tensor, hidden: int, score: str, normalizer: str) -> None:
        batch, time, features = x.shape
        self.block = triton.next_power_of_2(hidden)
        steps = max(1, _TILE // self.block)
        piece = max(_SHORTEST, triton.cdiv(time, max(1, _PIECES // max(1, batch))))
        self.piece = triton.cdiv(piece, steps) * steps
        self.pieces = max(1, triton.cdiv(time, self.piece))
        self.items = batch * self.pieces
        self.shape = time, self.pieces, self.piece, *x.stride()
        self.normalizer = _NORMALIZERS[normalizer]
        self.constants = {
            "SCORE": _SCORES[score],
            "NORMALIZER": self.normalizer,
            "HIDDEN": hidden,
            "FEATURES": features,
            "UNROLLED": features <= _FEW,
            "STEPS": steps,
            "BLOCK": self.block,
            "num_warps": min(8, max(1, self.block // _WIDEST)),
        }


def _contiguous(*tensors: Tensor | None) -> Optional:
    return tuple(None if tensor is None else tensor.contiguous() for tensor in tensors)


def _empty_sums(x: Tensor, rows: int, hidden: int) -> tuple[Tensor, Tensor, Tensor]:
    maximum, total, state = (x.new_empty(shape, dtype=torch.float32) for shape in ((rows,), (rows,), (rows, hidden)))
    return maximum, total, state


def _forward(
    x: Tensor, lengths: Tensor, parameters: Optional, extras: Optional, slope: float, rule: tuple[str, str]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maximum, total, context and scores. rule: score and normalizer."""
    hidden = x.shape[2] if parameters[0] is None else len(parameters[0])
    launch, (batch, time, _) = _Launch(x, hidden, *rule), x.shape
    scores = x.new_zeros(batch, 0 if rule[1] == "mean" else time, dtype=torch.float32)
    sums = _empty_sums(x, launch.items, hidden)
    if batch:
        arguments = x, *_contiguous(lengths.long(), *parameters, *extras), scores, *sums
        constants = launch.constants | {"IS_WHOLE": launch.pieces == 1}
        with torch.cuda.device_of(x):
            _forward_kernel[(launch.items,)](*arguments, *launch.shape, slope, **constants)
    if batch and launch.pieces > 1:
        parts, sums = sums, _empty_sums(x, batch, hidden)
        with torch.cuda.device_of(x):
            _merge_kernel[(batch,)](*parts, *sums, launch.pieces, launch.normalizer, hidden, launch.block)
    return *sums, scores


def _backward(
    outer: Optional,
    x: Tensor,
    lengths: Tensor,
    parameters: Optional,
    extras: Optional,
    kept: Results,
    slope: float,
    rule: tuple[str, str],
    needs_x: bool,
) -> tuple[Tensor, ...]:
    """Gradients of x, weight, bias, query and query_bias. rule: score and normalizer."""
    weight, bias, query, _ = parameters
    hidden = x.shape[2] if weight is None else len(weight)
    launch, sizes = _Launch(x, hidden, *rule), (0 if weight is None else weight.numel(), hidden, hidden, 1)
    g_x = torch.zeros(x.shape if needs_x else (0,), dtype=x.dtype, device=x.device)
    programs = max(1, min(launch.items, _GROUPS, _NUMBERS // sum(sizes)))
    partial = x.new_zeros(programs, sum(sizes), dtype=torch.float32)
    if launch.items:
        g_total, g_context, g_scores = _contiguous(*outer)
        g_scores = g_scores if query is not None else None  # those of a mean have no steps
        arguments = g_total, g_context, g_scores, x, *_contiguous(lengths.long(), weight, bias, query, *extras, *kept)
        places = g_x if needs_x else None, partial, launch.items
        constants = launch.constants | {"WEIGHTS": sizes[0]}
        with torch.cuda.device_of(x):
            _backward_kernel[(programs,)](*arguments, *places, *launch.shape, slope, **constants)
    pairs = zip(partial.sum(dim=0).split(sizes), parameters, strict=True)
    return g_x, *(x.new_empty(0) if p is None else g.clone().view(p.shape).to(p.dtype) for g, p in pairs)


def feed_forward_attention_forward(
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
    """Maximum, total, context and scores (see `reference.feed_forward_attention_forward`)."""
    return _forward(x, lengths, (weight, bias, query, query_bias), (shift, scale), slope, (score, normalizer))


def feed_forward_attention_backward(
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
    """Gradients of inputs and parameters (see `reference.feed_forward_attention_backward`)."""
    outer, parameters, rule = (
        (grad_total, grad_context, grad_scores),
        (weight, bias, query, query_bias),
        (score, normalizer),
    )
    kept = maximum, total, context, scores
    arguments = outer, x, lengths, parameters, (shift, scale), kept, slope, rule, needs_x
    g_x, g_weight, g_bias, g_query, g_query_bias = _backward(*arguments)
    return g_x, g_weight, g_bias, g_query, g_query_bias


def attention_pooling_forward(
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    score: str,
    normalizer: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maximum, total, context and scores (see `reference.attention_pooling_forward`)."""
    return _forward(sequence, lengths, (None, None, query, query_bias), (shift, scale), 0.0, (score, normalizer))


def attention_pooling_backward(
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
    """Gradients of sequence and query (see `reference.attention_pooling_backward`)."""
    outer, parameters, rule = (
        (grad_total, grad_context, grad_scores),
        (None, None, query, query_bias),
        (score, normalizer),
    )
    kept = maximum, total, context, scores
    arguments = outer, sequence, lengths, parameters, (shift, scale), kept, 0.0, rule, needs_sequence
    g_sequence, _, _, g_query, g_query_bias = _backward(*arguments)
    return g_sequence, g_query, g_query_bias

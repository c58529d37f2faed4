"""Parts that the Triton kernels of both kinds share, and the kernels that add up what programs have found.

Kernels have no annotations but Triton's: it takes all of them for its own.
"""

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import triton
import triton.language as tl

TANH = tl.constexpr(1)
TANH_STATES = tl.constexpr(2)
SOFTMAX = tl.constexpr(0)
RELU2 = tl.constexpr(1)
MEAN = tl.constexpr(2)
LOWEST = tl.constexpr(-1e30)  # below every score; finite, so that differences are numbers
_CHANGING = ("time", "pieces", "piece", "items", "rows", "stride_batch")  # numbers that make no kernel of their own


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call. A wrapper, such as the tests' type checks, is taken off first."""
    function = unwrap(function)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return triton.jit(function, do_not_specialize=[name for name in _CHANGING if name in names])


@kernel
def tanh(x):
    """Return the hyperbolic tangent, within 2e-7."""
    return 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)


@kernel
def larger(a, b):
    """Return the larger one; NaN, if one is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@kernel
def load_parameter(pointer, unit, HIDDEN: tl.constexpr):
    """Return a number for each hidden unit; zeros beyond them."""
    return tl.load(pointer + unit, unit < HIDDEN, 0.0).to(tl.float32)


@kernel
def load_optional(pointer, unit, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    """Return what `load_parameter` does; zeros where there is no parameter."""
    numbers = tl.zeros([BLOCK], tl.float32)
    if pointer is not None:
        numbers = load_parameter(pointer, unit, HIDDEN)
    return numbers


@kernel
def load_steps(pointer, first, step, valid):
    """Return a number for each step of a tile; zeros for padding, and where there are none."""
    numbers = tl.zeros(valid.shape, tl.float32)
    if pointer is not None:
        numbers = tl.load(pointer + first + step, valid, 0.0)
    return numbers


@kernel
def scale_scores(e, shift, scale, sequence):
    """Return scores as the normalizer sees them."""
    if shift is not None:
        e += tl.load(shift)
    if scale is not None:
        e *= tl.load(scale + sequence)
    return e


@kernel
def unnormalised_weights(s, maximum, valid, NORMALIZER: tl.constexpr):
    """Return unnormalised weights; zero for padding."""
    if NORMALIZER == SOFTMAX:
        w = tl.exp(s - maximum)
    elif NORMALIZER == RELU2:
        positive = larger(s, 0.0)
        w = positive * positive
    else:
        w = tl.full(s.shape, 1.0, tl.float32)
    return tl.where(valid, w, 0.0)


@kernel
def piece_of(item, lengths, time, pieces, piece):
    """Return sequence, first step and end of a piece, as far as steps are real."""
    sequence = (item // pieces).to(tl.int64)
    start = (item % pieces).to(tl.int64) * piece
    length = tl.minimum(tl.load(lengths + sequence), time)
    return sequence, start, tl.minimum(start + piece, length)


@kernel
def zero_padded_scores(scores, sequence, start, stop, time, piece, STEPS: tl.constexpr):
    """Zero the scores of a piece's steps beyond its end."""
    end = tl.minimum(start + piece, time)
    for first in range(tl.maximum(start, stop), end, STEPS):
        step = first + tl.arange(0, STEPS)
        tl.store(scores + sequence * time + step, tl.zeros([STEPS], tl.float32), step < end)


@kernel
def raise_maximum(highest, s, valid):
    """Return the largest score so far, and the factor of sums that were shifted by the one before."""
    higher = tl.maximum(highest, tl.max(tl.where(valid, s, LOWEST), axis=0))
    return higher, tl.exp(highest - higher)


@kernel
def stored_maximum(highest, has_steps, NORMALIZER: tl.constexpr):
    """Return the maximum as it is stored: -inf where there are no steps; zero for weights that are not shifted."""
    if NORMALIZER == SOFTMAX:
        highest = tl.where(has_steps, highest, -float("inf"))
    else:
        highest = highest * 0.0
    return highest


@kernel
def divisor(total):
    """Return what a sum of states is divided by: a total of zero becomes one."""
    return tl.where(total == 0.0, 1.0, total)


@kernel
def store_sums(
    maximum, total, state, item, unit, highest, sum_w, sum_h, has_steps,
    NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, IS_WHOLE: tl.constexpr,
):  # fmt: skip
    """Store what a forward pass has found of a piece: maximum, total and state; of a whole sequence the context."""
    tl.store(maximum + item, stored_maximum(highest, has_steps, NORMALIZER))
    tl.store(total + item, sum_w)
    if IS_WHOLE:
        sum_h /= divisor(sum_w)
    tl.store(state + item.to(tl.int64) * HIDDEN + unit, sum_h, unit < HIDDEN)


@kernel
def store_gradients(g_own, unit, g_bias, g_query, g_query_bias, HIDDEN: tl.constexpr):
    """Store what a program's backward pass has found for all parameters but the weight, where those begin."""
    tl.store(g_own + unit, g_bias, unit < HIDDEN)
    tl.store(g_own + HIDDEN + unit, g_query, unit < HIDDEN)
    tl.store(g_own + 2 * HIDDEN, g_query_bias)


@kernel
def division_backward(
    g_total, g_context, total, context, sequence, unit, HIDDEN: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Return gradients of a sequence's total and state, where context = state / total."""
    g_sum = 0.0
    g = tl.zeros([BLOCK], tl.float32)
    if g_total is not None:
        g_sum += tl.load(g_total + sequence)
    if g_context is not None:
        place = sequence * HIDDEN + unit
        g = tl.load(g_context + place, unit < HIDDEN, 0.0) / divisor(tl.load(total + sequence))
        g_sum -= tl.sum(g * tl.load(context + place, unit < HIDDEN, 0.0), axis=0)
    return g_sum, g


@kernel
def score_gradient(p, e, w, s, g_scores, scale, sequence, SCORE: tl.constexpr, NORMALIZER: tl.constexpr):
    """Return the gradient of a score before its tanh, from p = dL/dw."""
    if NORMALIZER == RELU2:
        du = 2.0 * larger(s, 0.0) * p
    else:
        du = w * p
    if scale is not None:
        du *= tl.load(scale + sequence)
    du += g_scores
    if SCORE == TANH:
        du *= 1.0 - e * e
    return du


@kernel
def merge_kernel(
    maxima, totals, states, maximum, total, context, pieces,
    NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, MAXIMA: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add up the pieces of one sequence, in order, and divide. Some rows of states are read at a time."""
    sequence = tl.program_id(0).to(tl.int64)
    unit = tl.arange(0, BLOCK)
    base = sequence * pieces
    highest = -float("inf")
    sum_w = tl.zeros([], tl.float32)
    sum_h = tl.zeros([BLOCK], tl.float32)
    for first in range(0, pieces, MAXIMA):
        piece = first + tl.arange(0, MAXIMA)
        highest = tl.maximum(highest, tl.max(tl.load(maxima + base + piece, piece < pieces, -float("inf")), axis=0))
    has_steps = highest != -float("inf")
    shift = tl.where(has_steps, highest, 0.0)
    for first in range(0, pieces, ROWS):
        piece = first + tl.arange(0, ROWS)
        there = piece < pieces
        factor = tl.where(there, 1.0, 0.0)
        if NORMALIZER == SOFTMAX:
            factor = tl.exp(tl.load(maxima + base + piece, there, -float("inf")) - shift)
        known = there[:, None] & (unit < HIDDEN)[None, :]
        rows = tl.load(states + (base + piece)[:, None] * HIDDEN + unit[None, :], known, 0.0)
        sum_w += tl.sum(tl.load(totals + base + piece, there, 0.0) * factor, axis=0)
        sum_h += tl.sum(rows * factor[:, None], axis=0)
    tl.store(maximum + sequence, stored_maximum(highest, has_steps, NORMALIZER))
    tl.store(total + sequence, sum_w)
    tl.store(context + sequence * HIDDEN + unit, sum_h / divisor(sum_w), unit < HIDDEN)


@kernel
def _store_gradient(pointer, numbers, place, SIZE: tl.constexpr):
    tl.store(pointer + place, numbers, (place >= 0) & (place < SIZE))


@kernel
def sum_kernel(
    partial, g_weight, g_bias, g_query, g_query_bias, rows,
    WEIGHTS: tl.constexpr, HIDDEN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Add up the rows of partial: (weight, bias, query, query_bias) of each program of a backward pass."""
    width = WEIGHTS + 2 * HIDDEN + 1
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros([COLUMNS], tl.float32)
    for first in range(0, rows, ROWS):
        row = first + tl.arange(0, ROWS)
        known = (row < rows)[:, None] & (column < width)[None, :]
        total += tl.sum(tl.load(partial + row.to(tl.int64)[:, None] * width + column[None, :], known, 0.0), axis=0)
    if g_weight is not None:
        _store_gradient(g_weight, total, column, WEIGHTS)
    if g_bias is not None:
        _store_gradient(g_bias, total, column - WEIGHTS, HIDDEN)
    if g_query is not None:
        _store_gradient(g_query, total, column - WEIGHTS - HIDDEN, HIDDEN)
        _store_gradient(g_query_bias, total, column - WEIGHTS - 2 * HIDDEN, 1)

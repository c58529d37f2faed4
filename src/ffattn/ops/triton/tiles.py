"""Kernels that hold a tile of states, [step, hidden unit]: for sequences that are given, and for many features.

A program is a few warps, and walks over the tiles of a piece of a sequence. A thread holds some hidden units of all
steps of a tile: sums over time stay within it, and sums over hidden units take five shuffles. The backward pass
computes the states again.
"""

import triton.language as tl

from ffattn.ops.triton.common import (
    LOWEST,
    MEAN,
    SOFTMAX,
    TANH,
    TANH_STATES,
    division_backward,
    kernel,
    larger,
    load_optional,
    load_parameter,
    load_steps,
    piece_of,
    raise_maximum,
    scale_scores,
    score_gradient,
    store_gradients,
    store_sums,
    tanh,
    unnormalised_weights,
    zero_padded_scores,
)


@kernel
def _load_feature(x, f, valid, stride):
    """Return one feature of the steps of a tile; padding is not read."""
    return tl.load(x + f * stride, valid, 0.0).to(tl.float32)


@kernel
def _states(x, weight, bias, valid, unit, stride, slope, HIDDEN: tl.constexpr, FEATURES: tl.constexpr):
    """Return h = LReLU(W x + b), [step, hidden unit], or the inputs without a weight. x points at each step."""
    if weight is None:
        known = valid[:, None] & (unit < HIDDEN)[None, :]
        h = tl.load(x[:, None] + unit[None, :] * stride, known, 0.0).to(tl.float32)
    else:
        z = tl.zeros([valid.shape[0], unit.shape[0]], tl.float32) + load_parameter(bias, unit, HIDDEN)[None, :]
        for f in range(FEATURES):
            column = tl.load(weight + unit * FEATURES + f, unit < HIDDEN, 0.0).to(tl.float32)
            z += _load_feature(x, f, valid, stride)[:, None] * column[None, :]
        h = larger(z, slope * z)
    return h


@kernel
def forward_kernel(
    x, lengths, weight, bias, query, query_bias, shift, scale, scores, maximum, total, state,
    time, pieces, piece, stride_batch, stride_time, stride_feature, slope,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, FEATURES: tl.constexpr,
    IS_WHOLE: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Find scores, and maximum, total and state of a piece of a sequence; of a whole one the context, not the state."""
    item = tl.program_id(0)
    sequence, start, stop = piece_of(item, lengths, time, pieces, piece)
    unit = tl.arange(0, BLOCK)
    highest = tl.full([], LOWEST, tl.float32)
    sum_w = tl.zeros([], tl.float32)
    sum_h = tl.zeros([BLOCK], tl.float32)
    for first in range(start, stop, STEPS):
        step = first + tl.arange(0, STEPS)
        valid = step < stop
        x_step = x + sequence * stride_batch + step * stride_time
        h = _states(x_step, weight, bias, valid, unit, stride_feature, slope, HIDDEN, FEATURES)
        s = tl.zeros([STEPS], tl.float32)
        if NORMALIZER != MEAN:
            inner = tanh(h) if SCORE == TANH_STATES else h
            q = load_parameter(query, unit, HIDDEN)
            e = tl.sum(inner * q[None, :], axis=1) + tl.load(query_bias).to(tl.float32)
            e = tanh(e) if SCORE == TANH else e
            tl.store(scores + sequence * time + step, e, valid)
            s = scale_scores(e, shift, scale, sequence)
        if NORMALIZER == SOFTMAX:
            highest, factor = raise_maximum(highest, s, valid)
            sum_w *= factor
            sum_h *= factor
        w = unnormalised_weights(s, highest, valid, NORMALIZER)
        sum_w += tl.sum(w, axis=0)
        sum_h += tl.sum(tl.where(valid[:, None], w[:, None] * h, 0.0), axis=0)
    if NORMALIZER != MEAN:
        zero_padded_scores(scores, sequence, start, stop, time, piece, STEPS)
    store_sums(maximum, total, state, item, unit, highest, sum_w, sum_h, start < stop, NORMALIZER, HIDDEN, IS_WHOLE)


@kernel
def _score_backward(h, w, du, g, q, SCORE: tl.constexpr):
    """Return dL/dh, by way of the weighted sum and of the scores; and what is added to dL/dquery."""
    dh = w[:, None] * g[None, :]
    inner = tanh(h) if SCORE == TANH_STATES else h
    through = du[:, None] * q[None, :]
    dh += through * (1.0 - inner * inner) if SCORE == TANH_STATES else through
    return dh, tl.sum(du[:, None] * inner, axis=0)


@kernel
def _embedding_backward(
    dz, x, weight, g_weight, g_x, valid, unit, stride, HIDDEN: tl.constexpr, FEATURES: tl.constexpr
):  # fmt: skip
    """Add gradients of the weights to the program's own; store those of the inputs. x and g_x point at each step."""
    known = unit < HIDDEN
    for f in range(FEATURES):
        place = unit * FEATURES + f
        product = tl.sum(dz * _load_feature(x, f, valid, stride)[:, None], axis=0)
        tl.store(g_weight + place, tl.load(g_weight + place, known, 0.0) + product, known)
        if g_x is not None:
            column = tl.load(weight + place, known, 0.0).to(tl.float32)
            tl.store(g_x + f, tl.sum(dz * column[None, :], axis=1), valid)


@kernel
def backward_kernel(
    g_total, g_context, g_scores, x, lengths, weight, bias, query, shift, scale,
    maximum, total, context, scores, g_x, partial,
    items, time, pieces, piece, stride_batch, stride_time, stride_feature, slope,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, FEATURES: tl.constexpr,
    WEIGHTS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Find gradients of every so many pieces; partial has (weight, bias, query, query_bias) of each program."""
    unit = tl.arange(0, BLOCK)
    known = unit < HIDDEN
    g_own = partial + tl.program_id(0).to(tl.int64) * (WEIGHTS + 2 * HIDDEN + 1)
    q = load_optional(query, unit, HIDDEN, BLOCK)
    sum_dz = tl.zeros([BLOCK], tl.float32)
    sum_q = tl.zeros([BLOCK], tl.float32)
    sum_du = tl.zeros([], tl.float32)
    if weight is not None:
        for f in range(FEATURES):
            tl.store(g_own + unit * FEATURES + f, tl.zeros([BLOCK], tl.float32), known)
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        sequence, start, stop = piece_of(item, lengths, time, pieces, piece)
        shared, g = division_backward(g_total, g_context, total, context, sequence, unit, HIDDEN, BLOCK)
        highest = tl.load(maximum + sequence)
        for first in range(start, stop, STEPS):
            step = first + tl.arange(0, STEPS)
            valid = step < stop
            x_step = x + sequence * stride_batch + step * stride_time
            h = _states(x_step, weight, bias, valid, unit, stride_feature, slope, HIDDEN, FEATURES)
            e = load_steps(None if NORMALIZER == MEAN else scores, sequence * time, step, valid)
            outer = load_steps(g_scores, sequence * time, step, valid)
            s = scale_scores(e, shift, scale, sequence)
            w = unnormalised_weights(s, highest, valid, NORMALIZER)
            if NORMALIZER == MEAN:
                dh = w[:, None] * g[None, :]
            else:
                p = tl.sum(h * g[None, :], axis=1) + shared
                du = score_gradient(p, e, w, s, outer, scale, sequence, SCORE, NORMALIZER)
                du = tl.where(valid, du, 0.0)
                dh, dq = _score_backward(h, w, du, g, q, SCORE)
                sum_q += dq
                sum_du += tl.sum(du, axis=0)
            g_step = None if g_x is None else g_x + (sequence * time + step) * FEATURES
            if weight is not None:
                dz = tl.where(valid[:, None], tl.where(h > 0.0, dh, slope * dh), 0.0)
                sum_dz += tl.sum(dz, axis=0)
                _embedding_backward(dz, x_step, weight, g_own, g_step, valid, unit, stride_feature, HIDDEN, FEATURES)
            elif g_x is not None:
                tl.store(g_step[:, None] + unit[None, :], dh, valid[:, None] & known[None, :])
    store_gradients(g_own + WEIGHTS, unit, sum_dz, sum_q, sum_du, HIDDEN)

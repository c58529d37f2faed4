"""Kernels for few features, which never hold states: lanes are steps where units are added up, units where steps are.

A program is one warp, for layers of usual width, and walks over the tiles of a piece of a sequence, twice each. First
a lane has some steps, and all hidden units pass by: their sum, the score, stays within the lane, and what is done once
for a step, such as exp, is not repeated. Then a lane has some hidden units, and the steps pass by: their sums stay
within the lane too. A state is computed both times, from a few numbers in registers; that is cheaper than to send it
to another lane.
"""

import triton.language as tl

from ffattn.ops.triton_parts import (
    LOWEST,
    MEAN,
    SOFTMAX,
    TANH,
    divisor,
    fill_padding,
    kernel,
    larger,
    load_parameter,
    load_steps,
    piece_of,
    scaled,
    score_gradient,
    stored_maximum,
    tanh,
    through_division,
    weights_of,
)

_SUMMED = tl.constexpr(32)  # hidden units whose products are added up one by one


@kernel
def _load_inputs(x, valid, stride, FEATURES: tl.constexpr):
    """A tuple of the features of some steps; padding is not read. x points at each step."""
    inputs = ()
    for f in tl.static_range(FEATURES):
        inputs = inputs + (tl.load(x + f * stride, valid, 0.0).to(tl.float32),)
    return inputs


@kernel
def _load_columns(weight, unit, HIDDEN: tl.constexpr, FEATURES: tl.constexpr):
    """A tuple of the embedding's columns: of some hidden units, or of one."""
    columns = ()
    for f in tl.static_range(FEATURES):
        columns = columns + (tl.load(weight + unit * FEATURES + f, unit < HIDDEN, 0.0).to(tl.float32),)
    return columns


@kernel
def _zeros(FEATURES: tl.constexpr, SIZE: tl.constexpr):
    numbers = ()
    for _ in tl.static_range(FEATURES):
        numbers = numbers + (tl.zeros([SIZE], tl.float32),)
    return numbers


@kernel
def _add_products(sums, dz, factors, FEATURES: tl.constexpr):
    """Each sum and dz times its factor."""
    added = ()
    for f in tl.static_range(FEATURES):
        added = added + (sums[f] + dz * factors[f],)
    return added


@kernel
def _embedding(inputs, columns, bias, FEATURES: tl.constexpr):
    """z = W x + b: of one unit at some steps, or of some units at one."""
    z = bias
    for f in tl.static_range(FEATURES):
        z = z + inputs[f] * columns[f]
    return z


@kernel
def _project(
    inputs, weight, bias, vector, slope, HIDDEN: tl.constexpr, FEATURES: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    """The inner product of the states of some steps with a vector in memory, [step]; sums of sums, which round less."""
    product = tl.zeros([TILE], tl.float32)
    for first in range(0, HIDDEN, _SUMMED):
        part = tl.zeros([TILE], tl.float32)
        for unit in tl.range(first, tl.minimum(first + _SUMMED, HIDDEN), loop_unroll_factor=4):
            columns, b = _load_columns(weight, unit, HIDDEN, FEATURES), tl.load(bias + unit).to(tl.float32)
            z = _embedding(inputs, columns, b, FEATURES)
            part += larger(z, slope * z) * tl.load(vector + unit).to(tl.float32)
        product += part
    return product


@kernel
def forward_kernel(
    x, lengths, weight, bias, query, query_bias, shift, scale, scores, maximum, total, state,
    time, pieces, piece, stride_batch, stride_time, stride_feature, slope,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, FEATURES: tl.constexpr,
    IS_WHOLE: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Scores, and maximum, total and state of a piece of a sequence; of a whole one the context, not the state."""
    item, unit = tl.program_id(0), tl.arange(0, BLOCK)
    sequence, start, stop = piece_of(item, lengths, time, pieces, piece)
    x += sequence * stride_batch
    columns, b = _load_columns(weight, unit, HIDDEN, FEATURES), load_parameter(bias, unit, HIDDEN)
    highest, sum_w, sum_h = tl.full([], LOWEST, tl.float32), tl.zeros([], tl.float32), tl.zeros([BLOCK], tl.float32)
    for first in range(start, stop, STEPS):
        step = first + tl.arange(0, STEPS)
        valid, place = step < stop, scores + sequence * time
        e = tl.zeros([STEPS], tl.float32)
        if NORMALIZER != MEAN:
            inputs = _load_inputs(x + step * stride_time, valid, stride_feature, FEATURES)
            e = _project(inputs, weight, bias, query, slope, HIDDEN, FEATURES, STEPS)
            e += tl.load(query_bias).to(tl.float32)
            e = tanh(e) if SCORE == TANH else e
        s = scaled(e, shift, scale, sequence)
        if NORMALIZER == SOFTMAX:
            higher = tl.maximum(highest, tl.max(tl.where(valid, s, LOWEST), axis=0))
            factor = tl.exp(highest - higher)
            highest, sum_w, sum_h = higher, sum_w * factor, sum_h * factor
        w = weights_of(s, highest, valid, NORMALIZER)
        sum_w += tl.sum(w, axis=0)
        if NORMALIZER != MEAN:  # other lanes find the weights where the scores will be
            tl.store(place + step, w, valid)
            tl.debug_barrier()
        tile = tl.zeros([BLOCK], tl.float32)
        for t in tl.range(first, tl.minimum(first + STEPS, stop), loop_unroll_factor=4):
            z = _embedding(_load_inputs(x + t * stride_time, True, stride_feature, FEATURES), columns, b, FEATURES)
            weight_of_step = 1.0 if NORMALIZER == MEAN else tl.load(place + t)
            tile += larger(z, slope * z) * weight_of_step
        sum_h += tile
        if NORMALIZER != MEAN:
            tl.debug_barrier()
            tl.store(place + step, e, valid)
    if NORMALIZER != MEAN:
        fill_padding(scores, sequence, start, stop, time, piece, STEPS)
    tl.store(maximum + item, stored_maximum(highest, start < stop, NORMALIZER))
    tl.store(total + item, sum_w)
    if IS_WHOLE:
        sum_h /= divisor(sum_w)
    tl.store(state + item.to(tl.int64) * HIDDEN + unit, sum_h, unit < HIDDEN)


@kernel
def _through_inputs(
    g_x, inputs, w, du, weight, bias, query, g_context, inverse, valid, slope,
    HIDDEN: tl.constexpr, FEATURES: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Gradients of the inputs of some steps. g_x points at each step; g_context at the sequence's."""
    sums = _zeros(FEATURES, STEPS)
    for unit in range(HIDDEN):
        columns, b = _load_columns(weight, unit, HIDDEN, FEATURES), tl.load(bias + unit).to(tl.float32)
        z, dh = _embedding(inputs, columns, b, FEATURES), tl.zeros([STEPS], tl.float32)
        if g_context is not None:
            dh += w * (tl.load(g_context + unit) * inverse)
        if query is not None:
            dh += du * tl.load(query + unit).to(tl.float32)
        sums = _add_products(sums, tl.where(z > 0.0, dh, slope * dh), columns, FEATURES)
    for f in tl.static_range(FEATURES):
        tl.store(g_x + f, sums[f], valid)


@kernel
def _step_gradients(
    shared, g_scores, g_context, inputs, weight, bias, shift, scale, highest, inverse, scores,
    sequence, row, step, valid, slope,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, FEATURES: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Lanes are steps: the weight of each, and the gradient of its score before its tanh; row is where scores begin."""
    w, du = tl.where(valid, 1.0, 0.0), tl.zeros([STEPS], tl.float32)
    if NORMALIZER != MEAN:
        e, outer = load_steps(scores, row, step, valid), load_steps(g_scores, row, step, valid)
        s = scaled(e, shift, scale, sequence)
        w, p = weights_of(s, highest, valid, NORMALIZER), tl.zeros([STEPS], tl.float32) + shared
        if g_context is not None:
            p += _project(inputs, weight, bias, g_context, slope, HIDDEN, FEATURES, STEPS) * inverse
        du = tl.where(valid, score_gradient(p, e, w, s, outer, scale, sequence, SCORE, NORMALIZER), 0.0)
    return w, du


@kernel
def _unit_sums(
    x, count, passed, g, q, columns, bias, stride_time, stride_feature, slope,
    NORMALIZER: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Lanes are hidden units: sums over a tile's steps of dz, of what the query gets, and of dz times each feature."""
    sum_dz, sum_q, sums = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), _zeros(FEATURES, BLOCK)
    for t in tl.range(0, count, loop_unroll_factor=4):
        inputs = _load_inputs(x + t * stride_time, True, stride_feature, FEATURES)
        z = _embedding(inputs, columns, bias, FEATURES)
        rise = tl.where(z > 0.0, 1.0, slope)
        if NORMALIZER == MEAN:
            dz = g * rise
        else:
            du = tl.load(passed + 2 * t + 1)
            dz = (tl.load(passed + 2 * t) * g + du * q) * rise
            sum_q += du * (z * rise)
        sum_dz += dz
        sums = _add_products(sums, dz, inputs, FEATURES)
    return sum_dz, sum_q, sums


@kernel
def backward_kernel(
    g_total, g_context, g_scores, x, lengths, weight, bias, query, shift, scale,
    maximum, total, context, scores, g_x, partial, passed,
    items, time, pieces, piece, stride_batch, stride_time, stride_feature, slope,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, FEATURES: tl.constexpr,
    WEIGHTS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients that every so many pieces contribute; partial has (weight, bias, query, query_bias) of each program.

    passed: A place for two numbers of each step of a tile, for each program, by which its lanes tell each other.
    """
    unit = tl.arange(0, BLOCK)
    known, g_own = unit < HIDDEN, partial + tl.program_id(0).to(tl.int64) * (WEIGHTS + 2 * HIDDEN + 1)
    passed += tl.program_id(0).to(tl.int64) * (2 * STEPS)
    columns, b, q = _load_columns(weight, unit, HIDDEN, FEATURES), load_parameter(bias, unit, HIDDEN), 0.0
    if query is not None:
        q = load_parameter(query, unit, HIDDEN)
    sum_dz, sum_q, sum_du = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.zeros([], tl.float32)
    sums = _zeros(FEATURES, BLOCK)
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        sequence, start, stop = piece_of(item, lengths, time, pieces, piece)
        shared, g = through_division(g_total, g_context, total, context, sequence, unit, HIDDEN, BLOCK)
        inverse, highest = 1.0 / divisor(tl.load(total + sequence)), tl.load(maximum + sequence)
        g_sequence = None if g_context is None else g_context + sequence * HIDDEN
        x_sequence = x + sequence * stride_batch
        for first in range(start, stop, STEPS):
            lane = tl.arange(0, STEPS)
            step = first + lane
            valid = step < stop
            inputs = _load_inputs(x_sequence + step * stride_time, valid, stride_feature, FEATURES)
            w, du = _step_gradients(
                shared, g_scores, g_sequence, inputs, weight, bias, shift, scale, highest, inverse, scores,
                sequence, sequence * time, step, valid, slope, SCORE, NORMALIZER, HIDDEN, FEATURES, STEPS,
            )  # fmt: skip
            if NORMALIZER != MEAN:
                sum_du += tl.sum(du, axis=0)
                tl.store(passed + 2 * lane, w)
                tl.store(passed + 2 * lane + 1, du)
                tl.debug_barrier()
            if g_x is not None:
                g_step = g_x + (sequence * time + step) * FEATURES
                _through_inputs(
                    g_step, inputs, w, du, weight, bias, query, g_sequence, inverse, valid, slope,
                    HIDDEN, FEATURES, STEPS,
                )  # fmt: skip
            x_first, count = x_sequence + first * stride_time, tl.minimum(STEPS, stop - first)
            tile_dz, tile_q, tile = _unit_sums(
                x_first, count, passed, g, q, columns, b, stride_time, stride_feature, slope,
                NORMALIZER, FEATURES, BLOCK,
            )  # fmt: skip
            sum_dz, sum_q, sums = sum_dz + tile_dz, sum_q + tile_q, _add_products(sums, 1.0, tile, FEATURES)
            if NORMALIZER != MEAN:
                tl.debug_barrier()
    for f in tl.static_range(FEATURES):
        tl.store(g_own + unit * FEATURES + f, sums[f], known)
    g_own += WEIGHTS
    tl.store(g_own + unit, sum_dz, known)
    tl.store(g_own + HIDDEN + unit, sum_q, known)
    tl.store(g_own + 2 * HIDDEN, sum_du)

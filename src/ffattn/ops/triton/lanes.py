"""Kernels for few features, which never hold states: lanes are steps where units are added up, units where steps are.

A program is one warp, for layers of usual width, and walks over the tiles of a piece of a sequence, twice each. First
a lane has some steps, and all hidden units pass by: their sum, the score, stays within the lane, and what is done once
for a step, such as exp, is not repeated. Then a lane has some hidden units, and the steps pass by: their sums stay
within the lane too. A state is computed both times, from a few numbers in registers; that is cheaper than to send it
to another lane.

Leaky ReLU is taken apart, h = slope z + (1 - slope) max(z, 0), where z = W x + b. The first part needs sums over steps
alone, or over units alone; what passes by in the loops is the second, which takes fewer instructions.
"""

import triton.language as tl

from ffattn.ops.triton.common import (
    LOWEST,
    MEAN,
    SOFTMAX,
    TANH,
    division_backward,
    divisor,
    kernel,
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

_SUMMED = tl.constexpr(32)  # hidden units whose products are added up one by one


@kernel
def _load_inputs(x, valid, stride, FEATURES: tl.constexpr):
    """Return a tuple of the features of some steps; padding is not read. x points at each step."""
    inputs = ()
    for f in tl.static_range(FEATURES):
        inputs = inputs + (tl.load(x + f * stride, valid, 0.0).to(tl.float32),)
    return inputs


@kernel
def _load_columns(weight, unit, HIDDEN: tl.constexpr, FEATURES: tl.constexpr):
    """Return a tuple of the embedding's columns: of some hidden units, or of one."""
    columns = ()
    for f in tl.static_range(FEATURES):
        columns = columns + (tl.load(weight + unit * FEATURES + f, unit < HIDDEN, 0.0).to(tl.float32),)
    return columns


@kernel
def _zeros(FEATURES: tl.constexpr, SIZE: tl.constexpr):
    """Return a tuple of zeros, for each feature."""
    numbers = ()
    for _ in tl.static_range(FEATURES):
        numbers = numbers + (tl.zeros([SIZE], tl.float32),)
    return numbers


@kernel
def _add_products(sums, number, factors, FEATURES: tl.constexpr):
    """Return each sum and the number times its factor."""
    added = ()
    for f in tl.static_range(FEATURES):
        added = added + (sums[f] + number * factors[f],)
    return added


@kernel
def _multiplied(numbers, factor, FEATURES: tl.constexpr):
    """Return each number times the factor."""
    products = ()
    for f in tl.static_range(FEATURES):
        products = products + (numbers[f] * factor,)
    return products


@kernel
def _inner_products(vector, others, FEATURES: tl.constexpr):
    """Return a tuple of a vector's inner products with others."""
    products = ()
    for f in tl.static_range(FEATURES):
        products = products + (tl.sum(vector * others[f], axis=0),)
    return products


@kernel
def _leaky(linear, positive, slope):
    """Return a sum of leaky ReLUs, from those of z and of max(z, 0); or of their rises, from 1 and z > 0."""
    return slope * linear + (1.0 - slope) * positive


@kernel
def _embedding(inputs, columns, bias, FEATURES: tl.constexpr):
    """Return z = W x + b: of one unit at some steps, or of some units at one."""
    z = bias
    for f in tl.static_range(FEATURES):
        z = z + inputs[f] * columns[f]
    return z


@kernel
def _project(
    inputs, factors, rest, weight, bias, vector, slope, HIDDEN: tl.constexpr, FEATURES: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """Return the states of some steps times a vector in memory, [step]; sums of sums, which round less.

    factors, rest: The vector's inner products with the embedding's columns and bias.
    """
    product = tl.zeros([TILE], tl.float32)
    for first in range(0, HIDDEN, _SUMMED):
        part = tl.zeros([TILE], tl.float32)
        for unit in tl.range(first, tl.minimum(first + _SUMMED, HIDDEN), loop_unroll_factor=4):
            columns = _load_columns(weight, unit, HIDDEN, FEATURES)
            b = tl.load(bias + unit).to(tl.float32)
            z = _embedding(inputs, columns, b, FEATURES)
            part += tl.maximum(z, 0.0) * tl.load(vector + unit).to(tl.float32)
        product += part
    return _leaky(_embedding(inputs, factors, rest, FEATURES), product, slope)


@kernel
def _positive_sum(
    x, first, stop, columns, bias, weights, stride_time, stride_feature,
    NORMALIZER: tl.constexpr, FEATURES: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return the sum of w max(z, 0) over a tile's steps: lanes are hidden units. weights points at step 0."""
    positive = tl.zeros([BLOCK], tl.float32)
    for t in tl.range(first, tl.minimum(first + STEPS, stop), loop_unroll_factor=4):
        z = _embedding(_load_inputs(x + t * stride_time, True, stride_feature, FEATURES), columns, bias, FEATURES)
        weight_of_step = 1.0 if NORMALIZER == MEAN else tl.load(weights + t)
        positive += tl.maximum(z, 0.0) * weight_of_step
    return positive


@kernel
def forward_kernel(
    x, lengths, weight, bias, query, query_bias, shift, scale, scores, maximum, total, state,
    time, pieces, piece, stride_batch, stride_time, stride_feature, slope,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, FEATURES: tl.constexpr,
    IS_WHOLE: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Find scores, and maximum, total and state of a piece of a sequence; of a whole one the context, not the state."""
    item = tl.program_id(0)
    unit = tl.arange(0, BLOCK)
    sequence, start, stop = piece_of(item, lengths, time, pieces, piece)
    x += sequence * stride_batch
    columns = _load_columns(weight, unit, HIDDEN, FEATURES)
    b = load_parameter(bias, unit, HIDDEN)
    q = load_parameter(query, unit, HIDDEN) if NORMALIZER != MEAN else tl.zeros([BLOCK], tl.float32)
    factors = _inner_products(q, columns, FEATURES)
    rest = tl.sum(q * b, axis=0)
    highest = tl.full([], LOWEST, tl.float32)
    sum_w = tl.zeros([], tl.float32)
    sum_h = tl.zeros([BLOCK], tl.float32)
    place = scores + sequence * time
    for first in range(start, stop, STEPS):
        step = first + tl.arange(0, STEPS)
        valid = step < stop
        inputs = _load_inputs(x + step * stride_time, valid, stride_feature, FEATURES)
        e = tl.zeros([STEPS], tl.float32)
        if NORMALIZER != MEAN:
            e = _project(inputs, factors, rest, weight, bias, query, slope, HIDDEN, FEATURES, STEPS)
            e += tl.load(query_bias).to(tl.float32)
            e = tanh(e) if SCORE == TANH else e
        s = scale_scores(e, shift, scale, sequence)
        if NORMALIZER == SOFTMAX:
            highest, factor = raise_maximum(highest, s, valid)
            sum_w *= factor
            sum_h *= factor
        w = unnormalised_weights(s, highest, valid, NORMALIZER)
        sum_of_tile = tl.sum(w, axis=0)
        sum_w += sum_of_tile
        linear = _embedding(_inner_products(w, inputs, FEATURES), columns, b * sum_of_tile, FEATURES)
        if NORMALIZER != MEAN:  # other lanes find the weights where the scores will be
            tl.store(place + step, w, valid)
            tl.debug_barrier()
        positive = _positive_sum(
            x, first, stop, columns, b, place, stride_time, stride_feature, NORMALIZER, FEATURES, STEPS, BLOCK
        )
        sum_h += _leaky(linear, positive, slope)
        if NORMALIZER != MEAN:
            tl.debug_barrier()
            tl.store(place + step, e, valid)
    if NORMALIZER != MEAN:
        zero_padded_scores(scores, sequence, start, stop, time, piece, STEPS)
    store_sums(maximum, total, state, item, unit, highest, sum_w, sum_h, start < stop, NORMALIZER, HIDDEN, IS_WHOLE)


@kernel
def _input_gradients(
    g_x, inputs, w, du, weight, bias, query, g_context, inverse, valid, slope,
    HIDDEN: tl.constexpr, FEATURES: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Store gradients of the inputs of some steps. g_x points at each step; g_context at the sequence's."""
    sums = _zeros(FEATURES, STEPS)
    for unit in range(HIDDEN):
        columns = _load_columns(weight, unit, HIDDEN, FEATURES)
        b = tl.load(bias + unit).to(tl.float32)
        z = _embedding(inputs, columns, b, FEATURES)
        dh = tl.zeros([STEPS], tl.float32)
        if g_context is not None:
            dh += w * (tl.load(g_context + unit) * inverse)
        if query is not None:
            dh += du * tl.load(query + unit).to(tl.float32)
        sums = _add_products(sums, tl.where(z > 0.0, dh, slope * dh), columns, FEATURES)
    for f in tl.static_range(FEATURES):
        tl.store(g_x + f, sums[f], valid)


@kernel
def _step_gradients(
    shared, g_scores, g_context, inputs, factors, rest, weight, bias, shift, scale, highest, inverse, scores,
    sequence, row, step, valid, slope,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, FEATURES: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Return the weight of each step, and the gradient of its score before its tanh. row is where scores begin."""
    w = tl.where(valid, 1.0, 0.0)
    du = tl.zeros([STEPS], tl.float32)
    if NORMALIZER != MEAN:
        e = load_steps(scores, row, step, valid)
        outer = load_steps(g_scores, row, step, valid)
        s = scale_scores(e, shift, scale, sequence)
        w = unnormalised_weights(s, highest, valid, NORMALIZER)
        p = tl.zeros([STEPS], tl.float32) + shared
        if g_context is not None:
            p += _project(inputs, factors, rest, weight, bias, g_context, slope, HIDDEN, FEATURES, STEPS) * inverse
        du = tl.where(valid, score_gradient(p, e, w, s, outer, scale, sequence, SCORE, NORMALIZER), 0.0)
    return w, du


@kernel
def _positive_sums(
    x, count, passed, columns, bias, stride_time, stride_feature,
    NORMALIZER: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return sums over a tile's steps where z > 0, of w and w x, and of du and du x: lanes are hidden units."""
    sum_w = tl.zeros([BLOCK], tl.float32)
    sum_wx = _zeros(FEATURES, BLOCK)
    sum_du = tl.zeros([BLOCK], tl.float32)
    sum_dux = _zeros(FEATURES, BLOCK)
    for t in tl.range(0, count, loop_unroll_factor=4):
        inputs = _load_inputs(x + t * stride_time, True, stride_feature, FEATURES)
        rise = tl.where(_embedding(inputs, columns, bias, FEATURES) > 0.0, 1.0, 0.0)
        if NORMALIZER == MEAN:
            sum_w += rise
            sum_wx = _add_products(sum_wx, rise, inputs, FEATURES)
        else:
            w = tl.load(passed + 2 * t)
            du = tl.load(passed + 2 * t + 1)
            sum_w += rise * w
            sum_wx = _add_products(sum_wx, rise, _multiplied(inputs, w, FEATURES), FEATURES)
            sum_du += rise * du
            sum_dux = _add_products(sum_dux, rise, _multiplied(inputs, du, FEATURES), FEATURES)
    return sum_w, sum_wx, sum_du, sum_dux


@kernel
def _leaky_sums(number, inputs, positive, positives, slope, FEATURES: tl.constexpr):
    """Return sums over a tile's steps, times the rise of leaky ReLU, of a number and of it times each feature."""
    linear = _inner_products(number, inputs, FEATURES)
    sums = ()
    for f in tl.static_range(FEATURES):
        sums = sums + (_leaky(linear[f], positives[f], slope),)
    return _leaky(tl.sum(number, axis=0), positive, slope), sums


@kernel
def _add_tile(
    g_weight, g_bias, g_query, g_query_bias, x, count, passed, w, du, inputs, columns, bias, g, q,
    stride_time, stride_feature, slope,
    NORMALIZER: tl.constexpr, FEATURES: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return the gradients of the parameters with what a tile adds to them.

    A step's dz is its rise times w g + du q, where g and q do not change with the step: they are taken out of the sums
    over steps. What the query gets, du h, is du rise z: the same sums once more.
    """
    if NORMALIZER != MEAN:  # lanes tell each other
        lane = tl.arange(0, STEPS)
        tl.store(passed + 2 * lane, w)
        tl.store(passed + 2 * lane + 1, du)
        tl.debug_barrier()
    sum_w, sum_wx, sum_du, sum_dux = _positive_sums(
        x, count, passed, columns, bias, stride_time, stride_feature, NORMALIZER, FEATURES, BLOCK
    )
    sum_w, sum_wx = _leaky_sums(w, inputs, sum_w, sum_wx, slope, FEATURES)
    g_bias += g * sum_w
    g_weight = _add_products(g_weight, g, sum_wx, FEATURES)
    if NORMALIZER != MEAN:
        sum_du, sum_dux = _leaky_sums(du, inputs, sum_du, sum_dux, slope, FEATURES)
        g_bias += q * sum_du
        g_weight = _add_products(g_weight, q, sum_dux, FEATURES)
        g_query += _embedding(sum_dux, columns, bias * sum_du, FEATURES)
        g_query_bias += tl.sum(du, axis=0)
        tl.debug_barrier()
    return g_weight, g_bias, g_query, g_query_bias


@kernel
def backward_kernel(
    g_total, g_context, g_scores, x, lengths, weight, bias, query, shift, scale,
    maximum, total, context, scores, g_x, partial, passed,
    items, time, pieces, piece, stride_batch, stride_time, stride_feature, slope,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, HIDDEN: tl.constexpr, FEATURES: tl.constexpr,
    WEIGHTS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Find gradients of every so many pieces; partial has (weight, bias, query, query_bias) of each program.

    passed: A place for two numbers of each step of a tile, for each program, by which its lanes tell each other.
    """
    unit = tl.arange(0, BLOCK)
    program = tl.program_id(0).to(tl.int64)
    passed += program * (2 * STEPS)
    columns = _load_columns(weight, unit, HIDDEN, FEATURES)
    b = load_parameter(bias, unit, HIDDEN)
    q = load_optional(query, unit, HIDDEN, BLOCK)
    g_weight = _zeros(FEATURES, BLOCK)
    g_bias = tl.zeros([BLOCK], tl.float32)
    g_query = tl.zeros([BLOCK], tl.float32)
    g_query_bias = tl.zeros([], tl.float32)
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        sequence, start, stop = piece_of(item, lengths, time, pieces, piece)
        shared, g = division_backward(g_total, g_context, total, context, sequence, unit, HIDDEN, BLOCK)
        inverse = 1.0 / divisor(tl.load(total + sequence))
        highest = tl.load(maximum + sequence)
        g_sequence = None if g_context is None else g_context + sequence * HIDDEN
        row = load_optional(g_sequence, unit, HIDDEN, BLOCK)
        factors = _inner_products(row, columns, FEATURES)
        rest = tl.sum(row * b, axis=0)
        x_sequence = x + sequence * stride_batch
        for first in range(start, stop, STEPS):
            step = first + tl.arange(0, STEPS)
            valid = step < stop
            inputs = _load_inputs(x_sequence + step * stride_time, valid, stride_feature, FEATURES)
            w, du = _step_gradients(
                shared, g_scores, g_sequence, inputs, factors, rest, weight, bias, shift, scale, highest, inverse,
                scores, sequence, sequence * time, step, valid, slope, SCORE, NORMALIZER, HIDDEN, FEATURES, STEPS,
            )  # fmt: skip
            if g_x is not None:
                g_step = g_x + (sequence * time + step) * FEATURES
                _input_gradients(
                    g_step, inputs, w, du, weight, bias, query, g_sequence, inverse, valid, slope,
                    HIDDEN, FEATURES, STEPS,
                )  # fmt: skip
            g_weight, g_bias, g_query, g_query_bias = _add_tile(
                g_weight, g_bias, g_query, g_query_bias, x_sequence + first * stride_time,
                tl.minimum(STEPS, stop - first), passed, w, du, inputs, columns, b, g, q,
                stride_time, stride_feature, slope, NORMALIZER, FEATURES, STEPS, BLOCK,
            )  # fmt: skip
    g_own = partial + program * (WEIGHTS + 2 * HIDDEN + 1)
    for f in tl.static_range(FEATURES):
        tl.store(g_own + unit * FEATURES + f, g_weight[f], unit < HIDDEN)
    store_gradients(g_own + WEIGHTS, unit, g_bias, g_query, g_query_bias, HIDDEN)

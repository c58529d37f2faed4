"""Attention over time on the CPU, compiled by Numba: a tile of time steps at a time, nothing stored but the scores.

A tile's states lie in the first or second level cache, hidden unit by hidden unit, so that the vector unit works on
consecutive steps; they are computed again in the backward pass. Threads take groups of (sequence, piece of time).
Tiles, pieces and groups are functions of the shape, and partial sums are added in a fixed order, in float64: the number
of threads changes no bit.
"""

import math
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ffattn.compiled import bits_to_float, exact_kernel, float_to_bits, kernel, share, team, to_float32
from ffattn.ops.reference import Outer, Results

TILE = 512  # steps whose states are held at a time: 200 kB at 100 hidden units; measured best of 64..1024
PARTS = 64  # at most so many threads can share the work; each part has sums of gradients of its own
_PART_NUMBERS = 2**22  # at most so many numbers in all parts' gradients
_SMALL = 2**17  # (sequence, step, hidden unit) triples of a forward pass that take less time than waking a thread
_VECTOR = 16  # float32 in the widest vector unit: tiles are padded to it
_STEP_ROWS = 4  # rows of a tile that have one number for each step:
_WEIGHT, _DU, _SHARE0, _SHARE1 = range(
    4
)  # w_t; dL/du_t, where e = tanh(u); and what two hidden units get of the state's
_NORMALIZERS = {"softmax": 0, "relu2": 1, "mean": 2}
_SCORES = {"linear": 0, "tanh": 1, "tanh_states": 2}
_SOFTMAX, _RELU2, _MEAN = range(3)
_TANH, _TANH_STATES = 1, 2

_LOG2_E = np.float32(math.log2(math.e))
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(math.log(2) - 0.693359375)
_ROUND = np.float32(1.5 * 2**23)  # adding it rounds to an integer, which then stands in the lowest bits
_INVERSE_FACTORIALS = tuple(np.float32(1 / math.factorial(n)) for n in range(8))
_I2, _I3, _I4, _I5, _I6, _I7 = _INVERSE_FACTORIALS[2:]
_ONE, _TWO, _ZERO = np.float32(1), np.float32(2), np.float32(0)
_EXP_LOW, _EXP_HIGH = np.float32(-87), np.float32(88)
_TANH_SMALL = np.float32(0.625)
_P0, _P1, _Q1, _Q2 = np.float32(945), np.float32(105), np.float32(420), np.float32(15)


@exact_kernel
def _exp(x: float) -> float:
    """e^x for x up to 88: 2^n times a Taylor series on +-ln(2)/2, within 2 units in the last place; NaN stays NaN."""
    y = _EXP_LOW if x < _EXP_LOW else (_EXP_HIGH if x > _EXP_HIGH else x)
    shifted = y * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (y - n * _LN2_HIGH) - n * _LN2_LOW
    series = _ONE + r * (_ONE + r * (_I2 + r * (_I3 + r * (_I4 + r * (_I5 + r * (_I6 + r * _I7))))))
    power = bits_to_float((float_to_bits(shifted) + np.int32(127)) << np.int32(23))
    return _ZERO if x < _EXP_LOW else series * power


@exact_kernel
def _tanh(x: float) -> float:
    """Lambert's continued fraction (five terms) near zero, 1 - 2 / (e^2x + 1) elsewhere."""
    size = abs(x)
    square = x * x
    small = x * (_P0 + square * (_P1 + square)) / (_P0 + square * (_Q1 + square * _Q2))
    large = _ONE - _TWO / (_exp(_TWO * min(size, np.float32(20))) + _ONE)
    return small if size < _TANH_SMALL else (large if x > _ZERO else -large)


class _Data(NamedTuple):
    """Sequences, (batch, time, feature); their lengths and the factors of their scores, (batch,); and the jitter."""

    x: Any
    lengths: Any
    scale: Any
    shift: Any


class _Layer(NamedTuple):
    """Parameters in float32, padded with zeros to whole pairs; without a weight the inputs are the states."""

    weight: Any
    bias: Any
    query: Any
    query_bias: Any


class _Rule(NamedTuple):
    """What the function is: slope, score and normalizer; and how many steps are held at a time."""

    slope: Any
    score: int
    normalizer: int
    tile: int


class _Plan(NamedTuple):
    """Who does what. A segment is a stretch of one sequence inside one tile; short sequences share a tile.

    A run is what one part adds up for one sequence. Tiles are dealt out to the parts evenly, in order.
    """

    sequence: Any  # of each segment
    start: Any  # its first step
    steps: Any
    offset: Any  # its place in the tile
    run: Any
    tile: Any  # first segment of each tile, and the number of segments
    run_sequence: Any  # of each run


class _Sums(NamedTuple):
    """What each run adds up to: (run,) and (run, hidden), float64."""

    maximum: Any
    total: Any
    state: Any


class _Gradients(NamedTuple):
    """Gradients of the parameters as each part adds them up, (part, ...), float64."""

    weight: Any
    bias: Any
    query: Any
    query_bias: Any


@kernel
def _plan(lengths: Any, time: int, tile: int, parts: int) -> _Plan:
    """Cut sequences into segments, pack them into tiles in order, and deal tiles out to the parts."""
    count = 0
    for length in lengths:
        count += -(-min(length, time) // tile)
    sequence, start, steps = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    offset, run, first = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count + 1, np.int64)
    used, tiles, segment = tile, 0, 0
    for i in range(len(lengths)):
        for begin in range(0, min(lengths[i], time), tile):
            size = min(tile, min(lengths[i], time) - begin)
            if used + size > tile:
                first[tiles], tiles, used = segment, tiles + 1, 0
            sequence[segment], start[segment], steps[segment], offset[segment] = i, begin, size, used
            used += size
            segment += 1
    first[tiles] = count
    run_sequence = np.empty(count, np.int64)
    runs = 0
    for part in range(parts):
        before = -1
        for segment in range(first[part * tiles // parts], first[(part + 1) * tiles // parts]):
            if sequence[segment] != before:
                before = sequence[segment]
                run_sequence[runs] = before
                runs += 1
            run[segment] = runs - 1
    return _Plan(sequence, start, steps, offset, run, first[: tiles + 1], run_sequence[:runs])


@kernel
def _load(x: Any, plan: _Plan, segments: Any, width: int, tile: Any) -> None:
    """Transpose the segments of a tile into it, with zeros up to a whole number of vectors and an even number of rows.

    Those rows are cleared each time: a gradient of NaN may have left NaN there, and zero times NaN is NaN.
    """
    end = 0
    for segment in segments:
        i, start, offset = plan.sequence[segment], plan.start[segment], plan.offset[segment]
        end = offset + plan.steps[segment]
        for t in range(plan.steps[segment]):
            for f in range(x.shape[2]):
                tile[f, offset + t] = to_float32(x[i, start + t, f])
    tile[: x.shape[2], end:width] = _ZERO
    tile[x.shape[2] :, :width] = _ZERO


@kernel
def _embed(inputs: Any, layer: _Layer, slope: float, vector: Any, states: Any, result: Any) -> None:
    """h = LReLU(W x + b), and result += vector . h.

    Two features and two hidden units at a time: a number that was loaded is used twice. The last two features, the
    activation and the product with the vector share a loop, which saves passes over the tile.
    """
    last, width = layer.weight.shape[1] - 2, len(result)
    for k in range(0, len(layer.weight), 2):
        (b0, b1), (v0, v1) = _pair(layer.bias, k), _pair(vector, k)
        u0, u1, w0, w1 = _square(layer.weight, k, last)
        if last == 0:
            for t in range(width):
                x0, x1 = inputs[0, t], inputs[1, t]
                z0, z1 = b0 + u0 * x0 + u1 * x1, b1 + w0 * x0 + w1 * x1
                h0, h1 = _larger(z0, slope * z0), _larger(z1, slope * z1)
                states[k, t], states[k + 1, t] = h0, h1
                result[t] += v0 * h0 + v1 * h1
        else:
            _embed_first(inputs, layer, k, last, states, width)
            for t in range(width):
                x0, x1 = inputs[last, t], inputs[last + 1, t]
                z0, z1 = states[k, t] + u0 * x0 + u1 * x1, states[k + 1, t] + w0 * x0 + w1 * x1
                h0, h1 = _larger(z0, slope * z0), _larger(z1, slope * z1)
                states[k, t], states[k + 1, t] = h0, h1
                result[t] += v0 * h0 + v1 * h1


@kernel
def _larger(a: float, b: float) -> float:
    """One instruction; NaN if b is NaN. A leaky ReLU is the larger of z and slope * z, since slope is at most 1."""
    return a if a > b else b


@kernel
def _pair(vector: Any, k: int) -> tuple[float, float]:
    return vector[k], vector[k + 1]


@kernel
def _square(matrix: Any, k: int, f: int) -> tuple[float, float, float, float]:
    return matrix[k, f], matrix[k, f + 1], matrix[k + 1, f], matrix[k + 1, f + 1]


@kernel
def _embed_first(inputs: Any, layer: _Layer, k: int, count: int, states: Any, width: int) -> None:
    """What the bias and the first features contribute to hidden units k and k + 1."""
    states[k, :width], states[k + 1, :width] = layer.bias[k], layer.bias[k + 1]
    for f in range(0, count, 2):
        u0, u1, w0, w1 = _square(layer.weight, k, f)
        for t in range(width):
            x0, x1 = inputs[f, t], inputs[f + 1, t]
            states[k, t] += u0 * x0 + u1 * x1
            states[k + 1, t] += w0 * x0 + w1 * x1


@kernel
def _project(states: Any, vector: Any, through_tanh: bool, result: Any, offset: int) -> None:
    """result_t += sum_k vector_k h_tk, or the same with tanh(h), for the steps of a tile from an offset on."""
    end = offset + len(result)
    for k in range(0, len(vector), 2):
        h0, h1, (v0, v1) = states[k, offset:end], states[k + 1, offset:end], _pair(vector, k)
        if through_tanh:
            for t in range(len(result)):
                result[t] += v0 * _tanh(h0[t]) + v1 * _tanh(h1[t])
        else:
            for t in range(len(result)):
                result[t] += v0 * h0[t] + v1 * h1[t]


@kernel
def _add_weighted(states: Any, weights: Any, offset: int, result: Any) -> None:
    """result_k += sum_t weights_t h_tk, for the steps of a tile from an offset on."""
    end = offset + len(weights)
    for k in range(0, len(states), 2):
        h0, h1 = states[k, offset:end], states[k + 1, offset:end]
        sum0, sum1 = _ZERO, _ZERO
        for t in range(len(weights)):
            sum0 += weights[t] * h0[t]
            sum1 += weights[t] * h1[t]
        result[k] += sum0
        result[k + 1] += sum1


@kernel
def _sum(a: Any) -> float:
    total = 0.0  # float64
    for t in range(len(a)):
        total += a[t]
    return total


@kernel
def _largest(numbers: Any) -> float:
    largest = np.float32(-np.inf)
    for number in numbers:
        largest = max(largest, number)
    return largest


@kernel
def _weigh(e: Any, data: _Data, i: int, maximum: float, normalizer: int, weights: Any) -> None:
    """Unnormalised weights of a segment; e are raw scores."""
    shift, scale = data.shift, data.scale[i]
    if normalizer == _SOFTMAX:
        for t in range(len(e)):
            weights[t] = _exp((e[t] + shift) * scale - maximum)
    elif normalizer == _RELU2:
        for t in range(len(e)):
            score = (e[t] + shift) * scale
            positive = _ZERO if score < _ZERO else score
            weights[t] = positive * positive
    else:
        weights[:] = _ONE


@kernel
def _divide(space: Any, layer: _Layer) -> tuple[Any, Any, Any]:
    """A tile's numbers for each step, its inputs and its states, in a thread's own space."""
    end = _STEP_ROWS + layer.weight.shape[1]
    return space[:_STEP_ROWS], space[_STEP_ROWS:end], space[end:]


@kernel
def _first_and_last(plan: _Plan, part: int, parts: int) -> tuple[int, int]:
    tiles = len(plan.tile) - 1
    return part * tiles // parts, (part + 1) * tiles // parts


@kernel
def _width(plan: _Plan, tile: int) -> int:
    """How many steps of a tile are used, rounded up to a whole number of vectors."""
    last = plan.tile[tile + 1] - 1
    return -(-(plan.offset[last] + plan.steps[last]) // _VECTOR) * _VECTOR


@kernel
def _fill(
    data: _Data,
    layer: _Layer,
    rule: _Rule,
    plan: _Plan,
    segments: Any,
    vector: Any,
    inputs: Any,
    states: Any,
    result: Any,
) -> None:
    """Fill a tile with states: embedded inputs, or the inputs themselves; and result += vector . h."""
    if len(layer.weight) > 0:
        _load(data.x, plan, segments, len(result), inputs)
        _embed(inputs, layer, rule.slope, vector, states, result)
    else:
        _load(data.x, plan, segments, len(result), states)
        _project(states, vector, False, result, 0)


@kernel
def _fill_and_score(
    data: _Data, layer: _Layer, rule: _Rule, plan: _Plan, segments: Any, inputs: Any, states: Any, e: Any
) -> None:
    """Fill a tile with states, and e with tanh(q . h + b), q . h + b or q . tanh(h) + b."""
    e[:] = layer.query_bias
    _fill(data, layer, rule, plan, segments, layer.query, inputs, states, e)
    if rule.score == _TANH_STATES:
        e[:] = layer.query_bias
        _project(states, layer.query, True, e, 0)
    if rule.score == _TANH:
        for t in range(len(e)):
            e[t] = _tanh(e[t])


@kernel
def _forward(
    place: int,
    part: int,
    parts: int,
    data: _Data,
    layer: _Layer,
    rule: _Rule,
    plan: _Plan,
    spaces: Any,
    scores: Any,
    sums: _Sums,
) -> None:
    """Scores, and sums of weights and weighted states, of a part's tiles."""
    numbers, inputs, states = _divide(spaces[place], layer)
    tile_e, tile_w = numbers[_DU], numbers[_WEIGHT]
    first, last = _first_and_last(plan, part, parts)
    for tile in range(first, last):
        segments = np.arange(plan.tile[tile], plan.tile[tile + 1])
        _fill_and_score(data, layer, rule, plan, segments, inputs, states, tile_e[: _width(plan, tile)])
        for segment in segments:
            i, start, steps = plan.sequence[segment], plan.start[segment], plan.steps[segment]
            offset, run = plan.offset[segment], plan.run[segment]
            e, w = tile_e[offset : offset + steps], tile_w[offset : offset + steps]
            if rule.normalizer != _MEAN:
                scores[i, start : start + steps] = e
            if rule.normalizer == _SOFTMAX:
                highest = (_largest(e) + data.shift) * data.scale[i]
                if highest > sums.maximum[run]:
                    factor = math.exp(sums.maximum[run] - highest)
                    sums.maximum[run] = highest
                    sums.total[run] *= factor
                    sums.state[run] *= factor
            _weigh(e, data, i, np.float32(sums.maximum[run]), rule.normalizer, w)
            sums.total[run] += _sum(w)
            _add_weighted(states, w, offset, sums.state[run])


@kernel
def _merge(runs: Any, sums: _Sums, maximum: Any, total: Any, context: Any) -> None:
    """Add up the runs of each sequence, in order, and divide; maxima start as those of a sequence without steps."""
    whole, states = np.zeros(len(total)), np.zeros(context.shape)
    for run in range(len(runs)):
        maximum[runs[run]] = max(maximum[runs[run]], sums.maximum[run])
    for run in range(len(runs)):
        i = runs[run]
        factor = math.exp(sums.maximum[run] - maximum[i])
        whole[i] += sums.total[run] * factor
        for k in range(context.shape[1]):
            states[i, k] += sums.state[run, k] * factor
    for i in range(len(whole)):
        total[i], by = whole[i], _divisor(whole[i])
        for k in range(context.shape[1]):
            context[i, k] = states[i, k] / by


@kernel
def _clear_padding(lengths: Any, scores: Any) -> None:
    """Zero the scores beyond each sequence's length. Clearing all of them beforehand would wake torch's threads."""
    for i in range(len(scores)):
        scores[i, lengths[i] :] = _ZERO


@kernel
def _divisor(total: float) -> float:
    """What a sum of states is divided by: a total of zero becomes one."""
    return total if total != 0 else 1.0


@kernel
def _through_division(g_total: Any, g_context: Any, total: Any, context: Any, hidden: int) -> tuple[Any, Any]:
    """Gradients of total and state, where context = state / total; g_total and g_context may be empty, for zeros."""
    totals, states = np.zeros(len(total), np.float32), np.zeros((len(total), hidden), np.float32)
    for i in range(len(g_total)):
        totals[i] = g_total[i]
    for i in range(len(g_context)):
        by, product = np.float32(_divisor(total[i])), _ZERO
        for k in range(context.shape[1]):
            states[i, k] = g_context[i, k] / by
            product += states[i, k] * context[i, k]
        totals[i] -= product
    return totals, states


@kernel
def _score_gradient(p: Any, e: Any, weights: Any, g_scores: Any, scale: float, rule: _Rule) -> None:
    """Turn p_t = dL/dw_t into du_t, the gradient before the tanh; e are raw scores, weights unnormalised."""
    for t in range(len(p)):
        slope = _TWO * math.sqrt(weights[t]) if rule.normalizer == _RELU2 else weights[t]
        p[t] = slope * p[t] * scale
    if g_scores.size > 0:
        for t in range(len(p)):
            p[t] += g_scores[t]
    if rule.score == _TANH:
        for t in range(len(p)):
            p[t] *= _ONE - e[t] * e[t]


@kernel
def _through_embedding(
    steps: Any,
    inputs: Any,
    states: Any,
    width: int,
    k: int,
    source: Any,
    layer: _Layer,
    slope: float,
    g: Any,
    part: int,
) -> None:
    """Gradients of hidden units k and k + 1: of their biases, queries, and weights of the first two features.

    One loop, since every pass over the tile costs as much as the arithmetic; and no views, since these are counted.
    source is (row0, row1, g0, g1): the weighted sum hands g0 times row0 of steps to unit k.
    """
    (row0, row1, g0, g1), (q0, q1) = source, _pair(layer.query, k)
    bias0, bias1, query0, query1 = _ZERO, _ZERO, _ZERO, _ZERO
    weight00, weight01, weight10, weight11 = _ZERO, _ZERO, _ZERO, _ZERO
    for t in range(width):
        du, h0, h1, x0, x1 = steps[_DU, t], states[k, t], states[k + 1, t], inputs[0, t], inputs[1, t]
        dz0, dz1 = steps[row0, t] * g0 + du * q0, steps[row1, t] * g1 + du * q1
        query0 += du * h0
        query1 += du * h1
        dz0, dz1 = dz0 if h0 > _ZERO else slope * dz0, dz1 if h1 > _ZERO else slope * dz1
        bias0 += dz0
        bias1 += dz1
        weight00 += dz0 * x0
        weight01 += dz0 * x1
        weight10 += dz1 * x0
        weight11 += dz1 * x1
    g.query[part, k] += query0
    g.query[part, k + 1] += query1
    g.bias[part, k] += bias0
    g.bias[part, k + 1] += bias1
    g.weight[part, k, 0] += weight00
    g.weight[part, k, 1] += weight01
    g.weight[part, k + 1, 0] += weight10
    g.weight[part, k + 1, 1] += weight11


@kernel
def _through_activation(
    steps: Any, states: Any, width: int, k: int, row: int, g: float, q: float, slope: float
) -> None:
    """Put dL/dz of hidden unit k in the place of its states."""
    for t in range(width):
        dz = steps[row, t] * g + steps[_DU, t] * q
        states[k, t] = dz if states[k, t] > _ZERO else slope * dz


@kernel
def _through_score(steps: Any, states: Any, width: int, k: int, row: int, g: float, q: float, score: int) -> float:
    """Put dL/dh of hidden unit k in the place of its states; returns the sum of du h, or of du tanh(h)."""
    query = _ZERO
    if score == _TANH_STATES:
        for t in range(width):
            inner = _tanh(states[k, t])
            query += steps[_DU, t] * inner
            states[k, t] = steps[row, t] * g + steps[_DU, t] * q * (_ONE - inner * inner)
    else:
        for t in range(width):
            query += steps[_DU, t] * states[k, t]
            states[k, t] = steps[row, t] * g + steps[_DU, t] * q
    return query


@kernel
def _weight_gradient(states: Any, inputs: Any, result: Any, width: int) -> None:
    """dL/dW += sum_t dL/dz_t x_t, two features at a time, for all but the first two."""
    for k in range(len(result)):
        for f in range(2, result.shape[1], 2):
            sum0, sum1 = _ZERO, _ZERO
            for t in range(width):
                sum0 += states[k, t] * inputs[f, t]
                sum1 += states[k, t] * inputs[f + 1, t]
            result[k, f] += sum0
            result[k, f + 1] += sum1


@kernel
def _input_gradient(states: Any, weight: Any, inputs: Any, width: int) -> None:
    """dL/dx_t = sum_k W_k dL/dz_kt, in the place of the inputs."""
    inputs[:, :width] = _ZERO
    for k in range(len(weight)):
        for f in range(weight.shape[1]):
            for t in range(width):
                inputs[f, t] += weight[k, f] * states[k, t]


@kernel
def _store(tile: Any, plan: _Plan, segments: Any, result: Any) -> None:
    """Transpose the segments of a tile back."""
    for segment in segments:
        i, start, offset = plan.sequence[segment], plan.start[segment], plan.offset[segment]
        for t in range(plan.steps[segment]):
            for f in range(result.shape[2]):
                result[i, start + t, f] = tile[f, offset + t]


class _Outer(NamedTuple):
    """Gradients from outside, of total, state and scores (which may be empty); and what the forward pass kept."""

    total: Any
    state: Any
    scores: Any
    maximum: Any
    e: Any


@kernel
def _outer_gradient(
    segment: int, data: _Data, rule: _Rule, plan: _Plan, outer: _Outer, tile_w: Any, tile_du: Any
) -> None:
    """Weights of a segment; and turn dL/dw into the gradient before the tanh of its scores."""
    i, start, offset = plan.sequence[segment], plan.start[segment], plan.offset[segment]
    stop, end = start + plan.steps[segment], offset + plan.steps[segment]
    w, du = tile_w[offset:end], tile_du[offset:end]
    if rule.normalizer == _MEAN:
        w[:], du[:] = _ONE, _ZERO
        return
    e = outer.e[i, start:stop]
    _weigh(e, data, i, outer.maximum[i], rule.normalizer, w)
    g_scores = outer.scores[i, start:stop] if outer.scores.size > 0 else outer.e[i, :0]
    _score_gradient(du, e, w, g_scores, data.scale[i], rule)


@kernel
def _weight_derivative(
    data: _Data, layer: _Layer, rule: _Rule, plan: _Plan, segments: Any, outer: _Outer, inputs: Any, states: Any, p: Any
) -> None:
    """Fill a tile with states, and p with dL/dw = g . h + g_total, where g is another vector for each sequence."""
    p[:] = _ZERO
    alone = plan.sequence[segments[0]]
    if len(segments) == 1:
        _fill(data, layer, rule, plan, segments, outer.state[alone], inputs, states, p)
    else:
        _fill(data, layer, rule, plan, segments, np.zeros_like(outer.state[alone]), inputs, states, p)
    for segment in segments:
        i, offset = plan.sequence[segment], plan.offset[segment]
        own = p[offset : offset + plan.steps[segment]]
        if len(segments) > 1:
            _project(states, outer.state[i], False, own, offset)
        own += outer.total[i]


@kernel
def _share_out(plan: _Plan, first: int, last: int, outer: _Outer, k: int, steps: Any) -> None:
    """What reaches hidden units k and k + 1 by way of the weighted sum, w_t g, where sequences share a tile."""
    for segment in range(first, last):
        i, begin = plan.sequence[segment], plan.offset[segment]
        g0, g1 = outer.state[i, k], outer.state[i, k + 1]
        for t in range(np.uint64(begin), np.uint64(begin + plan.steps[segment])):  # a signed t may be negative
            steps[_SHARE0, t], steps[_SHARE1, t] = steps[_WEIGHT, t] * g0, steps[_WEIGHT, t] * g1


@kernel
def _backward(
    place: int,
    part: int,
    parts: int,
    data: _Data,
    layer: _Layer,
    rule: _Rule,
    plan: _Plan,
    outer: _Outer,
    spaces: Any,
    g_x: Any,
    g: _Gradients,
) -> None:
    """Gradients of a part's tiles; g_x may be empty."""
    is_embedded, hidden = len(layer.weight) > 0, g.query.shape[1]
    is_kept = g_x.size > 0 or layer.weight.shape[1] > 2
    steps, inputs, states = _divide(spaces[place], layer)
    for tile in range(*_first_and_last(plan, part, parts)):
        first, last, width = plan.tile[tile], plan.tile[tile + 1], _width(plan, tile)
        segments = np.arange(first, last)
        _weight_derivative(data, layer, rule, plan, segments, outer, inputs, states, steps[_DU, :width])
        for segment in segments:
            _outer_gradient(segment, data, rule, plan, outer, steps[_WEIGHT], steps[_DU])
        steps[:, plan.offset[last - 1] + plan.steps[last - 1] : width] = _ZERO
        g.query_bias[part, 0] += _sum(steps[_DU, :width])
        for k in range(0, hidden, 2):
            source = _WEIGHT, _WEIGHT, outer.state[plan.sequence[first], k], outer.state[plan.sequence[first], k + 1]
            if last > first + 1:
                _share_out(plan, first, last, outer, k, steps)
                source = _SHARE0, _SHARE1, _ONE, _ONE
            (row0, row1, g0, g1), (q0, q1) = source, _pair(layer.query, k)
            if is_embedded:
                _through_embedding(steps, inputs, states, width, k, source, layer, rule.slope, g, part)
                if is_kept:
                    _through_activation(steps, states, width, k, row0, g0, q0, rule.slope)
                    _through_activation(steps, states, width, k + 1, row1, g1, q1, rule.slope)
            else:
                g.query[part, k] += _through_score(steps, states, width, k, row0, g0, q0, rule.score)
                g.query[part, k + 1] += _through_score(steps, states, width, k + 1, row1, g1, q1, rule.score)
        if is_embedded:
            _weight_gradient(states, inputs, g.weight[part], width)
            if g_x.size > 0:
                _input_gradient(states, layer.weight, inputs, width)
                _store(inputs, plan, segments, g_x)
        elif g_x.size > 0:
            _store(states, plan, segments, g_x)


class _Given(NamedTuple):
    """Arguments of an operator: arrays, (0, ...) for what is not there, and numbers."""

    x: Any
    lengths: Any
    scale: Any
    shift: float
    weight: Any
    bias: Any
    query: Any
    query_bias: float
    slope: float
    score: int
    normalizer: int


@kernel
def _prepare(given: Any, hidden: int, tile: int) -> tuple[_Data, _Layer, _Rule]:
    """What the passes take.

    Parameters are padded with zeros to even sizes, since loops take them two at a time; no query counts as zero.
    """
    rows, features = given.weight.shape
    weight = np.zeros((rows + rows % 2, features + features % 2), np.float32)
    bias, query = np.zeros(len(weight), np.float32), np.zeros(hidden + hidden % 2, np.float32)
    weight[:rows, :features] = given.weight
    bias[:rows] = given.bias
    query[: len(given.query)] = given.query
    scale = given.scale if len(given.scale) > 0 else np.ones(len(given.x), np.float32)
    return (
        _Data(given.x, given.lengths, scale, np.float32(given.shift)),
        _Layer(weight, bias, query, np.float32(given.query_bias)),
        _Rule(np.float32(given.slope), given.score, given.normalizer, tile),
    )


@kernel
def _parts(lengths: Any, hidden: int, tile: int, work: int, most: int) -> int:
    """Into how many parts the work is divided: one where handing it to a thread takes longer than it saves."""
    steps = 0
    for length in lengths:
        steps += length
    return 1 if work * steps * hidden < _SMALL else max(1, min(most, -(-steps // tile)))


@kernel
def _run_forward(team: Any, given: Any, spaces: Any, maximum: Any, total: Any, context: Any, scores: Any) -> None:
    """The whole forward pass; the last four are the results."""
    hidden, tile = context.shape[1], spaces.shape[2] - _VECTOR
    data, layer, rule = _prepare(given, hidden, tile)
    parts = _parts(data.lengths, hidden, tile, 1, PARTS)
    plan = _plan(data.lengths, data.x.shape[1], tile, parts)
    runs = len(plan.run_sequence)
    nothing = -np.inf if rule.normalizer == _SOFTMAX else 0.0
    sums = _Sums(np.full(runs, nothing), np.zeros(runs), np.zeros((runs, len(layer.query))))
    share(team, parts, _forward, (parts, data, layer, rule, plan, spaces, scores, sums))
    _clear_padding(data.lengths, scores)
    maximum[:] = nothing
    _merge(plan.run_sequence, sums, maximum, total, context)


@kernel
def _add_up(parts: Any, result: Any) -> None:
    """The parts' gradients, in order, without what was padded."""
    for k in range(len(result)):
        result[k] = parts[:, k].sum()


@kernel
def _run_backward(team: Any, given: Any, spaces: Any, incoming: Any, kept: Any, results: Any) -> None:
    """The whole backward pass: gradients from outside, what the forward pass returned, and gradients to be computed."""
    (g_total, g_context, g_scores), (maximum, total, context, scores) = incoming, kept
    g_x, g_weight, g_bias, g_query, g_query_bias = results
    hidden, tile = context.shape[1], spaces.shape[2] - _VECTOR
    data, layer, rule = _prepare(given, hidden, tile)
    (rows, features), even = layer.weight.shape, len(layer.query)
    parts = _parts(data.lengths, hidden, tile, 2, max(1, min(PARTS, _PART_NUMBERS // (hidden * (features + 2)))))
    plan = _plan(data.lengths, data.x.shape[1], tile, parts)
    g = _Gradients(
        np.zeros((parts, rows, features)), np.zeros((parts, rows)), np.zeros((parts, even)), np.zeros((parts, 1))
    )
    totals, states = _through_division(g_total, g_context, total, context, even)
    outer = _Outer(totals, states, g_scores, maximum, scores)
    share(team, parts, _backward, (parts, data, layer, rule, plan, outer, spaces, g_x, g))
    _add_up(g.bias, g_bias)
    _add_up(g.query, g_query)
    _add_up(g.query_bias, g_query_bias)
    for k in range(len(g_weight)):
        _add_up(g.weight[:, k], g_weight[k])


_NOTHING = tuple(np.zeros((0,) * axes, np.float32) for axes in range(3))


def _floats(tensor: Tensor | None, axes: int) -> Any:
    """A tensor's numbers as float32, in one layout, for which less is compiled; an empty array for None."""
    return _NOTHING[axes] if tensor is None else tensor.detach().float().contiguous().numpy()


def _bits(x: Tensor) -> Any:
    """The tensor's memory: float32, or the bits of bfloat16 as int16."""
    x = x.detach()
    return (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()


def _given(
    x: Tensor,
    lengths: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    slope: float,
    score: str,
    normalizer: str,
) -> _Given:
    return _Given(
        _bits(x),
        lengths.contiguous().numpy(),
        _floats(scale, 1),
        0.0 if shift is None else shift.item(),
        _floats(weight, 2),
        _floats(bias, 1),
        _floats(query, 1),
        0.0 if query_bias is None else query_bias.item(),
        slope,
        _SCORES[score],
        _NORMALIZERS[normalizer],
    )


_own = threading.local()


def _spaces(threads: int, hidden: int, features: int) -> Any:
    """Room for a tile for each thread, which the caller's thread keeps: fresh memory costs more than a short call.

    Rows are a vector longer than the tile: they start at multiples of a cache line, 64 bytes, but not of a power of
    two. Wide states have shorter tiles.
    """
    even, tile = hidden + hidden % 2, max(_VECTOR, min(TILE, 2**16 // max(1, hidden) // _VECTOR * _VECTOR))
    shape = threads, _STEP_ROWS + features + features % 2 + even, tile + _VECTOR
    if getattr(_own, "shape", None) != shape:
        _own.shape, _own.spaces = shape, torch.empty(shape).numpy()
    return _own.spaces


def _attend(given: _Given, hidden: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, time, _ = given.x.shape
    maximum, total = torch.empty(batch), torch.empty(batch)
    context = torch.empty(batch, hidden)
    scores = torch.empty(batch, 0 if given.normalizer == _MEAN else time)
    results = maximum.numpy(), total.numpy(), context.numpy(), scores.numpy()
    with team() as threads:
        _run_forward(threads, given, _spaces(threads[-1], hidden, given.weight.shape[1]), *results)
    return maximum, total, context, scores


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
    given = _given(x, lengths, weight, bias, query, query_bias, shift, scale, slope, score, normalizer)
    return _attend(given, len(weight))


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
    given = _given(sequence, lengths, None, None, query, query_bias, shift, scale, 0.0, score, normalizer)
    return _attend(given, sequence.shape[2])


def _differentiate(outer: Outer, given: _Given, kept: Results, needs_x: bool) -> tuple[Tensor, ...]:
    """Gradients of inputs (empty, if they are not needed), weight, bias, query and its bias, in float32."""
    hidden, has_query = kept[2].shape[1], int(len(given.query) > 0)
    shapes = given.weight.shape, given.bias.shape, (hidden * has_query,), (has_query,)
    gradients = torch.zeros(given.x.shape if needs_x else (0, 0, 0)), *(torch.empty(shape) for shape in shapes)
    incoming = tuple(_floats(gradient, axes) for gradient, axes in zip(outer, (1, 2, 2), strict=True))
    arrays = tuple(tensor.contiguous().numpy() for tensor in kept), tuple(tensor.numpy() for tensor in gradients)
    with team() as threads:
        _run_backward(threads, given, _spaces(threads[-1], hidden, given.weight.shape[1]), incoming, *arrays)
    return gradients


def _like(gradient: Tensor, parameter: Tensor | None, x: Tensor) -> Tensor:
    """A gradient in its parameter's precision; nothing, in the inputs', for a parameter that is not there."""
    return gradient.to(x.dtype if parameter is None else parameter.dtype)


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
    given = _given(x, lengths, weight, bias, query, query_bias, shift, scale, slope, score, normalizer)
    outer, kept = (grad_total, grad_context, grad_scores), (maximum, total, context, scores)
    g_x, *others = _differentiate(outer, given, kept, needs_x)
    parameters = weight, bias, query, query_bias
    g_weight, g_bias, g_query, g_query_bias = (_like(*pair, x) for pair in zip(others, parameters, strict=True))
    return g_x.to(x.dtype) if needs_x else x.new_empty(0), g_weight, g_bias, g_query, g_query_bias


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
    given = _given(sequence, lengths, None, None, query, query_bias, shift, scale, 0.0, score, normalizer)
    outer, kept = (grad_total, grad_context, grad_scores), (maximum, total, context, scores)
    g_sequence, _, _, g_query, g_query_bias = _differentiate(outer, given, kept, needs_sequence)
    queries = _like(g_query, query, sequence), _like(g_query_bias, query_bias, sequence)
    return g_sequence.to(sequence.dtype) if needs_sequence else sequence.new_empty(0), *queries

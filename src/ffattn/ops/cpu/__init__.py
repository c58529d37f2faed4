"""Attention over time on the CPU, compiled by Numba: a tile of time steps at a time, nothing stored but the scores.

A tile's states are computed in registers wherever they are needed: caches take them in, and give them back, more
slowly. A backward pass keeps their signs, a bit for each, where vectors have masks (AVX-512). Where there are more
than two features, what the others add to the states lies in the second-level cache, hidden unit by hidden unit; so do
states that are given. Vectors hold consecutive steps of one sequence, or one step of each of 16 short sequences.
Threads take parts of the tiles. Tiles and parts are functions of the shape, and partial sums are added in a fixed
order, in float64: the number of threads changes no bit.
"""

import math
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ffattn.kernels.jit import bits_to_float, exact_kernel, float_to_bits, kernel, to_float32
from ffattn.kernels.simd import (
    LANES,
    has_masks,
    horizontal_sum,
    larger,
    load,
    load_bits,
    load_pairs,
    positive,
    prefetch,
    splat,
    store,
    store_bits,
    where,
)
from ffattn.kernels.threads import ThreadPool, parallel_for
from ffattn.ops.reference import Outer, Results

TILE = 2048  # steps that are looked at together: a first-level cache holds their inputs and scores
KEEPS_SIGNS = has_masks()  # between the loops of a backward pass, rather than to find them again
_CACHE_LINE = 64  # bytes
_STATES = 2**16  # at most so many states are held at a time, where they are: 256 kB, of a second-level cache
PARTS = 64  # at most so many threads can share the work; each part has sums of gradients of its own
_PART_NUMBERS = 2**22  # at most so many numbers in all parts' gradients
_SMALL = 2**17  # (sequence, step, hidden unit) triples of a forward pass that take less time than waking a thread
_TILE_COST = 200  # a tile costs as much as so many more positions,
_LANE_COST = 8 / 7  # and a position in a tile of several sequences as much as so many others: steps lie apart
_MOST_WAITING = 8  # tiles whose sums of gradients may stay in float32, 1024 numbers to a lane
_UNITS = 4  # hidden units are padded to a multiple of this
_STEP_ROWS = 8  # rows of a tile that have one number for each step:
_WEIGHT, _E, _DU, _OUTER = range(4)  # w_t; e_t; dL/du_t, where e = tanh(u); and dL/de_t from outside
_W_X0, _W_X1, _DU_X0, _DU_X1 = range(4, 8)  # products
_KINDS = 7  # rows of sums that a hidden unit has at most
_LANE_ROWS = 4  # rows that have one number for each lane:
_SCALE, _MAXIMUM, _TOTAL, _SUM = range(4)
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
    """Lambert's continued fraction (five terms) near zero, (e^2x - 1) / (e^2x + 1) elsewhere; one division for both."""
    size, square = abs(x), x * x
    power = _exp(_TWO * min(size, np.float32(20)))
    large = power - _ONE if x > _ZERO else _ONE - power
    above = x * (_P0 + square * (_P1 + square)) if size < _TANH_SMALL else large
    below = _P0 + square * (_Q1 + square * _Q2) if size < _TANH_SMALL else power + _ONE
    return above / below


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
    """What the function is: slope, score and normalizer; how many steps are held at a time; whether signs are kept."""

    slope: Any
    score: int
    normalizer: int
    tile: int
    has_signs: bool


class _Plan(NamedTuple):
    """Who does what. A tile is a stretch of time of one sequence, or of up to 16 short ones, each in a lane of its own.

    Of one sequence, position p is the step start + p; of several, it is the step start + p // 16 of lane p % 16. Tiles
    are dealt out to the parts evenly, in order. A slot is where a part adds up a sequence.
    """

    order: Any  # sequences, longest first: those in one tile follow each other
    first: Any  # of each tile: the place of its first sequence in this order,
    count: Any  # its sequences,
    start: Any  # their first step,
    width: Any  # positions, a multiple of 16,
    slot: Any  # and the slot of the first sequence
    slot_sequence: Any  # of each slot


class _Sums(NamedTuple):
    """What each slot adds up to: (slot,) and (slot, hidden), float64."""

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
def _group(lengths: Any, order: Any, place: int, time: int, tile: int) -> int:
    """How many sequences, from a place in the order on, share tiles: up to 16 if that costs less, or one."""
    count, longest = min(LANES, len(order) - place), min(lengths[order[place]], time)
    if longest > tile:
        return 1
    alone, together = 0, _LANE_COST * LANES * longest + _TILE_COST * -(-LANES * longest // tile)
    for lane in range(count):
        length = lengths[order[place + lane]]
        alone += -(-length // LANES) * LANES + (_TILE_COST if length > 0 else 0)
    return count if together < alone else 1


@kernel
def _plan(lengths: Any, time: int, tile: int, parts: int) -> _Plan:
    """Put sequences into tiles, and deal these out to the parts."""
    order = np.argsort(-lengths, kind="mergesort")
    tiles, place = 0, 0
    while place < len(order):
        count = _group(lengths, order, place, time, tile)
        tiles += -(-min(lengths[order[place]], time) * _stride(count) // tile)
        place += count
    first, counts, start = np.empty(tiles, np.int64), np.empty(tiles, np.int64), np.empty(tiles, np.int64)
    width, slot = np.empty(tiles, np.int64), np.empty(tiles, np.int64)
    number, place = 0, 0
    while place < len(order):
        count = _group(lengths, order, place, time, tile)
        length, stride = min(lengths[order[place]], time), _stride(count)
        for begin in range(0, length, tile // stride):
            first[number], counts[number], start[number] = place, count, begin
            width[number] = min(tile, -(-(length - begin) * stride // LANES) * LANES)
            number += 1
        place += count
    slot_sequence, slots = np.empty(len(order) + LANES * parts, np.int64), 0
    for part in range(parts):
        before = -1
        for number in range(part * tiles // parts, (part + 1) * tiles // parts):
            if first[number] != before:
                before = first[number]
                slot_sequence[slots : slots + counts[number]] = order[before : before + counts[number]]
                slots += counts[number]
            slot[number] = slots - counts[number]
    return _Plan(order, first, counts, start, width, slot, slot_sequence[:slots])


@kernel
def _stride(count: int) -> int:
    """From one step of a sequence to its next, in a tile of so many sequences."""
    return 1 if count == 1 else LANES


@kernel
def _sequence(plan: _Plan, tile: int, lane: int) -> int:
    return plan.order[plan.first[tile] + lane]


@kernel
def _steps(plan: _Plan, lengths: Any, tile: int, lane: int) -> int:
    """How many steps of a lane's sequence are in a tile; 0 for a lane without a sequence."""
    if lane >= plan.count[tile]:
        return 0
    left = lengths[_sequence(plan, tile, lane)] - plan.start[tile]
    return max(0, min(left, plan.width[tile] // _stride(plan.count[tile])))


@kernel
def _place(row: Any, plan: _Plan, tile: int, lane: int) -> Any:
    """Where a row of a tile holds a lane: the steps of its sequence, and what is left."""
    return row[lane :: _stride(plan.count[tile])]


@kernel
def _pad(row: Any, lengths: Any, plan: _Plan, tile: int, number: float) -> None:
    """Put a number wherever a tile has no step."""
    for lane in range(_stride(plan.count[tile])):
        _place(row, plan, tile, lane)[_steps(plan, lengths, tile, lane) :] = number


@kernel
def _load(x: Any, lengths: Any, plan: _Plan, tile: int, result: Any) -> None:
    """Transpose a tile's steps, with zeros where there is none, and up to a whole number of rows.

    Those are cleared each time: a gradient of NaN may have left NaN there, and zero times NaN is NaN.
    """
    start, width = plan.start[tile], plan.width[tile]
    for lane in range(plan.count[tile]):
        i, steps, done = _sequence(plan, tile, lane), _steps(plan, lengths, tile, lane), 0
        if plan.count[tile] == 1 and x.shape[2] == 2 and x.flags.c_contiguous:  # what vectors can transpose
            done = steps // LANES * LANES
            for t in range(0, done, LANES):
                first, second = load_pairs(x, i, start + t)
                store(result, 0, t, first)
                store(result, 1, t, second)
        for f in range(x.shape[2]):
            place, numbers = _place(result[f], plan, tile, lane), x[i, start : start + steps, f]
            if done > 0:
                place, numbers = place[done:], numbers[done:]
            for t in range(len(numbers)):
                place[t] = to_float32(numbers[t])
    for f in range(x.shape[2]):
        _pad(result[f, :width], lengths, plan, tile, _ZERO)
    for f in range(x.shape[2], len(result)):
        result[f, :width] = _ZERO


@kernel
def _expect(numbers: Any, lengths: Any, plan: _Plan, tile: int) -> None:
    """Ask for a tile of an array, (batch, time, number), while another is computed: memory is slow, pages are small."""
    if tile == len(plan.first) or plan.count[tile] > 1:
        return
    i, start, line = _sequence(plan, tile, 0), plan.start[tile], _CACHE_LINE // numbers.itemsize
    features = numbers.shape[2]
    for t in range(0, _steps(plan, lengths, tile, 0), max(1, line // features)):
        for f in range(0, features, line):
            prefetch(numbers, (i, start + t, f))


@kernel
def _fetch_ahead(data: _Data, rule: _Rule, plan: _Plan, tile: int, scores: Any) -> None:
    """Ask for what a tile needs at its end, the place of its scores, and the next one at its start."""
    _expect(data.x, data.lengths, plan, tile + 1)
    if rule.normalizer != _MEAN:
        _expect(scores, data.lengths, plan, tile)


@kernel
def _each_alone(numbers: Any) -> Any:
    """One number for each step, (batch, time), as (batch, time, 1)."""
    return numbers.reshape((*numbers.shape, 1))


@kernel
def _store(inputs: Any, lengths: Any, plan: _Plan, tile: int, result: Any) -> None:
    """Transpose a tile's steps back."""
    for f in range(result.shape[2]):
        _scatter(inputs[f], lengths, plan, tile, result[:, :, f])


@kernel
def _scatter(row: Any, lengths: Any, plan: _Plan, tile: int, result: Any) -> None:
    """Put a tile's one number for each step into its place, (batch, time)."""
    start = plan.start[tile]
    for lane in range(plan.count[tile]):
        i, steps = _sequence(plan, tile, lane), _steps(plan, lengths, tile, lane)
        own = result[i, start : start + steps]
        if plan.count[tile] == 1:  # the same, with a stride that the compiler knows
            for t in range(steps):
                own[t] = row[t]
        else:
            own[:] = _place(row, plan, tile, lane)[:steps]


@kernel
def _gather(numbers: Any, lengths: Any, plan: _Plan, tile: int, result: Any) -> None:
    """Put one number for each step, (batch, time), into a tile, with zeros where there is no step."""
    start = plan.start[tile]
    for lane in range(plan.count[tile]):
        i, steps = _sequence(plan, tile, lane), _steps(plan, lengths, tile, lane)
        own = numbers[i, start : start + steps]
        if plan.count[tile] == 1:
            for t in range(steps):
                result[t] = own[t]
        else:
            _place(result, plan, tile, lane)[:steps] = own
    _pad(result, lengths, plan, tile, _ZERO)


@kernel
def _to_lanes(numbers: Any, plan: _Plan, tile: int, result: Any) -> None:
    """The numbers of a tile's sequences, each in its lanes: all of them where there is one sequence."""
    result[:] = numbers[_sequence(plan, tile, 0)] if plan.count[tile] == 1 else _ZERO
    for lane in range(plan.count[tile] if plan.count[tile] > 1 else 0):
        result[lane] = numbers[_sequence(plan, tile, lane)]


@kernel
def _embed_rest(inputs: Any, layer: _Layer, width: int, states: Any) -> None:
    """b + W x for all but the first two features, if there are more; the loops over states add those two."""
    for k in range(0, len(layer.weight), 2):
        for f in range(2, layer.weight.shape[1], 2):
            u0, u1, w0, w1 = _square(layer.weight, k, f)
            b0, b1 = splat(layer.bias[k]), splat(layer.bias[k + 1])
            for p in range(0, width, LANES):
                if f > 2:
                    b0, b1 = load(states, k, p), load(states, k + 1, p)
                x0, x1 = load(inputs, f, p), load(inputs, f + 1, p)
                store(states, k, p, b0 + u0 * x0 + u1 * x1)
                store(states, k + 1, p, b1 + w0 * x0 + w1 * x1)


@kernel
def _square(matrix: Any, k: int, f: int) -> Any:
    return splat(matrix[k, f]), splat(matrix[k, f + 1]), splat(matrix[k + 1, f]), splat(matrix[k + 1, f + 1])


@kernel
def _fold(layer: _Layer, vectors: Any, folded: Any) -> None:
    """vectors . W for each feature, and at last vectors . b, where each lane has a vector of its own."""
    for f in range(len(folded)):
        total = splat(_ZERO)
        for k in range(len(layer.weight)):
            number = layer.weight[k, f] if f < layer.weight.shape[1] else layer.bias[k]
            total = total + splat(number) * load(vectors, k, 0)
        store(folded, f, 0, total)


@kernel
def _project_linear(inputs: Any, folded: Any, slope: float, width: int, numbers: Any, row: int) -> None:
    """row += slope vectors . (W x + b), from what `_fold` has found."""
    features, slopes = len(folded) - 1, splat(slope)
    for p in range(0, width, LANES):
        store(numbers, row, p, load(numbers, row, p) + slopes * load(folded, features, 0))
    for f in range(features):
        for p in range(0, width, LANES):
            store(numbers, row, p, load(numbers, row, p) + slopes * load(folded, f, 0) * load(inputs, f, p))


@kernel
def _project_relu(
    inputs: Any, states: Any, layer: _Layer, slope: float, vectors: Any, width: int, numbers: Any, row: int, signs: Any
) -> None:
    """row += (1 - slope) vectors . ReLU(W x + b), four hidden units at a time; and where that is positive."""
    rest, zero, has_more, has_signs = splat(_ONE - slope), splat(_ZERO), layer.weight.shape[1] > 2, signs.size > 0
    for k in range(0, len(layer.weight), _UNITS):
        b0, b1, b2, b3 = _four(layer.bias, k)
        (u0, u1, w0, w1), (u2, u3, w2, w3) = _square(layer.weight, k, 0), _square(layer.weight, k + 2, 0)
        v0, v1 = rest * load(vectors, k, 0), rest * load(vectors, k + 1, 0)
        v2, v3 = rest * load(vectors, k + 2, 0), rest * load(vectors, k + 3, 0)
        for p in range(0, width, LANES):
            if has_more:
                b0, b1, b2, b3 = _load_four(states, k, p)
            x0, x1 = load(inputs, 0, p), load(inputs, 1, p)
            z0, z1 = b0 + u0 * x0 + u1 * x1, b1 + w0 * x0 + w1 * x1
            z2, z3 = b2 + u2 * x0 + u3 * x1, b3 + w2 * x0 + w3 * x1
            total = load(numbers, row, p)
            if has_signs:
                s0, s1, s2, s3 = positive(z0), positive(z1), positive(z2), positive(z3)
                store_bits(signs, k // _UNITS, p // LANES * _UNITS, s0)
                store_bits(signs, k // _UNITS, p // LANES * _UNITS + 1, s1)
                store_bits(signs, k // _UNITS, p // LANES * _UNITS + 2, s2)
                store_bits(signs, k // _UNITS, p // LANES * _UNITS + 3, s3)
                total = where(s0, total + v0 * z0, total)
                total = where(s1, total + v1 * z1, total)
                total = where(s2, total + v2 * z2, total)
                total = where(s3, total + v3 * z3, total)
            else:
                total = total + v0 * larger(zero, z0) + v1 * larger(zero, z1)
                total = total + v2 * larger(zero, z2) + v3 * larger(zero, z3)
            store(numbers, row, p, total)


@kernel
def _four(numbers: Any, k: int) -> Any:
    return splat(numbers[k]), splat(numbers[k + 1]), splat(numbers[k + 2]), splat(numbers[k + 3])


@kernel
def _load_four(states: Any, k: int, p: int) -> Any:
    return load(states, k, p), load(states, k + 1, p), load(states, k + 2, p), load(states, k + 3, p)


@kernel
def _project(states: Any, vectors: Any, width: int, numbers: Any, row: int) -> None:
    """row += vectors . h, where each lane has a vector of its own."""
    for k in range(0, len(states), 2):
        v0, v1 = load(vectors, k, 0), load(vectors, k + 1, 0)
        for p in range(0, width, LANES):
            h0, h1 = load(states, k, p), load(states, k + 1, p)
            store(numbers, row, p, load(numbers, row, p) + v0 * h0 + v1 * h1)


@kernel
def _project_tanh(states: Any, vector: Any, result: Any) -> None:
    """result += vector . tanh(h)."""
    for k in range(len(states)):
        for p in range(len(result)):
            result[p] += vector[k] * _tanh(states[k, p])


@kernel
def _add_weighted(states: Any, numbers: Any, width: int, sums: Any) -> None:
    """sums = w h, added up in each lane, four hidden units at a time."""
    for k in range(0, len(states), _UNITS):
        sum0, sum1, sum2, sum3 = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
        for p in range(0, width, LANES):
            w = load(numbers, _WEIGHT, p)
            sum0 = sum0 + w * load(states, k, p)
            sum1 = sum1 + w * load(states, k + 1, p)
            sum2 = sum2 + w * load(states, k + 2, p)
            sum3 = sum3 + w * load(states, k + 3, p)
        store(sums, k, 0, sum0)
        store(sums, k + 1, 0, sum1)
        store(sums, k + 2, 0, sum2)
        store(sums, k + 3, 0, sum3)


@kernel
def _add_embedded(
    inputs: Any, states: Any, layer: _Layer, slope: float, numbers: Any, width: int, moments: Any, sums: Any
) -> None:
    """sums = w h of embedded inputs in each lane: what is linear in them, from their moments, and the rest."""
    rest, slopes, zero, has_more = splat(_ONE - slope), splat(slope), splat(_ZERO), layer.weight.shape[1] > 2
    for k in range(0, len(layer.weight), _UNITS):
        b0, b1, b2, b3 = _four(layer.bias, k)
        (u0, u1, w0, w1), (u2, u3, w2, w3) = _square(layer.weight, k, 0), _square(layer.weight, k + 2, 0)
        sum0, sum1, sum2, sum3 = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
        for p in range(0, width, LANES):
            if has_more:
                b0, b1, b2, b3 = _load_four(states, k, p)
            x0, x1, w = load(inputs, 0, p), load(inputs, 1, p), load(numbers, _WEIGHT, p)
            sum0 = sum0 + w * larger(zero, b0 + u0 * x0 + u1 * x1)
            sum1 = sum1 + w * larger(zero, b1 + w0 * x0 + w1 * x1)
            sum2 = sum2 + w * larger(zero, b2 + u2 * x0 + u3 * x1)
            sum3 = sum3 + w * larger(zero, b3 + w2 * x0 + w3 * x1)
        store(sums, k, 0, rest * sum0 + slopes * _affine(layer, k, moments))
        store(sums, k + 1, 0, rest * sum1 + slopes * _affine(layer, k + 1, moments))
        store(sums, k + 2, 0, rest * sum2 + slopes * _affine(layer, k + 2, moments))
        store(sums, k + 3, 0, rest * sum3 + slopes * _affine(layer, k + 3, moments))


@kernel
def _affine(layer: _Layer, k: int, moments: Any) -> Any:
    """W_k . m + b_k m_0 in each lane, where m are the sums of `_add_moments`, and m_0 is the last."""
    features = layer.weight.shape[1]
    total = splat(layer.bias[k]) * load(moments, features, 0)
    for f in range(features):
        total = total + splat(layer.weight[k, f]) * load(moments, f, 0)
    return total


@kernel
def _add_moments(numbers: Any, row: int, inputs: Any, width: int, moments: Any) -> None:
    """For each feature add a row's numbers times the feature, in each lane; and at last the numbers."""
    for f in range(len(inputs)):
        total = load(moments, f, 0)
        for p in range(0, width, LANES):
            total = total + load(numbers, row, p) * load(inputs, f, p)
        store(moments, f, 0, total)
    total = load(moments, len(inputs), 0)
    for p in range(0, width, LANES):
        total = total + load(numbers, row, p)
    store(moments, len(inputs), 0, total)


@kernel
def _add_rows(numbers: Any, row: int, width: int, lanes: Any, result: int) -> None:
    """The sum of a row in each lane."""
    total = splat(_ZERO)
    for p in range(0, width, LANES):
        total = total + load(numbers, row, p)
    store(lanes, result, 0, total)


@kernel
def _find_maxima(numbers: Any, row: int, width: int, lanes: Any, result: int) -> None:
    """The largest number of a row in each lane."""
    maximum = splat(np.float32(-np.inf))
    for p in range(0, width, LANES):
        maximum = larger(maximum, load(numbers, row, p))
    store(lanes, result, 0, maximum)


@kernel
def _weigh(numbers: Any, width: int, shift: float, lanes: Any, normalizer: int) -> None:
    """Unnormalised weights, from raw scores."""
    weights = numbers[_WEIGHT, :width]
    if normalizer == _MEAN:
        weights[:] = _ONE
        return
    maximum = load(lanes, _MAXIMUM, 0) if normalizer == _SOFTMAX else splat(_ZERO)
    shifts, scale = splat(shift), load(lanes, _SCALE, 0)
    for p in range(0, width, LANES):
        store(numbers, _WEIGHT, p, (load(numbers, _E, p) + shifts) * scale - maximum)
    if normalizer == _SOFTMAX:
        for p in range(width):
            weights[p] = _exp(weights[p])
    else:
        for p in range(width):
            positive = _ZERO if weights[p] < _ZERO else weights[p]
            weights[p] = positive * positive


@kernel
def _divide(space: Any, layer: _Layer) -> tuple[Any, Any, Any]:
    """A tile's numbers for each step, its inputs and its states, in a thread's own space."""
    end = _STEP_ROWS + layer.weight.shape[1]
    return space[:_STEP_ROWS], space[_STEP_ROWS:end], space[end:]


@kernel
def _tiles(plan: _Plan, part: int, parts: int) -> Any:
    tiles = len(plan.first)
    return range(part * tiles // parts, (part + 1) * tiles // parts)


@kernel
def _fill(
    data: _Data, layer: _Layer, rule: _Rule, plan: _Plan, tile: int, vectors: Any, folded: Any, parts: Any, row: int
) -> None:
    """Fill a tile with inputs, and row += vectors . h; without a weight, the inputs are the states.

    LReLU(z) = slope z + (1 - slope) ReLU(z), of which the first part needs no loop over hidden units.
    """
    (numbers, inputs, states, signs), width = parts, plan.width[tile]
    if len(layer.weight) > 0:
        _load(data.x, data.lengths, plan, tile, inputs)
        _embed_rest(inputs, layer, width, states)
        _project_linear(inputs, folded, rule.slope, width, numbers, row)
        _project_relu(inputs, states, layer, rule.slope, vectors, width, numbers, row, signs)
    else:
        _load(data.x, data.lengths, plan, tile, states)
        _project(states, vectors, width, numbers, row)


@kernel
def _fill_and_score(
    data: _Data, layer: _Layer, rule: _Rule, plan: _Plan, tile: int, queries: Any, folded: Any, parts: Any
) -> None:
    """Fill a tile, and find the scores tanh(q . h + b), q . h + b or q . tanh(h) + b."""
    numbers, _, states, _ = parts
    e = numbers[_E, : plan.width[tile]]
    e[:] = layer.query_bias
    _fill(data, layer, rule, plan, tile, queries, folded, parts, _E)
    if rule.score == _TANH_STATES:
        e[:] = layer.query_bias
        _project_tanh(states, layer.query, e)
    if rule.score == _TANH:
        for p in range(len(e)):
            e[p] = _tanh(e[p])


@kernel
def _raise_maxima(data: _Data, plan: _Plan, tile: int, lanes: Any, sums: _Sums) -> None:
    """Take a tile's largest scores into account, and put each lane's maximum in the place of its own."""
    count, slot = plan.count[tile], plan.slot[tile]
    if count == 1:
        lanes[_MAXIMUM] = _largest(lanes[_MAXIMUM])
    for lane in range(count):
        highest = (lanes[_MAXIMUM, lane] + data.shift) * data.scale[_sequence(plan, tile, lane)]
        if highest > sums.maximum[slot + lane]:
            factor = math.exp(sums.maximum[slot + lane] - highest)
            sums.maximum[slot + lane] = highest
            sums.total[slot + lane] *= factor
            sums.state[slot + lane] *= factor
        lanes[_MAXIMUM, lane] = sums.maximum[slot + lane]
    if count == 1:
        lanes[_MAXIMUM] = lanes[_MAXIMUM, 0]


@kernel
def _largest(numbers: Any) -> float:
    largest = np.float32(-np.inf)
    for number in numbers:
        largest = max(largest, number)
    return largest


@kernel
def _add_to_slots(plan: _Plan, tile: int, totals: Any, states: Any, sums: _Sums) -> None:
    """Add a tile's sums of weights and weighted states, (lane,) and (hidden, lane), to those of its slots."""
    count, slot = plan.count[tile], plan.slot[tile]
    if count == 1:
        for lane in range(LANES):
            sums.total[slot] += totals[lane]
        for k in range(len(states)):
            sums.state[slot, k] += horizontal_sum(load(states, k, 0))
    else:
        for lane in range(count):
            sums.total[slot + lane] += totals[lane]
            for k in range(len(states)):
                sums.state[slot + lane, k] += states[k, lane]


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
    lanes, added = np.empty((_LANE_ROWS, LANES), np.float32), np.empty((len(layer.query), LANES), np.float32)
    queries, folded = np.empty_like(added), np.empty((layer.weight.shape[1] + 1, LANES), np.float32)
    for k in range(len(queries)):
        queries[k] = layer.query[k]
    _fold(layer, queries, folded)
    moments, no_signs = np.empty_like(folded), np.empty((0, 0), np.uint16)
    (numbers, inputs, states), to_fill = _divide(spaces[place], layer), _each_alone(scores)
    for tile in _tiles(plan, part, parts):
        width = plan.width[tile]
        e, w = numbers[_E, :width], numbers[_WEIGHT, :width]
        _fetch_ahead(data, rule, plan, tile, to_fill)
        _fill_and_score(data, layer, rule, plan, tile, queries, folded, (numbers, inputs, states, no_signs))
        if rule.normalizer != _MEAN:
            _scatter(e, data.lengths, plan, tile, scores)
            _to_lanes(data.scale, plan, tile, lanes[_SCALE])
        if rule.normalizer == _SOFTMAX:
            _pad(e, data.lengths, plan, tile, np.float32(-np.inf))
            _find_maxima(numbers, _E, width, lanes, _MAXIMUM)
            _raise_maxima(data, plan, tile, lanes, sums)
        _weigh(numbers, width, data.shift, lanes, rule.normalizer)
        _pad(w, data.lengths, plan, tile, _ZERO)
        _add_rows(numbers, _WEIGHT, width, lanes, _TOTAL)
        if len(layer.weight) > 0:
            moments[:] = _ZERO
            _add_moments(numbers, _WEIGHT, inputs, width, moments)
            _add_embedded(inputs, states, layer, rule.slope, numbers, width, moments, added)
        else:
            _add_weighted(states, numbers, width, added)
        _add_to_slots(plan, tile, lanes[_TOTAL], added, sums)


@kernel
def _merge(sequences: Any, sums: _Sums, maximum: Any, total: Any, context: Any) -> None:
    """Add up the slots of each sequence, in order, and divide; maxima start as those of a sequence without steps."""
    whole, states = np.zeros(len(total)), np.zeros(context.shape)
    for slot in range(len(sequences)):
        maximum[sequences[slot]] = max(maximum[sequences[slot]], sums.maximum[slot])
    for slot in range(len(sequences)):
        if sums.total[slot] == 0:  # a sequence without steps, whose maximum is no number to subtract
            continue
        i = sequences[slot]
        factor = math.exp(sums.maximum[slot] - maximum[i])
        whole[i] += sums.total[slot] * factor
        for k in range(context.shape[1]):
            states[i, k] += sums.state[slot, k] * factor
    for i in range(len(whole)):
        total[i], factor = whole[i], 1 / _divisor(whole[i])
        for k in range(context.shape[1]):
            context[i, k] = states[i, k] * factor


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


class _Outer(NamedTuple):
    """Gradients from outside, of total, state and scores (which may be empty); and what the forward pass kept."""

    total: Any
    state: Any
    scores: Any
    maximum: Any
    e: Any


@kernel
def _prepare_lanes(data: _Data, plan: _Plan, tile: int, outer: _Outer, lanes: Any, g_state: Any) -> None:
    """What the backward pass needs of a tile's sequences, in their lanes."""
    _to_lanes(data.scale, plan, tile, lanes[_SCALE])
    _to_lanes(outer.maximum, plan, tile, lanes[_MAXIMUM])
    _to_lanes(outer.total, plan, tile, lanes[_TOTAL])
    for lane in range(_stride(plan.count[tile])):
        own = outer.state[_sequence(plan, tile, min(lane, plan.count[tile] - 1))]
        for k in range(len(own)):
            g_state[k, lane] = own[k]
    if plan.count[tile] == 1:
        for k in range(len(g_state)):
            g_state[k] = g_state[k, 0]


@kernel
def _score_gradient(data: _Data, rule: _Rule, plan: _Plan, tile: int, outer: _Outer, lanes: Any, numbers: Any) -> None:
    """Turn p = dL/dw into du, the gradient before the tanh of the scores, and find the weights."""
    width = plan.width[tile]
    w, du, e = numbers[_WEIGHT, :width], numbers[_DU, :width], numbers[_E, :width]
    if rule.normalizer == _MEAN:
        w[:], du[:] = _ONE, _ZERO
    else:
        _gather(outer.e, data.lengths, plan, tile, e)
        _weigh(numbers, width, data.shift, lanes, rule.normalizer)
        if outer.scores.size > 0:
            _gather(outer.scores, data.lengths, plan, tile, numbers[_OUTER, :width])
        _through_normalizer(numbers, width, data.shift, lanes, rule, outer.scores.size > 0)
    _pad(w, data.lengths, plan, tile, _ZERO)
    _pad(du, data.lengths, plan, tile, _ZERO)


@kernel
def _through_normalizer(numbers: Any, width: int, shift: float, lanes: Any, rule: _Rule, has_outer: bool) -> None:
    """From p = dL/dw to dL/de, with what comes from outside, and to du."""
    scale, shifts, zero, one, two = load(lanes, _SCALE, 0), splat(shift), splat(_ZERO), splat(_ONE), splat(_TWO)
    for p in range(0, width, LANES):
        e, du, by = load(numbers, _E, p), load(numbers, _DU, p), load(numbers, _WEIGHT, p)
        if rule.normalizer == _RELU2:
            by = two * larger(zero, (e + shifts) * scale)
        du = du * by * scale
        if has_outer:
            du = du + load(numbers, _OUTER, p)
        if rule.score == _TANH:
            du = du * (one - e * e)
        store(numbers, _DU, p, du)


class _Moments(NamedTuple):
    """What `_add_moments` adds up for the weights w and for du, (feature and one, lane)."""

    w: Any
    du: Any


@kernel
def _multiply_inputs(numbers: Any, inputs: Any, width: int) -> None:
    """The products of w and of du with the first two features, which every hidden unit adds up."""
    for p in range(0, width, LANES):
        w, du, x0, x1 = load(numbers, _WEIGHT, p), load(numbers, _DU, p), load(inputs, 0, p), load(inputs, 1, p)
        store(numbers, _W_X0, p, w * x0)
        store(numbers, _W_X1, p, w * x1)
        store(numbers, _DU_X0, p, du * x0)
        store(numbers, _DU_X1, p, du * x1)


@kernel
def _signs(signs: Any, p: int, k: int) -> Any:
    """Where z of hidden unit k is positive: a bit for each of 16 steps. Those of four units lie beside each other."""
    return load_bits(signs, k // _UNITS, p // LANES * _UNITS + k % _UNITS)


@kernel
def _so_far(sums: Any, row: int, waiting: int) -> Any:
    """What tiles before this one have left; nothing, if none has."""
    return load(sums, row, 0) if waiting > 0 else splat(_ZERO)


@kernel
def _through_embedding(
    numbers: Any, inputs: Any, states: Any, width: int, k: int, g_state: Any, layer: _Layer, sums: Any, waiting: int
) -> None:
    """Add to the sums of hidden units k and k + 1, in each lane, what is not linear in the gradients.

    That is LReLU'(z) = slope + (1 - slope) [z > 0] without its first part and its factor; `_add_up_sums` does the rest.
    One loop, since every pass over the tile costs as much as the arithmetic.
    """
    g0, g1, zero, has_more = load(g_state, k, 0), load(g_state, k + 1, 0), splat(_ZERO), layer.weight.shape[1] > 2
    q0, q1, b0, b1 = splat(layer.query[k]), splat(layer.query[k + 1]), splat(layer.bias[k]), splat(layer.bias[k + 1])
    u0, u1, w0, w1 = _square(layer.weight, k, 0)
    one, two = k * _KINDS, (k + 1) * _KINDS
    query0, query1 = _so_far(sums, one, waiting), _so_far(sums, two, waiting)
    bias0, bias1 = _so_far(sums, one + 1, waiting), _so_far(sums, two + 1, waiting)
    weight00, weight10 = _so_far(sums, one + 2, waiting), _so_far(sums, two + 2, waiting)
    weight01, weight11 = _so_far(sums, one + 3, waiting), _so_far(sums, two + 3, waiting)
    for p in range(0, width, LANES):
        w, du = load(numbers, _WEIGHT, p), load(numbers, _DU, p)
        if has_more:
            b0, b1 = load(states, k, p), load(states, k + 1, p)
        x0, x1 = load(inputs, 0, p), load(inputs, 1, p)
        z0, z1 = b0 + u0 * x0 + u1 * x1, b1 + w0 * x0 + w1 * x1
        s0, s1 = positive(z0), positive(z1)
        query0, query1 = where(s0, query0 + du * z0, query0), where(s1, query1 + du * z1, query1)
        dz0, dz1 = where(s0, w * g0 + du * q0, zero), where(s1, w * g1 + du * q1, zero)
        bias0 = bias0 + dz0
        bias1 = bias1 + dz1
        weight00 = weight00 + dz0 * x0
        weight01 = weight01 + dz0 * x1
        weight10 = weight10 + dz1 * x0
        weight11 = weight11 + dz1 * x1
    store(sums, one, 0, query0)
    store(sums, one + 1, 0, bias0)
    store(sums, one + 2, 0, weight00)
    store(sums, one + 3, 0, weight01)
    store(sums, two, 0, query1)
    store(sums, two + 1, 0, bias1)
    store(sums, two + 2, 0, weight10)
    store(sums, two + 3, 0, weight11)


@kernel
def _through_signs(numbers: Any, signs: Any, width: int, k: int, sums: Any, waiting: int) -> None:
    """Likewise, where the signs are known: with dh = w g + du q, all follows from sums of what is there where z > 0."""
    one, two = k * _KINDS, (k + 1) * _KINDS
    w0, w1 = _so_far(sums, one, waiting), _so_far(sums, two, waiting)
    w00, w10 = _so_far(sums, one + 1, waiting), _so_far(sums, two + 1, waiting)
    w01, w11 = _so_far(sums, one + 2, waiting), _so_far(sums, two + 2, waiting)
    du0, du1 = _so_far(sums, one + 3, waiting), _so_far(sums, two + 3, waiting)
    du00, du10 = _so_far(sums, one + 4, waiting), _so_far(sums, two + 4, waiting)
    du01, du11 = _so_far(sums, one + 5, waiting), _so_far(sums, two + 5, waiting)
    for p in range(0, width, LANES):
        s0, s1 = _signs(signs, p, k), _signs(signs, p, k + 1)
        w, w_x0, w_x1 = load(numbers, _WEIGHT, p), load(numbers, _W_X0, p), load(numbers, _W_X1, p)
        du, du_x0, du_x1 = load(numbers, _DU, p), load(numbers, _DU_X0, p), load(numbers, _DU_X1, p)
        w0, w1 = where(s0, w0 + w, w0), where(s1, w1 + w, w1)
        w00, w10 = where(s0, w00 + w_x0, w00), where(s1, w10 + w_x0, w10)
        w01, w11 = where(s0, w01 + w_x1, w01), where(s1, w11 + w_x1, w11)
        du0, du1 = where(s0, du0 + du, du0), where(s1, du1 + du, du1)
        du00, du10 = where(s0, du00 + du_x0, du00), where(s1, du10 + du_x0, du10)
        du01, du11 = where(s0, du01 + du_x1, du01), where(s1, du11 + du_x1, du11)
    store(sums, one, 0, w0)
    store(sums, one + 1, 0, w00)
    store(sums, one + 2, 0, w01)
    store(sums, one + 3, 0, du0)
    store(sums, one + 4, 0, du00)
    store(sums, one + 5, 0, du01)
    store(sums, two, 0, w1)
    store(sums, two + 1, 0, w10)
    store(sums, two + 2, 0, w11)
    store(sums, two + 3, 0, du1)
    store(sums, two + 4, 0, du10)
    store(sums, two + 5, 0, du11)


@kernel
def _unmixed(layer: _Layer, k: int, g: Any, q: Any, sums: Any) -> Any:
    """What `_through_embedding` adds up for hidden unit k, from what `_through_signs` has added up."""
    row, has_more = k * _KINDS, layer.weight.shape[1] > 2
    w, w_x0, w_x1 = load(sums, row, 0), load(sums, row + 1, 0), load(sums, row + 2, 0)
    du, du_x0, du_x1 = load(sums, row + 3, 0), load(sums, row + 4, 0), load(sums, row + 5, 0)
    last = load(sums, row + 6, 0) if has_more else splat(layer.bias[k]) * du
    query = splat(layer.weight[k, 0]) * du_x0 + splat(layer.weight[k, 1]) * du_x1 + last
    return query, g * w + q * du, g * w_x0 + q * du_x0, g * w_x1 + q * du_x1


@kernel
def _add_up_sums(
    layer: _Layer, rule: _Rule, g_state: Any, moments: _Moments, sums: Any, g: _Gradients, part: int
) -> None:
    """Add what tiles of the same sequences have left in the lanes to a part's gradients."""
    features, rest, slopes = layer.weight.shape[1], splat(_ONE - rule.slope), splat(rule.slope)
    for k in range(len(layer.weight)):
        own, q, row = load(g_state, k, 0), splat(layer.query[k]), k * _KINDS
        query, bias = load(sums, row, 0), load(sums, row + 1, 0)
        weight0, weight1 = load(sums, row + 2, 0), load(sums, row + 3, 0)
        if rule.has_signs:
            query, bias, weight0, weight1 = _unmixed(layer, k, own, q, sums)
        g.query[part, k] += horizontal_sum(rest * query + slopes * _affine(layer, k, moments.du))
        g.bias[part, k] += horizontal_sum(rest * bias + slopes * _mix(moments, features, own, q))
        g.weight[part, k, 0] += horizontal_sum(rest * weight0 + slopes * _mix(moments, 0, own, q))
        g.weight[part, k, 1] += horizontal_sum(rest * weight1 + slopes * _mix(moments, 1, own, q))


@kernel
def _mix(moments: _Moments, f: int, g: Any, q: Any) -> Any:
    """The sum of dh x in each lane, since dh = w g + du q."""
    return load(moments.w, f, 0) * g + load(moments.du, f, 0) * q


@kernel
def _through_activation(
    parts: Any, width: int, k: int, g_state: Any, layer: _Layer, rule: _Rule, sums: Any, waiting: int
) -> None:
    """Put dL/dz of hidden unit k in the place of what `_embed_rest` has made, and add up du times that."""
    (numbers, inputs, states, signs), has_more = parts, layer.weight.shape[1] > 2
    g, q, b, slopes = load(g_state, k, 0), splat(layer.query[k]), splat(layer.bias[k]), splat(rule.slope)
    u0, u1, total = splat(layer.weight[k, 0]), splat(layer.weight[k, 1]), _so_far(sums, k * _KINDS + 6, waiting)
    for p in range(0, width, LANES):
        w, du = load(numbers, _WEIGHT, p), load(numbers, _DU, p)
        if has_more:
            b = load(states, k, p)
        if rule.has_signs:
            is_positive = _signs(signs, p, k)
            total = where(is_positive, total + du * b, total)
        else:
            is_positive = positive(b + u0 * load(inputs, 0, p) + u1 * load(inputs, 1, p))
        dh = w * g + du * q
        store(states, k, p, where(is_positive, dh, slopes * dh))
    store(sums, k * _KINDS + 6, 0, total)


@kernel
def _through_score(numbers: Any, states: Any, width: int, k: int, g_state: Any, q: float, score: int) -> float:
    """Put dL/dh of hidden unit k in the place of its states; returns the sum of du h, or of du tanh(h)."""
    g, queries, one, total = load(g_state, k, 0), splat(q), splat(_ONE), splat(_ZERO)
    if score == _TANH_STATES:
        for p in range(width):
            states[k, p] = _tanh(states[k, p])
    for p in range(0, width, LANES):
        du, h = load(numbers, _DU, p), load(states, k, p)
        total = total + du * h
        through = du * queries * (one - h * h) if score == _TANH_STATES else du * queries
        store(states, k, p, load(numbers, _WEIGHT, p) * g + through)
    return horizontal_sum(total)


@kernel
def _weight_gradient(states: Any, inputs: Any, width: int, result: Any) -> None:
    """dL/dW += sum_t dL/dz_t x_t, two features at a time, for all but the first two."""
    for k in range(len(result)):
        for f in range(2, result.shape[1], 2):
            sum0, sum1 = _ZERO, _ZERO
            for p in range(width):
                sum0 += states[k, p] * inputs[f, p]
                sum1 += states[k, p] * inputs[f + 1, p]
            result[k, f] += sum0
            result[k, f + 1] += sum1


@kernel
def _input_gradient(states: Any, weight: Any, width: int, inputs: Any) -> None:
    """dL/dx_t = sum_k W_k dL/dz_kt, in the place of the inputs."""
    inputs[:, :width] = _ZERO
    for k in range(len(weight)):
        for f in range(weight.shape[1]):
            for p in range(width):
                inputs[f, p] += weight[k, f] * states[k, p]


@kernel
def _through_layer(
    parts: Any,
    width: int,
    g_state: Any,
    layer: _Layer,
    rule: _Rule,
    moments: _Moments,
    sums: Any,
    waiting: int,
    needs_x: bool,
) -> None:
    """Add to what `_add_up_sums` makes the gradients of the parameters from; dL/dz too, where something needs it."""
    numbers, inputs, states, signs = parts
    if waiting == 0:
        moments.w[:], moments.du[:] = _ZERO, _ZERO
    _add_moments(numbers, _WEIGHT, inputs, width, moments.w)
    _add_moments(numbers, _DU, inputs, width, moments.du)
    if signs.size > 0:
        _multiply_inputs(numbers, inputs, width)
        for k in range(0, len(layer.weight), 2):
            _through_signs(numbers, signs, width, k, sums, waiting)
    else:
        for k in range(0, len(layer.weight), 2):
            _through_embedding(numbers, inputs, states, width, k, g_state, layer, sums, waiting)
    if needs_x or len(inputs) > 2:
        for k in range(len(layer.weight)):
            _through_activation(parts, width, k, g_state, layer, rule, sums, waiting)


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
    before, waiting, sums = -1, 0, np.empty((_KINDS * len(layer.weight), LANES), np.float32)
    lanes, g_state = np.empty((_LANE_ROWS, LANES), np.float32), np.empty((len(layer.query), LANES), np.float32)
    folded = np.empty((layer.weight.shape[1] + 1, LANES), np.float32)
    moments = _Moments(np.empty_like(folded), np.empty_like(folded))
    (numbers, inputs, states), to_read = _divide(spaces[place], layer), _each_alone(outer.e)
    signs = np.empty((len(layer.weight) // _UNITS * rule.has_signs, rule.tile // LANES * _UNITS), np.uint16)
    tile_parts = numbers, inputs, states, signs
    for tile in _tiles(plan, part, parts):
        width = plan.width[tile]
        if waiting > 0 and (plan.first[tile] != before or waiting == _MOST_WAITING):
            _add_up_sums(layer, rule, g_state, moments, sums, g, part)
            waiting = 0
        if plan.first[tile] != before:
            before = plan.first[tile]
            _prepare_lanes(data, plan, tile, outer, lanes, g_state)
            _fold(layer, g_state, folded)
        _fetch_ahead(data, rule, plan, tile, to_read)
        for p in range(0, width, LANES):
            store(numbers, _DU, p, load(lanes, _TOTAL, 0))
        _fill(data, layer, rule, plan, tile, g_state, folded, tile_parts, _DU)
        _score_gradient(data, rule, plan, tile, outer, lanes, numbers)
        _add_rows(numbers, _DU, width, lanes, _SUM)
        g.query_bias[part, 0] += horizontal_sum(load(lanes, _SUM, 0))
        if len(layer.weight) > 0:
            _through_layer(tile_parts, width, g_state, layer, rule, moments, sums, waiting, g_x.size > 0)
            waiting += 1
            _weight_gradient(states, inputs, width, g.weight[part])
            if g_x.size > 0:
                _input_gradient(states, layer.weight, width, inputs)
        else:
            for k in range(len(states)):
                g.query[part, k] += _through_score(numbers, states, width, k, g_state, layer.query[k], rule.score)
        if g_x.size > 0:
            _store(inputs if len(layer.weight) > 0 else states, data.lengths, plan, tile, g_x)
    if waiting > 0:
        _add_up_sums(layer, rule, g_state, moments, sums, g, part)


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
    has_signs: bool


@kernel
def _prepare(given: Any, hidden: int, tile: int) -> tuple[_Data, _Layer, _Rule]:
    """What the passes take.

    Parameters are padded with zeros, since loops take several at a time; no query counts as zero.
    """
    rows, features = given.weight.shape
    weight = np.zeros((-(-rows // _UNITS) * _UNITS, features + features % 2), np.float32)
    bias, query = np.zeros(len(weight), np.float32), np.zeros(-(-hidden // _UNITS) * _UNITS, np.float32)
    weight[:rows, :features] = given.weight
    bias[:rows] = given.bias
    query[: len(given.query)] = given.query
    scale = given.scale if len(given.scale) > 0 else np.ones(len(given.x), np.float32)
    return (
        _Data(given.x, given.lengths, scale, np.float32(given.shift)),
        _Layer(weight, bias, query, np.float32(given.query_bias)),
        _Rule(np.float32(given.slope), given.score, given.normalizer, tile, given.has_signs),
    )


@kernel
def _parts(lengths: Any, hidden: int, tile: int, work: int, most: int) -> int:
    """Into how many parts the work is divided: one where handing it to a thread takes longer than it saves."""
    steps = 0
    for length in lengths:
        steps += length
    return 1 if work * steps * hidden < _SMALL else max(1, min(most, -(-steps // tile)))


@kernel
def _run_forward(workers: Any, given: Any, spaces: Any, maximum: Any, total: Any, context: Any, scores: Any) -> None:
    """The whole forward pass; the last four are the results."""
    hidden, tile = context.shape[1], spaces.shape[2] - LANES
    data, layer, rule = _prepare(given, hidden, tile)
    parts = _parts(data.lengths, hidden, tile, 1, PARTS)
    plan = _plan(data.lengths, data.x.shape[1], tile, parts)
    slots = len(plan.slot_sequence)
    nothing = -np.inf if rule.normalizer == _SOFTMAX else 0.0
    sums = _Sums(np.full(slots, nothing), np.zeros(slots), np.zeros((slots, len(layer.query))))
    parallel_for(workers, parts, _forward, (parts, data, layer, rule, plan, spaces, scores, sums))
    _clear_padding(data.lengths, scores)
    maximum[:] = nothing
    _merge(plan.slot_sequence, sums, maximum, total, context)


@kernel
def _add_up(parts: Any, result: Any) -> None:
    """The parts' gradients, in order."""
    for part in range(1, len(parts)):
        parts[0] += parts[part]
    result[:] = parts[0]


@kernel
def _run_backward(workers: Any, given: Any, spaces: Any, incoming: Any, kept: Any, results: Any) -> None:
    """The whole backward pass: gradients from outside, what the forward pass returned, and gradients to be computed."""
    (g_total, g_context, g_scores), (maximum, total, context, scores) = incoming, kept
    g_x, g_weight, g_bias, g_query, g_query_bias = results
    hidden, tile = context.shape[1], spaces.shape[2] - LANES
    data, layer, rule = _prepare(given, hidden, tile)
    (rows, features), even = layer.weight.shape, len(layer.query)
    parts = _parts(data.lengths, hidden, tile, 2, max(1, min(PARTS, _PART_NUMBERS // (hidden * (features + 2)))))
    plan = _plan(data.lengths, data.x.shape[1], tile, parts)
    g = _Gradients(
        np.zeros((parts, rows, features)), np.zeros((parts, rows)), np.zeros((parts, even)), np.zeros((parts, 1))
    )
    totals, states = _through_division(g_total, g_context, total, context, even)
    outer = _Outer(totals, states, g_scores, maximum, scores)
    parallel_for(workers, parts, _backward, (parts, data, layer, rule, plan, outer, spaces, g_x, g))
    _add_up(g.weight[:, : len(g_weight), : g_weight.shape[1]], g_weight)  # without what was padded
    _add_up(g.bias[:, : len(g_bias)], g_bias)
    _add_up(g.query[:, : len(g_query)], g_query)
    _add_up(g.query_bias[:, : len(g_query_bias)], g_query_bias)


_NOTHING = tuple(np.zeros((0,) * axes, np.float32) for axes in range(3))


def _floats(tensor: Tensor | None, axes: int) -> Any:
    """A tensor's numbers as float32, in one layout, for which less is compiled; an empty array for None.

    By DLPack, since a tensor that has given its memory to `numpy()` cannot free it, as FSDP does with parameters.
    """
    if tensor is None:
        return _NOTHING[axes]
    tensor = tensor.detach()
    is_ready = tensor.dtype is torch.float32 and tensor.is_contiguous()  # a call that does nothing takes its time
    return np.from_dlpack(tensor if is_ready else tensor.float().contiguous())


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
        lengths.long().contiguous().numpy(),  # of one type, for which less is compiled, and with a sign
        _floats(scale, 1),
        0.0 if shift is None else shift.item(),
        _floats(weight, 2),
        _floats(bias, 1),
        _floats(query, 1).reshape(-1),
        0.0 if query_bias is None else query_bias.item(),
        slope,
        _SCORES[score],
        _NORMALIZERS[normalizer],
        KEEPS_SIGNS,
    )


_own = threading.local()


def _spaces(threads: int, hidden: int, features: int, needs_x: bool = False) -> Any:
    """Room for a tile for each thread, which the caller's thread keeps: fresh memory costs more than a short call.

    Rows are a vector longer than the tile: they start at multiples of a cache line, 64 bytes, but not of a power of
    two. States have no room where they are not held: those of two features, unless the inputs' gradients are needed.
    """
    units, tile = -(-hidden // _UNITS) * _UNITS, TILE
    if features in {1, 2} and not needs_x:
        units = 0
    else:
        tile = max(LANES, min(tile, _STATES // max(1, hidden) // LANES * LANES))
    shape = threads, _STEP_ROWS + features + features % 2 + units, tile + LANES
    size = math.prod(shape)
    if getattr(_own, "size", 0) < size:
        _own.size, _own.spaces = size, torch.empty(size).numpy()
    return _own.spaces[:size].reshape(shape)


def _attend(given: _Given, hidden: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, time, _ = given.x.shape
    shapes = (batch,), (batch,), (batch, hidden), (batch, 0 if given.normalizer == _MEAN else time)
    results = [np.empty(shape, np.float32) for shape in shapes]  # made faster than torch's, and as fast to hand over
    with ThreadPool.borrow() as workers:
        _run_forward(workers, given, _spaces(workers.threads, hidden, given.weight.shape[1]), *results)
    maximum, total, context, scores = map(torch.from_numpy, results)
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
    return _attend(given, weight.shape[0])


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


def _differentiate(
    outer: Outer, given: _Given, parameters: tuple[Tensor | None, ...], kept: Results, x: Tensor, needs_x: bool
) -> tuple[Tensor, ...]:
    """Gradients of inputs (empty, if they are not needed), weight, bias, query and its bias (empty without one)."""
    hidden = kept[2].shape[1]
    g_x = np.zeros(given.x.shape if needs_x else (0, 0, 0), np.float32)
    own = [np.empty((0,) if parameter is None else parameter.shape, np.float32) for parameter in parameters]
    results = g_x, own[0].reshape(given.weight.shape), *(array.reshape(-1) for array in own[1:])
    incoming = tuple(_floats(gradient, axes) for gradient, axes in zip(outer, (1, 2, 2), strict=True))
    arrays = tuple(tensor.contiguous().numpy() for tensor in kept)
    with ThreadPool.borrow() as workers:
        _run_backward(
            workers, given, _spaces(workers.threads, hidden, given.weight.shape[1], needs_x), incoming, arrays, results
        )
    gradients = (_like(array, parameter, x) for array, parameter in zip(own, parameters, strict=True))
    return torch.from_numpy(g_x).to(x.dtype) if needs_x else x.new_empty(0), *gradients


def _like(gradient: Any, parameter: Tensor | None, x: Tensor) -> Tensor:
    """A gradient in its parameter's precision; in the inputs' for a parameter that is not there."""
    dtype, tensor = (x if parameter is None else parameter).dtype, torch.from_numpy(gradient)
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


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
    parameters = weight, bias, query, query_bias
    return _differentiate(outer, given, parameters, kept, x, needs_x)


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
    parameters = None, None, query, query_bias
    g_sequence, _, _, *queries = _differentiate(outer, given, parameters, kept, sequence, needs_sequence)
    return g_sequence, *queries

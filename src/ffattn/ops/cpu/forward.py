"""The forward pass: scores, weights, and sums of weights and weighted states, a tile of steps at a time."""

import math
from typing import Any

import numpy as np

from ffattn.kernels.jit import kernel
from ffattn.kernels.simd import LANES, horizontal_sum, load, splat, store
from ffattn.kernels.threads import parallel_for
from ffattn.ops.cpu.elementary import exp, tanh
from ffattn.ops.cpu.states import (
    add_moments,
    embed_other_features,
    fold,
    project,
    project_linear,
    project_relu,
    project_tanh,
    sum_embedded_states,
    sum_states,
)
from ffattn.ops.cpu.tiles import (
    add_feature_axis,
    divide_space,
    load_features,
    load_lanes,
    max_row,
    pad,
    prefetch_ahead,
    store_row,
    sum_row,
)
from ffattn.ops.cpu.tiling import PARTS, count_parts, make_plan, sequence_of, tiles_of
from ffattn.ops.cpu.types import (
    LANE_ROWS,
    MAXIMUM,
    MEAN,
    ONE,
    SCALE,
    SOFTMAX,
    TANH,
    TANH_STATES,
    TOTAL,
    UNITS,
    WEIGHT,
    ZERO,
    Data,
    E,
    Layer,
    Plan,
    Rule,
    Space,
    Sums,
)


@kernel
def run_forward(handle: Any, given: Any, spaces: Any, maximum: Any, total: Any, context: Any, scores: Any) -> None:
    """Compute the whole forward pass; the last four are the results."""
    hidden = context.shape[1]
    tile_size = spaces.shape[2] - LANES
    data, layer, rule = prepare(given, hidden, tile_size)
    parts = count_parts(data.lengths, hidden, tile_size, 1, PARTS)
    plan = make_plan(data.lengths, data.x.shape[1], tile_size, parts)
    slots = len(plan.slot_sequence)
    nothing = -np.inf if rule.normalizer == SOFTMAX else 0.0
    sums = Sums(np.full(slots, nothing), np.zeros(slots), np.zeros((slots, len(layer.query))))
    parallel_for(handle, parts, _forward_part, (parts, data, layer, rule, plan, spaces, scores, sums))
    _zero_padded_scores(data.lengths, scores)
    maximum[:] = nothing
    _merge_slots(plan.slot_sequence, sums, maximum, total, context)


@kernel
def prepare(given: Any, hidden: int, tile_size: int) -> tuple[Data, Layer, Rule]:
    """Return what the passes take.

    Parameters are padded with zeros, since loops take several at a time; no query counts as zero.
    """
    rows, features = given.weight.shape
    weight = np.zeros((-(-rows // UNITS) * UNITS, features + features % 2), np.float32)
    bias = np.zeros(len(weight), np.float32)
    query = np.zeros(-(-hidden // UNITS) * UNITS, np.float32)
    weight[:rows, :features] = given.weight
    bias[:rows] = given.bias
    query[: len(given.query)] = given.query
    scale = given.scale if len(given.scale) > 0 else np.ones(len(given.x), np.float32)
    return (
        Data(given.x, given.lengths, scale, np.float32(given.shift)),
        Layer(weight, bias, query, np.float32(given.query_bias)),
        Rule(np.float32(given.slope), given.score, given.normalizer, tile_size, given.has_signs),
    )


@kernel
def _forward_part(
    worker: int,
    part: int,
    parts: int,
    data: Data,
    layer: Layer,
    rule: Rule,
    plan: Plan,
    spaces: Any,
    scores: Any,
    sums: Sums,
) -> None:
    """Find scores, and sums of weights and weighted states, of a part's tiles."""
    lanes = np.empty((LANE_ROWS, LANES), np.float32)
    added = np.empty((len(layer.query), LANES), np.float32)
    queries = np.empty_like(added)
    folded = np.empty((layer.weight.shape[1] + 1, LANES), np.float32)
    moments = np.empty_like(folded)
    for k in range(len(queries)):
        queries[k] = layer.query[k]
    fold(layer, queries, folded)
    space = divide_space(spaces[worker], layer, np.empty((0, 0), np.uint16))
    numbers, inputs, states, _ = space
    to_fill = add_feature_axis(scores)
    for tile in tiles_of(plan, part, parts):
        width = plan.width[tile]
        prefetch_ahead(data, rule, plan, tile, to_fill)
        _fill_and_score(data, layer, rule, plan, tile, queries, folded, space)
        _weigh_tile(data, rule, plan, tile, lanes, numbers, scores, sums)
        if len(layer.weight) > 0:
            moments[:] = ZERO
            add_moments(numbers, WEIGHT, inputs, width, moments)
            sum_embedded_states(inputs, states, layer, rule.slope, numbers, width, moments, added)
        else:
            sum_states(states, numbers, width, added)
        _add_to_slots(plan, tile, lanes[TOTAL], added, sums)


@kernel
def _fill_and_score(
    data: Data, layer: Layer, rule: Rule, plan: Plan, tile: int, queries: Any, folded: Any, space: Space
) -> None:
    """Fill a tile, and find the scores tanh(q . h + b), q . h + b or q . tanh(h) + b."""
    numbers, _, states, _ = space
    e = numbers[E, : plan.width[tile]]
    e[:] = layer.query_bias
    fill_and_project(data, layer, rule, plan, tile, queries, folded, space, E)
    if rule.score == TANH_STATES:
        e[:] = layer.query_bias
        project_tanh(states, layer.query, e)
    if rule.score == TANH:
        for p in range(len(e)):
            e[p] = tanh(e[p])


@kernel
def fill_and_project(
    data: Data, layer: Layer, rule: Rule, plan: Plan, tile: int, vectors: Any, folded: Any, space: Space, row: int
) -> None:
    """Fill a tile with inputs, and add vectors . h to a row; without a weight, the inputs are the states."""
    numbers, inputs, states, signs = space
    width = plan.width[tile]
    if len(layer.weight) > 0:
        load_features(data.x, data.lengths, plan, tile, inputs)
        embed_other_features(inputs, layer, width, states)
        project_linear(inputs, folded, rule.slope, width, numbers, row)
        project_relu(inputs, states, layer, rule.slope, vectors, width, numbers, row, signs)
    else:
        load_features(data.x, data.lengths, plan, tile, states)
        project(states, vectors, width, numbers, row)


@kernel
def _weigh_tile(
    data: Data, rule: Rule, plan: Plan, tile: int, lanes: Any, numbers: Any, scores: Any, sums: Sums
) -> None:
    """Store a tile's scores, and find its weights and their sum in each lane."""
    width = plan.width[tile]
    e = numbers[E, :width]
    if rule.normalizer != MEAN:
        store_row(e, data.lengths, plan, tile, scores)
        load_lanes(data.scale, plan, tile, lanes[SCALE])
    if rule.normalizer == SOFTMAX:
        pad(e, data.lengths, plan, tile, np.float32(-np.inf))
        max_row(numbers, E, width, lanes, MAXIMUM)
        _raise_maxima(data, plan, tile, lanes, sums)
    find_weights(numbers, width, data.shift, lanes, rule.normalizer)
    pad(numbers[WEIGHT, :width], data.lengths, plan, tile, ZERO)
    sum_row(numbers, WEIGHT, width, lanes, TOTAL)


@kernel
def _raise_maxima(data: Data, plan: Plan, tile: int, lanes: Any, sums: Sums) -> None:
    """Take a tile's largest scores into account, and put each lane's maximum in the place of its own."""
    count = plan.count[tile]
    slot = plan.slot[tile]
    if count == 1:
        lanes[MAXIMUM] = _largest(lanes[MAXIMUM])
    for lane in range(count):
        highest = (lanes[MAXIMUM, lane] + data.shift) * data.scale[sequence_of(plan, tile, lane)]
        if highest > sums.maximum[slot + lane]:
            factor = math.exp(sums.maximum[slot + lane] - highest)
            sums.maximum[slot + lane] = highest
            sums.total[slot + lane] *= factor
            sums.state[slot + lane] *= factor
        lanes[MAXIMUM, lane] = sums.maximum[slot + lane]
    if count == 1:
        lanes[MAXIMUM] = lanes[MAXIMUM, 0]


@kernel
def _largest(numbers: Any) -> float:
    largest = np.float32(-np.inf)
    for number in numbers:
        largest = max(largest, number)
    return largest


@kernel
def find_weights(numbers: Any, width: int, shift: float, lanes: Any, normalizer: int) -> None:
    """Find unnormalised weights, from raw scores."""
    weights = numbers[WEIGHT, :width]
    if normalizer == MEAN:
        weights[:] = ONE
        return
    maximum = load(lanes, MAXIMUM, 0) if normalizer == SOFTMAX else splat(ZERO)
    shifts = splat(shift)
    scale = load(lanes, SCALE, 0)
    for p in range(0, width, LANES):
        store(numbers, WEIGHT, p, (load(numbers, E, p) + shifts) * scale - maximum)
    if normalizer == SOFTMAX:
        for p in range(width):
            weights[p] = exp(weights[p])
    else:
        for p in range(width):
            positive = ZERO if weights[p] < ZERO else weights[p]
            weights[p] = positive * positive


@kernel
def _add_to_slots(plan: Plan, tile: int, totals: Any, states: Any, sums: Sums) -> None:
    """Add a tile's sums of weights and weighted states, (lane,) and (hidden, lane), to those of its slots."""
    count = plan.count[tile]
    slot = plan.slot[tile]
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
def _zero_padded_scores(lengths: Any, scores: Any) -> None:
    """Zero the scores beyond each sequence's length. Clearing all of them beforehand would wake torch's threads."""
    for i in range(len(scores)):
        scores[i, lengths[i] :] = ZERO


@kernel
def _merge_slots(sequences: Any, sums: Sums, maximum: Any, total: Any, context: Any) -> None:
    """Add up the slots of each sequence, in order, and divide; maxima start as those of a sequence without steps."""
    whole = np.zeros(len(total))
    states = np.zeros(context.shape)
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
        total[i] = whole[i]
        factor = 1 / divisor(whole[i])
        for k in range(context.shape[1]):
            context[i, k] = states[i, k] * factor


@kernel
def divisor(total: float) -> float:
    """Return what a sum of states is divided by: a total of zero becomes one."""
    return total if total != 0 else 1.0

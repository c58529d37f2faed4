"""The backward pass: gradients of inputs and parameters, a tile of steps at a time, whose states are computed again."""

from typing import Any

import numpy as np

from ffattn.kernels.jit import kernel
from ffattn.kernels.simd import LANES, horizontal_sum, larger, load, splat, store
from ffattn.kernels.threads import parallel_for
from ffattn.ops.cpu.forward import divisor, fill_and_project, find_weights, prepare
from ffattn.ops.cpu.gradients import (
    SUM_ROWS,
    add_to_gradients,
    input_gradient,
    layer_backward,
    score_backward,
    weight_gradient,
)
from ffattn.ops.cpu.states import fold
from ffattn.ops.cpu.tiles import (
    add_feature_axis,
    divide_space,
    load_lanes,
    load_row,
    pad,
    prefetch_ahead,
    store_features,
    sum_row,
)
from ffattn.ops.cpu.tiling import PARTS, count_parts, make_plan, sequence_of, stride_of, tiles_of
from ffattn.ops.cpu.types import (
    DU,
    LANE_ROWS,
    MAXIMUM,
    MEAN,
    ONE,
    OUTER,
    RELU2,
    SCALE,
    SUM,
    TANH,
    TOTAL,
    TWO,
    UNITS,
    WEIGHT,
    ZERO,
    Data,
    E,
    Gradients,
    Incoming,
    Layer,
    Moments,
    Plan,
    Rule,
    Space,
)

_PART_NUMBERS = 2**22  # at most so many numbers in all parts' gradients
_MOST_WAITING = 8  # tiles whose sums of gradients may stay in float32, 1024 numbers to a lane


@kernel
def run_backward(handle: Any, given: Any, spaces: Any, outer: Any, kept: Any, results: Any) -> None:
    """Compute the whole backward pass.

    Arguments are gradients from outside, what the forward pass returned, and gradients to be computed.
    """
    g_total, g_context, g_scores = outer
    maximum, total, context, scores = kept
    g_x, g_weight, g_bias, g_query, g_query_bias = results
    hidden = context.shape[1]
    tile_size = spaces.shape[2] - LANES
    data, layer, rule = prepare(given, hidden, tile_size)
    rows, features = layer.weight.shape
    most = max(1, min(PARTS, _PART_NUMBERS // (hidden * (features + 2))))
    parts = count_parts(data.lengths, hidden, tile_size, 2, most)
    plan = make_plan(data.lengths, data.x.shape[1], tile_size, parts)
    g = Gradients(
        np.zeros((parts, rows, features)),
        np.zeros((parts, rows)),
        np.zeros((parts, len(layer.query))),
        np.zeros((parts, 1)),
    )
    totals, states = _division_backward(g_total, g_context, total, context, len(layer.query))
    incoming = Incoming(totals, states, g_scores, maximum, scores)
    parallel_for(handle, parts, _backward_part, (parts, data, layer, rule, plan, incoming, spaces, g_x, g))
    _sum_parts(g.weight[:, : len(g_weight), : g_weight.shape[1]], g_weight)  # without what was padded
    _sum_parts(g.bias[:, : len(g_bias)], g_bias)
    _sum_parts(g.query[:, : len(g_query)], g_query)
    _sum_parts(g.query_bias[:, : len(g_query_bias)], g_query_bias)


@kernel
def _division_backward(g_total: Any, g_context: Any, total: Any, context: Any, hidden: int) -> tuple[Any, Any]:
    """Return gradients of total and state, where context = state / total; empty ones from outside count as zeros."""
    totals = np.zeros(len(total), np.float32)
    states = np.zeros((len(total), hidden), np.float32)
    for i in range(len(g_total)):
        totals[i] = g_total[i]
    for i in range(len(g_context)):
        by = np.float32(divisor(total[i]))
        product = ZERO
        for k in range(context.shape[1]):
            states[i, k] = g_context[i, k] / by
            product += states[i, k] * context[i, k]
        totals[i] -= product
    return totals, states


@kernel
def _sum_parts(parts: Any, result: Any) -> None:
    """Add up the parts' gradients, in order."""
    for part in range(1, len(parts)):
        parts[0] += parts[part]
    result[:] = parts[0]


@kernel
def _backward_part(
    worker: int,
    part: int,
    parts: int,
    data: Data,
    layer: Layer,
    rule: Rule,
    plan: Plan,
    incoming: Incoming,
    spaces: Any,
    g_x: Any,
    g: Gradients,
) -> None:
    """Find the gradients of a part's tiles; g_x may be empty."""
    lanes = np.empty((LANE_ROWS, LANES), np.float32)
    g_state = np.empty((len(layer.query), LANES), np.float32)
    folded = np.empty((layer.weight.shape[1] + 1, LANES), np.float32)
    moments = Moments(np.empty_like(folded), np.empty_like(folded))
    sums = np.empty((SUM_ROWS * len(layer.weight), LANES), np.float32)
    shape = len(layer.weight) // UNITS * rule.has_signs, rule.tile_size // LANES * UNITS
    space = divide_space(spaces[worker], layer, np.empty(shape, np.uint16))
    numbers, inputs, states, _ = space
    to_read = add_feature_axis(incoming.e)
    before = -1
    waiting = np.int64(0)
    for tile in tiles_of(plan, part, parts):
        width = plan.width[tile]
        if waiting > 0 and (plan.first[tile] != before or waiting == _MOST_WAITING):
            add_to_gradients(layer, rule, g_state, moments, sums, g, part)
            waiting = np.int64(0)
        if plan.first[tile] != before:
            before = plan.first[tile]
            _start_sequences(data, layer, plan, tile, incoming, lanes, g_state, folded)
        prefetch_ahead(data, rule, plan, tile, to_read)
        _find_du(data, layer, rule, plan, tile, incoming, lanes, g_state, folded, space)
        g.query_bias[part, 0] += horizontal_sum(load(lanes, SUM, 0))
        if len(layer.weight) > 0:
            layer_backward(space, width, g_state, layer, rule, moments, sums, waiting, g_x.size > 0)
            waiting += 1
            weight_gradient(states, inputs, width, g.weight[part])
            if g_x.size > 0:
                input_gradient(states, layer.weight, width, inputs)
        else:
            for k in range(len(states)):
                g.query[part, k] += score_backward(numbers, states, width, k, g_state, layer.query[k], rule.score)
        if g_x.size > 0:
            store_features(inputs if len(layer.weight) > 0 else states, data.lengths, plan, tile, g_x)
    if waiting > 0:
        add_to_gradients(layer, rule, g_state, moments, sums, g, part)


@kernel
def _start_sequences(
    data: Data, layer: Layer, plan: Plan, tile: int, incoming: Incoming, lanes: Any, g_state: Any, folded: Any
) -> None:
    """Put what the backward pass needs of a tile's sequences into their lanes."""
    load_lanes(data.scale, plan, tile, lanes[SCALE])
    load_lanes(incoming.maximum, plan, tile, lanes[MAXIMUM])
    load_lanes(incoming.total, plan, tile, lanes[TOTAL])
    for lane in range(stride_of(plan.count[tile])):
        own = incoming.state[sequence_of(plan, tile, min(lane, plan.count[tile] - 1))]
        for k in range(len(own)):
            g_state[k, lane] = own[k]
    if plan.count[tile] == 1:
        for k in range(len(g_state)):
            g_state[k] = g_state[k, 0]
    fold(layer, g_state, folded)


@kernel
def _find_du(
    data: Data,
    layer: Layer,
    rule: Rule,
    plan: Plan,
    tile: int,
    incoming: Incoming,
    lanes: Any,
    g_state: Any,
    folded: Any,
    space: Space,
) -> None:
    """Fill a tile, and find du = dL/du, the gradient before the tanh of the scores, and its sum in each lane."""
    numbers, _, _, _ = space
    width = plan.width[tile]
    for p in range(0, width, LANES):
        store(numbers, DU, p, load(lanes, TOTAL, 0))
    fill_and_project(data, layer, rule, plan, tile, g_state, folded, space, DU)
    _find_score_gradient(data, rule, plan, tile, incoming, lanes, numbers)
    sum_row(numbers, DU, width, lanes, SUM)


@kernel
def _find_score_gradient(
    data: Data, rule: Rule, plan: Plan, tile: int, incoming: Incoming, lanes: Any, numbers: Any
) -> None:
    """Turn p = dL/dw into du, and find the weights."""
    width = plan.width[tile]
    w = numbers[WEIGHT, :width]
    du = numbers[DU, :width]
    if rule.normalizer == MEAN:
        w[:] = ONE
        du[:] = ZERO
    else:
        load_row(incoming.e, data.lengths, plan, tile, numbers[E, :width])
        find_weights(numbers, width, data.shift, lanes, rule.normalizer)
        if incoming.scores.size > 0:
            load_row(incoming.scores, data.lengths, plan, tile, numbers[OUTER, :width])
        _normalizer_backward(numbers, width, data.shift, lanes, rule, incoming.scores.size > 0)
    pad(w, data.lengths, plan, tile, ZERO)
    pad(du, data.lengths, plan, tile, ZERO)


@kernel
def _normalizer_backward(numbers: Any, width: int, shift: float, lanes: Any, rule: Rule, has_outer: bool) -> None:
    """Go from p = dL/dw to dL/de, with what comes from outside, and to du."""
    scale = load(lanes, SCALE, 0)
    shifts = splat(shift)
    zero = splat(ZERO)
    one = splat(ONE)
    two = splat(TWO)
    for p in range(0, width, LANES):
        e = load(numbers, E, p)
        du = load(numbers, DU, p)
        by = load(numbers, WEIGHT, p)
        if rule.normalizer == RELU2:
            by = two * larger(zero, (e + shifts) * scale)
        du = du * by * scale
        if has_outer:
            du = du + load(numbers, OUTER, p)
        if rule.score == TANH:
            du = du * (one - e * e)
        store(numbers, DU, p, du)

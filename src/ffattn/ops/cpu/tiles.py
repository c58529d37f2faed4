"""How numbers come into a tile and out of it: transposed, so that vectors hold steps, with zeros in the padding."""

from typing import Any

import numpy as np

from ffattn.kernels.jit import kernel, to_float32
from ffattn.kernels.simd import LANES, larger, load, load_pairs, prefetch, splat, store
from ffattn.ops.cpu.tiling import sequence_of, steps_of, stride_of
from ffattn.ops.cpu.types import MEAN, STEP_ROWS, ZERO, Data, Layer, Plan, Rule, Space

_CACHE_LINE = 64  # bytes


@kernel
def divide_space(space: Any, layer: Layer, signs: Any) -> Space:
    """Return a thread's own space by what is held where."""
    end = STEP_ROWS + layer.weight.shape[1]
    return Space(space[:STEP_ROWS], space[STEP_ROWS:end], space[end:], signs)


@kernel
def lane_of(row: Any, plan: Plan, tile: int, lane: int) -> Any:
    """Return where a row of a tile holds a lane: the steps of its sequence, and what is left."""
    return row[lane :: stride_of(plan.count[tile])]


@kernel
def pad(row: Any, lengths: Any, plan: Plan, tile: int, number: float) -> None:
    """Put a number wherever a tile has no step."""
    for lane in range(stride_of(plan.count[tile])):
        lane_of(row, plan, tile, lane)[steps_of(plan, lengths, tile, lane) :] = number


@kernel
def load_features(x: Any, lengths: Any, plan: Plan, tile: int, result: Any) -> None:
    """Transpose a tile's steps, with zeros where there is none, and up to a whole number of rows.

    Those are cleared each time: a gradient of NaN may have left NaN there, and zero times NaN is NaN.
    """
    start = plan.start[tile]
    width = plan.width[tile]
    for lane in range(plan.count[tile]):
        i = sequence_of(plan, tile, lane)
        steps = steps_of(plan, lengths, tile, lane)
        done = 0
        if plan.count[tile] == 1 and x.shape[2] == 2 and x.flags.c_contiguous:  # what vectors can transpose
            done = steps // LANES * LANES
            for t in range(0, done, LANES):
                first, second = load_pairs(x, i, start + t)
                store(result, 0, t, first)
                store(result, 1, t, second)
        for f in range(x.shape[2]):
            place = lane_of(result[f], plan, tile, lane)
            numbers = x[i, start : start + steps, f]
            if done > 0:
                place = place[done:]
                numbers = numbers[done:]
            for t in range(len(numbers)):
                place[t] = to_float32(numbers[t])
    for f in range(x.shape[2]):
        pad(result[f, :width], lengths, plan, tile, ZERO)
    for f in range(x.shape[2], len(result)):
        result[f, :width] = ZERO


@kernel
def store_features(inputs: Any, lengths: Any, plan: Plan, tile: int, result: Any) -> None:
    """Transpose a tile's steps back."""
    for f in range(result.shape[2]):
        store_row(inputs[f], lengths, plan, tile, result[:, :, f])


@kernel
def store_row(row: Any, lengths: Any, plan: Plan, tile: int, result: Any) -> None:
    """Put a tile's one number for each step into its place, (batch, time)."""
    start = plan.start[tile]
    for lane in range(plan.count[tile]):
        i = sequence_of(plan, tile, lane)
        steps = steps_of(plan, lengths, tile, lane)
        own = result[i, start : start + steps]
        if plan.count[tile] == 1:  # the same, with a stride that the compiler knows
            for t in range(steps):
                own[t] = row[t]
        else:
            own[:] = lane_of(row, plan, tile, lane)[:steps]


@kernel
def load_row(numbers: Any, lengths: Any, plan: Plan, tile: int, result: Any) -> None:
    """Put one number for each step, (batch, time), into a tile, with zeros where there is no step."""
    start = plan.start[tile]
    for lane in range(plan.count[tile]):
        i = sequence_of(plan, tile, lane)
        steps = steps_of(plan, lengths, tile, lane)
        own = numbers[i, start : start + steps]
        if plan.count[tile] == 1:
            for t in range(steps):
                result[t] = own[t]
        else:
            lane_of(result, plan, tile, lane)[:steps] = own
    pad(result, lengths, plan, tile, ZERO)


@kernel
def load_lanes(numbers: Any, plan: Plan, tile: int, result: Any) -> None:
    """Put the numbers of a tile's sequences, (batch,), into their lanes: into all lanes where there is one sequence."""
    result[:] = numbers[sequence_of(plan, tile, 0)] if plan.count[tile] == 1 else ZERO
    for lane in range(plan.count[tile] if plan.count[tile] > 1 else 0):
        result[lane] = numbers[sequence_of(plan, tile, lane)]


@kernel
def prefetch_ahead(data: Data, rule: Rule, plan: Plan, tile: int, scores: Any) -> None:
    """Ask for what a tile needs at its end, the place of its scores, and the next one at its start."""
    _prefetch_steps(data.x, data.lengths, plan, tile + 1)
    if rule.normalizer != MEAN:
        _prefetch_steps(scores, data.lengths, plan, tile)


@kernel
def _prefetch_steps(numbers: Any, lengths: Any, plan: Plan, tile: int) -> None:
    """Ask for a tile of an array, (batch, time, number), while another is computed: memory is slow, pages are small."""
    if tile == len(plan.first) or plan.count[tile] > 1:
        return
    i = sequence_of(plan, tile, 0)
    start = plan.start[tile]
    line = _CACHE_LINE // numbers.itemsize
    features = numbers.shape[2]
    for t in range(0, steps_of(plan, lengths, tile, 0), max(1, line // features)):
        for f in range(0, features, line):
            prefetch(numbers, (i, start + t, f))


@kernel
def add_feature_axis(numbers: Any) -> Any:
    """Return one number for each step, (batch, time), as (batch, time, 1)."""
    return numbers.reshape((*numbers.shape, 1))


@kernel
def sum_row(numbers: Any, row: int, width: int, lanes: Any, result: int) -> None:
    """Find the sum of a row in each lane."""
    total = splat(ZERO)
    for p in range(0, width, LANES):
        total = total + load(numbers, row, p)
    store(lanes, result, 0, total)


@kernel
def max_row(numbers: Any, row: int, width: int, lanes: Any, result: int) -> None:
    """Find the largest number of a row in each lane."""
    maximum = splat(np.float32(-np.inf))
    for p in range(0, width, LANES):
        maximum = larger(maximum, load(numbers, row, p))
    store(lanes, result, 0, maximum)

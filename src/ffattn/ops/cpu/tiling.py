"""How sequences are put into tiles, and tiles dealt out to the parts of the work: functions of the shape alone."""

from typing import Any

import numpy as np

from ffattn.kernels.jit import kernel
from ffattn.kernels.simd import LANES
from ffattn.ops.cpu.types import Plan

PARTS = 64  # at most so many threads can share the work; each part has sums of gradients of its own
_SMALL = 2**17  # (sequence, step, hidden unit) triples of a forward pass that take less time than waking a thread
_TILE_COST = 200  # a tile costs as much as so many more positions
_LANE_COST = 8 / 7  # a position in a tile of several sequences costs as much as so many others: steps lie apart


@kernel
def count_parts(lengths: Any, hidden: int, tile_size: int, work: int, most: int) -> int:
    """Return into how many parts the work is divided: one where handing it to a thread takes longer than it saves."""
    steps = 0
    for length in lengths:
        steps += length
    return 1 if work * steps * hidden < _SMALL else max(1, min(most, -(-steps // tile_size)))


@kernel
def make_plan(lengths: Any, time: int, tile_size: int, parts: int) -> Plan:
    """Put sequences into tiles, and deal these out to the parts."""
    order = np.argsort(-lengths, kind="mergesort")
    tiles = 0
    place = 0
    while place < len(order):
        count = _group_size(lengths, order, place, time, tile_size)
        tiles += -(-min(lengths[order[place]], time) * stride_of(count) // tile_size)
        place += count
    plan = Plan(
        order,
        np.empty(tiles, np.int64),
        np.empty(tiles, np.int64),
        np.empty(tiles, np.int64),
        np.empty(tiles, np.int64),
        np.empty(tiles, np.int64),
        np.empty(len(order) + LANES * parts, np.int64),
    )
    _fill_tiles(lengths, time, tile_size, plan)
    slots = _fill_slots(parts, plan)
    return Plan(order, plan.first, plan.count, plan.start, plan.width, plan.slot, plan.slot_sequence[:slots])


@kernel
def _group_size(lengths: Any, order: Any, place: int, time: int, tile_size: int) -> int:
    """Return how many sequences, from a place in the order on, share tiles: up to 16 if that costs less, or one."""
    count = min(LANES, len(order) - place)
    longest = min(lengths[order[place]], time)
    if longest > tile_size:
        return 1
    alone = 0
    together = _LANE_COST * LANES * longest + _TILE_COST * -(-LANES * longest // tile_size)
    for lane in range(count):
        length = lengths[order[place + lane]]
        alone += -(-length // LANES) * LANES + (_TILE_COST if length > 0 else 0)
    return count if together < alone else 1


@kernel
def _fill_tiles(lengths: Any, time: int, tile_size: int, plan: Plan) -> None:
    """Say which sequences and steps are in each tile."""
    tile = 0
    place = 0
    while place < len(plan.order):
        count = _group_size(lengths, plan.order, place, time, tile_size)
        length = min(lengths[plan.order[place]], time)
        stride = stride_of(count)
        for begin in range(0, length, tile_size // stride):
            plan.first[tile] = place
            plan.count[tile] = count
            plan.start[tile] = begin
            plan.width[tile] = min(tile_size, -(-(length - begin) * stride // LANES) * LANES)
            tile += 1
        place += count


@kernel
def _fill_slots(parts: int, plan: Plan) -> int:
    """Give each part slots for the sequences of its tiles; returns how many slots there are."""
    slots = 0
    for part in range(parts):
        before = -1
        for tile in tiles_of(plan, part, parts):
            if plan.first[tile] != before:
                before = plan.first[tile]
                count = plan.count[tile]
                plan.slot_sequence[slots : slots + count] = plan.order[before : before + count]
                slots += count
            plan.slot[tile] = slots - plan.count[tile]
    return slots


@kernel
def tiles_of(plan: Plan, part: int, parts: int) -> Any:
    """Return the numbers of a part's tiles."""
    tiles = len(plan.first)
    return range(part * tiles // parts, (part + 1) * tiles // parts)


@kernel
def stride_of(count: int) -> int:
    """Return the distance from one step of a sequence to its next, in a tile of so many sequences."""
    return 1 if count == 1 else LANES


@kernel
def sequence_of(plan: Plan, tile: int, lane: int) -> int:
    """Return the number of a lane's sequence."""
    return plan.order[plan.first[tile] + lane]


@kernel
def steps_of(plan: Plan, lengths: Any, tile: int, lane: int) -> int:
    """Return how many steps of a lane's sequence are in a tile; 0 for a lane without a sequence."""
    if lane >= plan.count[tile]:
        return 0
    left = lengths[sequence_of(plan, tile, lane)] - plan.start[tile]
    return max(0, min(left, plan.width[tile] // stride_of(plan.count[tile])))

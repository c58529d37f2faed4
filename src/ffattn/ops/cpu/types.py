"""What the CPU's kernels hand to each other: sizes, rows of a tile, and named tuples of arrays and numbers."""

from typing import Any, NamedTuple

import numpy as np

TILE_SIZE = 2048  # steps that are looked at together: a first-level cache holds their inputs and scores
UNITS = 4  # hidden units are padded to a multiple of this

NORMALIZERS = {"softmax": 0, "relu2": 1, "mean": 2}
SOFTMAX = 0
RELU2 = 1
MEAN = 2
SCORES = {"linear": 0, "tanh": 1, "tanh_states": 2}
TANH = 1
TANH_STATES = 2

# Rows of a tile that have one number for each step, where e = tanh(u) is a raw score:
WEIGHT = 0  # w_t
E = 1  # e_t
DU = 2  # dL/du_t
OUTER = 3  # dL/de_t from outside
W_X0 = 4  # w_t times the first feature
W_X1 = 5  # w_t times the second feature
DU_X0 = 6  # dL/du_t times the first feature
DU_X1 = 7  # dL/du_t times the second feature
STEP_ROWS = 8  # how many there are

# Rows that have one number for each lane:
SCALE = 0  # the factor of the scores of the lane's sequence
MAXIMUM = 1  # its largest score
TOTAL = 2  # its sum of weights, or that sum's gradient
SUM = 3  # of a row of the tile
LANE_ROWS = 4  # how many there are

ZERO = np.float32(0)
ONE = np.float32(1)
TWO = np.float32(2)


class Given(NamedTuple):
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


class Data(NamedTuple):
    """Sequences, (batch, time, feature); their lengths and the factors of their scores, (batch,); and the jitter."""

    x: Any
    lengths: Any
    scale: Any
    shift: Any


class Layer(NamedTuple):
    """Parameters in float32, padded with zeros to whole pairs; without a weight the inputs are the states."""

    weight: Any
    bias: Any
    query: Any
    query_bias: Any


class Rule(NamedTuple):
    """What the function is: slope, score and normalizer; how many positions a tile has; whether signs are kept."""

    slope: Any
    score: int
    normalizer: int
    tile_size: int
    has_signs: bool


class Plan(NamedTuple):
    """Who does what. A tile is a stretch of time of one sequence, or of up to 16 short ones, each in a lane of its own.

    Of one sequence, position p is the step start + p; of several, it is the step start + p // 16 of lane p % 16. Tiles
    are dealt out to the parts evenly, in order. A slot is where a part adds up a sequence.

    Attributes:
        order: Sequences, longest first: those in one tile follow each other.
        first: Place of each tile's first sequence in this order.
        count: How many sequences each tile has.
        start: First step of each tile.
        width: Positions of each tile, a multiple of 16.
        slot: Slot of each tile's first sequence.
        slot_sequence: Sequence of each slot.
    """

    order: Any
    first: Any
    count: Any
    start: Any
    width: Any
    slot: Any
    slot_sequence: Any


class Space(NamedTuple):
    """A thread's own space for the tile at hand.

    Attributes:
        numbers: Rows that have one number for each step, (row, position).
        inputs: (feature, position).
        states: What features but the first two add to the states, or the states, (hidden, position).
        signs: Bits that tell where states are positive (see `states.signs_of`); empty unless they are kept.
    """

    numbers: Any
    inputs: Any
    states: Any
    signs: Any


class Moments(NamedTuple):
    """What `states.add_moments` adds up for the weights w and for du, (feature and one, lane)."""

    w: Any
    du: Any


class Sums(NamedTuple):
    """What each slot adds up to: (slot,) and (slot, hidden), float64."""

    maximum: Any
    total: Any
    state: Any


class Incoming(NamedTuple):
    """Gradients from outside, of total, state and scores (which may be empty); and what the forward pass kept."""

    total: Any
    state: Any
    scores: Any
    maximum: Any
    e: Any


class Gradients(NamedTuple):
    """Gradients of the parameters as each part adds them up, (part, ...), float64."""

    weight: Any
    bias: Any
    query: Any
    query_bias: Any

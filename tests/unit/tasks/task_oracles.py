"""The right answer of each task, from the inputs of one sequence alone, in plain Python.

A sequence is a list of steps, each a list of features. An oracle returns (relevant steps in order of time, target).
"""

import math


def marked_pair(answer):
    """Oracle of a task with a value and a marker: finds the two markers that are 1."""

    def oracle(steps):
        relevant = [t for t, (_, marker) in enumerate(steps) if marker == 1]
        first, second = (steps[t][0] for t in relevant)
        return relevant, answer(first, second)

    return oracle


def temporal_order(steps):
    """X and Y are features 0 and 1; the class is their order read as a binary number with X = 0 and Y = 1."""
    symbols = "".join("XYabcdBE"[step.index(1)] for step in steps)
    relevant = [t for t, symbol in enumerate(symbols) if symbol in "XY"]
    digits = "".join(symbols[t] for t in relevant).replace("X", "0").replace("Y", "1")
    return relevant, int(digits, base=2)


ORACLES = {
    "Add": marked_pair(lambda first, second: 0.5 + (first + second) / 4),
    "Multiply": marked_pair(lambda first, second: first * second),
    "Xor": marked_pair(lambda first, second: int(first) ^ int(second)),
    "TemporalOrder2": temporal_order,
    "TemporalOrder3": temporal_order,
}

# What the best constant reaches: (accuracy, error). Published, or computed for the two-class cross-entropy.
BASELINES = {
    "Add": (0.154, 0.0417),
    "Multiply": (0.282, 0.0486),
    "Xor": (0.5, math.log(2)),
    "TemporalOrder2": (0.25, math.log(4)),
    "TemporalOrder3": (0.125, math.log(8)),
}

"""The batch that every task makes and every model reads.

Axes, everywhere in this package: batch, time, feature, hidden.
"""

from typing import NamedTuple

from ffattn.lazy import Float, Int, Tensor


class Batch(NamedTuple):
    """Sequences with their targets.

    Attributes:
        x: Inputs, (batch, time, feature). Zero from each sequence's length on.
        lengths: How many steps of each sequence are real, (batch,), 1..time.
        y: Targets: (batch, output) numbers, or (batch,) class indices.
        relevant_steps: Steps that the target depends on, (batch, relevant), 0-based, in the order in which the task
            drew them.
    """

    x: Float[Tensor, "batch time feature"]
    lengths: Int[Tensor, " batch"]
    y: Float[Tensor, "batch output"] | Int[Tensor, " batch"]
    relevant_steps: Int[Tensor, "batch relevant"]

"""What attention over some steps leaves, and how two such results become one."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ffattn.ops.reference import divisor, merge_sums


class Pooled(NamedTuple):
    """Attention over some of the steps of each sequence. Results over disjoint steps can be merged, in any order.

    Attributes:
        maximum: Largest score, (batch,), which a softmax's weights are shifted by: a constant for the gradient. -inf
            for a sequence without steps; zero for weights that are not shifted.
        total: Sum of unnormalised weights, (batch,).
        context: Weighted mean of the states, (batch, hidden); zero for a sequence whose weights are all zero.
    """

    maximum: Float[Tensor, " batch"]
    total: Float[Tensor, " batch"]
    context: Float[Tensor, "batch hidden"]

    def merge(self, other: "Pooled") -> "Pooled":
        """Return attention over the steps of both.

        Args:
            other: Over other steps of the same sequences.
        """
        sums = ((part.maximum, part.total, part.context * part.total[:, None]) for part in (self, other))
        maximum, total, state = merge_sums(*sums)
        return Pooled(maximum, total, state / divisor(total))

    def double(self) -> "Pooled":
        """Return the same in float64, for merging many."""
        return Pooled(*(part.double() for part in self))

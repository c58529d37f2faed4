"""What attention over some steps adds up to, and the weighted mean that follows from it."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ffattn.ops.reference import merge_sums


class Sums(NamedTuple):
    """Sums over some of the steps of each sequence. Those over disjoint steps can be merged, in any order.

    Attributes:
        maximum: Largest score, (batch,), which a softmax's weights are shifted by: a constant for the gradient. -inf
            for a sequence without steps; zero for weights that are not shifted.
        total: Sum of unnormalised weights, (batch,).
        state: Sum of states times unnormalised weights, (batch, hidden).
    """

    maximum: Float[Tensor, " batch"]
    total: Float[Tensor, " batch"]
    state: Float[Tensor, "batch hidden"]

    def merge(self, other: "Sums") -> "Sums":
        """Sums over the steps of both."""
        return Sums(*merge_sums(self, other))

    def double(self) -> "Sums":
        """The same in float64, for adding up many."""
        return Sums(*(part.double() for part in self))

    def divisor(self) -> Float[Tensor, "batch 1"]:
        """What weights and states are divided by: a sum of zero, which only relu2 can have, becomes one."""
        return self.total.where(self.total != 0, 1.0)[:, None]

    def context(self) -> Float[Tensor, "batch hidden"]:
        """The weighted mean of the states; zero for a sequence whose weights are all zero."""
        return self.state / self.divisor()

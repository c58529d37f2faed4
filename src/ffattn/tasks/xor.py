"""The XOR problem."""

from dataclasses import dataclass
from typing import ClassVar

from ffattn.rng.streams import Grid
from ffattn.system.lazy import Float, Int, Tensor
from ffattn.tasks.base import Classification
from ffattn.tasks.marked import MarkedPair


@dataclass
class Xor(MarkedPair, Classification):
    """XOR of two marked bits among many, as a two-class task.

    Source:
        The authors' generators, after Martens & Sutskever 2011; there a squared error, here cross-entropy.
    """

    num_outputs: ClassVar[int] = 2
    values: ClassVar[Grid] = Grid(0, 2, levels=2)

    def target(self, first: Float[Tensor, " batch"], second: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """1 where the two bits differ."""
        return (first != second).long()

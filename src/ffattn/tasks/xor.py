"""The XOR problem."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from ffattn.tasks.base import Classification
from ffattn.tasks.marked import MarkedPair


@dataclass
class Xor(MarkedPair, Classification):
    """XOR of two marked bits among many, as a two-class task.

    Source:
        The authors' generators, after Martens & Sutskever 2011; there a squared error, here cross-entropy.
    """

    num_outputs: ClassVar[int] = 2

    def values(self, uniform: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """[0, 1) to 0 or 1."""
        return uniform.mul_(2).floor_()

    def target(self, first: Float[Tensor, " batch"], second: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """1 where the two bits differ."""
        return (first != second).long()

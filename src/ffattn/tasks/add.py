"""The addition problem."""

from dataclasses import dataclass
from typing import ClassVar

from ffattn.rng.streams import Grid
from ffattn.system.lazy import Float, Tensor
from ffattn.tasks.base import Baseline, Regression
from ffattn.tasks.marked import MarkedPair


@dataclass
class Add(MarkedPair, Regression):
    """Add two marked values among many: values are uniform on [-1, 1), the target is 0.5 + (X1 + X2) / 4.

    Source:
        Hochreiter & Schmidhuber 1997, experiment 4, in the form of Raffel & Ellis, section 2.2.
    """

    values: ClassVar[Grid] = Grid(-1, 1)

    def target(self, first: Float[Tensor, " batch"], second: Float[Tensor, " batch"]) -> Float[Tensor, "batch 1"]:
        """0.5 + (X1 + X2) / 4, on [0, 1)."""
        return (0.5 + (first + second) / 4)[:, None]

    def baseline(self) -> Baseline:
        """The target has a triangular density on [0, 1): 0.5 is the best constant for both, with MSE 1/24."""
        return Baseline(accuracy=1 - (1 - min(2 * self.tolerance, 1.0)) ** 2, error=1 / 24)

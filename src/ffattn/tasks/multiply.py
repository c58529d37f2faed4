"""The multiplication problem."""

import math
from dataclasses import dataclass
from typing import ClassVar

from ffattn.rng.streams import Grid
from ffattn.system.lazy import Float, Tensor
from ffattn.tasks.base import Baseline, Regression
from ffattn.tasks.marked import MarkedPair


@dataclass
class Multiply(MarkedPair, Regression):
    """Multiply two marked values among many: values are uniform on [0, 1), the target is X1 X2.

    Source:
        Hochreiter & Schmidhuber 1997, experiment 5, in the form of Raffel & Ellis, section 2.2.
    """

    values: ClassVar[Grid] = Grid(0, 1)

    def target(self, first: Float[Tensor, " batch"], second: Float[Tensor, " batch"]) -> Float[Tensor, "batch 1"]:
        """X1 X2, on [0, 1)."""
        return (first * second)[:, None]

    def baseline(self) -> Baseline:
        """P(X1 X2 < p) = p (1 - log p).

        The density falls, so the best constant for accuracy is the tolerance itself, which covers [0, 2 tolerance);
        the best for the squared error is the mean 1/4, with 1/9 - 1/16 = 7/144.
        """
        covered = min(2 * self.tolerance, 1.0)
        return Baseline(accuracy=covered * (1 - math.log(covered)), error=7 / 144)

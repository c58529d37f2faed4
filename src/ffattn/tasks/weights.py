"""Sequences that count more than others: training sees them more often."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ffattn.errors import DataError
from ffattn.system.lazy import Float, Int


@dataclass(frozen=True, eq=False)
class SequenceWeights:
    """How much each sequence counts.

    A pass over n sequences takes n places that are evenly spaced on the sum of all weights: a sequence with the share s
    of the sum occurs n s times, rounded up or down. So a sequence of weight 2 is as good as two copies.

    Attributes:
        values: Of each sequence, (sequence,), not negative.
    """

    values: Float[np.ndarray, " sequence"]

    @classmethod
    def checked(cls, values: np.ndarray, count: int) -> "SequenceWeights":
        """Return weights.

        Args:
            values: Anybody's.
            count: How many sequences there are.

        Raises:
            DataError: They are no such weights, or all 0.
        """
        if values.shape != (count,) or values.dtype.kind not in "biuf":
            raise DataError(f"weights are {values.dtype} {values.shape}; must be numbers, ({count},)")
        numbers = values.astype(np.float64)
        if not np.isfinite(numbers).all() or (numbers < 0).any():
            raise DataError("weights must be finite, and at least 0")
        if not numbers.any():
            raise DataError("weights are all 0: no sequence counts")
        return cls(numbers)

    def of(self, chosen: Int[np.ndarray, " chosen"]) -> "SequenceWeights":
        """Return the weights of some sequences; equal ones if none of them counts.

        Args:
            chosen: Their numbers.
        """
        values = self.values[chosen]
        return SequenceWeights(values if values.any() else np.ones(len(values)))

    def places(self, start: float) -> Int[np.ndarray, " place"]:
        """Return as many sequences as there are, each as often as it counts.

        Args:
            start: Where the first place is between 0 and the next, 0..1.
        """
        ends = np.cumsum(self.values)
        steps = (np.arange(len(ends)) + start) / len(ends) * ends[-1]
        return np.asarray(np.minimum(np.searchsorted(ends, steps, side="right"), np.flatnonzero(self.values)[-1]))


@lru_cache(maxsize=4)
def weighted_order(weights: SequenceWeights, seed: int, number: int) -> Int[np.ndarray, " place"]:
    """Return the sequences of a pass in their order, a function of the seed and the number of the pass.

    Args:
        weights: How much each counts.
        seed: Of the run.
        number: Of the pass.
    """
    random = np.random.Generator(np.random.Philox(key=[seed, number]))
    return np.asarray(random.permutation(weights.places(random.random())))

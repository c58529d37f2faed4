"""Mean and standard deviation of numbers that come in parts, in double precision at any scale."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ffattn.errors import DataError
from ffattn.files.preparation import Feature, Target

_SAME = 4 * np.finfo(np.float64).eps  # numbers whose spread is smaller, beside the largest of them, are the same number
_SMALLEST = 1e-290  # standard deviation beside which differences still have all of their digits
_LARGEST = 1e290  # number that can be added to others


@dataclass
class RunningMoments:
    """Count, mean and standard deviation.

    Attributes:
        count: How many numbers there were.
        mean: Their mean.
        deviation: Their standard deviation.
        largest: The largest absolute value.
    """

    count: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    largest: float = 0.0

    def update(self, numbers: Float[np.ndarray, " number"]) -> None:
        """Take in some numbers, all of them finite."""
        if not numbers.size:
            return
        self.largest = max(self.largest, float(np.abs(numbers).max()))
        mean, deviation = _moments(numbers)
        share = numbers.size / (self.count + numbers.size)
        between = mean - self.mean
        within = math.hypot(math.sqrt(1 - share) * self.deviation, math.sqrt(share) * deviation)
        self.deviation = math.hypot(within, math.sqrt(share * (1 - share)) * between)
        self.mean = self.mean + share * between if self.count else mean
        self.count += numbers.size

    @property
    def scale(self) -> float:
        """The standard deviation, or 1 for numbers that are all the same but for rounding."""
        return self.deviation if self.deviation > _SAME * self.largest else 1.0


def _moments(numbers: Float[np.ndarray, " number"]) -> tuple[float, float]:
    """Return mean and standard deviation, by way of numbers whose squares are in range."""
    exponent = math.frexp(float(np.abs(numbers).max()))[1]
    scaled = np.ldexp(numbers.astype(np.float64), -exponent)
    return math.ldexp(float(scaled.mean()), exponent), math.ldexp(float(scaled.std()), exponent)


def refuse_extremes(path: Path, columns: tuple[Feature | Target, ...]) -> None:
    """Refuse columns whose numbers leave double precision when they are scaled.

    Args:
        path: The file, for messages.
        columns: What has been fitted.

    Raises:
        DataError: The numbers of a column are too small, or too large.
    """
    for column in columns:
        if not (column.scale > _SMALLEST and abs(column.mean) + column.scale < _LARGEST):
            extent = f"{column.mean:.3g} +- {column.scale:.3g}"
            raise DataError(f"{path}, column {column.name}: {extent} leaves double precision; give it in another unit")

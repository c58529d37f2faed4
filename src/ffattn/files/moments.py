"""Mean and standard deviation of numbers that come in parts, at any scale, and of which none drowns the others."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.system.lazy import Bool, Float

_ULPS = 4  # numbers that differ by no more than this rounding are the same
_SMALLEST = 1e-290  # standard deviation: numbers beside it keep their digits
_LARGEST = 1e290
_ODD = 1e19  # numbers from here on may stand for no value, as -3.4e38, 9.97e36 and 1e20 do in maps and climate data
_ROUNDING = 1e-3  # of the range of whole numbers, at most
_DROWNED = 1e-12  # the standard deviation of the others beside these, at most


@dataclass
class RunningMoments:
    """Count, mean and standard deviation of numbers that come in parts, in double precision at any scale."""

    count: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    largest: float = 0.0

    def update(self, numbers: Float[np.ndarray, " number"]) -> None:
        """Take in some numbers.

        Args:
            numbers: Finite ones.
        """
        if not numbers.size:
            return
        mean, deviation, largest = _moments(numbers.astype(np.float64))
        share = numbers.size / (self.count + numbers.size)
        between = mean - self.mean
        within = math.hypot(math.sqrt(1 - share) * self.deviation, math.sqrt(share) * deviation)
        self.deviation = math.hypot(within, math.sqrt(share * (1 - share)) * between)
        self.mean = mean if not self.count else self.mean + share * between
        self.largest = max(self.largest, largest)
        self.count += numbers.size

    def scale(self, where: str) -> float:
        """Return the standard deviation, or 1 for numbers that are all the same.

        Args:
            where: What the numbers are, for messages.

        Raises:
            DataError: They are too large or too small for double precision.
        """
        if self.deviation <= _ULPS * np.finfo(np.float64).eps * self.largest:
            return 1.0
        if not _SMALLEST < self.deviation < _LARGEST or not self.largest < _LARGEST:
            extent = f"mean {self.mean:.3g}, standard deviation {self.deviation:.3g}"
            raise DataError(f"{where}: {extent} exceeds double precision; give the column in another unit")
        return self.deviation


def _moments(numbers: Float[np.ndarray, " number"]) -> tuple[float, float, float]:
    """Return mean, standard deviation and largest size, by a power of two that keeps squares in range."""
    largest = float(np.abs(numbers).max())
    exponent = math.frexp(largest)[1]
    scaled = np.ldexp(numbers, -exponent)
    return math.ldexp(float(scaled.mean()), exponent), math.ldexp(float(scaled.std()), exponent), largest


@dataclass
class ColumnMoments:
    """The same of a column that may have a number in it which stands for no value, and is refused.

    Attributes:
        all: Of all numbers.
        usual: Of those that no format uses for what is missing.
        first_odd: What the first of the others is, and where.
    """

    all: RunningMoments = field(default_factory=RunningMoments)
    usual: RunningMoments = field(default_factory=RunningMoments)
    first_odd: str = ""

    def update(
        self, numbers: Float[np.ndarray, " number"], chosen: Bool[np.ndarray, " number"], where: Callable[[int], str]
    ) -> None:
        """Take in some numbers.

        Args:
            numbers: NaN where there is none.
            chosen: Which of them are for training.
            where: Names one by its place, for a message.
        """
        finite = chosen & np.isfinite(numbers)
        is_odd = finite & (np.abs(numbers) >= _ODD)
        self.all.update(numbers[finite])
        self.usual.update(numbers[finite & ~is_odd])
        if is_odd.any() and not self.first_odd:
            place = int(np.argmax(is_odd))
            self.first_odd = f"{where(place)}: {numbers[place]:.9g}"

    def scale(self, column: str) -> float:
        """Return the standard deviation (see `RunningMoments.scale`).

        Args:
            column: What the numbers are, for messages.

        Raises:
            DataError: As there; or a number is so large that the others are all the same beside it.
        """
        if self.first_odd and 0 < self.usual.deviation < _DROWNED * self.all.largest:
            usual = f"{self.usual.mean:.4g} +- {self.usual.deviation:.3g}"
            raise DataError(
                f"{self.first_odd} is too far from the other numbers of the column, {usual}; if it stands for no "
                "value, leave it empty"
            )
        return self.all.scale(column)


def refuse_rounding(column: Any, where: str) -> None:
    """Refuse whole numbers that double precision rounds until they can hardly be told apart.

    Args:
        column: A pyarrow array, as the file has it.
        where: What it is, for the message.

    Raises:
        DataError: Its numbers are large beside their range.
    """
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_int64(column.type) and not pa.types.is_uint64(column.type):
        return
    extremes = compute.min_max(column)
    least = extremes["min"].as_py()
    most = extremes["max"].as_py()
    if least is None or least == most:
        return
    if np.spacing(float(max(abs(least), abs(most)))) > _ROUNDING * (most - least):
        raise DataError(
            f"{where}: numbers from {least} to {most} are hardly told apart in double precision; give them less a "
            "constant, such as the first one"
        )

"""How long sequences are."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ffattn.errors import SettingError
from ffattn.rng.streams import LENGTH_FIELD, Stream
from ffattn.settings import Settings, setting
from ffattn.system.lazy import Int, Tensor, torch

MAX_T = 2**31 - 1  # so that relevant steps are drawn without bias


@dataclass
class Length(Settings, ABC):
    """A rule that gives every sequence its length.

    Attributes:
        T: Nominal length, in steps.

    Class variables:
        depends_on_batch: Whether a training sequence's length is a matter of the batch that it is in.
    """

    depends_on_batch: ClassVar[bool] = True

    T: int = setting(100, low=1, high=MAX_T)

    @property
    def shortest(self) -> tuple[str, int]:
        """The smallest length that can occur, behind the name of the setting that decides it."""
        return "T", self.T

    @property
    @abstractmethod
    def longest(self) -> int:
        """The largest length that can occur."""

    @abstractmethod
    def training(self, stream: Stream, batch: int, sequences: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return the lengths of a training batch.

        Args:
            stream: Where random numbers come from.
            batch: Number of the batch in the run.
            sequences: Numbers of its sequences.

        Returns:
            A length for each sequence.
        """

    def evaluation(self, stream: Stream, total: int, sequences: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return the lengths of evaluation sequences, which do not depend on how these are batched.

        Args:
            stream: Where random numbers come from.
            total: How many sequences the whole set has.
            sequences: Numbers of some of them, 0..total-1.

        Returns:
            A length for each sequence.
        """
        return self.training(stream, 0, sequences)

    def nominal(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return the length that a task's windows scale with: T here."""
        return torch.full_like(lengths, self.T)

    def padded(self, lengths: Int[Tensor, " batch"]) -> int:
        """Return the number of steps to which a batch with these lengths is padded: the same for every batch here."""
        return self.longest

    def visible(self, lengths: Int[Tensor, " batch"], time: int) -> Int[Tensor, " batch"]:
        """Return the lengths that a model is told: the true ones."""
        return lengths


@dataclass
class Fixed(Length):
    """Every sequence has exactly T steps."""

    depends_on_batch: ClassVar[bool] = False

    @property
    def longest(self) -> int:
        """T."""
        return self.T

    def training(self, stream: Stream, batch: int, sequences: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return T for every sequence."""
        return torch.full_like(sequences, self.T)


@dataclass
class Paper(Length):
    """Each sequence has its own length, uniform on T .. ceil(1.1 T) - 1, and is padded with zeros.

    Attributes:
        attend_to_padding: For reproduction only. The published code ignored its mask in these experiments: the model
            is told that padding belongs to the sequence.

    Source:
        Raffel & Ellis, section 2.2, and the authors' code.
    """

    depends_on_batch: ClassVar[bool] = False

    attend_to_padding: bool = False

    @property
    def longest(self) -> int:
        """ceil(1.1 T) - 1, but never below T; in integers, since 1.1 * 50 is more than 55 in floating point."""
        return max(self.T, -(-11 * self.T // 10) - 1)

    def training(self, stream: Stream, batch: int, sequences: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Draw lengths uniformly from T..longest."""
        return stream.integers(sequences, self.T, self.longest, LENGTH_FIELD)

    def visible(self, lengths: Int[Tensor, " batch"], time: int) -> Int[Tensor, " batch"]:
        """Return the true lengths, or the padded one for all under `attend_to_padding`."""
        return torch.full_like(lengths, time) if self.attend_to_padding else lengths


@dataclass
class Variable(Length):
    """One length for each training batch, on min..T; in evaluation a grid of lengths over the same range.

    Attributes:
        min: Smallest length, in steps.
        distribution: `uniform`, or `log_uniform` (every factor of two equally often).
        num_lengths: How many lengths the evaluation grid has; its sequences are divided among them.

    Source:
        Raffel & Ellis, section 2.3: uniform on 50..10000; tested on 100 evenly spaced lengths, ten sequences each.
    """

    min: int = setting(50, low=1)
    distribution: str = setting("uniform", choices=("uniform", "log_uniform"))
    num_lengths: int = setting(100, low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min > self.T:
            raise SettingError("min", self.min, f"must be at most T={self.T}")

    @property
    def shortest(self) -> tuple[str, int]:
        """The setting `min`."""
        return "min", self.min

    @property
    def longest(self) -> int:
        """T."""
        return self.T

    def training(self, stream: Stream, batch: int, sequences: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Draw one length for the whole batch."""
        address = torch.tensor([batch])
        if self.distribution == "uniform":
            length = int(stream.integers(address, self.min, self.T, LENGTH_FIELD))
        else:
            length = self._geometric(float(stream.integers(address, 0, 2**30 - 1, LENGTH_FIELD)) / 2**30)
        return torch.full_like(sequences, length)

    def _geometric(self, fraction: float) -> int:
        """The whole number at this fraction (0..1) of the way from min to T, on a logarithmic scale."""
        exact = math.exp(math.log(self.min) + fraction * (math.log(self.T + 1) - math.log(self.min)))
        return min(max(int(exact), self.min), self.T)

    def evaluation(self, stream: Stream, total: int, sequences: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return the grid: evenly spaced on min..T, or evenly on a logarithmic scale."""
        count = min(self.num_lengths, total)
        last = max(count - 1, 1)
        places = (sequences * count // total).tolist()
        if self.distribution == "uniform":
            grid = [self.min + (self.T - self.min) * place // last for place in places]
        else:
            grid = [self._geometric(place / last) for place in places]
        return torch.tensor(grid, dtype=torch.int64, device=sequences.device)

    def nominal(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return each sequence's own length."""
        return lengths

    def padded(self, lengths: Int[Tensor, " batch"]) -> int:
        """Return the longest length of the batch."""
        return int(lengths.max())

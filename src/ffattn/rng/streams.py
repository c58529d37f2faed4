"""Counter-based random numbers: each is a pure function of (seed, split, sequence, step, field).

There is no generator state. So splits are disjoint by construction, batch size, workers and ranks do not matter, a
sequence can be made piece by piece, any device makes the same bits, and any example can be named.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from ffattn.rng.inputs import Address, Choice
from ffattn.rng.philox import fill_inputs, fill_words
from ffattn.system.lazy import Float, Int, Tensor, np, torch

MAX_SEED = 2**63 - 1
LENGTH_FIELD = 255  # the field that lengths are drawn from; tasks number theirs from 0


class Split(IntEnum):
    """Which set a sequence belongs to; sets share no random number."""

    TRAIN = 0
    VAL = 1
    TEST = 2


def split_range(total: int, part: int, parts: int) -> tuple[int, int]:
    """Return the start and the stop of a part of 0..total-1; the parts' sizes differ by at most one.

    Args:
        total: How many numbers there are.
        part: Which part, 0..parts-1.
        parts: How many parts there are.
    """
    return total * part // parts, total * (part + 1) // parts


@dataclass(frozen=True)
class Stream:
    """The random numbers of one seed and split.

    Attributes:
        seed: 0..2^63-1.
        split: The set that the sequences belong to.
    """

    seed: int
    split: Split

    def address(self, sequences: Int[Tensor, " batch"], starts: Int[Tensor, " batch"], field: int) -> Address:
        """Return where the numbers of a field are.

        Args:
            sequences: Sequence numbers, int64, 0..2^63-1.
            starts: The first step for each of them, int64, 0..2^50-1.
            field: Which quantity, 0..255; quantities share no random number.
        """
        assert 0 <= field < 256, field
        return Address(sequences, starts, int(self.split) << 8 | field, self.seed)

    def integers(
        self, sequences: Int[Tensor, " batch"], low: int | Tensor, high: int | Tensor, field: int
    ) -> Int[Tensor, " batch"]:
        """Draw one integer for each sequence, uniform on low..high (both included).

        Args:
            sequences: Sequence numbers.
            low: Smallest value.
            high: Largest value, less than low + 2^31.
            field: Which quantity, 0..255.

        Returns:
            int64 numbers; 64 random bits each, so the bias is below 2^-32.
        """
        words = sequences.new_empty(len(sequences), 2)
        fill_words(words, self.address(sequences, torch.zeros_like(sequences), field))
        first, second = words.unbind(1)  # a number of 64 bits, of which Lemire's multiply-shift takes the top
        count = high - low + 1
        return second.mul_(count).bitwise_right_shift_(32).add_(first.mul_(count)).bitwise_right_shift_(32).add_(low)


class Grid(NamedTuple):
    """Equally likely, evenly spaced numbers: low, low + step, ..., below high, where step is (high - low) / levels.

    Attributes:
        low: The smallest number.
        high: What would follow the largest one.
        levels: How many there are, 1..2^24; so many that a float32 on [0, 1) has nothing between them, if not given.

    Every device makes the same float32 numbers if low and high are whole numbers and levels is a power of two.
    """

    low: float = 0.0
    high: float = 1.0
    levels: int = 2**24


@dataclass(frozen=True)
class BatchWindow:
    """Some sequences of a stream, and a window of time: what a task makes a batch from.

    Attributes:
        stream: Where the numbers come from.
        sequences: Sequence numbers, (batch,).
        lengths: Number of steps of each sequence, (batch,).
        nominal: The length that windows and scales refer to, (batch,): T, or the batch's own length if it varies.
        start: First step of the window.
        stop: Step after the last one of the window; steps from a sequence's length on are padding.
    """

    stream: Stream
    sequences: Int[Tensor, " batch"]
    lengths: Int[Tensor, " batch"]
    nominal: Int[Tensor, " batch"]
    start: int
    stop: int

    def values(self, field: int, grid: Grid, features: int = 1) -> Float[Tensor, "batch time feature"]:
        """Make inputs whose feature 0 is a random number for each step; zero elsewhere, and beyond a sequence's end.

        Args:
            field: Which quantity, 0..255.
            grid: Which numbers.
            features: Size of the feature axis.

        Returns:
            A new float32 tensor for the window, on the device of the sequences.
        """
        return self._inputs(field, features, _written(grid))

    def values_at(self, field: int, grid: Grid, steps: Int[Tensor, "batch step"]) -> Float[Tensor, "batch step"]:
        """Return the numbers that `values` has at some steps of each sequence, inside the window or not.

        Args:
            field: Which quantity, 0..255.
            grid: Which numbers.
            steps: Numbers of the steps.
        """
        out = torch.empty(*steps.shape, 1, device=steps.device)
        sequences, stops = (column.repeat_interleave(steps.shape[1]) for column in (self.sequences, self.lengths))
        address = self.stream.address(sequences, steps.flatten(), field)
        fill_inputs(out.view(-1, 1, 1), stops, address, _written(grid))
        return out[..., 0]

    def symbols(self, field: int, symbols: range, features: int) -> Float[Tensor, "batch time feature"]:
        """Make one-hot inputs, with a random one of some symbols for each step; zero beyond a sequence's end.

        Args:
            field: Which quantity, 0..255.
            symbols: Numbers of the symbols, which follow each other.
            features: Size of the feature axis: how many symbols there are in all.

        Returns:
            A new float32 tensor for the window, on the device of the sequences.
        """
        return self._inputs(field, features, Choice(len(symbols), symbols.start, 0.0, 0.0))

    def set_steps(
        self, x: Float[Tensor, "batch time feature"], steps: Int[Tensor, "batch step"], values: Tensor
    ) -> None:
        """Set some steps of each sequence to whole numbers, as far as those steps lie inside the window.

        Args:
            x: Whole numbers for the window, of any strides; changed in place.
            steps: Numbers of the steps, all different within a sequence.
            values: The numbers, of a shape that broadcasts to (batch, step, feature).
        """
        if x.numel():
            places = steps - self.start
            inside = (places >= 0) & (places < x.shape[1])
            places = places.where(inside, 0)  # where nothing is added, so that it need not be a place of its own
            places = places[..., None].expand(-1, -1, x.shape[2])
            x.scatter_add_(1, places, (values - x.gather(1, places)) * inside[..., None])

    def integers(self, field: int, low: int | Tensor, high: int | Tensor) -> Int[Tensor, " batch"]:
        """Draw one integer for each sequence, uniform on low..high (both included)."""
        return self.stream.integers(self.sequences, low, high, field)

    def _inputs(self, field: int, features: int, choice: Choice) -> Tensor:
        x = self._empty(features)
        starts = torch.full_like(self.sequences, self.start)
        fill_inputs(x, self.lengths, self.stream.address(self.sequences, starts, field), choice)
        return x

    def _empty(self, features: int) -> Tensor:
        shape = len(self.sequences), self.stop - self.start, features
        if self.sequences.is_cpu:  # NumPy asks for huge pages, which Linux hands out ten times as fast as small ones
            return torch.from_numpy(np.empty(shape, np.float32))
        return self.sequences.new_empty(shape, dtype=torch.float32)


def _written(grid: Grid) -> Choice:
    """Return the choice among the numbers of a grid, written into feature 0."""
    return Choice(grid.levels, 0, grid.low, (grid.high - grid.low) / grid.levels)

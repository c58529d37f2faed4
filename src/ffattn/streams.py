"""Counter-based random numbers: each is a pure function of (seed, split, sequence, step, field).

There is no generator state. So splits are disjoint by construction, batch size, workers and ranks do not matter, a
sequence can be made piece by piece, any device makes the same bits, and any example can be named.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ffattn import philox

MAX_SEED = 2**63 - 1
LENGTH_FIELD = 255  # the field that lengths are drawn from; tasks number theirs from 0


class Split(IntEnum):
    """Which set a sequence belongs to; sets share no random number."""

    TRAIN = 0
    VAL = 1
    TEST = 2


def share(total: int, part: int, parts: int) -> tuple[int, int]:
    """The first and the next after the last of a part of 0..total-1; the parts' sizes differ by at most one.

    Args:
        total: How many there are.
        part: Which part, 0..parts-1.
        parts: How many parts there are.
    """
    return total * part // parts, total * (part + 1) // parts


def _scale(words: Tensor, count: int | Tensor) -> Tensor:
    """Map 32-bit words to 0..count-1, in place (Lemire's multiply-shift; the bias is at most count / 2^32)."""
    return words.mul_(count).bitwise_right_shift_(32)


@dataclass(frozen=True)
class Stream:
    """The random numbers of one seed and split.

    Attributes:
        seed: 0..2^63-1.
        split: The set that the sequences belong to.
    """

    seed: int
    split: Split

    def fill(self, out: Tensor, sequences: Tensor, starts: Tensor, field: int) -> None:
        """Fill rows with the numbers of consecutive steps.

        Args:
            out: (batch, time), of any strides. float32: uniform on [0, 1), multiples of 2^-24; int64: 32-bit words.
            sequences: Sequence numbers, (batch,), int64, 0..2^63-1.
            starts: Each row's first step, (batch,), int64, 0..2^50-1.
            field: Which quantity, 0..255; quantities share no random number.
        """
        assert 0 <= field < 256, field
        philox.fill(out, sequences, starts, int(self.split) << 8 | field, self.seed)

    def integers(
        self, sequences: Int[Tensor, " batch"], low: int | Tensor, high: int | Tensor, field: int
    ) -> Int[Tensor, " batch"]:
        """One integer for each sequence, uniform on low..high (both included).

        Args:
            sequences: Sequence numbers.
            low: Smallest value.
            high: Largest value, less than low + 2^31.
            field: Which quantity, 0..255.

        Returns:
            int64 numbers; 64 random bits each, so the bias is below 2^-32.
        """
        words = sequences.new_empty(len(sequences), 2)
        self.fill(words, sequences, torch.zeros_like(sequences), field)
        count = high - low + 1
        return low + _scale_wide(words[:, 0], words[:, 1], count)


def _scale_wide(high_word: Tensor, low_word: Tensor, count: int | Tensor) -> Tensor:
    """Map 64-bit words to 0..count-1, in place, exact for counts up to 2^31."""
    return high_word.mul_(count).add_(_scale(low_word, count)).bitwise_right_shift_(32)


@dataclass(frozen=True)
class Draw:
    """What a task draws a batch from: some sequences of a stream, and a window of time.

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

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sequences, and of steps in the window."""
        return len(self.sequences), self.stop - self.start

    @property
    def steps(self) -> Int[Tensor, " time"]:
        """Numbers of the window's steps."""
        return torch.arange(self.start, self.stop, device=self.sequences.device)

    @property
    def valid(self) -> Bool[Tensor, "batch time"]:
        """Which steps of the window lie before the end of their sequence."""
        return self.steps < self.lengths[:, None]

    def zeros(self, features: int) -> Float[Tensor, "batch time feature"]:
        """Inputs to fill: float32 zeros for the window, on the device of the sequences.

        Args:
            features: Size of the feature axis.
        """
        shape = *self.shape, features
        if self.sequences.is_cpu:  # NumPy asks for huge pages, which Linux hands out ten times as fast as small ones
            return torch.from_numpy(np.zeros(shape, np.float32))
        return self.sequences.new_zeros(shape, dtype=torch.float32)

    def put(self, out: Tensor, steps: Int[Tensor, "batch step"], values: int | Tensor) -> None:
        """Put whole numbers at some steps of each sequence, as far as those lie inside the window.

        Args:
            out: Whole numbers for the window, (batch, time), of any strides.
            steps: Numbers of the steps, all different within a sequence.
            values: What to put there: a number, or (batch, step).
        """
        if out.numel():
            places = steps - self.start
            inside = (places >= 0) & (places < out.shape[1])
            places = places.where(inside, 0)  # where nothing is added, so that it need not be a place of its own
            out.scatter_add_(1, places, (values - out.gather(1, places)) * inside)

    def clear_padding(self, out: Float[Tensor, "batch time"]) -> None:
        """Put zeros on the steps of the window that lie beyond the end of their sequence.

        Args:
            out: Values for the window, of any strides; changed in place.
        """
        first = 0
        if out.numel() and self.lengths.is_cpu:  # no sequence ends before; a GPU's answer would have to be waited for
            first = min(max(int(self.lengths.min()) - self.start, 0), out.shape[1])
        out[:, first:].masked_fill_(self.steps[first:] >= self.lengths[:, None], 0)

    def _fill(self, out: Tensor, field: int) -> Tensor:
        self.stream.fill(out, self.sequences, torch.full_like(self.sequences, self.start), field)
        return out

    def _at(self, field: int, steps: Tensor, dtype: torch.dtype) -> Tensor:
        out = self.sequences.new_empty(len(self.sequences), 1, dtype=dtype)
        self.stream.fill(out, self.sequences, steps, field)
        return out[:, 0]

    def _empty(self, dtype: torch.dtype) -> Tensor:
        return self.sequences.new_empty(self.shape, dtype=dtype)

    def uniform(self, field: int, out: Float[Tensor, "batch time"] | None = None) -> Float[Tensor, "batch time"]:
        """A float32 for each step, uniform on [0, 1), a multiple of 2^-24.

        Args:
            field: Which quantity, 0..255.
            out: Where to put them: a tensor or a view of one, of any strides; a new one if not given.
        """
        return self._fill(self._empty(torch.float32) if out is None else out, field)

    def uniform_at(self, field: int, steps: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The number that `uniform` has at one step of each sequence, inside the window or not."""
        return self._at(field, steps, torch.float32)

    def choice(self, field: int, count: int) -> Int[Tensor, "batch time"]:
        """An integer for each step, uniform on 0..count-1, for counts up to 2^16."""
        return _scale(self._fill(self._empty(torch.int64), field), count)

    def choice_at(self, field: int, steps: Int[Tensor, " batch"], count: int) -> Int[Tensor, " batch"]:
        """The number that `choice` has at one step of each sequence, inside the window or not."""
        return _scale(self._at(field, steps, torch.int64), count)

    def integers(self, field: int, low: int | Tensor, high: int | Tensor) -> Int[Tensor, " batch"]:
        """One integer for each sequence, uniform on low..high (both included)."""
        return self.stream.integers(self.sequences, low, high, field)

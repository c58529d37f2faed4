"""Counter-based random numbers: each is a pure function of (seed, split, sequence, step, field).

There is no generator state. So splits are disjoint by construction, batch size, workers and ranks do not matter, a
sequence can be made piece by piece, any device makes the same bits, and any example can be named.

Source:
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011: Philox 4x32-10.
"""

from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_MASK = 0xFFFFFFFF
_WORDS = 4  # one Philox call makes four words, which serve four consecutive steps
MAX_SEED = 2**63 - 1
LENGTH_FIELD = 255  # the field that lengths are drawn from; tasks number theirs from 0


class Split(IntEnum):
    """Which set a sequence belongs to; sets share no random number."""

    TRAIN = 0
    VAL = 1
    TEST = 2


Words = tuple[Tensor, Tensor, Tensor, Tensor]


def _multiply(a: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a 32 x 32 bit product; int64 wraps around, which leaves the bits right."""
    product = a * multiplier
    return (product >> 32) & _MASK, product & _MASK


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Philox 4x32-10.

    Args:
        counter: Four int64 tensors of 32-bit words, of shapes that broadcast.
        key: Two 32-bit words.

    Returns:
        Four int64 tensors of 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _multiply(c0, _MULTIPLIERS[0])
        high1, low1 = _multiply(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _scale(words: Tensor, count: int | Tensor) -> Tensor:
    """Map 32-bit words to 0..count-1 (Lemire's multiply-shift; the bias is at most count / 2^32)."""
    return (words * count) >> 32


@dataclass(frozen=True)
class Stream:
    """The random numbers of one seed and split.

    Attributes:
        seed: 0..2^63-1.
        split: The set that the sequences belong to.
    """

    seed: int
    split: Split

    def words(self, sequences: Tensor, blocks: Tensor, field: int) -> Words:
        """Four 32-bit words for each sequence and block of four steps.

        Args:
            sequences: Sequence numbers, int64, 0..2^63-1.
            blocks: Block numbers, int64, 0..2^48-1, of a shape that broadcasts with `sequences`.
            field: Which quantity, 0..255; quantities share no random number.

        Returns:
            Four int64 tensors of the broadcast shape.
        """
        assert 0 <= field < 256, field
        address = int(self.split) << 24 | field << 16
        counter = (blocks & _MASK, (blocks >> 32) | address, sequences & _MASK, sequences >> 32)
        return philox(counter, (self.seed & _MASK, self.seed >> 32))

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
        word0, word1, _, _ = self.words(sequences, torch.zeros_like(sequences), field)
        count = high - low + 1
        return low + _scale_wide(word0, word1, count)


def _scale_wide(high_word: Tensor, low_word: Tensor, count: int | Tensor) -> Tensor:
    """Map 64-bit words to 0..count-1, exact for counts below 2^31."""
    return (high_word * count + _scale(low_word, count)) >> 32


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
    def steps(self) -> Int[Tensor, " time"]:
        """Numbers of the window's steps."""
        return torch.arange(self.start, self.stop, device=self.sequences.device)

    @property
    def valid(self) -> Bool[Tensor, "batch time"]:
        """Which steps of the window lie before the end of their sequence."""
        return self.steps < self.lengths[:, None]

    def _words(self, field: int) -> Int[Tensor, "batch time"]:
        first, last = self.start // _WORDS, (self.stop - 1) // _WORDS + 1
        blocks = torch.arange(first, last, device=self.sequences.device)
        words = torch.stack(self.stream.words(self.sequences[:, None], blocks, field), dim=-1).flatten(1)
        return words[:, self.start - first * _WORDS : self.stop - first * _WORDS]

    def _words_at(self, field: int, steps: Tensor) -> Int[Tensor, " batch"]:
        words = torch.stack(self.stream.words(self.sequences, steps // _WORDS, field), dim=-1)
        return words.gather(1, (steps % _WORDS)[:, None])[:, 0]

    def uniform(self, field: int) -> Float[Tensor, "batch time"]:
        """A float32 for each step, uniform on [0, 1), a multiple of 2^-24."""
        return _to_unit(self._words(field))

    def uniform_at(self, field: int, steps: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The number that `uniform` has at one step of each sequence, inside the window or not."""
        return _to_unit(self._words_at(field, steps))

    def choice(self, field: int, count: int) -> Int[Tensor, "batch time"]:
        """An integer for each step, uniform on 0..count-1, for counts up to 2^16."""
        return _scale(self._words(field), count)

    def choice_at(self, field: int, steps: Int[Tensor, " batch"], count: int) -> Int[Tensor, " batch"]:
        """The number that `choice` has at one step of each sequence, inside the window or not."""
        return _scale(self._words_at(field, steps), count)

    def integers(self, field: int, low: int | Tensor, high: int | Tensor) -> Int[Tensor, " batch"]:
        """One integer for each sequence, uniform on low..high (both included)."""
        return self.stream.integers(self.sequences, low, high, field)


def _to_unit(words: Tensor) -> Tensor:
    """32-bit words to float32 on [0, 1): the top 24 bits, so that every value is exact."""
    return (words >> 8).to(torch.float32) * 2.0**-24

"""What random inputs are made of: where numbers come from, and how they are written."""

from typing import NamedTuple

from ffattn.system.lazy import Tensor


class Address(NamedTuple):
    """Where the numbers of some rows come from.

    Attributes:
        sequences: Number of each row's sequence, (batch,), int64, 0..2^63-1.
        starts: Each row's first step, (batch,), int64, 0..2^50-1.
        quantity: Which quantity of the sequences, 0..2^16-1.
        seed: 0..2^63-1.
    """

    sequences: Tensor
    starts: Tensor
    quantity: int
    seed: int


class Choice(NamedTuple):
    """One of `levels` equally likely things k = 0..levels-1 for each step, and how it is written into the features.

    Attributes:
        levels: How many, 1..2^24. From the 32-bit word, k is word * levels >> 32.
        feature: The feature that is written, or the first of `levels` features if it is a symbol.
        low: What 0 stands for.
        step: What each following one is more, so that k is written as low + step * k; 0 if it is a symbol: then a 1
            is put into feature number feature + k.
    """

    levels: int
    feature: int
    low: float
    step: float

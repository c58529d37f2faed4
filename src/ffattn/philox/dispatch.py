"""Which implementation serves which device."""

from torch import Tensor

from ffattn.backends import compiled
from ffattn.philox import reference


def fill(out: Tensor, sequences: Tensor, starts: Tensor, address: int, seed: int) -> None:
    """Fill rows with the numbers of consecutive steps; the numbers of a step do not depend on what else is asked for.

    Args:
        out: (batch, time), of any strides. float32: numbers uniform on [0, 1), multiples of 2^-24. int64: 32-bit words.
        sequences: Number of each row's sequence, (batch,), int64, 0..2^63-1.
        starts: Each row's first step, (batch,), int64, 0..2^50-1.
        address: Which quantity of the sequences, 0..2^16-1.
        seed: 0..2^63-1.

    Source:
        Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The key is the seed. The
        counter has the number of a block of four steps (48 bits), the address (16) and the sequence (64).
    """
    if out.numel():
        (compiled("ffattn.philox", out.device.type) or reference).fill(out, sequences, starts, address, seed)

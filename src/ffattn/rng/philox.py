"""Random numbers from whichever implementation serves a device."""

from types import ModuleType

from ffattn.kernels.backends import compiled
from ffattn.rng import reference
from ffattn.rng.inputs import Address, Choice
from ffattn.system.lazy import Tensor


def _implementation(out: Tensor) -> ModuleType:
    return compiled("ffattn.rng", out.device.type) or reference


def fill_words(out: Tensor, address: Address) -> None:
    """Fill rows with the 32-bit words of consecutive steps; a step's word does not depend on what else is asked for.

    Args:
        out: (batch, time), int64, contiguous.
        address: Where the words come from.

    Source:
        Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The key is the seed. The
        counter has the number of a block of four steps (48 bits), the quantity (16) and the sequence (64).
    """
    if out.numel():
        _implementation(out).fill_words(out, address)


def fill_inputs(out: Tensor, stops: Tensor, address: Address, choice: Choice) -> None:
    """Fill inputs with a random choice for each step of a sequence; all else in them becomes zero.

    Args:
        out: (batch, time, feature), float32, contiguous.
        stops: The step at which each row's sequence has ended, (batch,), int64.
        address: Where the numbers come from.
        choice: What is drawn for a step.
    """
    if out.numel():
        _implementation(out).fill_inputs(out, stops, address, choice)

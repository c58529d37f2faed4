"""Philox 4x32-10 in plain PyTorch: 32-bit words in int64, which wraps around and leaves the bits right."""

from ffattn.rng.inputs import Address, Choice
from ffattn.system.lazy import Tensor, torch

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MASK = 0xFFFFFFFF
WORDS = 4  # one call makes four words, which serve four consecutive steps

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def _multiply(a: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Return the high and the low 32 bits of a 32 x 32 bit product."""
    product = a * multiplier
    return (product >> 32) & _MASK, product & _MASK


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Return four random words for a counter: Philox 4x32-10.

    Args:
        counter: Four int64 tensors of 32-bit words, of shapes that broadcast.
        key: Two 32-bit words.

    Returns:
        Four int64 tensors of 32-bit words.
    """
    k0, k1 = key
    for _ in range(_ROUNDS):
        counter = _round(counter, k0, k1)
        k0 = (k0 + _WEYL[0]) & _MASK
        k1 = (k1 + _WEYL[1]) & _MASK
    return counter


def _round(counter: Words, k0: int, k1: int) -> Words:
    c0, c1, c2, c3 = counter
    high0, low0 = _multiply(c0, _MULTIPLIERS[0])
    high1, low1 = _multiply(c2, _MULTIPLIERS[1])
    return high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0


def _words(time: int, address: Address) -> Tensor:
    """Return the words of consecutive steps, (batch, time)."""
    starts = address.starts[:, None]
    sequences = address.sequences[:, None]
    blocks = starts // WORDS + torch.arange(time // WORDS + 2, device=starts.device)
    counter = blocks & _MASK, (blocks >> 32) | address.quantity << 16, sequences & _MASK, sequences >> 32
    words = torch.stack(philox(counter, (address.seed & _MASK, address.seed >> 32)), dim=-1).flatten(1)
    return words.gather(1, starts % WORDS + torch.arange(time, device=starts.device))


def fill_words(out: Tensor, address: Address) -> None:
    """Fill rows with the words of consecutive steps (see `ffattn.rng.fill_words`)."""
    out.copy_(_words(out.shape[1], address))


def fill_inputs(out: Tensor, stops: Tensor, address: Address, choice: Choice) -> None:
    """Fill inputs with a choice for each step (see `ffattn.rng.fill_inputs`)."""
    time = out.shape[1]
    which = _words(time, address) * choice.levels >> 32
    steps = address.starts[:, None] + torch.arange(time, device=out.device)
    is_symbol = choice.step == 0
    places = choice.feature + which if is_symbol else torch.full_like(which, choice.feature)
    values = torch.ones_like(which, dtype=torch.float32) if is_symbol else choice.low + choice.step * which.float()
    out.zero_().scatter_(2, places[..., None], (values * (steps < stops[:, None]))[..., None])

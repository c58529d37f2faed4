"""The random numbers once more, one at a time, in Python's own integers: slow, and plain enough to check by eye."""

from typing import NamedTuple

MASK = 2**32 - 1
KNOWN_ANSWERS = [  # Random123's kat_vectors for philox4x32-10: counter, key and result
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


class Address(NamedTuple):
    seed: int
    split: int
    sequence: int
    step: int
    field: int


def philox(counter, key):
    """Philox 4x32-10 (Salmon et al. 2011)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (product1 >> 32) ^ c1 ^ k0, product1 & MASK, (product0 >> 32) ^ c3 ^ k1, product0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def words(address):
    """What four steps share. The key is the seed; the counter: block (48 bits), field (8), split (8), sequence (64)."""
    block = address.step // 4
    high = address.split * 2**24 + address.field * 2**16 + block // 2**32
    counter = block % 2**32, high, address.sequence % 2**32, address.sequence // 2**32
    return philox(counter, (address.seed % 2**32, address.seed // 2**32))


def uniform(address):
    return (words(address)[address.step % 4] >> 8) / 2**24


def choice(address, count):
    return words(address)[address.step % 4] * count // 2**32


def integer(address, low, high):
    """One for each sequence, whatever the step: it has 64 bits of step 0's block."""
    first, second, _, _ = words(address._replace(step=0))
    return low + (first * 2**32 + second) * (high - low + 1) // 2**64

"""Philox 4x32-10 on the CPU, compiled by Numba: chunks of words, which the vector unit makes eight abreast."""

from typing import Any

import numpy as np
from torch import Tensor

from ffattn.compiled import exact_kernel, kernel, share, team

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_MASK, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_EIGHT, _UNIT = np.uint64(8), np.float32(2.0**-24)
_CHUNK = 256  # blocks of four words that are made at a time; they stay in the first-level cache
_SMALL = 2**15  # numbers that take less time than waking a thread


@kernel
def _make(words: Any, count: int, block: int, sequence: int, address: int, seed: int) -> None:
    """The words of some consecutive blocks, (4, block). All in 64 bits: a product of two words fits."""
    high, low = np.uint64(sequence) >> _HALF, np.uint64(sequence) & _MASK
    for b in range(count):
        number = np.uint64(block) + np.uint64(b)
        c0, c1 = number & _MASK, (number >> _HALF) | np.uint64(address << 16)
        c2, c3 = low, high
        k0, k1 = np.uint64(seed) & _MASK, np.uint64(seed) >> _HALF
        for _ in range(10):
            p0, p1 = c0 * _M0, c2 * _M1
            c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _MASK, (p0 >> _HALF) ^ c3 ^ k1, p0 & _MASK
            k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
        words[0, b], words[1, b], words[2, b], words[3, b] = c0, c1, c2, c3


@exact_kernel
def _to_unit(word: int) -> float:
    """A float32 on [0, 1) from the top 24 bits, so that every value is exact."""
    return np.float32(np.int32(word >> _EIGHT)) * _UNIT


@kernel
def _fill_row(
    place: int,
    part: int,
    out: Any,
    sequences: Any,
    starts: Any,
    address: int,
    seed: int,
    is_uniform: bool,
) -> None:
    """Fill one row, a chunk of blocks at a time; the first block and the last may be used in part."""
    row, start, words = out[part], starts[part], np.empty((4, _CHUNK), np.uint64)
    first, stop = start // 4, (start + len(row) + 3) // 4
    for chunk in range(first, stop, _CHUNK):
        count = min(_CHUNK, stop - chunk)
        _make(words, count, chunk, sequences[part], address, seed)
        begin = 4 * chunk - start
        for lane in range(4):
            low = 1 if begin + lane < 0 else 0
            high = min(count, (len(row) - begin - lane + 3) // 4)
            if is_uniform:
                for b in range(low, high):
                    row[begin + lane + 4 * b] = _to_unit(words[lane, b])
            else:
                for b in range(low, high):
                    row[begin + lane + 4 * b] = np.int64(words[lane, b])


@kernel
def _fill_rows(team: Any, out: Any, sequences: Any, starts: Any, address: int, seed: int, is_uniform: bool) -> None:
    """Row after row, shared by a team of threads."""
    share(team, len(out), _fill_row, (out, sequences, starts, address, seed, is_uniform))


def fill(out: Tensor, sequences: Tensor, starts: Tensor, address: int, seed: int) -> None:
    """Fill rows with the numbers of consecutive steps (see `ffattn.philox.fill`)."""
    columns = sequences.contiguous().numpy(), starts.contiguous().numpy()  # of one layout: fewer types to compile for
    with team(is_small=out.numel() < _SMALL) as threads:
        _fill_rows(threads, out.numpy(), *columns, address, seed, out.is_floating_point())

"""Philox 4x32-10 on the CPU, compiled by Numba: chunks of words, which the vector unit makes eight abreast."""

from typing import Any

import numpy as np
from torch import Tensor

from ffattn.kernels.jit import exact_kernel, float_to_bits, kernel
from ffattn.kernels.threads import ThreadPool, parallel_for
from ffattn.rng.inputs import Address, Choice

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_CHUNK = 256  # blocks of four words that are made at a time; they stay in the first-level cache
_SMALL = 2**15  # numbers that take less time than waking a thread


@kernel
def _make_blocks(words: Any, count: int, block: int, sequence: int, quantity: int, seed: int) -> None:
    """Make the words of some consecutive blocks, (4 * block). All in 64 bits: a product of two words fits."""
    for b in range(count):
        number = np.uint64(block) + np.uint64(b)
        c0 = number & _MASK
        c1 = (number >> _HALF) | np.uint64(quantity << 16)
        c2 = np.uint64(sequence) & _MASK
        c3 = np.uint64(sequence) >> _HALF
        k0 = np.uint64(seed) & _MASK
        k1 = np.uint64(seed) >> _HALF
        for _ in range(10):
            c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
            k0 = (k0 + _W0) & _MASK
            k1 = (k1 + _W1) & _MASK
        words[4 * b] = np.uint32(c0)
        words[4 * b + 1] = np.uint32(c1)
        words[4 * b + 2] = np.uint32(c2)
        words[4 * b + 3] = np.uint32(c3)


@kernel
def _round(c0: int, c1: int, c2: int, c3: int, k0: int, k1: int) -> tuple[int, int, int, int]:
    """Return the counter after one round of Philox."""
    p0 = c0 * _M0
    p1 = c2 * _M1
    return (p1 >> _HALF) ^ c1 ^ k0, p1 & _MASK, (p0 >> _HALF) ^ c3 ^ k1, p0 & _MASK


@kernel
def _fill_words(worker: int, part: int, out: Any, sequences: Any, starts: Any, quantity: int, seed: int) -> None:
    """Fill one row; its first block and its last may be used in part."""
    row = out[part]
    unused = starts[part] % 4
    words = np.empty((unused + len(row) + 3) // 4 * 4, np.uint32)
    _make_blocks(words, len(words) // 4, starts[part] // 4, sequences[part], quantity, seed)
    row[:] = words[unused : unused + len(row)]


@exact_kernel
def _write_choices(inputs: Any, words: Any, choice: Any) -> None:
    """Write the choices that words stand for, and zeros around them, into memory that is in the cache then.

    The words may be used up.
    """
    levels, feature, low, step = choice
    if step != 0 and feature == 0 and inputs.shape[1] == 2:  # a number and a zero, written at once
        pairs = inputs.reshape(-1).view(np.uint64)  # without gaps, which is what vectors need
        for i in range(len(words)):
            number = low + step * np.float32(np.int32((np.uint64(words[i]) * levels) >> _HALF))
            pairs[i] = np.uint64(np.uint32(float_to_bits(number)))
        return
    inputs[:] = 0
    if step == 0:
        symbols = inputs[:, feature:]
        for i in range(len(words)):
            symbols[i, (np.uint64(words[i]) * levels) >> _HALF] = 1
    else:
        numbers = words.view(np.float32)  # in the words' place
        for i in range(len(words)):  # apart from the next loop, whose steps are too far apart for vectors
            numbers[i] = low + step * np.float32(np.int32((np.uint64(words[i]) * levels) >> _HALF))
        for i in range(len(words)):
            inputs[i, feature] = numbers[i]


@kernel
def _fill_inputs(
    worker: int,
    part: int,
    out: Any,
    stops: Any,
    sequences: Any,
    starts: Any,
    quantity: int,
    seed: int,
    choice: Any,
) -> None:
    """Fill the inputs of one sequence, a chunk of blocks at a time."""
    inputs = out[part]
    start = starts[part]
    time = max(0, min(len(inputs), stops[part] - start))
    words = np.empty(4 * min(_CHUNK, time // 4 + 2), np.uint32)
    for first in range(-(start % 4), time, 4 * _CHUNK):
        blocks = min(_CHUNK, (time - first + 3) // 4)
        _make_blocks(words, blocks, (start + first) // 4, sequences[part], quantity, seed)
        begin = max(0, first)
        end = min(time, first + 4 * blocks)
        _write_choices(inputs[begin:end], words[begin - first : end - first], choice)
    inputs[time:] = 0


@kernel
def _fill_all_words(handle: Any, out: Any, sequences: Any, starts: Any, quantity: int, seed: int) -> None:
    """Fill row after row, shared by threads."""
    parallel_for(handle, len(out), _fill_words, (out, sequences, starts, quantity, seed))


@kernel
def _fill_all_inputs(
    handle: Any, out: Any, stops: Any, sequences: Any, starts: Any, quantity: int, seed: int, choice: Any
) -> None:
    """Fill sequence after sequence, shared by threads."""
    parallel_for(handle, len(out), _fill_inputs, (out, stops, sequences, starts, quantity, seed, choice))


def _column(numbers: Tensor) -> Any:
    """Return numbers in one layout: fewer types to compile for."""
    return numbers.contiguous().numpy()


def fill_words(out: Tensor, address: Address) -> None:
    """Fill rows with the words of consecutive steps (see `ffattn.rng.fill_words`)."""
    sequences, starts, *rest = address
    with ThreadPool.borrow(is_small=out.numel() < _SMALL) as workers:
        _fill_all_words(workers.handle, out.numpy(), _column(sequences), _column(starts), *rest)


def fill_inputs(out: Tensor, stops: Tensor, address: Address, choice: Choice) -> None:
    """Fill inputs with a choice for each step (see `ffattn.rng.fill_inputs`)."""
    sequences, starts, *rest = address
    columns = (_column(stops), _column(sequences), _column(starts))
    numbers = (np.uint64(choice.levels), choice.feature, np.float32(choice.low), np.float32(choice.step))
    with ThreadPool.borrow(is_small=out.numel() < _SMALL) as workers:
        _fill_all_inputs(workers.handle, out.numpy(), *columns, *rest, numbers)

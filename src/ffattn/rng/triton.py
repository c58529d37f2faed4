"""Philox 4x32-10 on NVIDIA GPUs, by Triton's own implementation: one launch, and nothing waits for it."""

from inspect import unwrap
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ffattn.rng.inputs import Address, Choice

_BLOCKS = 128  # blocks of four words that a program makes


def _words(sequences, starts, quantity, seed, row, chunk, BLOCKS: tl.constexpr):
    """Return the words of consecutive blocks of a row, and the first of their steps, counted from the row's first."""
    sequence = tl.load(sequences + row)
    start = tl.load(starts + row)
    block = start // 4 + chunk.to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    c0 = block.to(tl.uint32)
    c1 = ((block >> 32) | (quantity << 16)).to(tl.uint32)
    zeros = tl.zeros_like(block)
    c2 = (zeros + sequence).to(tl.uint32)
    c3 = (zeros + (sequence >> 32)).to(tl.uint32)
    return tl.philox(seed, c0, c1, c2, c3), 4 * block - start


def _fill_words_kernel(out, sequences, starts, quantity, seed, time, chunks, BLOCKS: tl.constexpr):
    """Fill some blocks of a row: program row * chunks + chunk."""
    row = (tl.program_id(0) // chunks).to(tl.int64)
    chunk = tl.program_id(0) % chunks
    words, first = _words(sequences, starts, quantity, seed, row, chunk, BLOCKS)
    for lane in tl.static_range(4):
        step = first + lane
        tl.store(out + row * time + step, words[lane].to(tl.int64), (step >= 0) & (step < time))


def _fill_inputs_kernel(
    out,
    stops,
    sequences,
    starts,
    quantity,
    seed,
    time,
    chunks,
    levels,
    feature,
    low,
    spacing,
    FEATURES: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """Fill some blocks of the inputs of one sequence, with the zeros of the other features and of the padding."""
    row = (tl.program_id(0) // chunks).to(tl.int64)
    chunk = tl.program_id(0) % chunks
    words, first = _words(sequences, starts, quantity, seed, row, chunk, BLOCKS)
    length = tl.load(stops + row) - tl.load(starts + row)
    for lane in tl.static_range(4):
        step = first + lane
        which = (words[lane].to(tl.int64) * levels) >> 32
        value = tl.where(spacing == 0, 1.0, low + spacing * which.to(tl.float32))
        place = tl.where(step < length, feature + tl.where(spacing == 0, which, 0), -1)
        for f in tl.static_range(FEATURES):
            number = tl.where(place == f, value, 0.0)
            tl.store(out + (row * time + step) * FEATURES + f, number, (step >= 0) & (step < time))


# A new seed or window must not compile anew; a wrapper, such as the tests' type checks, is taken off first.
_words = triton.jit(unwrap(_words))
_ANY = ["quantity", "seed", "time", "chunks", "levels", "feature", "low", "spacing"]
_launch_words = triton.jit(unwrap(_fill_words_kernel), do_not_specialize=_ANY[:4])
_launch_inputs = triton.jit(unwrap(_fill_inputs_kernel), do_not_specialize=_ANY)


def _grid(out: Tensor, address: Address) -> tuple[int, tuple[Any, ...]]:
    """Return how many programs there are, and the arguments that both kernels share."""
    batch, time = out.shape[:2]
    chunks = triton.cdiv(time // 4 + 2, _BLOCKS)  # a window that begins inside a block touches up to two more
    sequences = address.sequences.contiguous()
    starts = address.starts.contiguous()
    return batch * chunks, (sequences, starts, address.quantity, address.seed, time, chunks)


def fill_words(out: Tensor, address: Address) -> None:
    """Fill rows with the words of consecutive steps (see `ffattn.rng.fill_words`)."""
    programs, arguments = _grid(out, address)
    with torch.cuda.device_of(out):
        _launch_words[(programs,)](out, *arguments, _BLOCKS)


def fill_inputs(out: Tensor, stops: Tensor, address: Address, choice: Choice) -> None:
    """Fill inputs with a choice for each step (see `ffattn.rng.fill_inputs`)."""
    programs, arguments = _grid(out, address)
    with torch.cuda.device_of(out):
        _launch_inputs[(programs,)](out, stops.contiguous(), *arguments, *choice, out.shape[2], _BLOCKS)

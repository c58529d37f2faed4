"""Philox 4x32-10 on NVIDIA GPUs, by Triton's own implementation: one launch, and nothing waits for it."""

from inspect import unwrap

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCKS = 128  # blocks of four words that a program makes


def _fill_kernel(  # without annotations: Triton takes them for its own
    out,
    sequences,
    starts,
    address,
    seed,
    time,
    chunks,
    stride_row,
    stride_step,
    IS_UNIFORM: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """Some blocks of a row: program row * chunks + chunk."""
    row, chunk = (tl.program_id(0) // chunks).to(tl.int64), tl.program_id(0) % chunks
    sequence, start = tl.load(sequences + row), tl.load(starts + row)
    block = start // 4 + chunk.to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    c0, c1 = block.to(tl.uint32), ((block >> 32) | (address << 16)).to(tl.uint32)
    zeros = tl.zeros_like(block)
    c2, c3 = (zeros + sequence).to(tl.uint32), (zeros + (sequence >> 32)).to(tl.uint32)
    words = tl.philox(seed, c0, c1, c2, c3)
    for lane in tl.static_range(4):
        step = 4 * block + lane - start
        place = out + row * stride_row + step * stride_step
        if IS_UNIFORM:
            number = (words[lane] >> 8).to(tl.int32).to(tl.float32) * 5.9604644775390625e-08  # 2^-24
        else:
            number = words[lane].to(tl.int64)
        tl.store(place, number, (step >= 0) & (step < time))


# A new seed or window must not compile anew; a wrapper, such as the tests' type checks, is taken off first.
_fill = triton.jit(unwrap(_fill_kernel), do_not_specialize=["address", "seed", "time", "chunks"])


def fill(out: Tensor, sequences: Tensor, starts: Tensor, address: int, seed: int) -> None:
    """Fill rows with the numbers of consecutive steps (see `ffattn.philox.fill`)."""
    (batch, time), sequences, starts = out.shape, sequences.contiguous(), starts.contiguous()
    chunks = triton.cdiv(time // 4 + 2, _BLOCKS)  # a window that begins inside a block touches up to two more
    places = time, chunks, *out.stride()
    with torch.cuda.device_of(out):
        _fill[(batch * chunks,)](out, sequences, starts, address, seed, *places, out.is_floating_point(), _BLOCKS)

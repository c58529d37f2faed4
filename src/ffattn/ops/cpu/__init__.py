"""Attention over time on the CPU, compiled by Numba: a tile of time steps at a time, nothing stored but the scores.

A tile's states are computed in registers wherever they are needed: caches take them in, and give them back, more
slowly. A backward pass keeps their signs, a bit for each, where vectors have masks (AVX-512). Where there are more
than two features, what the others add to the states lies in the second-level cache, hidden unit by hidden unit; so do
states that are given. Vectors hold consecutive steps of one sequence, or one step of each of 16 short sequences.
Threads take parts of the tiles. Tiles and parts are functions of the shape, and partial sums are added in a fixed
order, in float64: the number of threads changes no bit.

`tiling` puts sequences into tiles, `tiles` moves numbers into them and out, `states` and `gradients` have the loops
over hidden units, `forward` and `backward` the passes; this file has what Python does before and after them.
"""

import math
import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffattn.kernels.simd import LANES, has_masks
from ffattn.kernels.threads import ThreadPool
from ffattn.ops.cpu.backward import run_backward
from ffattn.ops.cpu.forward import run_forward
from ffattn.ops.cpu.types import MEAN, NORMALIZERS, SCORES, STEP_ROWS, TILE_SIZE, UNITS, Given
from ffattn.ops.reference import Outer, Results

KEEPS_SIGNS = has_masks()  # between the loops of a backward pass, rather than to find them again
_STATES = 2**16  # at most so many states are held at a time, where they are: 256 kB, of a second-level cache
_NOTHING = tuple(np.zeros((0,) * axes, np.float32) for axes in range(3))


def _floats(tensor: Tensor | None, axes: int) -> Any:
    """Return a tensor's numbers as float32, in one layout, for which less is compiled; an empty array for None.

    By DLPack, since a tensor that has given its memory to `numpy()` cannot free it, as FSDP does with parameters.
    """
    if tensor is None:
        return _NOTHING[axes]
    tensor = tensor.detach()
    is_ready = tensor.dtype is torch.float32 and tensor.is_contiguous()  # a call that does nothing takes its time
    return np.from_dlpack(tensor if is_ready else tensor.float().contiguous())


def _bits(x: Tensor) -> Any:
    """Return the tensor's memory: float32, or the bits of bfloat16 as int16."""
    x = x.detach()
    return (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()


def _given(
    x: Tensor,
    lengths: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    slope: float,
    score: str,
    normalizer: str,
) -> Given:
    """Return an operator's arguments as kernels take them."""
    return Given(
        _bits(x),
        lengths.long().contiguous().numpy(),  # of one type, for which less is compiled, and with a sign
        _floats(scale, 1),
        0.0 if shift is None else shift.item(),
        _floats(weight, 2),
        _floats(bias, 1),
        _floats(query, 1).reshape(-1),
        0.0 if query_bias is None else query_bias.item(),
        slope,
        SCORES[score],
        NORMALIZERS[normalizer],
        KEEPS_SIGNS,
    )


_own = threading.local()  # what a thread keeps from call to call


def _spaces(threads: int, hidden: int, features: int, needs_x: bool = False) -> Any:
    """Return room for a tile for each thread. The caller's thread keeps it: fresh memory costs more than a short call.

    Rows are a vector longer than the tile: they start at multiples of a cache line, 64 bytes, but not of a power of
    two. States have no room where they are not held: those of two features, unless the inputs' gradients are needed.
    """
    units = -(-hidden // UNITS) * UNITS
    tile_size = TILE_SIZE
    if features in {1, 2} and not needs_x:
        units = 0
    else:
        tile_size = max(LANES, min(tile_size, _STATES // max(1, hidden) // LANES * LANES))
    shape = threads, STEP_ROWS + features + features % 2 + units, tile_size + LANES
    size = math.prod(shape)
    if getattr(_own, "size", 0) < size:
        _own.size = size
        _own.spaces = torch.empty(size).numpy()
    return _own.spaces[:size].reshape(shape)


def _attend(given: Given, hidden: int) -> Results:
    """Run the forward pass."""
    batch, time, _ = given.x.shape
    shapes = (batch,), (batch,), (batch, hidden), (batch, 0 if given.normalizer == MEAN else time)
    results = [np.empty(shape, np.float32) for shape in shapes]  # made faster than torch's, and as fast to hand over
    with ThreadPool.borrow() as workers:
        run_forward(workers.handle, given, _spaces(workers.threads, hidden, given.weight.shape[1]), *results)
    maximum, total, context, scores = map(torch.from_numpy, results)
    return maximum, total, context, scores


def feed_forward_attention_forward(
    x: Tensor,
    lengths: Tensor,
    weight: Tensor,
    bias: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    slope: float,
    score: str,
    normalizer: str,
) -> Results:
    """Return maximum, total, context and scores (see `reference.feed_forward_attention_forward`)."""
    given = _given(x, lengths, weight, bias, query, query_bias, shift, scale, slope, score, normalizer)
    return _attend(given, weight.shape[0])


def attention_pooling_forward(
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    score: str,
    normalizer: str,
) -> Results:
    """Return maximum, total, context and scores (see `reference.attention_pooling_forward`)."""
    given = _given(sequence, lengths, None, None, query, query_bias, shift, scale, 0.0, score, normalizer)
    return _attend(given, sequence.shape[2])


def _differentiate(
    outer: Outer, given: Given, parameters: tuple[Tensor | None, ...], kept: Results, x: Tensor, needs_x: bool
) -> tuple[Tensor, ...]:
    """Return gradients of inputs (empty, unless needed), weight, bias, query and its bias (empty without one)."""
    hidden = kept[2].shape[1]
    g_x = np.zeros(given.x.shape if needs_x else (0, 0, 0), np.float32)
    own = [np.empty((0,) if parameter is None else parameter.shape, np.float32) for parameter in parameters]
    results = g_x, own[0].reshape(given.weight.shape), *(array.reshape(-1) for array in own[1:])
    incoming = tuple(_floats(gradient, axes) for gradient, axes in zip(outer, (1, 2, 2), strict=True))
    arrays = tuple(tensor.contiguous().numpy() for tensor in kept)
    with ThreadPool.borrow() as workers:
        spaces = _spaces(workers.threads, hidden, given.weight.shape[1], needs_x)
        run_backward(workers.handle, given, spaces, incoming, arrays, results)
    gradients = (_like(array, parameter, x) for array, parameter in zip(own, parameters, strict=True))
    return torch.from_numpy(g_x).to(x.dtype) if needs_x else x.new_empty(0), *gradients


def _like(gradient: Any, parameter: Tensor | None, x: Tensor) -> Tensor:
    """Return a gradient in its parameter's precision; in the inputs' for a parameter that is not there."""
    dtype = (x if parameter is None else parameter).dtype
    tensor = torch.from_numpy(gradient)
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


def feed_forward_attention_backward(
    grad_total: Tensor | None,
    grad_context: Tensor | None,
    grad_scores: Tensor | None,
    x: Tensor,
    lengths: Tensor,
    weight: Tensor,
    bias: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    maximum: Tensor,
    total: Tensor,
    context: Tensor,
    scores: Tensor,
    slope: float,
    score: str,
    normalizer: str,
    needs_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return gradients of inputs and parameters (see `reference.feed_forward_attention_backward`)."""
    given = _given(x, lengths, weight, bias, query, query_bias, shift, scale, slope, score, normalizer)
    outer = grad_total, grad_context, grad_scores
    kept = maximum, total, context, scores
    parameters = weight, bias, query, query_bias
    return _differentiate(outer, given, parameters, kept, x, needs_x)


def attention_pooling_backward(
    grad_total: Tensor | None,
    grad_context: Tensor | None,
    grad_scores: Tensor | None,
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    maximum: Tensor,
    total: Tensor,
    context: Tensor,
    scores: Tensor,
    score: str,
    normalizer: str,
    needs_sequence: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gradients of sequence and query (see `reference.attention_pooling_backward`)."""
    given = _given(sequence, lengths, None, None, query, query_bias, shift, scale, 0.0, score, normalizer)
    outer = grad_total, grad_context, grad_scores
    kept = maximum, total, context, scores
    parameters = None, None, query, query_bias
    g_sequence, _, _, *queries = _differentiate(outer, given, parameters, kept, sequence, needs_sequence)
    return g_sequence, *queries

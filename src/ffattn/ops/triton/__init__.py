"""Attention over time on NVIDIA GPUs, compiled by Triton: a tile of steps at a time, nothing stored but the scores.

There are two kinds of kernels: `lane_kernels` for few features, `tile_kernels` for many and for sequences that are
given. Pieces and programs are functions of the shape, and partial sums are added in a fixed order, without atomics.
Nothing waits for the GPU, so that a CUDA graph can hold it all.
"""

import torch
from torch import Tensor

from ffattn.ops.reference import Results
from ffattn.ops.triton import lanes as lane_kernels
from ffattn.ops.triton import tiles as tile_kernels
from ffattn.ops.triton.common import merge_kernel, sum_kernel

_TILE = 1024  # (step, hidden unit) pairs in a tile of states: 32 for each thread; twice as many spill registers
_WIDEST = 512  # hidden units that one warp holds then; wider layers take more warps
_LANES = 128  # steps of a tile of lanes, for each warp, at most: 4 for each thread
_HELD = 128  # numbers that a thread may hold for its hidden units
_PIECES = 2048  # programs of the forward pass, about: sixteen for each multiprocessor of a large GPU
_SHORTEST = 64  # steps of a piece, at least: short sequences have nothing to merge
_GROUPS = 2048  # programs of the backward pass, at most: each adds up gradients of its own
_NUMBERS = 2**24  # at most so many numbers in all programs' gradients
_FEW = 16  # up to so many features, lanes hold the columns of the embedding
_MERGED = 2048  # numbers of pieces that are merged at a time
_SUMMED = (256, 16)  # rows and columns of programs' gradients that are added up at a time
_SCORES = {"linear": 0, "tanh": 1, "tanh_states": 2}
_NORMALIZERS = {"softmax": 0, "relu2": 1, "mean": 2}

Optional = tuple[Tensor | None, ...]


def _quotient(a: int, b: int) -> int:
    """Return a / b, rounded up. Triton's own takes microseconds, which count in a pass of some tens of them."""
    return -(-a // b)


def _power_of_2(number: int) -> int:
    """Return the power of two that a positive number is, or the next."""
    return 1 << (number - 1).bit_length()


class _Launch:
    """How a problem is cut into pieces and tiles; both passes have the same.

    Args:
        x: Inputs, (batch, time, feature).
        hidden: Number of hidden units.
        is_embedded: Whether the operator embeds its inputs.
        score: `tanh`, `linear` or `tanh_states`.
        normalizer: `softmax`, `relu2` or `mean`.
    """

    def __init__(self, x: Tensor, hidden: int, is_embedded: bool, score: str, normalizer: str) -> None:
        batch, time, features = x.shape
        self.block = _power_of_2(hidden)
        self.normalizer = _NORMALIZERS[normalizer]
        piece = max(_SHORTEST, _quotient(time, max(1, _PIECES // max(1, batch))))
        self.has_lanes = is_embedded and features <= _FEW
        self.kernels = lane_kernels if self.has_lanes else tile_kernels
        if self.has_lanes:
            held = self.block * (4 * features + 7) // 32  # columns and other parameters, their gradients, a tile's sums
            warps = min(8, max(1, _power_of_2(_quotient(held, _HELD))))
            self.steps = min(_LANES * warps, max(32 * warps, _power_of_2(piece)))
        else:
            warps = min(8, max(1, self.block // _WIDEST))
            self.steps = max(1, _TILE // self.block)
        self.piece = _quotient(piece, self.steps) * self.steps
        self.pieces = max(1, _quotient(time, self.piece))
        self.items = batch * self.pieces
        self.shape = time, self.pieces, self.piece, *x.stride()
        self.constants = {
            "SCORE": _SCORES[score],
            "NORMALIZER": self.normalizer,
            "HIDDEN": hidden,
            "FEATURES": features,
            "STEPS": self.steps,
            "BLOCK": self.block,
            "num_warps": warps,
        }


def _contiguous(*tensors: Tensor | None) -> Optional:
    return tuple(None if tensor is None else tensor.contiguous() for tensor in tensors)


def _empty_sums(x: Tensor, rows: int, hidden: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return room for maximum, total and state."""
    maximum, total, state = (x.new_empty(shape, dtype=torch.float32) for shape in ((rows,), (rows,), (rows, hidden)))
    return maximum, total, state


def _forward(
    x: Tensor, lengths: Tensor, parameters: Optional, extras: Optional, slope: float, rule: tuple[str, str]
) -> Results:
    """Return maximum, total, context and scores. rule: score and normalizer."""
    weight = parameters[0]
    batch, time, features = x.shape
    hidden = features if weight is None else len(weight)
    launch = _Launch(x, hidden, weight is not None, *rule)
    scores = x.new_empty(batch, 0 if rule[1] == "mean" else time, dtype=torch.float32)
    sums = _empty_sums(x, launch.items, hidden)
    if not batch:
        return *sums, scores
    arguments = x, *_contiguous(lengths.long(), *parameters, *extras), scores, *sums
    with torch.cuda.device_of(x):
        constants = launch.constants | {"IS_WHOLE": launch.pieces == 1}
        launch.kernels.forward_kernel[(launch.items,)](*arguments, *launch.shape, slope, **constants)
        if launch.pieces > 1:
            parts = sums
            sums = _empty_sums(x, batch, hidden)
            sizes = _MERGED, max(1, _MERGED // launch.block), launch.block
            merge_kernel[(batch,)](*parts, *sums, launch.pieces, launch.normalizer, hidden, *sizes)
    return *sums, scores


def _backward(
    outer: Optional,
    x: Tensor,
    lengths: Tensor,
    parameters: Optional,
    extras: Optional,
    kept: Results,
    slope: float,
    rule: tuple[str, str],
    needs_x: bool,
) -> tuple[Tensor, ...]:
    """Return gradients of x, weight, bias, query and query_bias. rule: score and normalizer."""
    weight, bias, query, _ = parameters
    hidden = x.shape[2] if weight is None else len(weight)
    launch = _Launch(x, hidden, weight is not None, *rule)
    weights = 0 if weight is None else weight.numel()
    width = weights + 2 * hidden + 1
    g_x = torch.zeros(x.shape if needs_x else (0,), dtype=x.dtype, device=x.device)
    gradients = [None if p is None else torch.empty_like(p, memory_format=torch.contiguous_format) for p in parameters]
    programs = min(launch.items, _GROUPS, max(1, _NUMBERS // width))
    partial = x.new_empty(programs, width, dtype=torch.float32)
    with torch.cuda.device_of(x):
        if programs:
            g_total, g_context, g_scores = _contiguous(*outer)
            g_scores = g_scores if query is not None else None  # those of a mean have no steps
            inputs = x, *_contiguous(lengths.long(), weight, bias, query, *extras, *kept)
            passed = (partial.new_empty(programs, 2 * launch.steps),) if launch.has_lanes else ()
            arguments = g_total, g_context, g_scores, *inputs, g_x if needs_x else None, partial, *passed, launch.items
            constants = launch.constants | {"WEIGHTS": weights}
            launch.kernels.backward_kernel[(programs,)](*arguments, *launch.shape, slope, **constants)
        sum_kernel[(_quotient(width, _SUMMED[1]),)](partial, *gradients, programs, weights, hidden, *_SUMMED)
    return g_x, *(x.new_empty(0) if gradient is None else gradient for gradient in gradients)


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
    return _forward(x, lengths, (weight, bias, query, query_bias), (shift, scale), slope, (score, normalizer))


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
    outer = grad_total, grad_context, grad_scores
    parameters = weight, bias, query, query_bias
    kept = maximum, total, context, scores
    rule = score, normalizer
    arguments = outer, x, lengths, parameters, (shift, scale), kept, slope, rule, needs_x
    g_x, g_weight, g_bias, g_query, g_query_bias = _backward(*arguments)
    return g_x, g_weight, g_bias, g_query, g_query_bias


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
    return _forward(sequence, lengths, (None, None, query, query_bias), (shift, scale), 0.0, (score, normalizer))


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
    outer = grad_total, grad_context, grad_scores
    parameters = None, None, query, query_bias
    kept = maximum, total, context, scores
    rule = score, normalizer
    arguments = outer, sequence, lengths, parameters, (shift, scale), kept, 0.0, rule, needs_sequence
    g_sequence, _, _, g_query, g_query_bias = _backward(*arguments)
    return g_sequence, g_query, g_query_bias

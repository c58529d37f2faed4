"""Attention over time on NVIDIA GPUs, compiled by Triton: a tile of time steps at a time, only scores are stored.

A program walks over the tiles of a piece of a sequence. The states of a tile stay in registers, and the backward pass
computes them again. Tiles have five axes, so that Triton's default layout gives each thread what its loops need:

    0  ROUNDS  steps that a thread takes at a time
    1  WIDTH   features, where inputs are multiplied by weights
    2  UNITS   hidden units of a thread
    3  LANES   threads along time
    4  SPREAD  threads along the hidden units, all in one warp

Sums over hidden units take a few shuffles; running sums over time take none, as each thread keeps its own until the
end. Pieces and groups are functions of the shape, and partial sums are added in a fixed order, without atomics.
Nothing waits for the GPU, so a CUDA graph can capture it all.
"""

from collections.abc import Callable
from inspect import unwrap
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

_STEPS = 64  # steps of a tile: with 128 threads and 128 hidden units, a thread has 64 states in registers
_BLOCK = 128  # hidden units that a program holds; wider layers take a program for each block
_WARPS = 4
_UNITS = 16  # hidden units of a thread: more need fewer shuffles, and leave fewer registers for other threads
_FEW = 8  # up to so many features, weights stay in registers
_PIECES = 2048  # pieces of sequences, about: four rounds of the programs that an H100 or H200 holds, for a short tail
_SHORTEST = 128  # steps of a piece: at T = 50 a sequence is one piece, and there is nothing to merge
_GROUPS = 1024  # programs that share the backward pass: each adds up gradients of its own
_NUMBERS = 2**24  # at most so many numbers in all groups' gradients
_LOWEST = tl.constexpr(-1e30)  # below every score; finite, so that differences are numbers


def _kernel(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call. A wrapper, such as the tests' type checks, is taken off first."""
    return triton.jit(unwrap(function))


@_kernel
def _tanh(x: Any) -> Any:
    """Lambert's continued fraction (five terms) near zero, (e^2x - 1) / (e^2x + 1) elsewhere; one division for both."""
    size = tl.abs(x)
    power = tl.exp(2.0 * tl.where(size > 10.0, 10.0, size))
    square = x * x
    is_small = size < 0.625
    above = tl.where(is_small, x * (945.0 + square * (105.0 + square)), tl.where(x < 0.0, 1.0 - power, power - 1.0))
    return above / tl.where(is_small, 945.0 + square * (420.0 + square * 15.0), power + 1.0)


@_kernel
def _tile_steps(ROUNDS: tl.constexpr, LANES: tl.constexpr) -> Any:
    """Number of each step in a tile, [ROUNDS, 1, 1, LANES, 1]."""
    rounds = tl.arange(0, ROUNDS)[:, None, None, None, None]
    return rounds * LANES + tl.arange(0, LANES)[None, None, None, :, None]


@_kernel
def _tile_units(block: Any, UNITS: tl.constexpr, SPREAD: tl.constexpr) -> Any:
    """Number of each hidden unit, [1, 1, UNITS, 1, SPREAD]: runs of four in a thread, which one load can fetch."""
    RUN: tl.constexpr = 4 if UNITS > 4 else UNITS
    unit = tl.arange(0, UNITS)[None, None, :, None, None]
    lane = tl.arange(0, SPREAD)[None, None, None, None, :]
    return block * (UNITS * SPREAD) + unit // RUN * (RUN * SPREAD) + lane * RUN + unit % RUN


@_kernel
def _tile_features(WIDTH: tl.constexpr) -> Any:
    """Number of each feature, [1, WIDTH, 1, 1, 1]."""
    return tl.arange(0, WIDTH)[None, :, None, None, None]


@_kernel
def _find_piece(item: Any, lengths: Any, time: Any, pieces: Any, piece: Any) -> Any:
    """Sequence and first step of a piece; how many steps it has, and how many of them are real."""
    sequence = (item // pieces).to(tl.int64)
    start = (item % pieces * piece).to(tl.int64)
    size = tl.minimum(time - start, piece).to(tl.int32)
    real = tl.load(lengths + sequence) - start
    return sequence, start, size, tl.minimum(tl.maximum(real, 0), size).to(tl.int32)


@_kernel
def _load_units(vector: Any, unit: Any, HIDDEN: tl.constexpr) -> Any:
    """Numbers of a vector over the hidden units; zero beyond its end."""
    return tl.load(vector + unit, mask=unit < HIDDEN, other=0.0).to(tl.float32)


@_kernel
def _load_layer(
    weight: Any, bias: Any, unit: Any, HIDDEN: tl.constexpr, FEATURES: tl.constexpr, WIDTH: tl.constexpr,
    LAYER: tl.constexpr,
) -> Any:
    """Weights of few features, [1, WIDTH, UNITS, 1, SPREAD], and biases; numbers without a meaning where not needed."""
    weights, biases = 0.0, 0.0
    if LAYER != "none":
        biases = _load_units(bias, unit, HIDDEN)
    if LAYER == "few":
        feature = _tile_features(WIDTH)
        is_real = (unit < HIDDEN) & (feature < FEATURES)
        weights = tl.load(weight + unit * FEATURES + feature, mask=is_real, other=0.0).to(tl.float32)
    return weights, biases


@_kernel
def _load_inputs(
    x: Any, step: Any, valid: Any, stride_time: Any, stride_feature: Any, FEATURES: tl.constexpr, WIDTH: tl.constexpr
) -> Any:
    """Few features of a tile, [ROUNDS, WIDTH, 1, LANES, 1]; zero beyond a sequence's end."""
    feature = _tile_features(WIDTH)
    place = step.to(tl.int64) * stride_time + feature.to(tl.int64) * stride_feature
    return tl.load(x + place, mask=valid & (feature < FEATURES), other=0.0).to(tl.float32)


@_kernel
def _load_input_matrix(
    x: Any, step: Any, valid: Any, first: Any, stride_time: Any, stride_feature: Any,
    FEATURES: tl.constexpr, WIDTH: tl.constexpr,
) -> Any:
    """Some of many features of a tile, [steps, WIDTH]; zero beyond a sequence's end."""
    ROWS: tl.constexpr = step.shape[0] * step.shape[3]
    feature = first + tl.arange(0, WIDTH)[None, :]
    place = tl.reshape(step, [ROWS, 1]).to(tl.int64) * stride_time + feature.to(tl.int64) * stride_feature
    return tl.load(x + place, mask=tl.reshape(valid, [ROWS, 1]) & (feature < FEATURES), other=0.0).to(tl.float32)


@_kernel
def _place_weights(unit: Any, first: Any, HIDDEN: tl.constexpr, FEATURES: tl.constexpr, WIDTH: tl.constexpr) -> Any:
    """Where some of many features' weights are, [units, WIDTH], and which of them are."""
    ROWS: tl.constexpr = unit.shape[2] * unit.shape[4]
    feature = first + tl.arange(0, WIDTH)[None, :]
    row = tl.reshape(unit, [ROWS, 1])
    return row * FEATURES + feature, (row < HIDDEN) & (feature < FEATURES)


@_kernel
def _multiply(
    x: Any, weight: Any, step: Any, unit: Any, valid: Any, stride_time: Any, stride_feature: Any,
    HIDDEN: tl.constexpr, FEATURES: tl.constexpr, WIDTH: tl.constexpr,
) -> Any:
    """W x for many features, in full float32."""
    product = tl.zeros([step.shape[0] * step.shape[3], unit.shape[2] * unit.shape[4]], tl.float32)
    for first in range(0, FEATURES, WIDTH):
        inputs = _load_input_matrix(x, step, valid, first, stride_time, stride_feature, FEATURES, WIDTH)
        place, is_real = _place_weights(unit, first, HIDDEN, FEATURES, WIDTH)
        weights = tl.load(weight + place, mask=is_real, other=0.0).to(tl.float32)
        product = tl.dot(inputs, tl.trans(weights), product, input_precision="ieee")
    tile = tl.reshape(product, [step.shape[0], step.shape[3], 1, unit.shape[2], unit.shape[4]])
    return tl.permute(tile, [0, 2, 3, 1, 4])


@_kernel
def _multiply_back(
    grad: Any, x: Any, weight: Any, grad_weight: Any, grad_x: Any, step: Any, unit: Any, valid: Any, size: Any,
    stride_time: Any, stride_feature: Any,
    HIDDEN: tl.constexpr, FEATURES: tl.constexpr, WIDTH: tl.constexpr, NEEDS_X: tl.constexpr,
) -> Any:
    """Gradients of many features' weights, added to those in memory, and of their inputs."""
    ROWS: tl.constexpr = step.shape[0] * step.shape[3]
    row = tl.reshape(step, [ROWS, 1])
    grad = tl.reshape(tl.permute(grad, [0, 3, 1, 2, 4]), [ROWS, unit.shape[2] * unit.shape[4]])
    for first in range(0, FEATURES, WIDTH):
        inputs = _load_input_matrix(x, step, valid, first, stride_time, stride_feature, FEATURES, WIDTH)
        place, is_real = _place_weights(unit, first, HIDDEN, FEATURES, WIDTH)
        before = tl.load(grad_weight + place, mask=is_real, other=0.0)
        tl.store(grad_weight + place, tl.dot(tl.trans(grad), inputs, before, input_precision="ieee"), mask=is_real)
        if NEEDS_X:
            weights = tl.load(weight + place, mask=is_real, other=0.0).to(tl.float32)
            feature = first + tl.arange(0, WIDTH)[None, :]
            grad_inputs = tl.dot(grad, weights, input_precision="ieee")
            tl.store(grad_x + row * FEATURES + feature, grad_inputs, mask=(row < size) & (feature < FEATURES))
    tl.debug_barrier()  # the next tile reads what other threads may have written


@_kernel
def _tile_states(
    x: Any, weight: Any, weights: Any, biases: Any, step: Any, unit: Any, valid: Any,
    stride_time: Any, stride_feature: Any, slope: Any,
    HIDDEN: tl.constexpr, FEATURES: tl.constexpr, WIDTH: tl.constexpr, LAYER: tl.constexpr,
) -> Any:
    """States of a tile, [ROUNDS, 1, UNITS, LANES, SPREAD]: read, or computed; finite beyond a sequence's end."""
    if LAYER == "none":
        place = step.to(tl.int64) * stride_time + unit.to(tl.int64) * stride_feature
        states = tl.load(x + place, mask=valid & (unit < HIDDEN), other=0.0).to(tl.float32)
    else:
        if LAYER == "few":
            inputs = _load_inputs(x, step, valid, stride_time, stride_feature, FEATURES, WIDTH)
            linear = tl.sum(inputs * weights, axis=1, keep_dims=True) + biases
        else:
            linear = biases + _multiply(
                x, weight, step, unit, valid, stride_time, stride_feature, HIDDEN, FEATURES, WIDTH
            )
        states = tl.where(linear > 0.0, linear, slope * linear)
    return states


@_kernel
def _dot(states: Any, vector: Any) -> Any:
    """Product with a vector over the hidden units of a tile, [ROUNDS, 1, 1, LANES, 1]."""
    return tl.sum(tl.sum(states * vector, axis=2, keep_dims=True), axis=4, keep_dims=True)


@_kernel
def _load_scaling(shift: Any, scale: Any, sequence: Any) -> Any:
    """What is added to each score, and the factor after that."""
    added, factor = 0.0, 1.0
    if shift is not None:
        added = tl.load(shift)
    if scale is not None:
        factor = tl.load(scale + sequence)
    return added, factor


@_kernel
def _weigh(scores: Any, maximum: Any, valid: Any, NORMALIZER: tl.constexpr) -> Any:
    """Weights before division by their sum; zero for steps that do not count."""
    if NORMALIZER == "softmax":
        weights = tl.exp(tl.where(valid, scores - maximum, _LOWEST))
    elif NORMALIZER == "relu2":
        weights = tl.where(valid & ~(scores < 0.0), scores * scores, 0.0)  # NaN stays NaN
    else:
        weights = valid.to(tl.float32)
    return weights


@_kernel
def _clear(
    target: Any, step: Any, column: Any, count: Any, size: Any, STEPS: tl.constexpr, COLUMNS: tl.constexpr
) -> Any:
    """Write zeros into the tiles that have no real step."""
    for first in range((count + STEPS - 1) // STEPS * STEPS, size, STEPS):
        is_real = (first + step < size) & (column < COLUMNS)
        tl.store(target + (first + step) * COLUMNS + column, 0.0, mask=is_real)


@_kernel
def _project_kernel(
    x: Any, lengths: Any, weight: Any, bias: Any, vector: Any, constant: Any, products: Any,
    time: Any, pieces: Any, piece: Any, stride_batch: Any, stride_time: Any, stride_feature: Any, slope: Any,
    stride_vector: Any, stride_constant: Any, SCORE: tl.constexpr,
    HIDDEN: tl.constexpr, FEATURES: tl.constexpr, WIDTH: tl.constexpr, LAYER: tl.constexpr,
    ROUNDS: tl.constexpr, UNITS: tl.constexpr, LANES: tl.constexpr, SPREAD: tl.constexpr,
) -> None:
    """vector . h_t + constant, or another score, of the steps of a piece, over all blocks of hidden units."""
    STEPS: tl.constexpr = ROUNDS * LANES
    sequence, start, size, count = _find_piece(tl.program_id(0), lengths, time, pieces, piece)
    x += sequence * stride_batch
    products += sequence * time + start
    vector += sequence * stride_vector
    added = tl.load(constant + sequence * stride_constant).to(tl.float32)
    step = _tile_steps(ROUNDS, LANES)
    for first in range(0, count, STEPS):
        valid = first + step < count
        score = tl.zeros([ROUNDS, 1, 1, LANES, 1], tl.float32) + added
        for block in range(0, (HIDDEN + UNITS * SPREAD - 1) // (UNITS * SPREAD)):
            unit = _tile_units(block, UNITS, SPREAD)
            weights, biases = _load_layer(weight, bias, unit, HIDDEN, FEATURES, WIDTH, LAYER)
            states = _tile_states(
                x + (start + first) * stride_time, weight, weights, biases, step, unit, valid,
                stride_time, stride_feature, slope, HIDDEN, FEATURES, WIDTH, LAYER,
            )
            if SCORE == "tanh_states":
                states = _tanh(states)
            score += _dot(states, _load_units(vector, unit, HIDDEN))
        if SCORE == "tanh":
            score = _tanh(score)
        tl.store(products + first + step, tl.where(valid, score, 0.0), mask=first + step < size)
    _clear(products, step, step * 0, count, size, STEPS, 1)


@_kernel
def _forward_kernel(
    x: Any, lengths: Any, weight: Any, bias: Any, query: Any, query_bias: Any, shift: Any, scale: Any,
    scores: Any, maximum: Any, total: Any, state: Any,
    time: Any, pieces: Any, piece: Any, stride_batch: Any, stride_time: Any, stride_feature: Any, slope: Any,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, IS_SCORED: tl.constexpr,
    HIDDEN: tl.constexpr, FEATURES: tl.constexpr, WIDTH: tl.constexpr, LAYER: tl.constexpr,
    ROUNDS: tl.constexpr, UNITS: tl.constexpr, LANES: tl.constexpr, SPREAD: tl.constexpr,
) -> None:
    """Scores of a piece (unless they are known), and what weights and weighted states add up to, by online softmax."""
    STEPS: tl.constexpr = ROUNDS * LANES
    item = tl.program_id(0).to(tl.int64)
    sequence, start, size, count = _find_piece(tl.program_id(0), lengths, time, pieces, piece)
    x += sequence * stride_batch
    step, unit = _tile_steps(ROUNDS, LANES), _tile_units(tl.program_id(1), UNITS, SPREAD)
    weights, biases = _load_layer(weight, bias, unit, HIDDEN, FEATURES, WIDTH, LAYER)
    if NORMALIZER != "mean":
        scores += sequence * time + start
        added, factor = _load_scaling(shift, scale, sequence)
        queries, query_added = _load_units(query, unit, HIDDEN), tl.load(query_bias).to(tl.float32)
    top = tl.full([1, 1, 1, LANES, 1], _LOWEST, tl.float32)
    sums = tl.zeros([1, 1, 1, LANES, 1], tl.float32)
    state_sums = tl.zeros([1, 1, UNITS, LANES, SPREAD], tl.float32)
    for first in range(0, count, STEPS):
        valid = first + step < count
        states = _tile_states(
            x + (start + first) * stride_time, weight, weights, biases, step, unit, valid,
            stride_time, stride_feature, slope, HIDDEN, FEATURES, WIDTH, LAYER,
        )
        scaled = tl.zeros([ROUNDS, 1, 1, LANES, 1], tl.float32)
        if NORMALIZER != "mean":
            if IS_SCORED:
                score = tl.load(scores + first + step, mask=valid, other=0.0)
            else:
                score = _dot(_tanh(states) if SCORE == "tanh_states" else states, queries) + query_added
                score = _tanh(score) if SCORE == "tanh" else score
                tl.store(scores + first + step, tl.where(valid, score, 0.0), mask=first + step < size)
            scaled = (score + added) * factor
        if NORMALIZER == "softmax":
            peak = tl.maximum(top, tl.max(tl.where(valid, scaled, _LOWEST), axis=0, keep_dims=True))
            sums *= tl.exp(top - peak)
            state_sums *= tl.exp(top - peak)
            top = peak
        weight_of = _weigh(scaled, top, valid, NORMALIZER)
        sums += tl.sum(weight_of, axis=0, keep_dims=True)
        state_sums += tl.sum(weight_of * states, axis=0, keep_dims=True)
    if (NORMALIZER != "mean") & (not IS_SCORED):
        _clear(scores, step, step * 0, count, size, STEPS, 1)
    if NORMALIZER == "softmax":
        peak = tl.max(tl.max(top, axis=3, keep_dims=True), axis=0, keep_dims=True)
        sums *= tl.exp(top - peak)
        state_sums *= tl.exp(top - peak)
        tl.store(maximum + item, tl.where(count > 0, tl.max(top), -float("inf")))
    else:
        tl.store(maximum + item, 0.0)
    tl.store(total + item, tl.sum(sums))
    tl.store(state + item * HIDDEN + unit, tl.sum(state_sums, axis=3, keep_dims=True), mask=unit < HIDDEN)


@_kernel
def _merge_kernel(
    maxima: Any, totals: Any, states: Any, maximum: Any, total: Any, state: Any, pieces: Any,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, PIECES: tl.constexpr,
) -> None:
    """Put together the pieces of a sequence, for a block of hidden units."""
    sequence = tl.program_id(0).to(tl.int64)
    unit = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    top = tl.full([PIECES, 1], _LOWEST, tl.float32)
    for first in range(0, pieces, PIECES):
        piece = first + tl.arange(0, PIECES)[:, None]
        top = tl.maximum(top, tl.load(maxima + sequence * pieces + piece, mask=piece < pieces, other=_LOWEST))
    peak = tl.max(top)
    sums = tl.zeros([PIECES, 1], tl.float32)
    state_sums = tl.zeros([PIECES, BLOCK], tl.float32)
    for first in range(0, pieces, PIECES):
        piece = first + tl.arange(0, PIECES)[:, None]
        place, is_real = sequence * pieces + piece, piece < pieces
        factor = tl.exp(tl.load(maxima + place, mask=is_real, other=_LOWEST) - peak)
        sums += factor * tl.load(totals + place, mask=is_real, other=0.0)
        state_sums += factor * tl.load(states + place * HIDDEN + unit, mask=is_real & (unit < HIDDEN), other=0.0)
    tl.store(maximum + sequence, tl.where(peak > _LOWEST, peak, -float("inf")))
    tl.store(total + sequence, tl.sum(sums))
    tl.store(state + sequence * HIDDEN + unit, tl.sum(state_sums, axis=0, keep_dims=True), mask=unit < HIDDEN)


@_kernel
def _backward_kernel(
    grad_total: Any, grad_state: Any, grad_scores: Any, x: Any, lengths: Any, weight: Any, bias: Any, query: Any,
    shift: Any, scale: Any, maximum: Any, scores: Any, products: Any, grad_x: Any, partial: Any,
    items: Any, numbers: Any, stride_block: Any,
    time: Any, pieces: Any, piece: Any, stride_batch: Any, stride_time: Any, stride_feature: Any, slope: Any,
    SCORE: tl.constexpr, NORMALIZER: tl.constexpr, NEEDS_X: tl.constexpr,
    HIDDEN: tl.constexpr, FEATURES: tl.constexpr, WIDTH: tl.constexpr, LAYER: tl.constexpr,
    ROUNDS: tl.constexpr, UNITS: tl.constexpr, LANES: tl.constexpr, SPREAD: tl.constexpr,
) -> None:
    """Gradients of the inputs, and of the parameters as one of the groups adds them up over its pieces, in order."""
    STEPS: tl.constexpr = ROUNDS * LANES
    COLUMNS: tl.constexpr = HIDDEN if LAYER == "none" else FEATURES
    partial += tl.program_id(0).to(tl.int64) * numbers
    grad_x += tl.program_id(1).to(tl.int64) * stride_block
    step, unit = _tile_steps(ROUNDS, LANES), _tile_units(tl.program_id(1), UNITS, SPREAD)
    column = unit if LAYER == "none" else _tile_features(WIDTH)
    weights, biases = _load_layer(weight, bias, unit, HIDDEN, FEATURES, WIDTH, LAYER)
    if NORMALIZER != "mean":
        queries = _load_units(query, unit, HIDDEN)
    g_weight = tl.zeros([1, WIDTH, UNITS, LANES, SPREAD], tl.float32)
    g_bias = tl.zeros([1, 1, UNITS, LANES, SPREAD], tl.float32)
    g_query = tl.zeros([1, 1, UNITS, LANES, SPREAD], tl.float32)
    g_query_bias = tl.zeros([1, 1, 1, LANES, 1], tl.float32)
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        sequence, start, size, count = _find_piece(item, lengths, time, pieces, piece)
        row = sequence * time + start
        g_state, g_total = _load_units(grad_state + sequence * HIDDEN, unit, HIDDEN), tl.load(grad_total + sequence)
        top = tl.load(maximum + sequence)
        added, factor = _load_scaling(shift, scale, sequence)
        for first in range(0, count, STEPS):
            valid = first + step < count
            x_tile = x + sequence * stride_batch + (start + first) * stride_time
            states = _tile_states(
                x_tile, weight, weights, biases, step, unit, valid,
                stride_time, stride_feature, slope, HIDDEN, FEATURES, WIDTH, LAYER,
            )
            if NORMALIZER == "mean":
                g_states = valid.to(tl.float32) * g_state
            else:
                score = tl.load(scores + row + first + step, mask=valid, other=0.0)
                scaled = (score + added) * factor
                weight_of = _weigh(scaled, top, valid, NORMALIZER)
                if products is None:
                    g_weight_of = _dot(states, g_state) + g_total
                else:
                    g_weight_of = tl.load(products + row + first + step, mask=valid, other=0.0)
                slope_of = weight_of if NORMALIZER == "softmax" else tl.where(scaled < 0.0, 0.0, 2.0 * scaled)
                g_score = slope_of * g_weight_of * factor
                if grad_scores is not None:
                    g_score += tl.load(grad_scores + row + first + step, mask=valid, other=0.0).to(tl.float32)
                if SCORE == "tanh":
                    g_score *= 1.0 - score * score
                g_score = tl.where(valid, g_score, 0.0)
                inner = _tanh(states) if SCORE == "tanh_states" else states
                g_inner = g_score * queries
                g_query += tl.sum(g_score * inner, axis=0, keep_dims=True)
                g_query_bias += tl.sum(g_score, axis=0, keep_dims=True)
                g_states = weight_of * g_state + (
                    g_inner * (1.0 - inner * inner) if SCORE == "tanh_states" else g_inner
                )
            grad_tile = grad_x + (row + first) * COLUMNS
            if LAYER == "none":
                is_real = (first + step < size) & (unit < HIDDEN)
                tl.store(grad_tile + step * HIDDEN + unit, g_states, mask=is_real)
            else:
                g_linear = tl.where(states > 0.0, g_states, slope * g_states)
                g_bias += tl.sum(g_linear, axis=0, keep_dims=True)
                if LAYER == "few":
                    inputs = _load_inputs(x_tile, step, valid, stride_time, stride_feature, FEATURES, WIDTH)
                    g_weight += tl.sum(g_linear * inputs, axis=0, keep_dims=True)
                    if NEEDS_X:
                        is_real = (first + step < size) & (column < FEATURES)
                        tl.store(grad_tile + step * FEATURES + column, _dot(g_linear, weights), mask=is_real)
                else:
                    _multiply_back(
                        g_linear, x_tile, weight, partial, grad_tile, step, unit, valid, size - first,
                        stride_time, stride_feature, HIDDEN, FEATURES, WIDTH, NEEDS_X,
                    )
        if NEEDS_X:
            for other in range(0, COLUMNS, COLUMNS if LAYER == "none" else WIDTH):
                _clear(grad_x + row * COLUMNS, step, column + other, count, size, STEPS, COLUMNS)
    is_real = unit < HIDDEN
    if LAYER == "few":
        place = partial + unit * FEATURES + column
        tl.store(place, tl.sum(g_weight, axis=3, keep_dims=True), mask=is_real & (column < FEATURES))
    if LAYER != "none":
        tl.store(partial + HIDDEN * FEATURES + unit, tl.sum(g_bias, axis=3, keep_dims=True), mask=is_real)
    if NORMALIZER != "mean":
        place = partial + numbers - HIDDEN - 1 + unit
        tl.store(place, tl.sum(g_query, axis=3, keep_dims=True), mask=is_real)
        tl.store(partial + numbers - 1, tl.sum(g_query_bias))


@_kernel
def _collect_kernel(
    partial: Any, weight: Any, bias: Any, query: Any, query_bias: Any, groups: Any, numbers: Any,
    WEIGHTS: tl.constexpr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr, GROUPS: tl.constexpr,
) -> None:
    """Add up the groups' gradients."""
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    sums = tl.zeros([GROUPS, BLOCK], tl.float32)
    for first in range(0, groups, GROUPS):
        group = first + tl.arange(0, GROUPS)[:, None]
        is_real = (group < groups) & (number < numbers)
        sums += tl.load(partial + group * numbers + number, mask=is_real, other=0.0)
    total = tl.sum(sums, axis=0, keep_dims=True)
    if weight is not None:
        tl.store(weight + number, total, mask=number < WEIGHTS)
        unit = number - WEIGHTS
        tl.store(bias + unit, total, mask=(unit >= 0) & (unit < HIDDEN))
    if query is not None:
        unit = number - (numbers - HIDDEN - 1)
        tl.store(query + unit, total, mask=(unit >= 0) & (unit < HIDDEN))
        tl.store(query_bias + unit * 0, total, mask=unit == HIDDEN)


class _Problem(NamedTuple):
    """Arguments that both passes have; without a weight, x are the states."""

    x: Tensor
    lengths: Tensor
    weight: Tensor | None
    bias: Tensor | None
    query: Tensor | None
    query_bias: Tensor | None
    shift: Tensor | None
    scale: Tensor | None
    slope: float
    score: str
    normalizer: str

    def packed(self) -> "_Problem":
        """The same with vectors and matrices that have no gaps in memory."""
        return _Problem(self.x, *_packed(*self[1:8]), *self[8:])

    @property
    def parameters(self) -> tuple[Tensor | None, ...]:
        """Weight, bias, query and query bias."""
        return self[2:6]


class _Plan(NamedTuple):
    """How the work is cut up: a function of the shape.

    Attributes:
        sizes: Steps of a sequence, its pieces, steps of a piece, and the strides of x.
        items: Pieces of all sequences.
        blocks: Blocks of hidden units.
        tile: Sizes of layer and tile, by the kernels' names.
    """

    sizes: tuple[int, ...]
    items: int
    blocks: int
    tile: dict[str, Any]


def _plan(x: Tensor, weight: Tensor | None) -> _Plan:
    batch, time, columns = x.shape
    hidden, features = (columns, 0) if weight is None else weight.shape
    layer = "none" if weight is None else ("few" if features <= _FEW else "many")
    width = min(32, max(16, _power_of_2(features))) if layer == "many" else _power_of_2(features)
    block = max(16 if layer == "many" else 1, min(_BLOCK, _power_of_2(hidden)))  # tl.dot takes no less than 16
    units = min(block, _UNITS // max(1, width // 2) if layer == "few" else _UNITS)
    lanes = 32 * _WARPS * units // block
    piece = _SHORTEST * max(1, triton.cdiv(batch * time, _SHORTEST * _PIECES))
    pieces = max(1, triton.cdiv(time, piece))
    tile = {"HIDDEN": hidden, "FEATURES": features, "WIDTH": width, "LAYER": layer, "num_warps": _WARPS}
    tile |= {"ROUNDS": max(1, _STEPS // lanes), "UNITS": units, "LANES": lanes, "SPREAD": block // units}
    return _Plan((time, pieces, piece, *x.stride()), batch * pieces, triton.cdiv(hidden, block), tile)


def _power_of_2(number: int) -> int:
    """The number, or the next power of two."""
    return 1 << max(0, number - 1).bit_length()


def _packed(*tensors: Tensor | None) -> list[Any]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def _new(x: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=x.device)


def _forward(problem: _Problem) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maximum, total, state and scores."""
    x, lengths, weight, bias, query, query_bias, _, _, slope, score, normalizer = problem = problem.packed()
    plan, (batch, time, _) = _plan(x, weight), x.shape
    hidden, pieces = plan.tile["HIDDEN"], plan.sizes[1]
    scores = _new(x, batch, 0 if normalizer == "mean" else time)
    sums = _new(x, plan.items), _new(x, plan.items), _new(x, plan.items, hidden)
    is_scored = plan.blocks > 1 and normalizer != "mean"
    with torch.cuda.device_of(x):
        if is_scored:
            layer, line = (x, lengths, weight, bias), (query, query_bias)
            _project_kernel[plan.items,](*layer, *line, scores, *plan.sizes, slope, 0, 0, score, **plan.tile)
        arguments = *problem[:8], scores, *sums, *plan.sizes, slope
        _forward_kernel[plan.items, plan.blocks](*arguments, score, normalizer, is_scored, **plan.tile)
        if pieces > 1:
            parts, sums = sums, (_new(x, batch), _new(x, batch), _new(x, batch, hidden))
            _merge_kernel[batch, triton.cdiv(hidden, 32)](*parts, *sums, pieces, hidden, 32, 32)
    return *sums, scores


def _backward(
    outer: tuple[Tensor, Tensor, Tensor | None], problem: _Problem, maximum: Tensor, scores: Tensor, needs_x: bool
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of x (empty, unless needed) and of the four parameters (empty, where there is none)."""
    grad_total, grad_state, grad_scores = _packed(*outer)
    x, lengths, weight, bias, query, *_, slope, score, normalizer = problem = problem.packed()
    plan, batch, time = _plan(x, weight), len(x), x.shape[1]
    numbers = sum(p.numel() for p in problem.parameters if p is not None)
    groups = max(1, min(plan.items, _GROUPS, _NUMBERS // max(1, numbers)))
    parts = _new(x, groups, numbers)
    if plan.tile["LAYER"] == "many":
        parts.zero_()  # products are added to it
    products = _new(x, batch, time) if plan.blocks > 1 and normalizer != "mean" else None
    slabs = plan.blocks if weight is not None and needs_x else 1  # what each block contributes to the gradient of x
    grad_x = torch.empty((slabs, *x.shape) if needs_x else 0, dtype=x.dtype if slabs == 1 else torch.float32, device=x.device)
    stride = grad_x.stride(0) if slabs > 1 else 0
    gradients = [x.new_empty(0) if p is None else torch.empty_like(p) for p in problem.parameters]
    with torch.cuda.device_of(x):
        if products is not None:
            arguments = x, lengths, weight, bias, grad_state, grad_total, products, *plan.sizes, slope
            _project_kernel[plan.items,](*arguments, plan.tile["HIDDEN"], 1, "linear", **plan.tile)
        arguments = grad_total, grad_state, grad_scores, x, lengths, weight, bias, query, problem.shift, problem.scale
        arguments += maximum, scores, products, grad_x, parts, plan.items, numbers, stride, *plan.sizes, slope
        _backward_kernel[groups, plan.blocks](*arguments, score, normalizer, needs_x, **plan.tile)
        if numbers:
            arguments = parts, *(None if p is None else g for p, g in zip(problem.parameters, gradients, strict=True))
            sizes = groups, numbers, 0 if weight is None else weight.numel(), plan.tile["HIDDEN"]
            _collect_kernel[triton.cdiv(numbers, 16),](*arguments, *sizes, 16, 64)
    if slabs > 1:
        grad_x = grad_x.sum(dim=0, keepdim=True).to(x.dtype)
    return grad_x[0] if needs_x else grad_x, gradients


Sums = tuple[Tensor, Tensor, Tensor, Tensor]


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
) -> Sums:
    """See `ffattn.ops.reference`; for x in float32 or bfloat16."""
    return _forward(
        _Problem(x, lengths, weight, bias, query, query_bias, shift, scale, slope, score, normalizer)
    )


def feed_forward_attention_backward(
    grad_total: Tensor,
    grad_state: Tensor,
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
    scores: Tensor,
    slope: float,
    score: str,
    normalizer: str,
    needs_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `ffattn.ops.reference`."""
    problem = _Problem(x, lengths, weight, bias, query, query_bias, shift, scale, slope, score, normalizer)
    grad_x, gradients = _backward((grad_total, grad_state, grad_scores), problem, maximum, scores, needs_x)
    return grad_x, gradients[0], gradients[1], gradients[2], gradients[3]


def attention_pooling_forward(
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    score: str,
    normalizer: str,
) -> Sums:
    """See `ffattn.ops.reference`; for sequences in float32 or bfloat16."""
    return _forward(
        _Problem(sequence, lengths, None, None, query, query_bias, shift, scale, 0.0, score, normalizer)
    )


def attention_pooling_backward(
    grad_total: Tensor,
    grad_state: Tensor,
    grad_scores: Tensor | None,
    sequence: Tensor,
    lengths: Tensor,
    query: Tensor | None,
    query_bias: Tensor | None,
    shift: Tensor | None,
    scale: Tensor | None,
    maximum: Tensor,
    scores: Tensor,
    score: str,
    normalizer: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `ffattn.ops.reference`."""
    problem = _Problem(sequence, lengths, None, None, query, query_bias, shift, scale, 0.0, score, normalizer)
    grad_sequence, gradients = _backward((grad_total, grad_state, grad_scores), problem, maximum, scores, True)
    return grad_sequence, gradients[2], gradients[3]

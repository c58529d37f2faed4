"""Loops over hidden units and steps: sums of states, and states times vectors, while states stay in registers.

LReLU(z) = slope z + (1 - slope) ReLU(z), where z = W x + b. The first part is linear in the inputs: it needs no loop
over hidden units and steps, only `fold` and the moments of `add_moments`.
"""

from typing import Any

from ffattn.kernels.jit import kernel
from ffattn.kernels.simd import LANES, larger, load, load_bits, positive, splat, store, store_bits, where
from ffattn.ops.cpu.elementary import tanh
from ffattn.ops.cpu.types import ONE, UNITS, WEIGHT, ZERO, Layer


@kernel
def splat_two(numbers: Any, k: int) -> Any:
    """Return vectors of numbers k and k + 1."""
    return splat(numbers[k]), splat(numbers[k + 1])


@kernel
def splat_four(numbers: Any, k: int) -> Any:
    """Return vectors of numbers k..k + 3."""
    return splat(numbers[k]), splat(numbers[k + 1]), splat(numbers[k + 2]), splat(numbers[k + 3])


@kernel
def splat_square(matrix: Any, k: int, f: int) -> Any:
    """Return vectors of rows k and k + 1, columns f and f + 1."""
    return splat(matrix[k, f]), splat(matrix[k, f + 1]), splat(matrix[k + 1, f]), splat(matrix[k + 1, f + 1])


@kernel
def load_two(rows: Any, k: int, p: int) -> Any:
    """Return 16 numbers of rows k and k + 1."""
    return load(rows, k, p), load(rows, k + 1, p)


@kernel
def load_four(rows: Any, k: int, p: int) -> Any:
    """Return 16 numbers of rows k..k + 3."""
    return load(rows, k, p), load(rows, k + 1, p), load(rows, k + 2, p), load(rows, k + 3, p)


@kernel
def store_four(rows: Any, k: int, p: int, a: Any, b: Any, c: Any, d: Any) -> None:
    """Put 16 numbers into rows k..k + 3."""
    store(rows, k, p, a)
    store(rows, k + 1, p, b)
    store(rows, k + 2, p, c)
    store(rows, k + 3, p, d)


@kernel
def signs_of(signs: Any, p: int, k: int) -> Any:
    """Return where z of hidden unit k is positive: a bit for each of 16 steps. Those of four units stand in a row."""
    return load_bits(signs, k // UNITS, p // LANES * UNITS + k % UNITS)


@kernel
def embed_other_features(inputs: Any, layer: Layer, width: int, states: Any) -> None:
    """Find b + W x for all but the first two features, if there are more; the loops over states add those two."""
    for k in range(0, len(layer.weight), 2):
        for f in range(2, layer.weight.shape[1], 2):
            u0, u1, w0, w1 = splat_square(layer.weight, k, f)
            b0, b1 = splat_two(layer.bias, k)
            for p in range(0, width, LANES):
                if f > 2:
                    b0, b1 = load_two(states, k, p)
                x0, x1 = load_two(inputs, f, p)
                store(states, k, p, b0 + u0 * x0 + u1 * x1)
                store(states, k + 1, p, b1 + w0 * x0 + w1 * x1)


@kernel
def fold(layer: Layer, vectors: Any, folded: Any) -> None:
    """Find vectors . W for each feature, and at last vectors . b, where each lane has a vector of its own."""
    for f in range(len(folded)):
        total = splat(ZERO)
        for k in range(len(layer.weight)):
            number = layer.weight[k, f] if f < layer.weight.shape[1] else layer.bias[k]
            total = total + splat(number) * load(vectors, k, 0)
        store(folded, f, 0, total)


@kernel
def project_linear(inputs: Any, folded: Any, slope: float, width: int, numbers: Any, row: int) -> None:
    """Add slope vectors . (W x + b) to a row, from what `fold` has found."""
    features = len(folded) - 1
    slopes = splat(slope)
    for p in range(0, width, LANES):
        store(numbers, row, p, load(numbers, row, p) + slopes * load(folded, features, 0))
    for f in range(features):
        for p in range(0, width, LANES):
            store(numbers, row, p, load(numbers, row, p) + slopes * load(folded, f, 0) * load(inputs, f, p))


@kernel
def project_relu(
    inputs: Any, states: Any, layer: Layer, slope: float, vectors: Any, width: int, numbers: Any, row: int, signs: Any
) -> None:
    """Add (1 - slope) vectors . ReLU(W x + b) to a row, four hidden units at a time; keep the signs of W x + b."""
    rest = splat(ONE - slope)
    zero = splat(ZERO)
    has_more = layer.weight.shape[1] > 2
    has_signs = signs.size > 0
    for k in range(0, len(layer.weight), UNITS):
        b0, b1, b2, b3 = splat_four(layer.bias, k)
        u0, u1, w0, w1 = splat_square(layer.weight, k, 0)
        u2, u3, w2, w3 = splat_square(layer.weight, k + 2, 0)
        v0 = rest * load(vectors, k, 0)
        v1 = rest * load(vectors, k + 1, 0)
        v2 = rest * load(vectors, k + 2, 0)
        v3 = rest * load(vectors, k + 3, 0)
        for p in range(0, width, LANES):
            if has_more:
                b0, b1, b2, b3 = load_four(states, k, p)
            x0, x1 = load_two(inputs, 0, p)
            z0 = b0 + u0 * x0 + u1 * x1
            z1 = b1 + w0 * x0 + w1 * x1
            z2 = b2 + u2 * x0 + u3 * x1
            z3 = b3 + w2 * x0 + w3 * x1
            total = load(numbers, row, p)
            if has_signs:
                s0, s1, s2, s3 = _keep_signs(signs, k, p, z0, z1, z2, z3)
                total = where(s0, total + v0 * z0, total)
                total = where(s1, total + v1 * z1, total)
                total = where(s2, total + v2 * z2, total)
                total = where(s3, total + v3 * z3, total)
            else:
                total = total + v0 * larger(zero, z0) + v1 * larger(zero, z1)
                total = total + v2 * larger(zero, z2) + v3 * larger(zero, z3)
            store(numbers, row, p, total)


@kernel
def _keep_signs(signs: Any, k: int, p: int, z0: Any, z1: Any, z2: Any, z3: Any) -> Any:
    """Store where z of four hidden units is positive, for `signs_of`, and return it."""
    s0 = positive(z0)
    s1 = positive(z1)
    s2 = positive(z2)
    s3 = positive(z3)
    store_bits(signs, k // UNITS, p // LANES * UNITS, s0)
    store_bits(signs, k // UNITS, p // LANES * UNITS + 1, s1)
    store_bits(signs, k // UNITS, p // LANES * UNITS + 2, s2)
    store_bits(signs, k // UNITS, p // LANES * UNITS + 3, s3)
    return s0, s1, s2, s3


@kernel
def project(states: Any, vectors: Any, width: int, numbers: Any, row: int) -> None:
    """Add vectors . h to a row, where each lane has a vector of its own."""
    for k in range(0, len(states), 2):
        v0, v1 = load_two(vectors, k, 0)
        for p in range(0, width, LANES):
            h0, h1 = load_two(states, k, p)
            store(numbers, row, p, load(numbers, row, p) + v0 * h0 + v1 * h1)


@kernel
def project_tanh(states: Any, vector: Any, result: Any) -> None:
    """Add vector . tanh(h) to a result."""
    for k in range(len(states)):
        for p in range(len(result)):
            result[p] += vector[k] * tanh(states[k, p])


@kernel
def sum_states(states: Any, numbers: Any, width: int, sums: Any) -> None:
    """Find the sums of w h in each lane, four hidden units at a time."""
    for k in range(0, len(states), UNITS):
        sum0, sum1, sum2, sum3 = _four_zeros()
        for p in range(0, width, LANES):
            w = load(numbers, WEIGHT, p)
            sum0 = sum0 + w * load(states, k, p)
            sum1 = sum1 + w * load(states, k + 1, p)
            sum2 = sum2 + w * load(states, k + 2, p)
            sum3 = sum3 + w * load(states, k + 3, p)
        store_four(sums, k, 0, sum0, sum1, sum2, sum3)


@kernel
def sum_embedded_states(
    inputs: Any, states: Any, layer: Layer, slope: float, numbers: Any, width: int, moments: Any, sums: Any
) -> None:
    """Find the sums of w h in each lane: what is linear in the inputs from their moments, and the rest."""
    rest = splat(ONE - slope)
    slopes = splat(slope)
    zero = splat(ZERO)
    has_more = layer.weight.shape[1] > 2
    for k in range(0, len(layer.weight), UNITS):
        b0, b1, b2, b3 = splat_four(layer.bias, k)
        u0, u1, w0, w1 = splat_square(layer.weight, k, 0)
        u2, u3, w2, w3 = splat_square(layer.weight, k + 2, 0)
        sum0, sum1, sum2, sum3 = _four_zeros()
        for p in range(0, width, LANES):
            if has_more:
                b0, b1, b2, b3 = load_four(states, k, p)
            x0, x1 = load_two(inputs, 0, p)
            w = load(numbers, WEIGHT, p)
            sum0 = sum0 + w * larger(zero, b0 + u0 * x0 + u1 * x1)
            sum1 = sum1 + w * larger(zero, b1 + w0 * x0 + w1 * x1)
            sum2 = sum2 + w * larger(zero, b2 + u2 * x0 + u3 * x1)
            sum3 = sum3 + w * larger(zero, b3 + w2 * x0 + w3 * x1)
        store(sums, k, 0, rest * sum0 + slopes * affine(layer, k, moments))
        store(sums, k + 1, 0, rest * sum1 + slopes * affine(layer, k + 1, moments))
        store(sums, k + 2, 0, rest * sum2 + slopes * affine(layer, k + 2, moments))
        store(sums, k + 3, 0, rest * sum3 + slopes * affine(layer, k + 3, moments))


@kernel
def _four_zeros() -> Any:
    return splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)


@kernel
def affine(layer: Layer, k: int, moments: Any) -> Any:
    """Return W_k . m + b_k m_0 in each lane, where m are the sums of `add_moments`, and m_0 is the last."""
    features = layer.weight.shape[1]
    total = splat(layer.bias[k]) * load(moments, features, 0)
    for f in range(features):
        total = total + splat(layer.weight[k, f]) * load(moments, f, 0)
    return total


@kernel
def add_moments(numbers: Any, row: int, inputs: Any, width: int, moments: Any) -> None:
    """For each feature add a row's numbers times the feature, in each lane; and at last the numbers."""
    for f in range(len(inputs)):
        total = load(moments, f, 0)
        for p in range(0, width, LANES):
            total = total + load(numbers, row, p) * load(inputs, f, p)
        store(moments, f, 0, total)
    total = load(moments, len(inputs), 0)
    for p in range(0, width, LANES):
        total = total + load(numbers, row, p)
    store(moments, len(inputs), 0, total)

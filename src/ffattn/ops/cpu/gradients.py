"""Loops over hidden units and steps in the backward pass, from dL/du and the gradient of the state.

LReLU'(z) = slope + (1 - slope) [z > 0]. What belongs to the first part is linear in the inputs: `add_to_gradients`
makes it from moments. The loops add up the second part without its factor, in each lane, over all tiles of the same
sequences.
"""

from typing import Any

from ffattn.kernels.jit import kernel
from ffattn.kernels.simd import LANES, horizontal_sum, load, positive, splat, store, where
from ffattn.ops.cpu.elementary import tanh
from ffattn.ops.cpu.states import (
    add_moments,
    affine,
    load_two,
    signs_of,
    splat_square,
    splat_two,
    store_four,
)
from ffattn.ops.cpu.types import (
    DU,
    DU_X0,
    DU_X1,
    ONE,
    TANH_STATES,
    W_X0,
    W_X1,
    WEIGHT,
    ZERO,
    Gradients,
    Layer,
    Moments,
    Rule,
    Space,
)

SUM_ROWS = 7  # rows of sums that a hidden unit has at most
_OTHER_FEATURES = 6  # the last of them: du times what other features than the first two add to the state


@kernel
def layer_backward(
    space: Space,
    width: int,
    g_state: Any,
    layer: Layer,
    rule: Rule,
    moments: Moments,
    sums: Any,
    waiting: int,
    needs_x: bool,
) -> None:
    """Add to what `add_to_gradients` takes; put the gradients of the inputs into their place, if they are needed."""
    numbers, inputs, states, signs = space
    if waiting == 0:
        moments.w[:] = ZERO
        moments.du[:] = ZERO
    add_moments(numbers, WEIGHT, inputs, width, moments.w)
    add_moments(numbers, DU, inputs, width, moments.du)
    if signs.size > 0:
        _multiply_inputs(numbers, inputs, width)
        for k in range(0, len(layer.weight), 2):
            _embedding_backward_by_signs(numbers, signs, width, k, sums, waiting)
    else:
        for k in range(0, len(layer.weight), 2):
            _embedding_backward(numbers, inputs, states, width, k, g_state, layer, sums, waiting)
    if needs_x or len(inputs) > 2:
        for k in range(len(layer.weight)):
            _activation_backward(space, width, k, g_state, layer, rule, sums, waiting)


@kernel
def _multiply_inputs(numbers: Any, inputs: Any, width: int) -> None:
    """Find the products of w and of du with the first two features, which every hidden unit adds up."""
    for p in range(0, width, LANES):
        w = load(numbers, WEIGHT, p)
        du = load(numbers, DU, p)
        x0, x1 = load_two(inputs, 0, p)
        store(numbers, W_X0, p, w * x0)
        store(numbers, W_X1, p, w * x1)
        store(numbers, DU_X0, p, du * x0)
        store(numbers, DU_X1, p, du * x1)


@kernel
def _so_far(sums: Any, row: int, waiting: int) -> Any:
    """Return what tiles before this one have left; zeros, if none has."""
    return load(sums, row, 0) if waiting > 0 else splat(ZERO)


@kernel
def _three_so_far(sums: Any, row: int, waiting: int) -> Any:
    return _so_far(sums, row, waiting), _so_far(sums, row + 1, waiting), _so_far(sums, row + 2, waiting)


@kernel
def _store_three(sums: Any, row: int, a: Any, b: Any, c: Any) -> None:
    store(sums, row, 0, a)
    store(sums, row + 1, 0, b)
    store(sums, row + 2, 0, c)


@kernel
def _embedding_backward(
    numbers: Any, inputs: Any, states: Any, width: int, k: int, g_state: Any, layer: Layer, sums: Any, waiting: int
) -> None:
    """Add to the sums of hidden units k and k + 1: of du z, dz, and dz times the first two features, where z > 0.

    One loop, since every pass over the tile costs as much as the arithmetic.
    """
    zero = splat(ZERO)
    has_more = layer.weight.shape[1] > 2
    g0, g1 = load_two(g_state, k, 0)
    q0, q1 = splat_two(layer.query, k)
    b0, b1 = splat_two(layer.bias, k)
    u0, u1, w0, w1 = splat_square(layer.weight, k, 0)
    one = k * SUM_ROWS
    two = (k + 1) * SUM_ROWS
    query0 = _so_far(sums, one, waiting)
    query1 = _so_far(sums, two, waiting)
    bias0, weight00, weight01 = _three_so_far(sums, one + 1, waiting)
    bias1, weight10, weight11 = _three_so_far(sums, two + 1, waiting)
    for p in range(0, width, LANES):
        w = load(numbers, WEIGHT, p)
        du = load(numbers, DU, p)
        if has_more:
            b0, b1 = load_two(states, k, p)
        x0, x1 = load_two(inputs, 0, p)
        z0 = b0 + u0 * x0 + u1 * x1
        z1 = b1 + w0 * x0 + w1 * x1
        s0 = positive(z0)
        s1 = positive(z1)
        query0 = where(s0, query0 + du * z0, query0)
        query1 = where(s1, query1 + du * z1, query1)
        dz0 = where(s0, w * g0 + du * q0, zero)
        dz1 = where(s1, w * g1 + du * q1, zero)
        bias0 = bias0 + dz0
        bias1 = bias1 + dz1
        weight00 = weight00 + dz0 * x0
        weight01 = weight01 + dz0 * x1
        weight10 = weight10 + dz1 * x0
        weight11 = weight11 + dz1 * x1
    store_four(sums, one, 0, query0, bias0, weight00, weight01)
    store_four(sums, two, 0, query1, bias1, weight10, weight11)


@kernel
def _embedding_backward_by_signs(numbers: Any, signs: Any, width: int, k: int, sums: Any, waiting: int) -> None:
    """Add to sums of w, w x, du and du x where z > 0, whose signs are known; `_unmixed` makes the rest of them."""
    one = k * SUM_ROWS
    two = (k + 1) * SUM_ROWS
    w0, w00, w01 = _three_so_far(sums, one, waiting)
    w1, w10, w11 = _three_so_far(sums, two, waiting)
    du0, du00, du01 = _three_so_far(sums, one + 3, waiting)
    du1, du10, du11 = _three_so_far(sums, two + 3, waiting)
    for p in range(0, width, LANES):
        s0 = signs_of(signs, p, k)
        s1 = signs_of(signs, p, k + 1)
        w = load(numbers, WEIGHT, p)
        w_x0, w_x1 = load_two(numbers, W_X0, p)
        du = load(numbers, DU, p)
        du_x0, du_x1 = load_two(numbers, DU_X0, p)
        w0 = where(s0, w0 + w, w0)
        w1 = where(s1, w1 + w, w1)
        w00 = where(s0, w00 + w_x0, w00)
        w10 = where(s1, w10 + w_x0, w10)
        w01 = where(s0, w01 + w_x1, w01)
        w11 = where(s1, w11 + w_x1, w11)
        du0 = where(s0, du0 + du, du0)
        du1 = where(s1, du1 + du, du1)
        du00 = where(s0, du00 + du_x0, du00)
        du10 = where(s1, du10 + du_x0, du10)
        du01 = where(s0, du01 + du_x1, du01)
        du11 = where(s1, du11 + du_x1, du11)
    _store_three(sums, one, w0, w00, w01)
    _store_three(sums, one + 3, du0, du00, du01)
    _store_three(sums, two, w1, w10, w11)
    _store_three(sums, two + 3, du1, du10, du11)


@kernel
def _activation_backward(
    space: Space, width: int, k: int, g_state: Any, layer: Layer, rule: Rule, sums: Any, waiting: int
) -> None:
    """Put dL/dz of hidden unit k in the place of what other features add to it, and add up du times that."""
    numbers, inputs, states, signs = space
    has_more = layer.weight.shape[1] > 2
    g = load(g_state, k, 0)
    q = splat(layer.query[k])
    b = splat(layer.bias[k])
    slopes = splat(rule.slope)
    u0 = splat(layer.weight[k, 0])
    u1 = splat(layer.weight[k, 1])
    total = _so_far(sums, k * SUM_ROWS + _OTHER_FEATURES, waiting)
    for p in range(0, width, LANES):
        w = load(numbers, WEIGHT, p)
        du = load(numbers, DU, p)
        if has_more:
            b = load(states, k, p)
        if rule.has_signs:
            is_positive = signs_of(signs, p, k)
            total = where(is_positive, total + du * b, total)
        else:
            is_positive = positive(b + u0 * load(inputs, 0, p) + u1 * load(inputs, 1, p))
        dh = w * g + du * q
        store(states, k, p, where(is_positive, dh, slopes * dh))
    store(sums, k * SUM_ROWS + _OTHER_FEATURES, 0, total)


@kernel
def weight_gradient(states: Any, inputs: Any, width: int, result: Any) -> None:
    """Add sum_t dL/dz_t x_t to dL/dW, two features at a time, for all but the first two."""
    for k in range(len(result)):
        for f in range(2, result.shape[1], 2):
            sum0 = ZERO
            sum1 = ZERO
            for p in range(width):
                sum0 += states[k, p] * inputs[f, p]
                sum1 += states[k, p] * inputs[f + 1, p]
            result[k, f] += sum0
            result[k, f + 1] += sum1


@kernel
def input_gradient(states: Any, weight: Any, width: int, inputs: Any) -> None:
    """Put dL/dx_t = sum_k W_k dL/dz_kt in the place of the inputs."""
    inputs[:, :width] = ZERO
    for k in range(len(weight)):
        for f in range(weight.shape[1]):
            for p in range(width):
                inputs[f, p] += weight[k, f] * states[k, p]


@kernel
def add_to_gradients(
    layer: Layer, rule: Rule, g_state: Any, moments: Moments, sums: Any, g: Gradients, part: int
) -> None:
    """Add what tiles of the same sequences have left in the lanes to a part's gradients."""
    features = layer.weight.shape[1]
    rest = splat(ONE - rule.slope)
    slopes = splat(rule.slope)
    for k in range(len(layer.weight)):
        own = load(g_state, k, 0)
        q = splat(layer.query[k])
        row = k * SUM_ROWS
        query = load(sums, row, 0)
        bias = load(sums, row + 1, 0)
        weight0 = load(sums, row + 2, 0)
        weight1 = load(sums, row + 3, 0)
        if rule.has_signs:
            query, bias, weight0, weight1 = _unmixed(layer, k, own, q, sums)
        g.query[part, k] += horizontal_sum(rest * query + slopes * affine(layer, k, moments.du))
        g.bias[part, k] += horizontal_sum(rest * bias + slopes * _mixed(moments, features, own, q))
        g.weight[part, k, 0] += horizontal_sum(rest * weight0 + slopes * _mixed(moments, 0, own, q))
        g.weight[part, k, 1] += horizontal_sum(rest * weight1 + slopes * _mixed(moments, 1, own, q))


@kernel
def _unmixed(layer: Layer, k: int, g: Any, q: Any, sums: Any) -> Any:
    """Return what `_embedding_backward` adds up, from the sums of `_embedding_backward_by_signs`: dh is w g + du q."""
    row = k * SUM_ROWS
    w = load(sums, row, 0)
    w_x0 = load(sums, row + 1, 0)
    w_x1 = load(sums, row + 2, 0)
    du = load(sums, row + 3, 0)
    du_x0 = load(sums, row + 4, 0)
    du_x1 = load(sums, row + 5, 0)
    last = load(sums, row + _OTHER_FEATURES, 0) if layer.weight.shape[1] > 2 else splat(layer.bias[k]) * du
    query = splat(layer.weight[k, 0]) * du_x0 + splat(layer.weight[k, 1]) * du_x1 + last
    return query, g * w + q * du, g * w_x0 + q * du_x0, g * w_x1 + q * du_x1


@kernel
def _mixed(moments: Moments, f: int, g: Any, q: Any) -> Any:
    """Return the sum of dh x in each lane, since dh = w g + du q."""
    return load(moments.w, f, 0) * g + load(moments.du, f, 0) * q


@kernel
def score_backward(numbers: Any, states: Any, width: int, k: int, g_state: Any, q: float, score: int) -> float:
    """Put dL/dh of hidden unit k in the place of its states; returns the sum of du h, or of du tanh(h)."""
    g = load(g_state, k, 0)
    queries = splat(q)
    one = splat(ONE)
    total = splat(ZERO)
    if score == TANH_STATES:
        for p in range(width):
            states[k, p] = tanh(states[k, p])
    for p in range(0, width, LANES):
        du = load(numbers, DU, p)
        h = load(states, k, p)
        total = total + du * h
        through = du * queries * (one - h * h) if score == TANH_STATES else du * queries
        store(states, k, p, load(numbers, WEIGHT, p) * g + through)
    return horizontal_sum(total)

"""Vectors inside compiled kernels, against NumPy."""

import numpy as np
import pytest

pytest.importorskip("numba")

from ffattn.kernels.jit import kernel
from ffattn.kernels.simd import (
    LANES,
    horizontal_sum,
    larger,
    load,
    load_bits,
    load_pairs,
    positive,
    prefetch,
    splat,
    store,
    store_bits,
    where,
)


@kernel
def combine(numbers, k, result):
    a, b = load(numbers, 0, k), load(numbers, 1, k)
    store(result, 0, k, a + b)
    store(result, 1, k, a - b)
    store(result, 2, k, a * b)
    store(result, 3, k, larger(a, b))
    store(result, 4, k, where(positive(a), b, splat(np.float32(7))))
    return horizontal_sum(a)


@kernel
def sum_in_lanes(numbers, result):
    total = splat(np.float32(0))
    for k in range(0, numbers.shape[1], LANES):
        total = total + load(numbers, 0, k)
    store(result, 0, 0, total)


@kernel
def keep_signs(numbers, bits):
    store_bits(bits, 1, 2, positive(load(numbers, 0, 0)))
    return load_bits(bits, 1, 2)


@kernel
def separate(sequences, step, result):
    prefetch(sequences, (1, step, 0))
    first, second = load_pairs(sequences, 1, step)
    store(result, 0, 0, first)
    store(result, 1, 0, second)


def test_signs_are_bits():
    numbers = np.random.default_rng(0).integers(-2, 3, (1, LANES)).astype(np.float32)
    numbers[0, 3] = np.nan
    bits = np.full((2, 4), 99, np.uint16)
    expected = sum(1 << lane for lane in range(LANES) if numbers[0, lane] > 0)
    assert keep_signs(numbers, bits) == expected
    assert bits.ravel().tolist() == [99] * 6 + [expected, 99]


@pytest.mark.parametrize("step", [0, 3])
def test_two_features_are_separated(step):
    sequences = np.random.default_rng(0).normal(size=(2, 20, 2)).astype(np.float32)
    result = np.empty((2, LANES), np.float32)
    separate(sequences, step, result)
    np.testing.assert_array_equal(result, sequences[1, step : step + LANES].T)
    halves = sequences.view(np.uint32) >> 16  # bfloat16
    separate(halves.astype(np.uint16).view(np.int16), step, result)
    np.testing.assert_array_equal(result.view(np.uint32), halves[1, step : step + LANES].T << 16)


@pytest.mark.parametrize("start", [0, 5])
def test_arithmetic(start):
    a, b = numbers = np.random.default_rng(0).integers(-9, 9, (2, 32)).astype(np.float32)
    result = np.full((5, 32), 99, np.float32)
    total = combine(numbers, start, result)
    taken = slice(start, start + LANES)
    expected = np.stack((a + b, a - b, a * b, np.maximum(a, b), np.where(a > 0, b, 7)))
    np.testing.assert_array_equal(result[:, taken], expected[:, taken])
    assert total == a[taken].sum()
    untouched = np.delete(result, np.arange(32)[taken], axis=1)
    assert (untouched == 99).all()


def test_what_is_no_number_is_kept_in_the_second_place():
    numbers = np.zeros((2, LANES), np.float32)
    numbers[0, 1], numbers[1, 2] = np.nan, np.nan
    result = np.empty((5, LANES), np.float32)
    combine(numbers, 0, result)
    assert not np.isnan(result[3, 1])
    assert np.isnan(result[3, 2])


def test_lanes_keep_their_own_sums():
    numbers = np.arange(4 * LANES, dtype=np.float32)[None]
    result = np.empty((1, LANES), np.float32)
    sum_in_lanes(numbers, result)
    np.testing.assert_array_equal(result[0], numbers.reshape(4, LANES).sum(axis=0))

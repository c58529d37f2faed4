"""Elementary functions that loops can vectorise: Numba's own would be calls, one number at a time."""

import math

import numpy as np

from ffattn.kernels.jit import bits_to_float, exact_kernel, float_to_bits
from ffattn.ops.cpu.types import ONE, TWO, ZERO

_LOG2_E = np.float32(math.log2(math.e))
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(math.log(2) - 0.693359375)
_ROUND = np.float32(1.5 * 2**23)  # adding it rounds to an integer, which then stands in the lowest bits
_I2, _I3, _I4, _I5, _I6, _I7 = (np.float32(1 / math.factorial(n)) for n in range(2, 8))
_EXP_LOW = np.float32(-87)  # below it e^x is taken for zero
_EXP_HIGH = np.float32(88)  # larger numbers are taken for it
_TANH_SMALL = np.float32(0.625)  # up to it the continued fraction is used
_TANH_LARGE = np.float32(20)  # above it tanh is one
_P0 = np.float32(945)
_P1 = np.float32(105)
_Q1 = np.float32(420)
_Q2 = np.float32(15)


@exact_kernel
def exp(x: float) -> float:
    """Return e^x for x up to 88, within 2 units in the last place; NaN stays NaN.

    2^n times a Taylor series on +-ln(2)/2.
    """
    y = _EXP_LOW if x < _EXP_LOW else (_EXP_HIGH if x > _EXP_HIGH else x)
    shifted = y * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (y - n * _LN2_HIGH) - n * _LN2_LOW
    series = ONE + r * (ONE + r * (_I2 + r * (_I3 + r * (_I4 + r * (_I5 + r * (_I6 + r * _I7))))))
    power = bits_to_float((float_to_bits(shifted) + np.int32(127)) << np.int32(23))
    return ZERO if x < _EXP_LOW else series * power


@exact_kernel
def tanh(x: float) -> float:
    """Return the hyperbolic tangent, within 4 units in the last place; NaN stays NaN.

    Lambert's continued fraction (five terms) near zero, (e^2x - 1) / (e^2x + 1) elsewhere; one division for both.
    """
    size = abs(x)
    square = x * x
    power = exp(TWO * min(size, _TANH_LARGE))
    large = power - ONE if x > ZERO else ONE - power
    above = x * (_P0 + square * (_P1 + square)) if size < _TANH_SMALL else large
    below = _P0 + square * (_Q1 + square * _Q2) if size < _TANH_SMALL else power + ONE
    return above / below

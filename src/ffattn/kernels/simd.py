"""Vectors of 16 float32 inside Numba's kernels: a unit of the widest CPU's registers, or several of a narrower one's.

Compilers make vectors of simple loops by themselves. They cannot where a number belongs to a lane, such as one of 16
sequences side by side, and do not keep a lane's sum in a register from one row to the next.
"""

import operator
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from ffattn.kernels.jit import FAST_MATH

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INDEX = ir.IntType(32)
_INDEX64 = ir.IntType(64)
_BITS = ir.IntType(LANES)
_BYTES = ir.IntType(8).as_pointer()


def has_masks() -> bool:
    """Tell whether 16 bits select numbers at no cost, as in AVX-512; elsewhere they must become vectors first."""
    chosen = config.CPU_FEATURES  # instead of this machine's, to make code for another
    return "+avx512f" in chosen if chosen is not None else bool(get_host_cpu_features().get("avx512f"))


class _Type(types.Type):
    """Numba's name for a vector."""

    def __init__(self) -> None:
        super().__init__(name="ffattn.Vector")


_vector = _Type()


@register_model(_Type)
class _Model(models.PrimitiveModel):
    """Let a vector be LLVM's own."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _number_place(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, *place: Any) -> Any:
    """Return where an array holds a number; Numba's own indices look for negative ones, which takes time."""
    made = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, made, place, wraparound=False)


def _vector_place(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, *place: Any) -> Any:
    return builder.bitcast(_number_place(context, builder, kind, array, *place), _VECTOR.as_pointer())


@intrinsic
def load(typing_context: Any, matrix: Any, row: Any, column: Any) -> Any:
    """Return 16 numbers of a row of float32, from a column on."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.load(_vector_place(context, builder, signature.args[0], *values), align=4)

    return _vector(matrix, types.intp, types.intp), _generate


@intrinsic
def prefetch(typing_context: Any, array: Any, place: Any) -> Any:
    """Ask for the cache line of a number, by its indices, without waiting for it."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        number = _number_place(
            context, builder, signature.args[0], values[0], *cgutils.unpack_tuple(builder, values[1])
        )
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, _INDEX, _INDEX, _INDEX])
        function = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], kind)
        reading = _INDEX(0)
        second_level = _INDEX(2)
        data = _INDEX(1)
        builder.call(function, [builder.bitcast(number, _BYTES), reading, second_level, data])
        return context.get_dummy_value()

    return types.none(array, place), _generate


@intrinsic
def load_pairs(typing_context: Any, sequences: Any, row: Any, step: Any) -> Any:
    """Return the first and the second feature of 16 steps of (batch, time, 2), in one piece, as `to_float32` does."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        array = signature.args[0]
        number = _number_place(context, builder, array, *values, _INDEX64(0))
        kind = ir.VectorType(context.get_data_type(array.dtype), 2 * LANES)
        whole = builder.load(builder.bitcast(number, kind.as_pointer()), align=2)
        found = [_widen(builder, _chosen(builder, whole, range(first, 2 * LANES, 2))) for first in (0, 1)]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(_vector, 2)(sequences, types.intp, types.intp), _generate


def _chosen(builder: ir.IRBuilder, vector: Any, lanes: range) -> Any:
    """Return some lanes of a vector, as a shorter one."""
    mask = ir.Constant(ir.VectorType(_INDEX, len(lanes)), list(lanes))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _widen(builder: ir.IRBuilder, numbers: Any) -> Any:
    """Return vectors of float32 as they are, and as such those of int16 with the bits of bfloat16."""
    if numbers.type == _VECTOR:
        return numbers
    wide = ir.VectorType(_INDEX, LANES)
    return builder.bitcast(builder.shl(builder.zext(numbers, wide), ir.Constant(wide, [16] * LANES)), _VECTOR)


@intrinsic
def store(typing_context: Any, matrix: Any, row: Any, column: Any, vector: Any) -> Any:
    """Put 16 numbers into a row of float32, from a column on."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        builder.store(values[3], _vector_place(context, builder, signature.args[0], *values[:3]), align=4)
        return context.get_dummy_value()

    return types.none(matrix, types.intp, types.intp, vector), _generate


@intrinsic
def splat(typing_context: Any, number: Any) -> Any:
    """Return the same number 16 times."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(nothing, values[0], _INDEX(0))
        return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES))

    return _vector(types.float32), _generate


@intrinsic
def larger(typing_context: Any, a: Any, b: Any) -> Any:
    """Return the larger of each two numbers; NaN if b is NaN."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *values), *values)

    return _vector(a, b), _generate


@intrinsic
def positive(typing_context: Any, vector: Any) -> Any:
    """Return a bit for each of the 16 numbers, the first in the lowest: whether it is above zero."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        is_positive = builder.fcmp_ordered(">", values[0], ir.Constant(_VECTOR, [0.0] * LANES))
        return builder.bitcast(is_positive, _BITS)

    return types.uint16(vector), _generate


@intrinsic
def load_bits(typing_context: Any, matrix: Any, row: Any, column: Any) -> Any:
    """Return a number of a matrix of uint16."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.load(_number_place(context, builder, signature.args[0], *values))

    return types.uint16(matrix, types.intp, types.intp), _generate


@intrinsic
def store_bits(typing_context: Any, matrix: Any, row: Any, column: Any, bits: Any) -> Any:
    """Put a number into a matrix of uint16."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        builder.store(values[3], _number_place(context, builder, signature.args[0], *values[:3]))
        return context.get_dummy_value()

    return types.none(matrix, types.intp, types.intp, types.uint16), _generate


@intrinsic
def where(typing_context: Any, bits: Any, a: Any, b: Any) -> Any:
    """Return numbers of a where a bit is set, and of b elsewhere."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.select(builder.bitcast(values[0], ir.VectorType(ir.IntType(1), LANES)), *values[1:])

    return _vector(types.uint16, a, b), _generate


@intrinsic
def horizontal_sum(typing_context: Any, vector: Any) -> Any:
    """Return the sum of the 16 numbers, added by halves."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        whole = values[0]
        count = LANES
        while count > 1:
            count //= 2
            low = _chosen(builder, whole, range(count))
            high = _chosen(builder, whole, range(count, 2 * count))
            whole = builder.fadd(low, high)
        return builder.extract_element(whole, _INDEX(0))

    return types.float32(vector), _generate


def _register_arithmetic(symbol: Any, instruction: str) -> None:
    """Let an operator between two vectors be an instruction."""

    @intrinsic
    def _compute(typing_context: Any, a: Any, b: Any) -> Any:
        def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            return getattr(builder, instruction)(*values, flags=FAST_MATH)

        return _vector(a, b), _generate

    call = lambda a, b: _compute(a, b)  # noqa: E731, PLW0108  # Numba takes no wrapped function, as type checks make it
    overload(symbol)(lambda a, b: call if isinstance(a, _Type) and isinstance(b, _Type) else None)


for _symbol, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _register_arithmetic(_symbol, _instruction)

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
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic, overload, register_model

LANES = 16
_FLAGS = ("contract", "reassoc", "nsz")  # those of `compiled.kernel`
_VECTOR, _INDEX, _BITS = ir.VectorType(ir.FloatType(), LANES), ir.IntType(32), ir.IntType(LANES)
_INDEX64, _BYTES = ir.IntType(64), ir.IntType(8).as_pointer()


def has_masks() -> bool:
    """Whether 16 bits select numbers at no cost, as in AVX-512; elsewhere they must become vectors first."""
    chosen = config.CPU_FEATURES  # instead of this machine's, to make code for another
    return "+avx512f" in chosen if chosen is not None else bool(get_host_cpu_features().get("avx512f"))


class _Type(types.Type):
    """Numba's name for a vector."""

    def __init__(self) -> None:
        super().__init__(name="ffattn.Vector")


_vector = _Type()


@register_model(_Type)
class _Model(PrimitiveModel):
    """A vector is LLVM's own."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _place(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, *place: Any) -> Any:
    """Where an array holds a number; Numba's own indices look for negative ones, which takes time."""
    made = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, made, place, wraparound=False)


def _pointer(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, *place: Any) -> Any:
    return builder.bitcast(_place(context, builder, kind, array, *place), _VECTOR.as_pointer())


@intrinsic
def load(typing_context: Any, matrix: Any, row: Any, column: Any) -> Any:
    """16 numbers of a row of float32, from a column on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *values), align=4)

    return _vector(matrix, types.intp, types.intp), generate


@intrinsic
def prefetch(typing_context: Any, array: Any, place: Any) -> Any:
    """Ask for the cache line of a number, by its indices, without waiting for it."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        number = _place(context, builder, signature.args[0], values[0], *cgutils.unpack_tuple(builder, values[1]))
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, _INDEX, _INDEX, _INDEX])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        reading, second_level, data = _INDEX(0), _INDEX(2), _INDEX(1)
        builder.call(function, [builder.bitcast(number, _BYTES), reading, second_level, data])
        return context.get_dummy_value()

    return types.none(array, place), generate


@intrinsic
def load_pairs(typing_context: Any, sequences: Any, row: Any, step: Any) -> Any:
    """The first and the second of the two features of 16 steps: (batch, time, 2) in one piece, as `to_float32` does."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        number = _place(context, builder, signature.args[0], *values, _INDEX64(0))
        whole = builder.load(
            builder.bitcast(number, ir.VectorType(number.type.pointee, 2 * LANES).as_pointer()), align=2
        )
        nothing, kind = ir.Constant(whole.type, ir.Undefined), ir.VectorType(_INDEX, LANES)
        halves = [ir.Constant(kind, list(range(first, 2 * LANES, 2))) for first in (0, 1)]
        found = [_widen(builder, builder.shuffle_vector(whole, nothing, half)) for half in halves]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(_vector, 2)(sequences, types.intp, types.intp), generate


def _widen(builder: ir.IRBuilder, numbers: Any) -> Any:
    if numbers.type == _VECTOR:
        return numbers
    wide = ir.VectorType(_INDEX, LANES)
    return builder.bitcast(builder.shl(builder.zext(numbers, wide), ir.Constant(wide, [16] * LANES)), _VECTOR)


@intrinsic
def store(typing_context: Any, matrix: Any, row: Any, column: Any, vector: Any) -> Any:
    """Put 16 numbers into a row of float32, from a column on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        builder.store(values[3], _pointer(context, builder, signature.args[0], *values[:3]), align=4)
        return context.get_dummy_value()

    return types.none(matrix, types.intp, types.intp, vector), generate


@intrinsic
def splat(typing_context: Any, number: Any) -> Any:
    """The same number 16 times."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(nothing, values[0], _INDEX(0))
        return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES))

    return _vector(types.float32), generate


@intrinsic
def larger(typing_context: Any, a: Any, b: Any) -> Any:
    """The larger of each two numbers; NaN if b is NaN."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *values), *values)

    return _vector(a, b), generate


@intrinsic
def positive(typing_context: Any, vector: Any) -> Any:
    """A bit for each of the 16 numbers, the first in the lowest: whether it is above zero."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        is_positive = builder.fcmp_ordered(">", values[0], ir.Constant(_VECTOR, [0.0] * LANES))
        return builder.bitcast(is_positive, _BITS)

    return types.uint16(vector), generate


@intrinsic
def load_bits(typing_context: Any, matrix: Any, row: Any, column: Any) -> Any:
    """A number of a matrix of uint16."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.load(_place(context, builder, signature.args[0], *values))

    return types.uint16(matrix, types.intp, types.intp), generate


@intrinsic
def store_bits(typing_context: Any, matrix: Any, row: Any, column: Any, bits: Any) -> Any:
    """Put a number into a matrix of uint16."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        builder.store(values[3], _place(context, builder, signature.args[0], *values[:3]))
        return context.get_dummy_value()

    return types.none(matrix, types.intp, types.intp, types.uint16), generate


@intrinsic
def where(typing_context: Any, bits: Any, a: Any, b: Any) -> Any:
    """Numbers of a where a bit is set, and of b elsewhere."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.select(builder.bitcast(values[0], ir.VectorType(ir.IntType(1), LANES)), *values[1:])

    return _vector(types.uint16, a, b), generate


@intrinsic
def add_up(typing_context: Any, vector: Any) -> Any:
    """The sum of the 16 numbers, by halves."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        whole, count = values[0], LANES
        while count > 1:
            count //= 2
            nothing, kind = ir.Constant(whole.type, ir.Undefined), ir.VectorType(_INDEX, count)
            halves = [ir.Constant(kind, list(range(first, first + count))) for first in (0, count)]
            whole = builder.fadd(*(builder.shuffle_vector(whole, nothing, half) for half in halves))
        return builder.extract_element(whole, _INDEX(0))

    return types.float32(vector), generate


def _register(symbol: Any, instruction: str) -> None:
    """Let + - * between two vectors be an instruction."""

    @intrinsic
    def compute(typing_context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            return getattr(builder, instruction)(*values, flags=_FLAGS)

        return _vector(a, b), generate

    call = lambda a, b: compute(a, b)  # noqa: E731, PLW0108  # Numba takes no wrapped function, as type checks make it
    overload(symbol)(lambda a, b: call if isinstance(a, _Type) and isinstance(b, _Type) else None)


for _symbol, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _register(_symbol, _instruction)

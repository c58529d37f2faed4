"""Vectors of 16 float32 inside Numba's kernels: a unit of the widest CPU's registers, or several of a narrower one's.

Compilers make vectors of simple loops by themselves. They cannot where a number belongs to a lane, such as one of 16
sequences side by side, and do not keep a lane's sum in a register from one row to the next.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic, overload, register_model

LANES = 16
_FLAGS = ("contract", "reassoc", "nsz")  # those of `compiled.kernel`
_VECTOR, _INDEX = ir.VectorType(ir.FloatType(), LANES), ir.IntType(32)


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


def _pointer(context: Any, builder: ir.IRBuilder, kind: Any, array: Any, *place: Any) -> Any:
    made = context.make_array(kind)(context, builder, array)
    number = cgutils.get_item_pointer(context, builder, kind, made, place, wraparound=False)
    return builder.bitcast(number, _VECTOR.as_pointer())


@intrinsic
def load(typing_context: Any, matrix: Any, row: Any, column: Any) -> Any:
    """16 numbers of a row of float32, from a column on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *values), align=4)

    return _vector(matrix, types.intp, types.intp), generate


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
def where_positive(typing_context: Any, condition: Any, a: Any, b: Any) -> Any:
    """Numbers of a where the condition's are above zero, and of b elsewhere."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        is_positive = builder.fcmp_ordered(">", values[0], ir.Constant(_VECTOR, [0.0] * LANES))
        return builder.select(is_positive, *values[1:])

    return _vector(condition, a, b), generate


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

"""Vectors of 16 float32 values in compiled code: `load`, `store`, and arithmetic that stays in vector registers.

Compiled code may keep such a vector in a variable. LLVM maps it to one register of 512 bits, two of 256 or four of
128, whatever the processor has; a loop over vectors needs no automatic vectorisation, which prefers half of a 512-bit
register on most processors. Only `total` adds in an order of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from kernels.cpu.compilation import intrinsic
from kernels.cpu.tiles import LANES

VECTOR = ir.VectorType(ir.FloatType(), LANES)
"""A vector of float32 values as LLVM has it."""
_VALUE_BYTES = 4
_WORD, _BYTE = ir.IntType(64), ir.IntType(8)


class LanesType(types.Type):
    """The type of a vector."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, VECTOR)  # type: ignore[no-untyped-call]


def splatted(builder: Any, value: Any) -> Any:
    """The vector all of whose lanes are a scalar."""
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def vector_at(builder: Any, base: Any, offset: Any) -> Any:
    """Pointer to the vector some bytes behind a pointer to bytes."""
    return builder.bitcast(builder.gep(base, [offset]), VECTOR.as_pointer())


def _address(context: Any, builder: Any, kind: Any, array: Any, row: Any, column: Any) -> Any:
    """Pointer to the vector that begins at an element of a two-dimensional array of contiguous rows."""
    struct: Any = context.make_array(kind)(context, builder, array)
    stride = builder.extract_value(struct.strides, 0)
    offset = builder.add(builder.mul(row, stride), builder.mul(column, ir.Constant(_WORD, _VALUE_BYTES)))
    return vector_at(builder, builder.bitcast(struct.data, _BYTE.as_pointer()), offset)


def _mask(builder: Any, count: Any) -> Any:
    """Which lanes are below a number."""
    numbers = ir.VectorType(ir.IntType(32), LANES)
    short = builder.trunc(count, ir.IntType(32))
    one = builder.insert_element(ir.Constant(numbers, ir.Undefined), short, ir.Constant(ir.IntType(32), 0))
    limit = builder.shuffle_vector(one, one, ir.Constant(numbers, [0] * LANES))
    return builder.icmp_signed("<", ir.Constant(numbers, list(range(LANES))), limit)


def _called(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """What one of LLVM's own functions returns."""
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    helpers: Any = cgutils
    return builder.call(helpers.get_or_insert_function(builder.module, function, name), arguments)


_PLACE = (types.int64, types.int64)


@intrinsic
def load(typing_context: Any, array: Any, row: Any, column: Any) -> Any:
    """Return the vector of ``array[row, column : column + 16]``; neither is checked."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *arguments), align=_VALUE_BYTES)

    return lanes(array, *_PLACE), code


@intrinsic
def load_part(typing_context: Any, array: Any, row: Any, column: Any, count: Any) -> Any:
    """Return ``array[row, column : column + count]``, at most 16 values, and zeros behind them, which are not read."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *place, number = arguments
        pointer = _address(context, builder, signature.args[0], *place)
        given = [pointer, ir.Constant(ir.IntType(32), _VALUE_BYTES), _mask(builder, number), ir.Constant(VECTOR, None)]
        return _called(builder, f"llvm.masked.load.v{LANES}f32.p0", VECTOR, given)

    return lanes(array, *_PLACE, types.int64), code


@intrinsic
def store(typing_context: Any, array: Any, row: Any, column: Any, value: Any) -> Any:
    """Write a vector to ``array[row, column : column + 16]``."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *place, given = arguments
        builder.store(given, _address(context, builder, signature.args[0], *place), align=_VALUE_BYTES)
        return context.get_dummy_value()

    return types.void(array, *_PLACE, lanes), code


@intrinsic
def splat(typing_context: Any, value: Any) -> Any:
    """Return the vector all of whose lanes are a float32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return splatted(builder, arguments[0])

    return lanes(types.float32), code


@intrinsic
def spread(typing_context: Any, array: Any, row: Any, column: Any) -> Any:
    """Return the vector all of whose lanes are ``array[row, column]``."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _address(context, builder, signature.args[0], *arguments)
        value = builder.bitcast(pointer, ir.FloatType().as_pointer())
        return splatted(builder, builder.load(value, align=_VALUE_BYTES))

    return lanes(array, *_PLACE), code


@intrinsic
def total(typing_context: Any, value: Any) -> Any:
    """Return the sum of the lanes, added up pairwise."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), VECTOR])
        helpers: Any = cgutils
        function = helpers.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}f32")
        return builder.call(function, [ir.Constant(ir.FloatType(), -0.0), arguments[0]], fastmath=("reassoc",))

    return types.float32(lanes), code


def _operation(operands: int, emit: Callable[..., Any], meaning: str) -> Any:
    """An operation on vectors, lane by lane."""

    def sized(code: Any) -> tuple[Any, Any]:
        return lanes(*[lanes] * operands), code

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit(builder, *arguments)

    def binary(typing_context: Any, a: Any, b: Any) -> Any:
        return sized(code)

    def ternary(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        return sized(code)

    function = binary if operands == 2 else ternary
    function.__doc__ = meaning
    return intrinsic(function)


def fused_product(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, without rounding in between where the processor has such an operation."""
    return _called(builder, f"llvm.fmuladd.v{LANES}f32", VECTOR, [a, b, c])


plus = _operation(2, lambda builder, a, b: builder.fadd(a, b), "Return a + b.")
minus = _operation(2, lambda builder, a, b: builder.fsub(a, b), "Return a - b.")
times = _operation(2, lambda builder, a, b: builder.fmul(a, b), "Return a * b.")
fused = _operation(3, fused_product, "Return a * b + c.")
fused_minus = _operation(3, lambda builder, a, b, c: fused_product(builder, a, b, builder.fneg(c)), "Return a * b - c.")
divided = _operation(2, lambda builder, a, b: builder.fdiv(a, b), "Return a / b.")
larger = _operation(
    2,
    lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b),
    "Return a where a > b, else b: also where either is no number.",
)


@intrinsic
def power_of_two(typing_context: Any, value: Any) -> Any:
    """Return the lanes that have the integers in the low 9 bits of the lanes of a vector as sign and exponent."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = ir.VectorType(ir.IntType(32), LANES)
        shifted = builder.shl(builder.bitcast(arguments[0], numbers), ir.Constant(numbers, [23] * LANES))
        return builder.bitcast(shifted, VECTOR)

    return lanes(lanes), code


@intrinsic
def prefetch(typing_context: Any, array: Any, row: Any, column: Any) -> Any:
    """Ask for the cache line of an element, which need not be one of the array's."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.bitcast(_address(context, builder, signature.args[0], *arguments), _BYTE.as_pointer())
        flags = [ir.Constant(ir.IntType(32), flag) for flag in (0, 3, 1)]
        _called(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *flags])
        return context.get_dummy_value()

    return types.void(array, *_PLACE), code


@intrinsic
def transpose_block(
    typing_context: Any, source: Any, row: Any, column: Any, target: Any, target_row: Any, target_column: Any
) -> Any:
    """Copy 16 rows of 16 values, from a place of one array, as columns to a place of another."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds, one = signature.args, ir.Constant(_WORD, 1)

        def rows(kind: Any, array: Any, first: Any, place: Any) -> list[Any]:
            found = []
            for _ in range(LANES):
                found.append(_address(context, builder, kind, array, first, place))
                first = builder.add(first, one)
            return found

        given = rows(kinds[0], *arguments[:3])
        vectors = _transposed(builder, [builder.load(pointer, align=_VALUE_BYTES) for pointer in given])
        for vector, pointer in zip(vectors, rows(kinds[3], *arguments[3:]), strict=True):
            builder.store(vector, pointer, align=_VALUE_BYTES)
        return context.get_dummy_value()

    return types.void(source, *_PLACE, target, *_PLACE), code


def _transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """The columns of a square of vectors: blocks of half its side change places, then blocks within these."""
    half = LANES // 2
    while half:
        mask = ir.VectorType(ir.IntType(32), LANES)
        upper = ir.Constant(mask, [lane if not lane & half else lane - half + LANES for lane in range(LANES)])
        lower = ir.Constant(mask, [lane + half if not lane & half else lane + LANES for lane in range(LANES)])
        for index in range(LANES):
            if not index & half:
                pair = vectors[index], vectors[index + half]
                vectors[index] = builder.shuffle_vector(*pair, upper)
                vectors[index + half] = builder.shuffle_vector(*pair, lower)
        half //= 2
    return vectors

"""Matrix products of tiles, written in registers: nothing is copied or packed before it is multiplied.

A tile's rows lie along the vector unit, so that ``C[r, p] = A[k, p] * B[k, r]`` takes vectors of A as they lie and
single values of B. A register tile, some rows of C by some vectors, is summed over all k in registers, as in
K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008, section 6; A is
narrow enough to need no packing there. Its size is what the processor's registers hold: 24 vectors of 512 bits and
32 registers, or 12 of 256 bits and 16 registers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target

from kernels.cpu.compilation import compiled, intrinsic
from kernels.cpu.lanes import VECTOR, fused_product, splatted, vector_at
from kernels.cpu.tiles import LANES

_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
_WIDE = "+avx512f" in _FEATURES
_VALUE_BYTES = 4
_VECTOR_BYTES = _VALUE_BYTES * LANES
_STRIP = 4 if _WIDE else 1
"""Vectors side by side in a register tile; a tile of one vector has twice as many rows then."""
_ROWS, _NARROW_ROWS = 6, 12 if _WIDE else 6


def _register_tile(rows: int, vectors: int) -> Any:
    """The function that multiplies one register tile."""

    @intrinsic
    def multiply(
        typing_context: Any, a: Any, a_step: Any, b: Any, b_row: Any, b_step: Any, c: Any, c_row: Any, k: Any, add: Any
    ) -> Any:
        """``C[r, p] (+)= A[k, p] * B[k, r]``; addresses, distances in bytes, k values summed, whether C is added to."""

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _emit(builder, rows, vectors, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8, types.boolean), code

    return multiply


def _emit(
    builder: Any, rows: int, vectors: int, a: Any, a_step: Any, b: Any, b_row: Any, b_step: Any, c: Any, c_row: Any,
    depth: Any, add: Any,
) -> None:  # fmt: skip
    """Write the code of a register tile."""
    helpers: Any = cgutils
    word, byte, value = ir.IntType(64), ir.IntType(8).as_pointer(), ir.FloatType().as_pointer()
    a, b, c = (builder.inttoptr(address, byte) for address in (a, b, c))

    def place(base: Any, step: Any, row: Any, vector: int) -> Any:
        offset = builder.mul(step, row if isinstance(row, ir.Value) else ir.Constant(word, row))
        return vector_at(builder, base, builder.add(offset, ir.Constant(word, vector * _VECTOR_BYTES)))

    cells = [(r, v) for r in range(rows) for v in range(vectors)]
    sums = {cell: helpers.alloca_once(builder, VECTOR) for cell in cells}
    for cell in cells:
        builder.store(ir.Constant(VECTOR, None), sums[cell])
    with helpers.for_range(builder, depth) as loop:
        left = [builder.load(place(a, a_step, loop.index, v), align=_VALUE_BYTES) for v in range(vectors)]
        here = builder.gep(b, [builder.mul(b_step, loop.index)])
        for r in range(rows):
            pointer = builder.gep(here, [builder.mul(b_row, ir.Constant(word, r))])
            right = splatted(builder, builder.load(builder.bitcast(pointer, value), align=_VALUE_BYTES))
            for v in range(vectors):
                found = fused_product(builder, left[v], right, builder.load(sums[r, v]))
                builder.store(found, sums[r, v])
    with builder.if_else(builder.trunc(add, ir.IntType(1)) if add.type.width > 1 else add) as (given, absent):
        with given:
            for r, v in cells:
                target = place(c, c_row, r, v)
                found = builder.fadd(builder.load(target, align=_VALUE_BYTES), builder.load(sums[r, v]))
                builder.store(found, target, align=_VALUE_BYTES)
        with absent:
            for r, v in cells:
                builder.store(builder.load(sums[r, v]), place(c, c_row, r, v), align=_VALUE_BYTES)


_strip_rows, _strip_pair, _strip_row = (_register_tile(rows, _STRIP) for rows in (_ROWS, 2, 1))
_narrow_rows, _narrow_some, _narrow_row = (_register_tile(rows, 1) for rows in (_NARROW_ROWS, 3, 1))


@compiled
def product(a, b, c, transposed, add):  # type: ignore[no-untyped-def]
    """Compute ``C[r, p] = A[k, p] * B[k, r]``, added to C or in its place.

    Args:
        a: float32 array [k, p], rows contiguous, p a multiple of 16.
        b: float32 array [k, r], or [r, k] if ``transposed``; rows contiguous.
        c: float32 array [r, p], rows contiguous; not read unless ``add``.
        transposed: how B lies.
        add: whether C is added to.

    Shapes are not checked. A value is one sum over all k, in their order, and only then added to C: errors stay small.
    """
    rows, width = c.shape
    depth, a_step, c_row = a.shape[0], a.strides[0], c.strides[0]
    b_row = b.strides[0] if transposed else _VALUE_BYTES
    b_step = _VALUE_BYTES if transposed else b.strides[0]
    at_a, at_b, at_c = a.ctypes.data, b.ctypes.data, c.ctypes.data
    wide = width // (LANES * _STRIP) * _STRIP
    for strip in range(0, wide, _STRIP):
        x, y, z, r = at_a + strip * _VECTOR_BYTES, at_b, at_c + strip * _VECTOR_BYTES, 0
        while r + _ROWS <= rows:
            _strip_rows(x, a_step, y + r * b_row, b_row, b_step, z + r * c_row, c_row, depth, add)
            r += _ROWS
        while r + 2 <= rows:
            _strip_pair(x, a_step, y + r * b_row, b_row, b_step, z + r * c_row, c_row, depth, add)
            r += 2
        if r < rows:
            _strip_row(x, a_step, y + r * b_row, b_row, b_step, z + r * c_row, c_row, depth, add)
    for strip in range(wide, width // LANES):
        x, y, z, r = at_a + strip * _VECTOR_BYTES, at_b, at_c + strip * _VECTOR_BYTES, 0
        while r + _NARROW_ROWS <= rows:
            _narrow_rows(x, a_step, y + r * b_row, b_row, b_step, z + r * c_row, c_row, depth, add)
            r += _NARROW_ROWS
        while r + 3 <= rows:
            _narrow_some(x, a_step, y + r * b_row, b_row, b_step, z + r * c_row, c_row, depth, add)
            r += 3
        while r < rows:
            _narrow_row(x, a_step, y + r * b_row, b_row, b_step, z + r * c_row, c_row, depth, add)
            r += 1

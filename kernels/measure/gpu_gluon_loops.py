"""Loops of microbenchmarks that need layouts chosen by hand: Hopper's products, reductions in a warp, large blocks."""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

from triton.experimental import gluon  # type: ignore[import-not-found, import-untyped, unused-ignore]
from triton.experimental.gluon import language as gl  # type: ignore[import-not-found, import-untyped, unused-ignore]
from triton.experimental.gluon.language.nvidia.ampere import mma_v2  # type: ignore[import-not-found, import-untyped, unused-ignore]
from triton.experimental.gluon.language.nvidia.hopper import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    fence_async_shared,
    warpgroup_mma,
    warpgroup_mma_wait,
)


@gluon.jit
def _filled(x, ROWS: gl.constexpr, COLUMNS: gl.constexpr):
    """Return [ROWS, COLUMNS] values of memory, in shared memory."""
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [2, 16], [gl.num_warps(), 1], [1, 0])
    row = gl.arange(0, ROWS, gl.SliceLayout(1, layout))
    column = gl.arange(0, COLUMNS, gl.SliceLayout(0, layout))
    tile = gl.load(x + row[:, None] * COLUMNS + column[None, :])
    shared: gl.constexpr = gl.NVMMASharedLayout(128, 16, rank=2)
    return gl.allocate_shared_memory(x.dtype.element_ty, [ROWS, COLUMNS], shared, tile)


@gluon.jit
def products(a, b, out, turns, DEPTH: gl.constexpr, TOGETHER: gl.constexpr, num_warps: gl.constexpr):
    """Products of tiles in shared memory, 64 rows per four warps: ``TOGETHER`` are started, then waited for."""
    rows: gl.constexpr = 16 * num_warps
    layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [num_warps, 1], [16, 128, 16])
    left = _filled(a, rows, DEPTH)
    right = _filled(b, DEPTH, 128)
    fence_async_shared()
    gl.thread_barrier()
    total = gl.zeros([rows, 128], gl.float32, layout)
    for _ in range(turns):
        for _ in gl.static_range(TOGETHER):
            token = warpgroup_mma(left, right, total, is_async=True)
            total = token
        total = warpgroup_mma_wait(0, deps=[token])
    place = gl.program_id(0) * rows + gl.arange(0, rows, gl.SliceLayout(1, layout))
    gl.store(out + place, gl.sum(total, 1))


@gluon.jit
def warp_products(a, b, out, turns, DEPTH: gl.constexpr, num_warps: gl.constexpr):
    """Products of tiles in registers, 16 rows by 64 columns per warp, each warp by itself."""
    rows: gl.constexpr = 16 * num_warps
    layout: gl.constexpr = gl.NVMMADistributedLayout([2, 0], [num_warps, 1], [16, 8])
    side_a: gl.constexpr = gl.DotOperandLayout(0, layout, 2)
    side_b: gl.constexpr = gl.DotOperandLayout(1, layout, 2)
    row = gl.arange(0, rows, gl.SliceLayout(1, side_a))
    column = gl.arange(0, DEPTH, gl.SliceLayout(0, side_a))
    left = gl.load(a + row[:, None] * DEPTH + column[None, :])
    row = gl.arange(0, DEPTH, gl.SliceLayout(1, side_b))
    column = gl.arange(0, 64, gl.SliceLayout(0, side_b))
    right = gl.load(b + row[:, None] * 64 + column[None, :])
    total = gl.zeros([rows, 64], gl.float32, layout)
    for _ in range(turns):
        total = mma_v2(left, right, total)
    place = gl.program_id(0) * rows + gl.arange(0, rows, gl.SliceLayout(1, layout))
    gl.store(out + place, gl.sum(total, 1))


@gluon.jit
def reduce(x, turns):
    """Maxima over the four lanes that hold a row of scores, each made of the one before; one warp."""
    layout: gl.constexpr = gl.BlockedLayout([1, 1], [8, 4], [1, 1], [1, 0])
    row = gl.arange(0, 8, gl.SliceLayout(1, layout))
    column = gl.arange(0, 4, gl.SliceLayout(0, layout))
    places = x + row[:, None] * 4 + column[None, :]
    value = gl.load(places)
    for _ in range(turns):
        value = value * 0.5 + gl.max(value, 1)[:, None]
    gl.store(places, value)


@gluon.jit
def large_block(x, out, BYTES: gl.constexpr):
    """Load a value and store it, in a block that leaves no shared memory to another."""
    layout: gl.constexpr = gl.BlockedLayout([1], [32], [gl.num_warps()], [0])
    held = gl.allocate_shared_memory(gl.int32, [BYTES // 4], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    first = held.slice(0, 128)
    place = gl.arange(0, 128, layout)
    first.store(gl.load(x + place))
    gl.store(out + place, first.load(layout))

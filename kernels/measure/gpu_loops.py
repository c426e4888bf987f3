"""Loops that the GPU's microbenchmarks time: each keeps one unit busy, or waits for one thing again and again."""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

UNROLLED: tl.constexpr = tl.constexpr(32)
"""Operations on each value per turn of a loop."""


@triton.jit
def nothing(x):
    """Do nothing."""


@triton.jit
def power(x, turns, SIZE: tl.constexpr):
    """Powers of two: x = 2**-x."""
    places = x + tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    value = tl.load(places)
    for _ in range(turns):
        for _ in tl.static_range(UNROLLED):
            value = tl.exp2(-value)
    tl.store(places, value)


@triton.jit
def multiply_add(x, turns, factor, term, SIZE: tl.constexpr):
    """Multiplications and additions: x = factor * x + term."""
    places = x + tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    value = tl.load(places)
    for _ in range(turns):
        for _ in tl.static_range(UNROLLED):
            value = tl.fma(value, factor, term)
    tl.store(places, value)


@triton.jit
def extremes(x, turns, low, high, SIZE: tl.constexpr):
    """Maxima and minima in turn: x = min(max(x, low), high), of values that the compiler does not know."""
    places = x + tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    value = tl.load(places)
    lows = tl.load(low + tl.arange(0, SIZE))
    highs = tl.load(high + tl.arange(0, SIZE))
    for _ in range(turns):
        for _ in tl.static_range(UNROLLED // 2):
            value = tl.inline_asm_elementwise(
                "{ .reg .f32 t; max.f32 t, $1, $2; min.f32 $0, t, $3; }",
                "=f,f,f,f",
                [value, lows, highs],
                dtype=tl.float32,
                is_pure=False,
                pack=1,
            )
    tl.store(places, value)


@triton.jit
def read(x, out, length, turns, SIZE: tl.constexpr):
    """Read values ``turns`` times, block by block of the whole grid, and add them up."""
    value = tl.zeros([SIZE], tl.float32)
    for _ in range(turns):
        for start in tl.range(
            tl.program_id(0) * SIZE, length, tl.num_programs(0) * SIZE, num_stages=1, loop_unroll_factor=8
        ):
            value += tl.load(x + start + tl.arange(0, SIZE), cache_modifier=".cg")
    tl.store(out + tl.program_id(0), tl.sum(value, 0))


@triton.jit
def chase(links, out, first, steps):
    """Follow links from place to place."""
    place = first
    for _ in range(steps):
        place = tl.load(links + place)
    tl.store(out, place)

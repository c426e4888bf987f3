"""The exponential in single precision, written so that a loop over it vectorises: no branch, no table, no call.

``2**x = 2**n * 2**r`` with ``n`` the integer nearest to ``x`` and ``|r| <= 1/2``. Adding ``1.5 * 2**23`` rounds ``x``
to ``n`` and leaves ``n`` in the low bits of the sum, from where it is shifted into the exponent. ``2**r`` is a
polynomial of degree 6, the minimax one of relative error (Remez exchange) among those with the constant 1, so that
``2**n`` is exact. ``e**x`` takes ``n`` from ``x * log2(e)`` and ``r = x - n * ln(2)``, with ``ln(2)`` split in two so
that the product with ``n`` is exact (Cody and Waite, Software Manual for the Elementary Functions, 1980).

Largest error over all float32 arguments, measured against float64 by ``tests/kernels/cpu/test_exponential.py``:
`exp2_32` 1.0 units in the last place, `exp32` 1.2. Results below the smallest normal number are flushed to zero;
-inf gives 0, +inf and all that overflows give +inf, NaN gives NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba import float32, types

from kernels.cpu.compilation import compiled, intrinsic
from kernels.cpu.lanes import fused, fused_minus, larger, minus, power_of_two, splat, times

_ROUND = float32(1.5 * 2**23)
_ROUND_BIASED = float32(1.5 * 2**23 + 127)
"""Leaves the exponent of 2**n, as float32 encodes it, in the low bits of the sum."""
_LEAST = float32(-88.1)
"""A little more than -127.5 * ln(2): 2**n is 0 then, as float32 encodes it."""
LOG2_E = float32(math.log2(math.e))
"""log2(e): what turns the argument of e**x into that of 2**x."""
_LN2_HIGH = float32(0.693359375)
_LN2_LOW = float32(math.log(2) - 0.693359375)
_OVERFLOW = float32(128 * math.log(2))
"""The smallest float32 whose exponential is no finite float32."""
_UNDERFLOW = float32(-126 * math.log(2))
"""The largest float32 whose exponential is smaller than the smallest normal one."""

_MINIMAX = (
    0.693147214968039,
    0.24022652782875875,
    0.05550310550996904,
    0.009617692974926461,
    0.0013406643904679027,
    0.00015594677538301467,
)
"""Coefficients of r, r**2, ... of the polynomial for 2**r."""
_C1, _C2, _C3, _C4, _C5, _C6 = (float32(c) for c in _MINIMAX)
_D1, _D2, _D3, _D4, _D5, _D6 = (float32(c / math.log(2) ** (k + 1)) for k, c in enumerate(_MINIMAX))


@intrinsic
def _scaled(typing_context: Any, value: Any, rounded: Any) -> Any:
    """Multiply a float32 by 2**n, where n is in the low bits of ``rounded``, by adding n to its exponent."""
    signature = types.float32(types.float32, types.float32)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        integer = ir.IntType(32)
        value, rounded = (builder.bitcast(argument, integer) for argument in arguments)
        exponent = builder.shl(rounded, ir.Constant(integer, 23))
        return builder.bitcast(builder.add(value, exponent), ir.FloatType())

    return signature, code


@compiled
def exp_difference(s, m):  # type: ignore[no-untyped-def]
    """Return ``e**(s - m)`` of two vectors (`kernels.cpu.lanes`), where s is not larger than m; 1 where they are equal.

    The difference is taken first, however large the two are, and is multiplied by log2(e) without rounding where the
    processor has fused operations. Results below 2**-126.5 are 0, and of -inf too; NaN gives NaN.
    """
    d = larger(splat(_LEAST), minus(s, m))
    t = fused(d, splat(LOG2_E), splat(_ROUND_BIASED))
    r = fused_minus(d, splat(LOG2_E), minus(t, splat(_ROUND_BIASED)))
    p = fused(splat(_C6), r, splat(_C5))
    p = fused(p, r, splat(_C4))
    p = fused(p, r, splat(_C3))
    p = fused(p, r, splat(_C2))
    p = fused(p, r, splat(_C1))
    p = fused(p, r, splat(float32(1.0)))
    return times(p, power_of_two(t))


@compiled
def exp32(x):  # type: ignore[no-untyped-def]
    """Return ``e**x`` in single precision, for a float32 ``x``."""
    t = x * LOG2_E + _ROUND
    n = t - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _D6 * r + _D5
    p = p * r + _D4
    p = p * r + _D3
    p = p * r + _D2
    p = p * r + _D1
    p = p * r + float32(1.0)
    y = _scaled(p, t) if x < _OVERFLOW else x + float32(np.inf)
    return float32(0.0) if x <= _UNDERFLOW else y

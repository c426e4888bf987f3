"""What the text of generated functions begins with: imports, and functions that the table of operators lacks."""

from __future__ import annotations

from typing import Final

_GLUON = '''from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def logistic(x):
    """Return 1 / (1 + 2**x)."""
    return gl.inline_asm_elementwise(
        """
        {
        .reg .f32 a;
        ex2.approx.ftz.f32 a, $1;
        add.f32 a, a, 0f3F800000;
        rcp.approx.ftz.f32 $0, a;
        }
        """,
        "=f,f",
        [x],
        dtype=gl.float32,
        is_pure=True,
        pack=1,
    )


@gluon.jit
def paired_logistic(x):
    """Return 1 / (1 + 2**x), two values with one reciprocal: 1 / a is b * (1 / (a * b))."""
    return gl.inline_asm_elementwise(
        """
        {
        .reg .f32 a, b, r;
        min.f32 a, $2, 0f42700000;
        min.f32 b, $3, 0f42700000;
        ex2.approx.ftz.f32 a, a;
        ex2.approx.ftz.f32 b, b;
        add.f32 a, a, 0f3F800000;
        add.f32 b, b, 0f3F800000;
        mul.f32 r, a, b;
        rcp.approx.ftz.f32 r, r;
        mul.f32 $0, r, b;
        mul.f32 $1, r, a;
        }
        """,
        "=f,=f,f,f",
        [x],
        dtype=gl.float32,
        is_pure=True,
        pack=2,
    )


'''
_TRITON = '''import triton
import triton.language as tl


@triton.jit
def logistic(x):
    """Return 1 / (1 + 2**x)."""
    return 1.0 / (1.0 + tl.exp2(x))


@triton.jit
def paired_logistic(x):
    """Return 1 / (1 + 2**x)."""
    return logistic(x)


'''
HEADS: Final = {"gluon": _GLUON, "triton": _TRITON}

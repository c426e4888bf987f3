"""Single-precision matrix products of the BLAS that SciPy brings, callable from compiled code.

The routine's address is published to the compiler under a symbol of our own, so that compiled code names it and can be
kept on disk. Inside a kernel BLAS runs on one thread: the kernel's own threads each multiply their tiles.

BLAS as a rule copies (packs) both operands before it multiplies. OpenBLAS, on x86 processors with 512-bit vectors,
multiplies small operands where they lie: ``interface/gemm.c`` asks
``kernel/x86_64/sgemm_small_kernel_permit_skylakex.c``, which accepts up to 100**3 multiplications when the first
operand, in its column-major view, is not transposed. A tile product cut into such pieces never packs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped, unused-ignore]
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

from kernels.cpu.compilation import compiled, intrinsic
from kernels.cpu.threads import free_in_children

_SYMBOL = "fusemax_sgemm"
_UNPACKED = {"SkylakeX": 100**3, "Cooperlake": 100**3, "SapphireRapids": 100**3}
_lock = threading.RLock()
free_in_children(_lock)

llvmlite.binding.add_symbol(_SYMBOL, get_cython_function_address("scipy.linalg.cython_blas", "sgemm"))


@intrinsic
def _fortran_sgemm(
    typing_context: Any,
    trans_a: Any,
    trans_b: Any,
    m: Any,
    n: Any,
    k: Any,
    alpha: Any,
    a: Any,
    lda: Any,
    b: Any,
    ldb: Any,
    beta: Any,
    c: Any,
    ldc: Any,
) -> Any:
    """BLAS's SGEMM with column-major operands; arrays are given by address, all other arguments by value."""
    flag, size, real, address = types.uint8, types.int32, types.float32, types.intp
    signature = types.void(flag, flag, size, size, size, real, address, size, address, size, real, address, size)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        helpers: Any = cgutils
        passed = []
        for kind, value in zip(signature.args, arguments, strict=True):
            if kind is types.intp:
                passed.append(builder.inttoptr(value, pointer))
            else:
                passed.append(builder.bitcast(helpers.alloca_once_value(builder, value), pointer))
        routine = ir.FunctionType(ir.VoidType(), [pointer] * len(passed))
        builder.call(helpers.get_or_insert_function(builder.module, routine, _SYMBOL), passed)
        return context.get_dummy_value()

    return signature, code


@compiled
def _leading(a):  # type: ignore[no-untyped-def]
    """Values from one row to the next; for a single row, whose stride means nothing, its length."""
    return types.int32(a.strides[0] // 4 if a.shape[0] > 1 else a.shape[1])


@compiled
def sgemm(a, b, c, transpose_a, transpose_b, alpha, beta):  # type: ignore[no-untyped-def]
    """Compute ``c = alpha * op(a) @ op(b) + beta * c`` with row-major operands, where op transposes if asked.

    Args:
        a: float32 array of shape [m, k], or [k, m] if ``transpose_a``; rows contiguous.
        b: float32 array of shape [k, n], or [n, k] if ``transpose_b``; rows contiguous.
        c: float32 array of shape [m, n], written; rows contiguous. Not read where ``beta`` is 0.
        transpose_a: whether ``a`` is transposed.
        transpose_b: whether ``b`` is transposed.
        alpha: factor of the product.
        beta: factor of what ``c`` holds.

    Shapes are not checked. Call it on one BLAS thread: `one_thread`.
    """
    rows, columns = c.shape
    inner = a.shape[0] if transpose_a else a.shape[1]
    _fortran_sgemm(
        types.uint8(84 if transpose_b else 78),
        types.uint8(84 if transpose_a else 78),
        types.int32(columns),
        types.int32(rows),
        types.int32(inner),
        types.float32(alpha),
        b.ctypes.data,
        _leading(b),
        a.ctypes.data,
        _leading(a),
        types.float32(beta),
        c.ctypes.data,
        _leading(c),
    )


@lru_cache(maxsize=1)
def _libraries() -> Any:
    """The BLAS libraries of this process."""
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread and restore it afterwards; one block at a time, others wait for it."""
    with _lock, _libraries().limit(limits=1):
        yield


@lru_cache(maxsize=1)
def unpacked_multiplications() -> int:
    """Return up to how many multiplications BLAS multiplies operands where they lie; 0 where it always packs."""
    found = [_UNPACKED.get(library.get("architecture"), 0) for library in _libraries().info()]
    return min(found, default=0)

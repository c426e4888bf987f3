"""How the kernels are compiled, and the one atomic operation that they need.

Compiled code is kept on disk (`code_cache`), so that later processes start at once. Only the contraction of a
multiplication and an addition into one fused operation is allowed: nothing may assume that there are no infinities or
NaNs, which masks and maxima need, and nothing need be reassociated, since every loop goes lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba.extending
from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba import njit, types
from numba.core.compiler_lock import global_compiler_lock

from einsum_cascades.code_cache import kept
from kernels.cpu.threads import free_in_children

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "boundscheck": False,
    "error_model": "numpy",
    "fastmath": {"contract"},
}
"""Options of ``numba.njit`` for every function of a kernel."""

free_in_children(global_compiler_lock)


@cache
def package_source() -> bytes:
    """Return the text of all files of this folder: a function may call any of them, and is compiled with it."""
    return b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))


def compiled(function: Callable[..., Any]) -> Any:
    """Decorator of functions on tiles."""
    return kept(njit(**OPTIONS)(function), Path(function.__code__.co_filename).read_bytes() + package_source())


def intrinsic(function: Callable[..., Any]) -> Any:
    """Decorator of functions that write LLVM instructions."""
    return numba.extending.intrinsic(function)


@intrinsic
def next_task(typing_context: Any, counter: Any) -> Any:
    """Return the value of an int64 array's first element and add one to it, in one atomic step."""
    signature = types.int64(counter)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return signature, code

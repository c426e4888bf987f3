"""From generated text to functions: compiled by Numba and kept on disk, or run as plain Python.

The text itself is never read back: what is kept is machine code, under the text's hash (`einsum_cascades.code_cache`).
"""

from __future__ import annotations

import hashlib
import linecache
import sys
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from kernels.compiler.source import imports

Functions = dict[str, Any]


def load(text: str, dtype: str, *, jit: bool = True) -> Functions:
    """Return the names that a generated module defines.

    Args:
        text: the module, from `source_of`.
        dtype: the type that it was written for.
        jit: compile with Numba when first called; otherwise run as it stands, which is slow.
    """
    return _compiled(text) if jit else _plain(text.removeprefix(imports(dtype)))


@cache
def _compiled(text: str) -> Functions:
    from numba.core.dispatcher import Dispatcher

    from einsum_cascades.code_cache import kept
    from kernels.cpu.compilation import package_source

    source = text.encode() + package_source()
    name = f"fusemax_cascade_{hashlib.sha256(source).hexdigest()[:24]}"
    file = f"<{name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = ModuleType(name)
    sys.modules[name] = module  # where Numba looks for a function's globals when it reads machine code back
    exec(compile(text, file, "exec"), module.__dict__)
    for function in module.__dict__.values():
        if isinstance(function, Dispatcher) and function.py_func.__module__ == name:
            kept(function, source)
    return module.__dict__


def _plain(text: str) -> Functions:
    import numpy as np

    def njit(**_: Any) -> Callable[[Any], Any]:
        return lambda function: function

    space: Functions = {"np": np, "njit": njit, "exp": np.exp}
    exec(compile(text, "<cascade>", "exec"), space)
    return space

"""From generated text to functions: compiled by Numba and kept on disk, or run as plain Python.

A module's text is written to the user's cache folder under its hash, so that Numba finds what it compiled for
the same text, machine and version in an earlier process. The text that runs is always the one just generated,
never one read back.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
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


def cache_folder() -> Path:
    """Return the folder of generated modules: ``fusemax/kernels`` in the user's cache folder.

    Where that cannot be written, a folder of this process.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if base else Path.home() / ".cache") / "fusemax" / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return _own_folder()


@cache
def _own_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fusemax-"))


@cache
def _compiled(text: str) -> Functions:
    from kernels.cpu import exponential

    # Numba does not see when a function of another file changes, so that file is a part of the name.
    contents = text.encode() + Path(exponential.__file__).read_bytes()
    path = cache_folder() / f"fusemax_cascade_{hashlib.sha256(contents).hexdigest()[:24]}.py"
    if not path.exists() or path.read_text() != text:
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(name, path)
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = module  # where Numba looks for a function's globals when it reads machine code back
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module.__dict__


def _plain(text: str) -> Functions:
    import numpy as np

    def njit(**_: Any) -> Callable[[Any], Any]:
        return lambda function: function

    space: Functions = {"np": np, "njit": njit, "prange": range, "exp": np.exp}
    exec(compile(text, "<cascade>", "exec"), space)
    return space

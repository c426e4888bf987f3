"""Machine code kept on disk, so that later processes start at once: the memory of `numba.njit` functions.

What is kept is unpickled, which may run anything, so nothing is read that another user could have written: the folder
and each file must belong to this user, or to root, and be writable by nobody else. A file begins with the SHA-256 of
the rest, and its name is that of all that the code depends on; one that is damaged or out of date is not used, and
written anew. Where nothing can be kept, functions are compiled in every process, and one warning says why.

Numba's own caches check none of this, and end the process with a traceback where a file is damaged or no folder can be
written.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped, unused-ignore]
import numba
from numba.core import serialize
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult

_DIGEST_BYTES = hashlib.sha256().digest_size


def kept(function: Any, source: bytes) -> Any:
    """Return a function of `numba.njit` that keeps its machine code on disk.

    Args:
        function: not yet called.
        source: the text of all that is compiled into it.
    """
    function._cache = _CodeCache(f"{function.py_func.__module__}.{function.py_func.__qualname__}", source)
    return function


def cache_folder() -> Path | None:
    """Return the folder of compiled kernels, ``fusemax/kernels`` in the user's cache folder; None if it is unusable.

    It is made where it is missing. A warning, once, says why it cannot be used.
    """
    base = _base()
    if base is None:
        return _unusable("this user has no home folder")
    folder = base / "fusemax" / "kernels"
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in (folder.parent, folder):
            part.mkdir(mode=0o700, exist_ok=True)
            if not _is_ours(part.stat()):
                return _unusable(f"{part} belongs to another user, or others may write to it")
    except OSError as error:
        return _unusable(f"{error.strerror}: {folder}")
    return folder


def _base() -> Path | None:
    """The user's folder of caches."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ".cache" if home.is_absolute() else None


def _is_ours(status: os.stat_result) -> bool:
    """Whether nobody else could have written what has this status."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@cache
def _unusable(reason: str) -> None:
    warnings.warn(
        f"compiled kernels are not kept for later runs: {reason}; XDG_CACHE_HOME may name another folder", stacklevel=2
    )


def read(path: Path) -> bytes | None:
    """Return what `write` wrote to a file; None if it is missing, damaged, or not this user's own."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not _is_ours(status):
                return None
            data = file.read()
    except OSError:
        return None
    digest, contents = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return contents if digest == hashlib.sha256(contents).digest() else None


def write(path: Path, contents: bytes) -> None:
    """Write a file in one step, whatever else reads or writes it; or, with a warning, not at all."""
    name = ""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
        with open(handle, "wb") as file:
            file.write(hashlib.sha256(contents).digest() + contents)
        os.replace(name, path)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        _unusable(f"{error.strerror}: {path.parent}")


class _CodeCache(NullCache):  # type: ignore[misc, unused-ignore]
    """What Numba asks before it compiles a function, and tells afterwards."""

    def __init__(self, name: str, source: bytes) -> None:
        self.name, self.source = name, hashlib.sha256(source).hexdigest()

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the compiled function of a signature, or None."""
        target.refresh()
        path = self._path(signature, target.codegen())
        contents = None if path is None else read(path)
        if contents is None:
            return None
        try:
            rebuild: Any = CompileResult._rebuild
            return rebuild(target, *pickle.loads(contents))
        except Exception:  # written whole, but by an installation that differs in a way that no version tells
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compiled function, if it can be kept."""
        if result.library.has_dynamic_globals or result.lifted:
            return
        path = self._path(signature, result.codegen)
        if path is not None:
            pickled: Any = serialize.dumps
            write(path, pickled(result._reduce()))

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        """The file of a signature, named after all that the machine code depends on."""
        folder = cache_folder()
        versions = sys.version, numba.__version__, llvmlite.__version__
        key = repr((self.name, self.source, str(signature), codegen.magic_tuple(), versions))
        return None if folder is None else folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.code"

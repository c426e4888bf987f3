"""Cascades run for real: compiled kernels and their measurement.

Every public name can be imported from here; the module that defines it is read on first use, so that
``import kernels`` imports no compiler and compiles nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernels.compiler.compiled import CompiledCascade, compile_cascade
    from kernels.cpu.attention import CASCADES, attention

_HOMES = {
    "CompiledCascade": "compiler.compiled",
    "compile_cascade": "compiler.compiled",
    "CASCADES": "cpu.attention",
    "attention": "cpu.attention",
}

__all__ = ["CASCADES", "CompiledCascade", "attention", "compile_cascade"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Rewrites from cascade to cascade, and the search for the sequence of them that leaves the fewest passes.

Every public name can be imported from here; the module that defines it is read on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from einsum_cascades.rewrites.check import Comparison, compare
    from einsum_cascades.rewrites.defer import Defer
    from einsum_cascades.rewrites.isomorphic import is_isomorphic
    from einsum_cascades.rewrites.iterate import Iterate
    from einsum_cascades.rewrites.local import CorrectLocally
    from einsum_cascades.rewrites.obstacle import obstacles
    from einsum_cascades.rewrites.partition import PartitionRank
    from einsum_cascades.rewrites.search import Derivation, Rewrite, Step, derive
    from einsum_cascades.rewrites.separability import separate
    from einsum_cascades.rewrites.stability import Risk, risks

_MODULES = {
    "check": ("Comparison", "compare"),
    "defer": ("Defer",),
    "isomorphic": ("is_isomorphic",),
    "iterate": ("Iterate",),
    "local": ("CorrectLocally",),
    "obstacle": ("obstacles",),
    "partition": ("PartitionRank",),
    "search": ("Derivation", "Rewrite", "Step", "derive"),
    "separability": ("separate",),
    "stability": ("Risk", "risks"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Comparison",
    "CorrectLocally",
    "Defer",
    "Derivation",
    "Iterate",
    "PartitionRank",
    "Rewrite",
    "Risk",
    "Step",
    "compare",
    "derive",
    "is_isomorphic",
    "obstacles",
    "risks",
    "separate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

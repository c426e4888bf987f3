"""Design-space sweeps: a spec, its points, a store that can be resumed, and what runs it.

``run`` and ``open_store`` are the two calls that a program needs; the rest lies in the modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusemax.sweep.runner import Outcome, run
    from fusemax.sweep.store import Store, open_store

_HOMES = {
    "Outcome": "fusemax.sweep.runner",
    "Store": "fusemax.sweep.store",
    "open_store": "fusemax.sweep.store",
    "run": "fusemax.sweep.runner",
}

__all__ = ["Outcome", "Store", "open_store", "run"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and no more."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fusemax.sweep' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)

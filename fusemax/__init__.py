"""fusemax: passes, footprints, traffic, latency and energy of attention algorithms written as cascades of Einsums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from einsum_cascades.errors import InputError
    from einsum_cascades.load import library_names, load_cascade, parse_cascade
    from einsum_cascades.workload import Workload
    from fusemax.analysis import Analysis, analyze
    from fusemax.evaluation import Evaluation, evaluate
    from fusemax.experiments import reproduce
    from hw_models.components import memory_cost
    from hw_models.load import load_architecture

__version__ = "0.1.0"

_HOMES = {
    "Analysis": "fusemax.analysis",
    "Evaluation": "fusemax.evaluation",
    "InputError": "einsum_cascades.errors",
    "Workload": "einsum_cascades.workload",
    "analyze": "fusemax.analysis",
    "evaluate": "fusemax.evaluation",
    "library_names": "einsum_cascades.load",
    "load_architecture": "hw_models.load",
    "load_cascade": "einsum_cascades.load",
    "memory_cost": "hw_models.components",
    "parse_cascade": "einsum_cascades.load",
    "reproduce": "fusemax.experiments",
}

__all__ = [
    "Analysis",
    "Evaluation",
    "InputError",
    "Workload",
    "analyze",
    "evaluate",
    "library_names",
    "load_architecture",
    "load_cascade",
    "memory_cost",
    "parse_cascade",
    "reproduce",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and no more: ``import fusemax`` is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fusemax' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Cascades of extended Einsums: notation, representation, analyses, reference interpreter, library.

Every public name can be imported from here; the module that defines it is read on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from einsum_cascades.errors import InputError, Location
    from einsum_cascades.graph import dependency_graph, to_dot
    from einsum_cascades.interpreter import run
    from einsum_cascades.ir import Cascade, Einsum
    from einsum_cascades.latex import to_latex
    from einsum_cascades.load import library_names, load_cascade, parse_cascade
    from einsum_cascades.operations import count, symbolic_operations, total
    from einsum_cascades.operators import OPERATORS, WORK_CLASSES, Operator, WorkClass
    from einsum_cascades.parser import parse_einsum
    from einsum_cascades.passes import PassAnalysis, analyse_passes
    from einsum_cascades.printer import einsum_text, to_text
    from einsum_cascades.workload import Workload

_MODULES = {
    "errors": ("InputError", "Location"),
    "graph": ("dependency_graph", "to_dot"),
    "interpreter": ("run",),
    "ir": ("Cascade", "Einsum"),
    "latex": ("to_latex",),
    "load": ("library_names", "load_cascade", "parse_cascade"),
    "operations": ("count", "symbolic_operations", "total"),
    "operators": ("OPERATORS", "WORK_CLASSES", "Operator", "WorkClass"),
    "parser": ("parse_einsum",),
    "passes": ("PassAnalysis", "analyse_passes"),
    "printer": ("einsum_text", "to_text"),
    "workload": ("Workload",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "OPERATORS",
    "WORK_CLASSES",
    "Cascade",
    "Einsum",
    "InputError",
    "Location",
    "Operator",
    "PassAnalysis",
    "WorkClass",
    "Workload",
    "analyse_passes",
    "count",
    "dependency_graph",
    "einsum_text",
    "library_names",
    "load_cascade",
    "parse_cascade",
    "parse_einsum",
    "run",
    "symbolic_operations",
    "to_dot",
    "to_latex",
    "to_text",
    "total",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""What a circuit of 45 nm costs at another process node.

    energy factor = E(node) / E(45 nm),   E = a2·V² + a1·V + a0 at the node's nominal supply voltage V
    area factor   = area of the circuit at the node / at 45 nm

Source: Stillmaker and Baas, Integration 58, 2017; voltages of the Predictive Technology Model (``technology.csv``).
Between two nodes of the table both factors are interpolated linearly in log-log space; nodes outside it are refused.
The paper has no leakage: leaked power is taken to scale as switching energy does, as the package hwcomponents does.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from einsum_cascades.errors import InputError
from hw_models.components.interpolation import Curve
from hw_models.components.tables import rows

BASE_NM: Final = 45
"""Process node of the tables that know no other."""


class Scale(NamedTuple):
    """Factors from 45 nm to another process node; arrays where there are several nodes."""

    energy: Any
    area: Any


@cache
def scaling_table() -> dict[float, Scale]:
    """The factors of the published nodes."""
    energies, areas = {}, {}
    for row in rows("technology.csv"):
        node, volts = float(row["node_nm"]), float(row["voltage_v"])
        energies[node] = (float(row["a2"]) * volts + float(row["a1"])) * volts + float(row["a0"])
        areas[node] = float(row["area"])
    return {node: Scale(energies[node] / energies[BASE_NM], areas[node]) for node in sorted(energies)}


def scale(technology_nm: Any) -> Scale:
    """Return the factors from 45 nm to a process node, or to each of an array of them.

    Raises:
        InputError: a node is smaller or larger than those of the table.
    """
    return Scale(*_factors(technology_nm)) if isinstance(technology_nm, np.ndarray) else _scale(technology_nm)


@lru_cache(maxsize=256)
def _scale(technology_nm: float) -> Scale:
    return Scale(*_factors(technology_nm))


def _factors(technology_nm: Any) -> tuple[Any, ...]:
    curve = _curve()
    low, high = curve.points[0], curve.points[-1]
    nodes, which = np.unique(technology_nm, return_inverse=True)
    for node in nodes.tolist():
        if not low <= node <= high:
            hint = f"process nodes reach from {high:g} to {low:g} nm"
            raise InputError(f"no costs are known at {node:g} nm", hint=hint)
    factors, _ = curve.at(nodes)
    if isinstance(technology_nm, np.ndarray):
        return tuple(factor[which].reshape(technology_nm.shape) for factor in factors)
    return tuple(factor.item() for factor in factors)


@cache
def _curve() -> Curve:
    return Curve.of(((node,), tuple(factor)) for node, factor in scaling_table().items())

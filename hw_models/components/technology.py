"""What a circuit of 45 nm costs at another process node.

    energy factor = E(node) / E(45 nm),   E = a2·V² + a1·V + a0 at the node's nominal supply voltage V
    area factor   = area of the circuit at the node / at 45 nm

Source: Stillmaker and Baas, Integration 58, 2017; voltages of the Predictive Technology Model (``technology.csv``).
Between two nodes of the table both factors are interpolated linearly in log-log space; nodes outside it are refused.
The paper has no leakage: leaked power is taken to scale as switching energy does, as the package hwcomponents does.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import log
from typing import Final, NamedTuple

from einsum_cascades.errors import InputError
from hw_models.components.interpolation import Curve
from hw_models.components.tables import rows

BASE_NM: Final = 45
"""Process node of the tables that know no other."""


class Scale(NamedTuple):
    """Factors from 45 nm to another process node."""

    energy: float
    area: float


@cache
def scaling_table() -> dict[float, Scale]:
    """The factors of the published nodes."""
    energies, areas = {}, {}
    for row in rows("technology.csv"):
        node, volts = float(row["node_nm"]), float(row["voltage_v"])
        energies[node] = (float(row["a2"]) * volts + float(row["a1"])) * volts + float(row["a0"])
        areas[node] = float(row["area"])
    return {node: Scale(energies[node] / energies[BASE_NM], areas[node]) for node in sorted(energies)}


@lru_cache(maxsize=256)
def scale(technology_nm: float) -> Scale:
    """Return the factors from 45 nm to a process node.

    Raises:
        InputError: the node is smaller or larger than those of the table.
    """
    table = scaling_table()
    if technology_nm in table:
        return table[technology_nm]
    low, high = min(table), max(table)
    if not low < technology_nm < high:
        raise InputError(
            f"no costs are known at {technology_nm:g} nm", hint=f"process nodes reach from {high:g} to {low:g} nm"
        )
    curve = Curve.of(((node,), tuple(factor)) for node, factor in table.items())
    return Scale(*curve.at((log(technology_nm),))[0])

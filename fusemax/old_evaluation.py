"""Evaluations on the old engine, for sweeps; goes when they are on the new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from fusemax.evaluated import Evaluation
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from hw_models.components import extrapolated
from hw_models.cost import Cost, cost
from mappers.activity import activity_of
from mappers.mapping import Mapping
from mappers.strategies import strategy_named


@dataclass(frozen=True, repr=False)
class OldEvaluation(Evaluation):
    """An evaluation on a spatial array of the old engine."""

    architecture: Architecture
    mapping: Mapping
    cost: Cost
    accounting: Accounting

    def _own(self) -> dict[str, Any]:
        found = self.cost
        return {
            "accounting": self.accounting.name,
            "tiles": dict(self.mapping.tiles),
            "passes": found.passes,
            "buffer_bytes": found.buffer_bytes,
            "energy_parts_j": found.energy_parts.by_part(),
            "area_mm2": found.area_mm2,
            "extrapolated": list(extrapolated(self.architecture)),
            "util_2d": found.util_2d,
            "util_1d": found.util_1d,
        }


def evaluate_on(
    cascade: Cascade, architecture: Architecture, mapper: str, workload: Workload, accounting: Accounting
) -> OldEvaluation:
    """Map a cascade onto a spatial array and return what it costs.

    Raises:
        InputError: no such mapper, or no mapping for this cascade, machine and workload.
    """
    mapping = strategy_named(mapper)(cascade, workload, architecture, accounting)
    found = cost(activity_of(mapping, accounting), architecture, accounting)
    return OldEvaluation(cascade, architecture, mapper, workload, mapping, found, accounting)

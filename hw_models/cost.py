"""Cost: what an activity means on a machine, in SI units.

    utilisation of an array = Σ useful PE-cycles / (PEs · latency · frequency)
    share of an Einsum      = its useful PE-cycles / (PEs of its array · latency · frequency)

``bound`` is what the latency depends on most (``bound.py``): ``memory``, ``2d``, ``1d``, or several of them if equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hw_models.accounting import Accounting
from hw_models.activity import Activity, ArrayName
from hw_models.architecture import Architecture
from hw_models.area import area
from hw_models.bound import slowest
from hw_models.energy import Energy, energy
from hw_models.latency import dependence_s, latency_s


class EinsumCost(NamedTuple):
    """One Einsum's part.

    Attributes:
        name: the Einsum.
        array: where it runs.
        cycles: cycles for which it occupies the array.
        share: fraction of the array's PE-cycles, over the whole latency, that it uses.
    """

    name: str
    array: ArrayName
    cycles: int
    share: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of an activity on an architecture.

    Attributes:
        latency_s: seconds.
        dram_bytes: off-chip traffic.
        buffer_bytes: peak live bytes in the global buffer.
        energy_j: joules, all parts.
        energy_parts: joules by part.
        area_mm2: chip area in mm².
        util_2d, util_1d: fraction of each array's PE-cycles that do useful work.
        bound: what the latency depends on most: ``memory``, ``2d``, ``1d``, or several joined by ``+``.
        passes: passes over the reduced rank.
        per_einsum: each Einsum's part.
    """

    latency_s: float
    dram_bytes: int
    buffer_bytes: int
    energy_j: float
    energy_parts: Energy
    area_mm2: float
    util_2d: float
    util_1d: float
    bound: str
    passes: int
    per_einsum: tuple[EinsumCost, ...]


def cost(activity: Activity, architecture: Architecture, accounting: Accounting) -> Cost:
    """Return the cost of an activity.

    Raises:
        InputError: an Einsum asks an array for work that its PEs do not do.
    """
    latency = latency_s(activity, architecture)
    parts = energy(activity, architecture, accounting)
    cycles = latency * architecture.frequency_hz
    available = {
        "array_2d": architecture.array_2d.pes * cycles or 1.0,
        "array_1d": architecture.array_1d.pes * cycles or 1.0,
    }
    busy = {"array_2d": 0, "array_1d": 0}
    for e in activity.einsums:
        busy[e.array] += e.pe_cycles
    return Cost(
        latency_s=latency,
        dram_bytes=activity.dram_bytes,
        buffer_bytes=activity.buffer_bytes,
        energy_j=parts.total_j,
        energy_parts=parts,
        area_mm2=area(architecture).chip_mm2,
        util_2d=busy["array_2d"] / available["array_2d"],
        util_1d=busy["array_1d"] / available["array_1d"],
        bound=slowest(dependence_s(activity, architecture)),
        passes=activity.passes,
        per_einsum=tuple(
            EinsumCost(e.name, e.array, e.cycles, e.pe_cycles / available[e.array]) for e in activity.einsums
        ),
    )

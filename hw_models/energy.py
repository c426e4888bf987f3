"""Energy of an activity: every access and every operation at its component's price.

    DRAM             values · value_bytes / 8 accesses of 64 bits
    global buffer    values / row_values accesses of a row: read price for reads (and drains), write price for
                     fills and updates
    register files   one access per value, at the price of the array's register file
    staging          the registers between the arrays: as register files of the 1D array, always in full
    operations       number · actions of the unit · energy of its component, by class of work
    leakage          leakage of the buffer and every register file · latency

Prices: what the machine's file states, and otherwise ``components``, by default from Accelergy as the artifact of
FuseMax (Nayak et al., MICRO 2024) sets it up. Where that evaluation and the hardware part ways, ``Accounting`` chooses.
Counts are summed as exact integers before they are priced, so the result does not depend on the order of Einsums.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from einsum_cascades.errors import InputError
from einsum_cascades.operators import WORK_CLASSES, WorkClass
from hw_models.accounting import Accounting
from hw_models.activity import Activity, ArrayName
from hw_models.architecture import Architecture
from hw_models.components import DRAM_ACCESS_BYTES, LEAK_CLOCK_HZ, buffer_cost, logic, register_file_cost
from hw_models.latency import latency_s

_PICO = 1e-12


class Energy(NamedTuple):
    """Energy in joules by where it goes; ``exp`` is the work class, on whichever unit it runs."""

    dram_j: float
    global_buffer_j: float
    registers_j: float
    staging_j: float
    mac_j: float
    add_j: float
    max_j: float
    exp_j: float
    divide_j: float
    leakage_j: float

    @property
    def total_j(self) -> float:
        """All parts together, in joules."""
        return sum(self)

    def by_part(self) -> dict[str, float]:
        """Joules by part, without the unit in the name: ``dram``, ``global_buffer``, …"""
        return {name.removesuffix("_j"): value for name, value in zip(self._fields, self, strict=True)}


class Prices(NamedTuple):
    """What an architecture's actions cost, in pJ.

    Attributes:
        memories: (read, write) per value, by memory.
        operations: per operation, by array and class of work.
        leak_pj: per cycle of ``LEAK_CLOCK_HZ``, of the whole chip.
    """

    memories: dict[str, tuple[float, float]]
    operations: dict[tuple[ArrayName, WorkClass], float]
    leak_pj: float


@lru_cache(maxsize=1024)
def prices(architecture: Architecture) -> Prices:
    """Return the prices of an architecture's actions; do not mutate them.

    Raises:
        InputError: the component tables lack a component, a memory or the process node.
    """
    dram = dram_pj(architecture)
    buffer = buffer_cost(architecture)
    file_2d = register_file_cost(architecture, "array_2d")
    file_1d = register_file_cost(architecture, "array_1d")
    row = architecture.global_buffer.row_values
    arrays = (architecture.array_2d, architecture.array_1d)
    names: tuple[ArrayName, ArrayName] = ("array_2d", "array_1d")
    return Prices(
        memories={
            "dram": (dram, dram),
            "global_buffer": (buffer.read_pj / row, buffer.write_pj / row),
            "staging": (file_1d.read_pj, file_1d.write_pj),
            "array_2d": (file_2d.read_pj, file_2d.write_pj),
            "array_1d": (file_1d.read_pj, file_1d.write_pj),
        },
        operations={
            (name, work): unit.actions * logic(unit.component, architecture.technology_nm).energy_pj
            for name, array in zip(names, arrays, strict=True)
            for work, unit in array.units
        },
        leak_pj=buffer.leak_pj + sum(a.pes * f.leak_pj for a, f in zip(arrays, (file_2d, file_1d), strict=True)),
    )


def dram_pj(architecture: Architecture) -> float:
    """Energy of moving one value to or from the off-chip memory, in pJ."""
    if architecture.dram_j_per_byte is not None:
        return architecture.dram_j_per_byte * architecture.value_bytes / _PICO
    return logic("dram").energy_pj * architecture.value_bytes / DRAM_ACCESS_BYTES


def energy(activity: Activity, architecture: Architecture, accounting: Accounting) -> Energy:
    """Return what an activity costs in energy.

    Raises:
        InputError: an Einsum asks an array for work that its PEs do not do.
    """
    table = prices(architecture)
    reads, writes = dict.fromkeys(table.memories, 0), dict.fromkeys(table.memories, 0)
    work: dict[tuple[ArrayName, WorkClass], int] = {}
    for einsum in activity.einsums:
        for memory, _, read, fill, update, drain in einsum.counts:
            reads[memory] += read + drain if accounting.drain_reads else read
            writes[memory] += fill + update
        for kind, number in einsum.operations:
            key = (einsum.array, kind)
            work[key] = work.get(key, 0) + number
    moved = {
        memory: _PICO * (reads[memory] * read_pj + writes[memory] * write_pj)
        for memory, (read_pj, write_pj) in table.memories.items()
    }
    files = (architecture.array_2d.pes, architecture.array_1d.pes) if not accounting.all_register_files else (1, 1)
    done = _operations_j(work, activity, architecture, accounting)
    leaking = table.leak_pj * latency_s(activity, architecture) * LEAK_CLOCK_HZ if accounting.leakage else 0.0
    return Energy(
        moved["dram"],
        moved["global_buffer"],
        moved["array_2d"] / files[0] + moved["array_1d"] / files[1],
        moved["staging"],
        done["mac"],
        done["add"],
        done["max"],
        done["exp"],
        done["divide"],
        _PICO * leaking,
    )


def _operations_j(
    work: dict[tuple[ArrayName, WorkClass], int],
    activity: Activity,
    architecture: Architecture,
    accounting: Accounting,
) -> dict[WorkClass, float]:
    """Joules by class of work, both arrays together."""
    table = prices(architecture).operations
    joules: dict[WorkClass, float] = dict.fromkeys(WORK_CLASSES, 0.0)
    for key in sorted(work):
        array, kind = key
        if key not in table:
            raise InputError(
                f"{array} of '{architecture.name}' does no {kind}",
                hint="it does: " + ", ".join(k for a, k in table if a == array),
            )
        free = kind == "exp" and activity.tiled and not accounting.exp_unit_energy_in_tiles
        if not (free and architecture.array(array).unit_of["exp"].component == "exp"):
            joules[kind] += _PICO * work[key] * table[key]
    return joules

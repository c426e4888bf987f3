"""Cost of many points at once: the formulas of ``cost.py``, ``energy.py`` and ``area.py`` over arrays.

Any number of an ``Architecture`` or of ``Totals`` may be an array with a value per point; counts stay exact integers
until they are priced, in the same order as for one point, so both ways give the same figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from einsum_cascades.operators import WORK_CLASSES, WorkClass
from hw_models.accounting import Accounting
from hw_models.activity import Activity, ArrayName
from hw_models.architecture import Architecture, Array
from hw_models.area import logic_area_um2
from hw_models.bound import TOLERANCE
from hw_models.components import LEAK_CLOCK_HZ, buffer_cost, logic, register_file_cost, scale
from hw_models.energy import dram_pj

Values: TypeAlias = npt.NDArray[Any]
Number: TypeAlias = "int | float | Values"
BatchPhase: TypeAlias = tuple[Number, Number, Number, Number]

MEMORIES: Final = ("dram", "global_buffer", "staging", "array_2d", "array_1d")
ARRAYS: Final[tuple[ArrayName, ArrayName]] = ("array_2d", "array_1d")
BOUNDS: Final = ("memory", "2d", "memory+2d", "1d", "memory+1d", "2d+1d", "memory+2d+1d")
"""What latencies depend on; the place of each, plus one, has a bit for each resource."""
_PICO: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Totals:
    """What activities do, summed over Einsums: all that their cost depends on.

    Attributes:
        reads, writes: values by memory, as the accounting charges them.
        operations: by array and class of work.
        busy, occupied: useful PE-cycles and cycles by array.
        phases: (cycles, DRAM bytes, cycles that wait for the 2D array, for the 1D array) of each, as in ``Phase``.
        buffer_bytes, passes, tiled: as in ``Activity``.
    """

    reads: Mapping[str, Number]
    writes: Mapping[str, Number]
    operations: Mapping[tuple[ArrayName, WorkClass], Number]
    busy: Mapping[ArrayName, Number]
    occupied: Mapping[ArrayName, Number]
    phases: tuple[BatchPhase, ...]
    buffer_bytes: Number
    passes: int
    tiled: bool

    @property
    def dram_bytes(self) -> Number:
        """Off-chip traffic of all phases."""
        return sum(moved for _, moved, _, _ in self.phases)


def totals_of(activity: Activity, accounting: Accounting) -> Totals:
    """Return the totals of one activity."""
    reads, writes = dict.fromkeys(MEMORIES, 0), dict.fromkeys(MEMORIES, 0)
    operations: dict[tuple[ArrayName, WorkClass], Number] = {}
    busy, occupied = dict.fromkeys(ARRAYS, 0), dict.fromkeys(ARRAYS, 0)
    for einsum in activity.einsums:
        for name, _, read, fill, update, drain in einsum.counts:
            reads[name] += read + drain if accounting.drain_reads else read
            writes[name] += fill + update
        for work, number in einsum.operations:
            operations[einsum.array, work] = operations.get((einsum.array, work), 0) + number
        busy[einsum.array] += einsum.pe_cycles
        occupied[einsum.array] += einsum.cycles
    phases = tuple((p.cycles, p.dram_bytes, p.waits_2d, p.waits_1d) for p in activity.phases)
    return Totals(
        reads, writes, operations, busy, occupied, phases, activity.buffer_bytes, activity.passes, activity.tiled
    )


def batch_latency_s(phases: tuple[BatchPhase, ...], architecture: Architecture) -> Number:
    """Return latencies in seconds, as ``latency.latency_s`` does for one point."""
    seconds: Number = 0.0
    for cycles, moved, _, _ in phases:
        seconds = seconds + np.maximum(
            real(cycles) / architecture.frequency_hz, real(moved) / architecture.bandwidth_bytes_per_s
        )
    return seconds


def real(count: Number) -> Number:
    """Return counts as floats, correctly rounded."""
    return count.astype(float) if isinstance(count, np.ndarray) else float(count)


def _pes(array: Array) -> Number:
    """Return the number of PEs as a float, which no number of rows and columns overflows."""
    return real(array.rows) * real(array.columns)


def batch_cost(totals: Totals, architecture: Architecture, accounting: Accounting) -> dict[str, Number]:
    """Return costs by column: ``latency_s``, ``energy_j``, …; ``bound`` as an index into ``BOUNDS``.

    Raises:
        InputError: an Einsum asks an array for work that its PEs do not do, or a component is not known.
    """
    latency = batch_latency_s(totals.phases, architecture)
    cycles = latency * architecture.frequency_hz
    utilisation = {}
    for name in ARRAYS:
        available = np.asarray(_pes(architecture.array(name)) * cycles)
        utilisation[name] = real(totals.busy[name]) / np.where(available == 0, 1.0, available)
    return {
        "latency_s": latency,
        "energy_j": _energy_j(totals, architecture, accounting, latency),
        "dram_bytes": totals.dram_bytes,
        "buffer_bytes": totals.buffer_bytes,
        "area_mm2": batch_area_mm2(architecture),
        "util_2d": utilisation["array_2d"],
        "util_1d": utilisation["array_1d"],
        "passes": totals.passes,
        "bound": _bound(totals.phases, architecture),
    }


def _bound(phases: tuple[BatchPhase, ...], architecture: Architecture) -> Number:
    """Return what the latency depends on most, as ``latency.dependence_s`` and ``bound.slowest`` tell it."""
    frequency, bandwidth = architecture.frequency_hz, architecture.bandwidth_bytes_per_s
    seconds: list[Any] = [0.0, 0.0, 0.0]
    for cycles, moved, waits_2d, waits_1d in phases:
        compute, transfer = real(cycles) / frequency, real(moved) / bandwidth
        seconds[0] = seconds[0] + np.where(np.greater_equal(transfer, compute), transfer, 0.0)
        computes = np.greater_equal(compute, transfer)
        for place, waits in ((1, waits_2d), (2, waits_1d)):
            seconds[place] = seconds[place] + np.where(computes, real(waits) / frequency, 0.0)
    least = (1 - TOLERANCE) * np.maximum(np.maximum(seconds[0], seconds[1]), seconds[2])
    bits = [np.greater_equal(value, least).astype(np.int64) << place for place, value in enumerate(seconds)]
    found: Number = sum(bits) - 1
    return found


def _energy_j(totals: Totals, architecture: Architecture, accounting: Accounting, latency: Number) -> Number:
    dram = dram_pj(architecture)
    buffer = buffer_cost(architecture)
    files = {name: register_file_cost(architecture, name) for name in ARRAYS}
    row = real(architecture.global_buffer.row_values)
    prices: dict[str, tuple[Any, Any]] = {
        "dram": (dram, dram),
        "global_buffer": (buffer.read_pj / row, buffer.write_pj / row),
        "staging": (files["array_1d"].read_pj, files["array_1d"].write_pj),
    } | {name: (files[name].read_pj, files[name].write_pj) for name in ARRAYS}
    moved = {
        name: _PICO * (real(totals.reads[name]) * read + real(totals.writes[name]) * write)
        for name, (read, write) in prices.items()
    }
    charged = [1 if accounting.all_register_files else _pes(architecture.array(name)) for name in ARRAYS]
    registers = moved["array_2d"] / charged[0] + moved["array_1d"] / charged[1]
    done = _operations_j(totals, architecture, accounting)
    leaking: Number = 0.0
    if accounting.leakage:
        leak = buffer.leak_pj + sum(_pes(architecture.array(n)) * files[n].leak_pj for n in ARRAYS)
        leaking = leak * latency * LEAK_CLOCK_HZ
    parts = [moved["dram"], moved["global_buffer"], registers, moved["staging"]]
    parts += [done[work] for work in ("mac", "add", "max", "exp", "divide")]
    total: Number = sum(parts) + _PICO * leaking
    return total


def _operations_j(totals: Totals, architecture: Architecture, accounting: Accounting) -> dict[WorkClass, Number]:
    joules: dict[WorkClass, Number] = dict.fromkeys(WORK_CLASSES, 0.0)
    energy = scale(architecture.technology_nm).energy
    for name, work in sorted(totals.operations):
        unit = architecture.array(name).unit_of.get(work)
        if unit is None:
            raise InputError(f"{name} of '{architecture.name}' does no {work}")
        free = work == "exp" and totals.tiled and not accounting.exp_unit_energy_in_tiles
        if not (free and unit.component == "exp"):
            price = real(unit.actions) * logic(unit.component).energy_pj * energy
            joules[work] = joules[work] + _PICO * real(totals.operations[name, work]) * price
    return joules


def batch_area_mm2(architecture: Architecture) -> Number:
    """Return chip areas in mm², as ``area.area`` does for one machine."""
    shrunk = scale(architecture.technology_nm).area
    parts = []
    for name in ARRAYS:
        array = architecture.array(name)
        pe = register_file_cost(architecture, name).area_um2 + logic_area_um2(array) * shrunk
        parts.append(_pes(array) * pe)
    found: Number = (parts[0] + parts[1] + buffer_cost(architecture).area_um2) * 1e-6
    return found

"""The strategies that are no presets yet, on the engine that they were written for; goes when they are.

A machine is turned into what the old engine knows (two arrays, a buffer, registers between them), and its cost into the
new engine's.
"""

from __future__ import annotations

from typing import Final

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from hw_models import architecture as old
from hw_models.accounting import Accounting
from hw_models.cost import cost as old_cost
from hw_models.latency import dependence_s
from hw_models.machine import Machine
from hw_models.spatial.cost import Cost, TaskCost
from hw_models.spatial.energy import Energy
from mappers.activity import activity_of
from mappers.flat import flat, flat_searched
from mappers.mapping import Mapping
from mappers.unfused import unfused

OLD: Final = {"unfused": unfused, "flat": flat, "flat-searched": flat_searched}


def evaluate_old(
    cascade: Cascade, machine: Machine, mapper: str, workload: Workload, accounting: Accounting
) -> tuple[Mapping, Cost]:
    """Return a mapping and its cost.

    Raises:
        InputError: there is none, or the machine is none that the old engine knows.
    """
    known = architecture_of(machine)
    mapping = OLD[mapper](cascade, workload, known, accounting)
    activity = activity_of(mapping, accounting)
    found = old_cost(activity, known, accounting)
    energy = found.energy_parts.by_part()
    energy.pop("registers")
    energy |= {"array_2d": found.energy_parts.registers_j}
    depends = dependence_s(activity, known)
    names = {"memory": machine.root.name, "2d": "array_2d", "1d": "array_1d"}
    return mapping, Cost(
        latency_s=found.latency_s,
        dram_bytes=found.dram_bytes,
        peak_bytes={"global_buffer": found.buffer_bytes},
        energy=Energy(dict(energy)),
        utilization={"array_2d": found.util_2d, "array_1d": found.util_1d},
        depends_s={names[name]: seconds for name, seconds in depends.items()},
        tasks=tuple(TaskCost(*part) for part in found.per_einsum),
    )


def architecture_of(machine: Machine) -> old.Architecture:
    """Return a machine as the old engine knows it.

    Raises:
        InputError: it has other nodes.
    """
    needed = ("dram", "global_buffer", "array_2d", "array_1d")
    if missing := [name for name in needed if name not in machine]:
        raise InputError(f"{machine.name} has no {missing[0]}, which this mapper needs", hint="take another mapper")
    buffer, dram = machine.memory("global_buffer"), machine.memory("dram")
    bits = machine.role_bits["inputs"]
    return old.Architecture(
        name=machine.name,
        array_2d=_array(machine, "array_2d"),
        array_1d=_array(machine, "array_1d"),
        global_buffer=old.Memory(
            "global_buffer",
            buffer.bytes,
            buffer.width_bits // bits,
            buffer.banks,
            buffer.ports,
            buffer.pricing.name or "accelergy",  # type: ignore[arg-type]
            buffer.pricing.stated,
        ),
        frequency_hz=machine.frequency_hz,
        bandwidth_bytes_per_s=dram.shared_bytes_per_s,
        staging="staging" in machine,
        technology_nm=machine.technology_nm,
        value_bytes=bits // 8,
        dram_j_per_byte=dram.pricing.j_per_byte,
    )


def _array(machine: Machine, name: str) -> old.Array:
    array = machine.array(name)
    lengths = dict(array.dimensions)
    units = tuple((work, old.Unit(unit.component, unit.actions, unit.cycles)) for work, unit in array.units)
    return old.Array(
        name,
        lengths.get("rows", 1),
        lengths["columns"],
        array.registers,
        units,
        array.link.multicast,
        array.link.reduction,
        array.register_file,
    )

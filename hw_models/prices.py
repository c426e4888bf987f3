"""What a machine's actions cost, and its parts: energy, leakage and area of each node, over numbers or arrays.

    memory     energy of one access of the whole width / bits of that width, for every bit moved
    array      its PEs' register files, by the bit, and units: actions · energy of the component at the operands' widths
    area       instances · (memory), PEs · (register file + one of each distinct component); a component within another
               one of the same PE (the adder of a multiply-accumulator) takes none of its own
    leakage    instances · leakage of the memory or register file

Prices are what the machine's file states and otherwise the component tables', by default those of the published
evaluation of FuseMax (Nayak et al., MICRO 2024). The off-chip memory and what is priced as another array's registers
take no area; wires and control are not modelled. A register file is characterised at 16 bits; one of other values costs
in proportion to their bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from einsum_cascades.errors import InputError
from einsum_cascades.operators import WorkClass
from hw_models.components import DRAM_ACCESS_BYTES, MemoryCost, logic, scale
from hw_models.components.memories import laid_over, priced
from hw_models.machine import Array, Machine, Memory, Number, product
from hw_models.widths import TABLE_BITS, area_um2, energy_pj, widest

_PICO: Final = 1e-12
_NOTHING: Final = MemoryCost(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class NodePrice:
    """What a node costs. Of an array, reads and writes are those of its registers.

    Attributes:
        read_j_per_bit, write_j_per_bit: energy of a bit read or written, in joules.
        leak_w: leakage of all instances in watts.
        area_mm2: area of all instances in mm², an array's units included.
        extrapolated: whether a figure comes from outside the component tables.
    """

    read_j_per_bit: Number
    write_j_per_bit: Number
    leak_w: Number
    area_mm2: Number
    extrapolated: Any = False


@dataclass(frozen=True)
class Prices:
    """What a machine costs.

    Attributes:
        nodes: by node.
        operations: joules of one operation at the machine's own widths, by array and class of work.
    """

    nodes: Mapping[str, NodePrice]
    operations: Mapping[tuple[str, WorkClass], Number]

    @property
    def area_mm2(self) -> Number:
        """Area of the chip in mm²."""
        return sum(price.area_mm2 for price in self.nodes.values())

    @property
    def leak_w(self) -> Number:
        """Leakage of the chip in watts."""
        return sum(price.leak_w for price in self.nodes.values())

    @property
    def extrapolated(self) -> tuple[str, ...]:
        """The nodes with figures from outside the component tables."""
        return tuple(name for name, price in self.nodes.items() if np.any(price.extrapolated))


def node_prices(machine: Machine) -> Prices:
    """Return what a machine's nodes and operations cost; do not mutate it.

    Raises:
        InputError: the component tables lack a component, a memory or the process node.
    """
    try:
        hash(machine)
    except TypeError:  # its numbers are arrays
        return _prices(machine)
    return _of_one(machine)


@lru_cache(maxsize=1024)
def _of_one(machine: Machine) -> Prices:
    return _prices(machine)


def _prices(machine: Machine) -> Prices:
    nodes: dict[str, NodePrice] = {}
    operations: dict[tuple[str, WorkClass], Number] = {}
    factors = scale(machine.technology_nm)
    for node in machine.nodes:
        if isinstance(node, Memory):
            nodes[node.name] = _memory_price(node, machine)
            continue
        nodes[node.name] = _array_price(node, machine, factors.area)
        for work, _ in node.units:
            operations[node.name, work] = operation_j(machine, node.name, work, factor=factors.energy)
    return Prices(nodes, operations)


def operation_j(
    machine: Machine,
    array: str,
    work: WorkClass,
    operands: tuple[Number, Number] | None = None,
    result: Number | None = None,
    factor: Number | None = None,
) -> Number:
    """Return the energy of one operation on an array, in joules.

    Args:
        operands: bits of its two operands; by default those of inputs for a multiply-accumulate, else of accumulators.
        result: bits of its result; by default those of accumulators.
        factor: what the process node makes of the energy at 45 nm, where it is known already.

    Raises:
        InputError: the array's PEs do no such work.
    """
    unit = machine.array(array).unit_of.get(work)
    if unit is None:
        does = ", ".join(w for w, _ in machine.array(array).units)
        raise InputError(f"{array} of '{machine.name}' does no {work}", hint=f"it does: {does}")
    if unit.energy_j is not None:
        return unit.energy_j
    operands = _own_operands(machine, work) if operands is None else operands
    result = machine.role_bits["accumulators"] if result is None else result
    if factor is None:
        factor = scale(machine.technology_nm).energy
    return _PICO * (_real(unit.actions) * (energy_pj(unit.component, operands, result) * factor))


def _own_operands(machine: Machine, work: WorkClass) -> tuple[Number, Number]:
    bits = machine.role_bits["inputs" if work == "mac" else "accumulators"]
    return bits, bits


def _memory_price(memory: Memory, machine: Machine) -> NodePrice:
    cost, bits = _memory_cost(memory, machine)
    read, write = (_PICO * (pj / bits) for pj in (cost.read_pj, cost.write_pj))
    stated, per_byte = memory.pricing.stated, memory.pricing.j_per_byte
    if per_byte is not None:
        read = per_byte / 8 if stated.read_j is None else read
        write = per_byte / 8 if stated.write_j is None else write
    many = _instances(machine, memory.name)
    return NodePrice(read, write, many * cost.leak_w, many * cost.area_mm2, cost.extrapolated)


def _memory_cost(memory: Memory, machine: Machine) -> tuple[MemoryCost, Number]:
    """Return the cost of one instance, and how many bits one access has."""
    pricing, node = memory.pricing, machine.technology_nm
    bits: Number = TABLE_BITS if memory.width_bits is None else memory.width_bits
    found = _NOTHING
    if pricing.by == "component":
        access = logic(pricing.name).energy_pj * (bits / (8 * DRAM_ACCESS_BYTES))
        found = MemoryCost(access, access, 0.0, 0.0)
    elif pricing.by == "array":
        like = machine.array(pricing.name)
        file, file_bits = _file_cost(like, machine)
        read, write = (pj * (bits / file_bits) for pj in (file.read_pj, file.write_pj))
        found = MemoryCost(read, write, 0.0, 0.0)
    elif pricing.by == "table" and not pricing.stated.complete:
        if pricing.cells == "regfile":
            values: Number = memory.bytes
            found = _registers(-(-8 * values // bits), bits, node)
        else:
            found = priced(pricing.name, "sram", memory.bytes, bits, memory.ports, node)
    return laid_over(found, pricing.stated), bits


def _file_cost(array: Array, machine: Machine) -> tuple[MemoryCost, Number]:
    """Return the cost of one PE's register file, and how many bits one access has."""
    bits = machine.role_bits["accumulators"]
    known = array.register_file.complete or array.registers is None
    found = _NOTHING if known else _registers(array.registers, bits, machine.technology_nm)
    return laid_over(found, array.register_file), bits


def _registers(values: Number, bits: Number, technology_nm: Number) -> MemoryCost:
    """Return the cost of a register file of so many values of so many bits."""
    found = priced("accelergy", "regfile", values * (TABLE_BITS // 8), TABLE_BITS, 1, technology_nm)
    read, write, leak, area = (figure * (bits / TABLE_BITS) for figure in found[:4])
    return MemoryCost(read, write, leak, area, found.extrapolated)


def _array_price(array: Array, machine: Machine, factor: Number) -> NodePrice:
    file, bits = _file_cost(array, machine)
    pes = _instances(machine, array.name)
    logic_mm2 = _logic_mm2(array, machine, factor)
    return NodePrice(
        _PICO * (file.read_pj / bits),
        _PICO * (file.write_pj / bits),
        pes * file.leak_w,
        pes * (file.area_mm2 + logic_mm2),
        file.extrapolated,
    )


def _logic_mm2(array: Array, machine: Machine, factor: Number) -> Number:
    """Return the area of one PE without its register file, in mm²: each component as wide as its widest work.

    Args:
        factor: what the process node makes of an area at 45 nm.
    """
    result = machine.role_bits["accumulators"]
    widths: dict[str, Number] = {}
    stated: dict[str, Number] = {}
    for work, unit in array.units:
        if unit.area_mm2 is not None:
            stated[unit.component] = unit.area_mm2
        bits = _own_operands(machine, work)[0]
        widths[unit.component] = widest(widths[unit.component], bits) if unit.component in widths else bits
    tables: Number = 0
    for component, bits in widths.items():
        if component not in stated and logic(component).within not in widths:
            tables = tables + area_um2(component, (bits, bits), result)
    return tables * factor * 1e-6 + sum(stated.values())


def _instances(machine: Machine, name: str) -> Number:
    """Return how many instances or PEs there are as a float, which no number of them overflows."""
    return product(_real(length) for node in machine.path(name) for _, length in node.dimensions)


def _real(number: Number) -> Number:
    return number.astype(float) if isinstance(number, np.ndarray) else float(number)

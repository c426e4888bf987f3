"""What a machine is: two arrays of processing elements, a global buffer, an off-chip memory.

Architectures are YAML files (``hw_models/architectures``); ``load.py`` reads and checks them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from einsum_cascades.operators import WorkClass
from hw_models.machine import NOTHING_STATED, StatedCost

__all__ = ["Architecture", "Array", "Memory", "MemoryTable", "StatedCost", "Unit"]

MemoryTable = Literal["accelergy", "cacti", "hwcomponents"]


@dataclass(frozen=True)
class Unit:
    """How a PE performs one class of work.

    Attributes:
        component: row of the component table that it uses, such as ``mac``.
        actions: how often it uses it for one operation (an exponential may be six sequential MACs).
        cycles: cycles for one operation.
    """

    component: str
    actions: int = 1
    cycles: int = 1


@dataclass(frozen=True)
class Array:
    """A spatial array of identical PEs; a one-dimensional array has one row.

    Attributes:
        name: ``array_2d`` or ``array_1d``.
        rows, columns: PEs along each dimension.
        registers: values that each PE's register file holds.
        register_file: what is stated of that file's cost.
        units: (work class, unit) pairs: what the PEs can do.
        multicast: whether one read of a memory can serve all PEs that want the value.
        spatial_reduction: whether results are summed across PEs on their way out.
    """

    name: str
    rows: int
    columns: int
    registers: int
    units: tuple[tuple[WorkClass, Unit], ...]
    multicast: bool = True
    spatial_reduction: bool = True
    register_file: StatedCost = NOTHING_STATED

    @property
    def pes(self) -> int:
        """Number of PEs."""
        return self.rows * self.columns

    @cached_property
    def unit_of(self) -> dict[WorkClass, Unit]:
        """The unit for each class of work that the PEs offer."""
        return dict(self.units)

    def offers(self, work: Iterable[WorkClass]) -> bool:
        """Whether the PEs can do every class of work named."""
        return all(w in self.unit_of for w in work)


@dataclass(frozen=True)
class Memory:
    """An on-chip memory.

    Attributes:
        name: such as ``global_buffer``.
        bytes: capacity.
        row_values: values moved by one access.
        banks, ports: how it is built; banks change nothing in the component tables, ports only in some.
        table: table that prices it: ``accelergy``, ``cacti`` or ``hwcomponents``.
        stated: what is stated of its cost.
    """

    name: str
    bytes: int
    row_values: int
    banks: int = 32
    ports: int = 4
    table: MemoryTable = "accelergy"
    stated: StatedCost = NOTHING_STATED


@dataclass(frozen=True)
class Architecture:
    """A spatial-array machine.

    Attributes:
        frequency_hz: clock of both arrays.
        bandwidth_bytes_per_s: off-chip bandwidth.
        staging: whether registers stand between the arrays, through which values change from one to the other.
        technology_nm: process node whose energies and areas the components have; the clock does not follow it.
        dram_j_per_byte: energy of moving a byte to or from the off-chip memory; None for the component table's.
        value_bytes: bytes per value that the arrays work on.
    """

    name: str
    array_2d: Array
    array_1d: Array
    global_buffer: Memory
    frequency_hz: float
    bandwidth_bytes_per_s: float
    staging: bool = False
    technology_nm: int = 45
    value_bytes: int = 2
    dram_j_per_byte: float | None = None
    title: str = ""
    citation: str = ""

    @property
    def kind(self) -> Literal["spatial-array"]:
        """What sort of machine it is."""
        return "spatial-array"

    def array(self, name: str) -> Array:
        """Return ``array_2d`` or ``array_1d`` by name."""
        return self.array_2d if name == "array_2d" else self.array_1d

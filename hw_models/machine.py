"""What a spatial-array machine is: a tree of named memories and arrays of processing elements, any number, any depth.

    dram ── global_buffer ── staging ─┬─ array_2d
                                      └─ array_1d

The first node is the off-chip memory, which every tensor starts from and ends in. A node hangs below the memory that it
takes values from, over a link. A memory may have several instances for each instance of its parent, a fan-out over
named dimensions; an array is a fan-out of PEs, and the registers of its PEs are a memory of the array's name.

Machines are YAML files (``hw_models/machines``); ``machine_file.py`` reads and checks them. Any number here may be an
array with a value per machine: a sweep's machines are one ``Machine``. Names and structure are never arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias, TypeVar

from einsum_cascades.errors import unknown
from einsum_cascades.loops.levels import Level, Levels
from einsum_cascades.operators import WorkClass
from hw_models.dram_timing import DramTiming
from hw_models.links import Link

T = TypeVar("T")
Number: TypeAlias = Any
"""A number, or an array with a value per machine."""
Dimensions: TypeAlias = tuple[tuple[str, Number], ...]
Role = Literal["inputs", "accumulators", "outputs"]
Overlap = Literal["whole", "phase"]
Table = Literal["accelergy", "cacti", "hwcomponents"]
Cells = Literal["sram", "regfile"]
ONE: Final = Link()
ROLES: Final[tuple[Role, ...]] = ("inputs", "accumulators", "outputs")


@dataclass(frozen=True)
class StatedCost:
    """What a machine's file states of a memory's cost, in place of the component tables; None is not stated.

    Attributes:
        read_j, write_j: energy of one access of the whole width, in joules.
        leak_w: leakage of one instance in watts.
        area_mm2: area of one instance in mm².
    """

    read_j: Number | None = None
    write_j: Number | None = None
    leak_w: Number | None = None
    area_mm2: Number | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left for the tables."""
        return all(value is not None for value in (self.read_j, self.write_j, self.leak_w, self.area_mm2))


NOTHING_STATED: Final = StatedCost()


@dataclass(frozen=True)
class Pricing:
    """Where a memory's cost comes from.

    Attributes:
        by: a table of memories, a component (off-chip: energy of an access, no area), or an array whose register file
            prices an access (no area of its own); ``nothing`` where all is stated.
        name: of that table, component or array.
        cells: what a table prices.
        stated: what the file states; it stands before all else.
        j_per_byte: energy of a byte read or written, in joules; it stands before the table's.
    """

    by: Literal["table", "component", "array", "nothing"] = "nothing"
    name: str = ""
    cells: Cells = "sram"
    stated: StatedCost = NOTHING_STATED
    j_per_byte: Number | None = None


@dataclass(frozen=True)
class Memory:
    """A memory: all figures are those of one instance.

    Attributes:
        parent: the memory that it is filled from; None for the outermost.
        bytes: capacity; None is without limit.
        dimensions: (name, length) of its fan-out below each instance of the parent; () is one instance.
        width_bits: bits moved by one access; None where its cost does not depend on them.
        shared_bytes_per_s: bandwidth that reads and writes share; None is without limit.
        read_bytes_per_s, write_bytes_per_s: bandwidths of their own; None is without limit.
        double_buffered: whether what is refilled takes its room twice, so that it is refilled while it is used.
        banks, ports: how it is built.
        latency_s: of an access to the off-chip memory, in seconds; for the timed simulator.
        timing: of the off-chip memory's banks and buses, for the timed simulator; None is bandwidth and latency alone.
    """

    name: str
    parent: str | None = None
    bytes: Number | None = None
    dimensions: Dimensions = ()
    width_bits: Number | None = None
    shared_bytes_per_s: Number | None = None
    read_bytes_per_s: Number | None = None
    write_bytes_per_s: Number | None = None
    double_buffered: bool = False
    banks: Number = 1
    ports: Number = 1
    pricing: Pricing = Pricing()
    link: Link = ONE
    latency_s: Number = 0.0
    timing: DramTiming | None = None

    @property
    def rates(self) -> tuple[Number | None, Number | None, Number | None]:
        """Bytes per second of one instance: shared by reads and writes, of reads, of writes; None is without limit."""
        return self.shared_bytes_per_s, self.read_bytes_per_s, self.write_bytes_per_s


@dataclass(frozen=True)
class Unit:
    """How a PE does one class of work. Units are pipelined: they take the next operation after ``cycles``.

    Attributes:
        component: row of the component table that it uses, such as ``mac``.
        actions: how often it uses it for one operation (an exponential may be six sequential MACs).
        cycles: cycles of one operation.
        depth: cycles until the first result leaves its pipeline.
        energy_j: energy of one operation in joules, where the file states it.
        area_mm2: area of one instance in mm², where the file states it.
    """

    component: str
    actions: Number = 1
    cycles: Number = 1
    depth: Number = 1
    energy_j: Number | None = None
    area_mm2: Number | None = None


@dataclass(frozen=True)
class Array:
    """An array of identical PEs.

    Attributes:
        parent: the memory that it takes values from.
        dimensions: (name, length), any number; () is one scalar unit.
        registers: values that a PE's register file holds; None is without limit (and without cost).
        register_file: what is stated of that file's cost.
        units: (work class, unit) pairs: what a PE can do.
        fill_cycles, drain_cycles: cycles until the first values have reached all PEs, until the last results have left.
        clocked: whether PEs that have nothing to do use as much energy as those that work; else they are gated.
    """

    name: str
    parent: str
    dimensions: Dimensions = ()
    registers: Number | None = None
    register_file: StatedCost = NOTHING_STATED
    units: tuple[tuple[WorkClass, Unit], ...] = ()
    fill_cycles: Number = 0
    drain_cycles: Number = 0
    clocked: bool = False
    link: Link = ONE

    @cached_property
    def unit_of(self) -> dict[WorkClass, Unit]:
        """The unit for each class of work that the PEs offer."""
        return dict(self.units)

    @property
    def pes(self) -> Number:
        """Number of PEs below one instance of the parent."""
        return product(length for _, length in self.dimensions)

    def offers(self, work: Iterable[WorkClass]) -> bool:
        """Whether the PEs can do every class of work named."""
        return all(w in self.unit_of for w in work)


Node: TypeAlias = Memory | Array


@dataclass(frozen=True)
class Machine:
    """A spatial-array machine.

    Attributes:
        nodes: parents before their children; the first is the off-chip memory.
        frequency_hz: clock.
        technology_nm: process node whose energies and areas the components have; the clock does not follow it.
        bits: (role or tensor, bits of a value).
        overlap: what overlaps completely: the traffic and the computation of each phase, or of the whole run.
    """

    name: str
    nodes: tuple[Node, ...]
    frequency_hz: Number
    technology_nm: Number = 45
    bits: tuple[tuple[str, Number], ...] = (("inputs", 16), ("accumulators", 16), ("outputs", 16))
    overlap: Overlap = "phase"
    title: str = ""
    citation: str = ""
    _by_name: dict[str, Node] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {node.name: node for node in self.nodes})

    @property
    def kind(self) -> Literal["spatial-array"]:
        """What sort of machine it is."""
        return "spatial-array"

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """Return what was made of the machine before under a name, or make it."""
        known: dict[str, T] = self.__dict__.setdefault("_kept", {})
        if name not in known:
            known[name] = make()
        return known[name]

    def node(self, name: str) -> Node:
        """Return a node by name.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self._by_name:
            raise unknown(f"node of '{self.name}'", name, self._by_name)
        return self._by_name[name]

    def memory(self, name: str) -> Memory:
        """Return a memory by name.

        Raises:
            InputError: there is none of that name.
        """
        found = self._by_name.get(name)
        if not isinstance(found, Memory):
            raise unknown(f"memory of '{self.name}'", name, (m.name for m in self.memories))
        return found

    def array(self, name: str) -> Array:
        """Return an array by name.

        Raises:
            InputError: there is none of that name.
        """
        found = self._by_name.get(name)
        if not isinstance(found, Array):
            raise unknown(f"array of '{self.name}'", name, (a.name for a in self.arrays))
        return found

    @property
    def root(self) -> Memory:
        """The off-chip memory."""
        return self.memory(self.nodes[0].name)

    @cached_property
    def memories(self) -> tuple[Memory, ...]:
        """All memories, parents first."""
        return tuple(node for node in self.nodes if isinstance(node, Memory))

    @cached_property
    def arrays(self) -> tuple[Array, ...]:
        """All arrays, in the file's order."""
        return tuple(node for node in self.nodes if isinstance(node, Array))

    def path(self, name: str) -> tuple[Node, ...]:
        """Return the nodes from the off-chip memory to a node.

        Raises:
            InputError: there is none of that name.
        """
        found = [self.node(name)]
        while (parent := found[-1].parent) is not None:
            found.append(self.node(parent))
        return tuple(reversed(found))

    def instances(self, name: str) -> Number:
        """Return how many instances a memory has in all, or how many PEs an array has.

        Raises:
            InputError: there is no node of that name.
        """
        return product(length for node in self.path(name) for _, length in node.dimensions)

    @cached_property
    def role_bits(self) -> dict[str, Number]:
        """Bits of a value by role or tensor."""
        return dict(self.bits)

    def bits_of(self, tensor: str, role: Role) -> Number:
        """Return the bits of a tensor's values: its own if the file gives them, else those of its role."""
        return self.role_bits.get(tensor, self.role_bits[role])

    @cached_property
    def levels(self) -> Levels:
        """The machine as loop trees see it."""
        return Levels(tuple(self._level(node) for node in self.nodes))

    def _level(self, node: Node) -> Level:
        if isinstance(node, Memory):
            capacity, computes, double = node.bytes, False, node.double_buffered
            bits = 8
        else:
            capacity, computes, double = node.registers, True, False
            bits = self.role_bits["accumulators"]
        return Level(
            name=node.name,
            parent=node.parent,
            dimensions=node.dimensions,
            multicast=node.link.multicast,
            reduction=node.link.reduction,
            capacity_bits=None if capacity is None else capacity * bits,
            computes=computes,
            double_buffered=double,
        )


def product(numbers: Iterable[Number]) -> Number:
    """Return the product of numbers, exact for Python's; 1 if there are none."""
    found: Number = 1
    for number in numbers:
        found = found * number
    return found

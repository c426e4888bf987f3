"""What a mapping makes the machine do: plain counts, exact integers throughout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from einsum_cascades.operators import WorkClass

ArrayName = Literal["array_2d", "array_1d"]


class Count(NamedTuple):
    """Accesses to one tensor in one memory, in values, summed over all instances of the memory.

    Attributes:
        memory: ``dram``, ``global_buffer``, ``staging`` (registers between the arrays), ``array_2d`` or
            ``array_1d`` (the register files of an array's PEs).
        tensor: the tensor.
        reads: values read to serve the memory further in (or the PEs), partial sums read back included.
        fills: values written when they come from the memory further out.
        updates: values written when they come from further in (results).
        drains: values read on their way to the memory further out.
    """

    memory: str
    tensor: str
    reads: int = 0
    fills: int = 0
    updates: int = 0
    drains: int = 0


@dataclass(frozen=True, slots=True)
class EinsumActivity:
    """One Einsum's work.

    Attributes:
        name: the Einsum.
        array: where it runs.
        cycles: cycles for which it occupies the array, padding included.
        pe_cycles: cycles of useful work summed over PEs: at most cycles times the number of PEs.
        operations: (work class, number) of useful operations; a sum-reduced product is one ``mac``.
        counts: memory accesses.
    """

    name: str
    array: ArrayName
    cycles: int
    pe_cycles: int
    operations: tuple[tuple[WorkClass, int], ...]
    counts: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class Phase:
    """Work that overlaps: it takes the longer of its computation and its off-chip traffic; phases add up.

    Attributes:
        name: such as ``QK`` or ``fused``.
        cycles: compute cycles, after the schedule has overlapped what it can.
        dram_bytes: off-chip traffic.
        waits_2d, waits_1d: those of the cycles in which all else waits for that array: it is the busier one of its
            epoch, or as busy as the other, which then waits too. Draining the 2D array counts for it.
    """

    name: str
    cycles: int
    dram_bytes: int
    waits_2d: int = 0
    waits_1d: int = 0


@dataclass(frozen=True, slots=True)
class Activity:
    """Everything that a mapped cascade does.

    Attributes:
        einsums: per Einsum.
        phases: in time order.
        buffer_bytes: peak live bytes in the global buffer.
        passes: passes over the reduced rank that the mapping makes.
        tiled: whether the cascade runs tile by tile rather than phase by phase.
    """

    einsums: tuple[EinsumActivity, ...]
    phases: tuple[Phase, ...]
    buffer_bytes: int
    passes: int
    tiled: bool

    @property
    def dram_bytes(self) -> int:
        """Off-chip traffic of all phases."""
        return sum(p.dram_bytes for p in self.phases)

"""Vector phases: the Einsums between two contractions, walked fiber by fiber on the 1D array.

The lanes lie along the row rank (keys), or else the largest rank that is not iterative; time walks over the rest. In
each pass over a fiber, what the pass needs of an earlier one comes from the buffer, and what it makes for a later one
goes there; consumers in the producer's own pass take values as they come. What the phase takes in is brought on chip
once if the fibers fit, else once per pass.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod

from einsum_cascades.ir import Access, Cascade, Einsum
from einsum_cascades.operations import work_classes
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture, Array
from mappers.binding import offered
from mappers.capacity import least, live_bytes
from mappers.mapping import MappedEinsum, NestShape
from mappers.nest import Hold, Operand
from mappers.phases import PhaseGroup, actions, phase_cycles
from mappers.residency import BUFFER, DRAM
from mappers.sections import Section, carried

INSTANCES = "*"


def lanes(array: Array) -> int:
    """Return how many values an array works on side by side in a vector phase."""
    return array.pes if array.name == "array_1d" else array.columns


def along_parts(size: int, lanes: int) -> dict[str, int]:
    """Return the extents of the rank along the lanes: ``steps`` in time, ``lanes`` side by side."""
    width = least(size, lanes)
    return {"steps": -(-size // width), "lanes": width}


@dataclass(frozen=True)
class VectorPhase:
    """A vector phase of a cascade.

    Attributes:
        sections: section of every Einsum of the cascade, by passes over the row family.
        family: the row family, innermost part last.
        on_chip: tensors that other phases leave or expect in the buffer.
        fibers_fit: whether the fibers that the phase works on fit the buffer.
    """

    group: PhaseGroup
    cascade: Cascade
    sections: dict[str, Section]
    family: tuple[str, ...]
    on_chip: frozenset[str]
    fibers_fit: bool = True

    def map(
        self, sizes: dict[str, int], architecture: Architecture, accounting: Accounting
    ) -> tuple[MappedEinsum, ...]:
        """Return the phase's Einsums mapped.

        Raises:
            InputError: no array offers an Einsum's operators.
        """
        return tuple(self._mapped(e, sizes, architecture, accounting) for e in self.group.einsums)

    def live_bytes(self, sizes: dict[str, int], value_bytes: int) -> int:
        """Return the bytes of the fibers that are live at once: one of each tensor with a value per row."""
        fibers = dict.fromkeys(
            a for e in self.group.einsums for a in (*e.inputs, e.output) if set(a.ranks) & set(self.family)
        )
        lengths = {a.tensor: prod([sizes[r] for r in a.ranks if r in self.family]) for a in fibers}
        return live_bytes(lengths.values(), value_bytes)

    def _mapped(
        self, einsum: Einsum, sizes: dict[str, int], architecture: Architecture, accounting: Accounting
    ) -> MappedEinsum:
        array_name = offered(einsum, "array_1d", architecture)
        array = architecture.array(array_name)
        along = self.along(einsum, sizes)
        shape, loops = self.layout(einsum, array, along)
        work = tuple(Counter(work_classes(einsum)).items())
        parts = along_parts(sizes[along], lanes(array)) if along else {}
        return MappedEinsum(
            einsum.name,
            array_name,
            shape,
            tuple(parts[part] if part else sizes[rank] for rank, part in loops),
            work,
            phase_cycles(work, array, accounting),
            sizes[INSTANCES] * prod([sizes[r] for r in einsum.ranks]),
            actions(work, array),
        )

    def layout(self, einsum: Einsum, array: Array, along: str) -> tuple[NestShape, tuple[tuple[str, str], ...]]:
        """Return an Einsum's nest without extents, and its loops.

        Args:
            along: the rank that lies along the lanes.

        Returns:
            The nest, and per loop the rank with "" for all of it, ``steps`` or ``lanes`` for a part of ``along``.
        """
        ordered = [r for r in einsum.ranks if r not in self.family] + [r for r in self.family if r in einsum.ranks]
        loops: list[tuple[str, str]] = [(INSTANCES, "")]
        fiber = len(ordered) + 1
        for rank in ordered:
            if rank in self.family:
                fiber = min(fiber, len(loops))
            loops += [(rank, "steps"), (rank, "lanes")] if rank == along else [(rank, "")]
        operands, holds = self._operands(einsum, min(fiber, len(loops)), len(loops), array.name)
        shape = NestShape.of(
            operands,
            tuple(rank for rank, _ in loops),
            tuple(part == "lanes" for _, part in loops),
            holds,
            multicast=array.multicast,
            spatial_reduction=array.spatial_reduction,
        )
        return shape, tuple(loops)

    def along(self, einsum: Einsum, sizes: dict[str, int]) -> str:
        """Return the rank that lies along the lanes; "" if there is none."""
        rows, free = self.along_choices(einsum)
        return rows or max(free, key=lambda r: sizes[r], default="")

    def along_choices(self, einsum: Einsum) -> tuple[str, tuple[str, ...]]:
        """Return the row rank that lies along the lanes ("" if there is none), and else the ranks to choose from."""
        free = tuple(r for r in einsum.ranks if r not in self.cascade.iterative_ranks)
        rows = [r for r in self.family if r in free]
        return (rows[-1], ()) if rows else ("", free)

    def _operands(
        self, einsum: Einsum, fiber: int, end: int, array: str
    ) -> tuple[tuple[Operand, ...], tuple[Hold, ...]]:
        depth = {DRAM: 0, BUFFER: fiber, array: end}
        operands: list[Operand] = []
        holds: list[Hold] = []
        used: set[str] = {einsum.name}
        for number, access in enumerate(einsum.inputs):
            name = access.tensor if access.tensor not in used else f"{access.tensor}'{number}"
            used.add(name)
            operands.append(Operand(name, (INSTANCES, *access.ranks)))
            holds += [Hold(m, name, depth[m]) for m in self._reads(einsum, access, array)]
        operands.append(Operand(einsum.name, (INSTANCES, *einsum.output.ranks), output=True))
        holds += [Hold(m, einsum.name, depth[m]) for m in self._writes(einsum, array)]
        return tuple(operands), tuple(holds)

    def _reads(self, einsum: Einsum, access: Access, array: str) -> tuple[str, ...]:
        here = self.sections[einsum.name]
        if access.tensor in self.group.tensors:
            if carried(access, einsum, self.cascade):
                return (BUFFER, array)
            if self.sections[access.tensor] == here:
                return (array,)
            return (BUFFER, array) if self.fibers_fit or not self._by_row(access) else (DRAM, array)
        if access.tensor in self.on_chip:
            return (BUFFER, array)
        first = self._first_readers(access.tensor)
        brings = einsum.name == first[0] or (not self.fibers_fit and self._by_row(access) and einsum.name in first)
        return (DRAM, BUFFER, array) if brings else (BUFFER, array)

    def _first_readers(self, tensor: str) -> list[str]:
        """The first Einsum that reads the tensor, in each section."""
        seen: dict[Section, str] = {}
        for einsum in self.group.einsums:
            if any(a.tensor == tensor for a in einsum.inputs):
                seen.setdefault(self.sections[einsum.name], einsum.name)
        return list(seen.values())

    def _by_row(self, access: Access) -> bool:
        return bool(set(access.ranks) & set(self.family))

    def _writes(self, einsum: Einsum, array: str) -> tuple[str, ...]:
        tensor = einsum.name
        outside = [
            e
            for e in (*self.cascade.body, *self.cascade.final)
            if e not in self.group.einsums and any(a.tensor == tensor for a in e.inputs)
        ]
        if tensor in self.on_chip:
            return (BUFFER, array)
        if outside or tensor in self.cascade.outputs:
            return (DRAM, array)
        here = self.sections[tensor]
        later = any(
            self.sections[e.name] != here or carried(a, e, self.cascade)
            for e in self.group.einsums
            for a in e.inputs
            if a.tensor == tensor
        )
        if not later:
            return (array,)
        return (BUFFER, array) if self.fibers_fit or not self._by_row(einsum.output) else (DRAM, array)

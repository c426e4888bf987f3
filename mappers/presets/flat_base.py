"""What a choice of FLAT's fixes before its products are looked at, and what vector phases cost then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from einsum_cascades.loops.arith import Number, alike, least
from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.counts import count
from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.tree import LoopTree
from hw_models.spatial.activity import Activity, bits_of
from hw_models.spatial.moved import real
from hw_models.spatial.work import cycles_of
from mappers.presets.flat_counts import Figure
from mappers.presets.flat_phases import Phases, Segment
from mappers.presets.flat_tree import OUTSIDE, TILE, Choice, SegmentTree

WAYS = ("row", "column", "both")


@dataclass(frozen=True, eq=False)
class Base:
    """What is fixed before the products.

    Attributes:
        choice: without layouts and operands of products.
        cycles: of vector phases by array, for a tile of all columns.
        laid, turns: lanes along which these lie over columns, and the steps that all columns take then; None of none.
        bits: of vector phases, off chip.
        capacity: of the buffer, in bits.
        width: columns up to which the room grows otherwise than beyond.
        narrow, wide: bits in the buffer for a tile of one column, and for one of that width.
        shallow, steep: bits for each further column, up to that width and beyond.
    """

    choice: Choice
    cycles: dict[str, Figure]
    laid: Figure | None
    turns: Figure
    bits: Figure
    capacity: Figure
    width: Figure
    narrow: Figure
    wide: Figure
    shallow: Figure
    steep: Figure


@dataclass(frozen=True, eq=False)
class Bases:
    """All that may be fixed for one segment."""

    phases: Phases
    segment: Segment

    def all(self) -> Iterator[Base]:
        """Yield it, what keeps most on chip first.

        Raises:
            UnlikeError: vector phases differ in structure between points.
        """
        between = self.phases.between(self.segment)
        overlaps: tuple[bool, ...] = (True,)
        if len(self.segment.phases) > 1 and self.phases.problem.accounting.pipeline_copies:
            overlaps = (True, False)
        for on_chip in (between, ()) if between else ((),):
            for fibers in (True, False) if on_chip != between or not between else (True,):
                for lanes in self._lanes():
                    place = dict.fromkeys(on_chip, TILE) | (self._lent if fibers else {})
                    choice = replace(self.registers, place=place, fibers=fibers, lanes=lanes)
                    for overlap in overlaps:
                        yield self._base(replace(choice, overlap=overlap))

    @cached_property
    def size(self) -> Number:
        """Columns in all."""
        column = self.segment.column
        return self.phases.space.sizes[column] if column is not None else 1

    @cached_property
    def vectors(self) -> tuple[int, ...]:
        """Numbers of the vector phases."""
        return tuple(i for i, phase in enumerate(self.segment.phases) if not phase.product)

    def _lanes(self) -> list[dict[int, str]]:
        """How vector phases may lie: each in the way of fewest cycles, or all along rows."""
        rows = dict.fromkeys(self.vectors, WAYS[0])
        fastest = {number: self._fastest(number) for number in self.vectors}
        return [rows] if fastest == rows else [fastest, rows]

    def _fastest(self, number: int) -> str:
        best = WAYS[0]
        for way in WAYS[1:]:
            if alike(self._total(number, way) < self._total(number, best)):
                best = way
        return best

    def _total(self, number: int, way: str) -> Figure:
        found: Figure = 0.0
        for cycles in self._cycles(number, way).values():
            found = found + cycles
        return found

    def _plan(self, choice: Choice, number: int | None = None) -> Plan:
        node = SegmentTree(self.phases, self.segment, choice).node(number)
        return self.phases.problem.plan(LoopTree(node, self.phases.split))

    def _cycles(self, number: int, way: str) -> dict[str, Figure]:
        """Cycles of a vector phase by array, for a tile of all columns."""
        if (number, way) not in self._counted:
            problem = self.phases.problem
            plan = self._plan(replace(self.registers, fused=self.size, lanes={number: way}), number)
            steps = count(plan, only="").steps
            found: dict[str, Figure] = {}
            for site in plan.computes:
                array = problem.machine.array(site.unit)
                cycles = cycles_of(plan.step(site).einsum, array, problem.accounting)
                found[array.name] = found.get(array.name, 0.0) + real(steps[site.number] * cycles)
            self._counted[number, way] = found
        return self._counted[number, way]

    @cached_property
    def _counted(self) -> dict[tuple[int, str], dict[str, Figure]]:
        return {}

    @cached_property
    def registers(self) -> Choice:
        """How registers are used: as far as they have room, Einsums of a pass hand on values in them, and operands that
        change at every point pass through them."""
        choices = [Choice(1), Choice(1, share=False), Choice(1, share=False, lean=True)]
        return next((choice for choice in choices[:-1] if self._has_registers(choice)), choices[-1])

    def _has_registers(self, choice: Choice) -> bool:
        problem = self.phases.problem
        if problem.accounting.fibers_in_registers:
            return True
        for number in range(len(self.segment.phases)):
            plan = self._plan(choice, number)
            peak = Activity(plan, problem.machine, (), {}, problem.accounting.pipeline_copies).peak_bits
            for name, bits in peak.items():
                level = plan.levels[name]
                if level.computes and level.capacity_bits is not None and not alike(bits <= level.capacity_bits):
                    return False
        return True

    @cached_property
    def _lent(self) -> dict[str, str]:
        """What vector phases read from outside and that has no column: it stays for all tiles."""
        made, found = self.phases.made_in(self.segment), {}
        for number in self.vectors:
            for name in self.segment.phases[number].names:
                for operand in self.phases.steps[name].inputs:
                    tensor = operand.tensor
                    if tensor not in made and self.segment.column not in self.phases.ranks_of(tensor):
                        found[tensor] = OUTSIDE
        return found

    def _base(self, choice: Choice) -> Base:
        cycles: dict[str, Figure] = {}
        bits: Figure = 0.0
        for number in self.vectors:
            for array, own in self._cycles(number, choice.lanes[number]).items():
                cycles[array] = cycles.get(array, 0.0) + own
            bits = bits + self._bits(choice, number)
        laid = next((n for n in self.vectors if choice.lanes[n] != WAYS[0]), None)
        width = self._width(laid, choice.lanes[laid]) if laid is not None else 1
        size, wide = real(self.size), np.minimum(real(width), real(self.size))
        narrow = beyond = self._room(choice, 1)
        if laid is not None:
            beyond = self._room(choice, least(width, self.size))
        steep = (self._room(choice, self.size) - beyond) / np.maximum(size - wide, 1)
        return Base(
            choice=choice,
            cycles=cycles,
            laid=real(width) if laid is not None else None,
            turns=np.ceil(size / real(width)),
            bits=bits,
            capacity=8 * real(self.phases.problem.parts.buffer.bytes),
            width=real(width),
            narrow=narrow,
            wide=beyond,
            shallow=(beyond - narrow) / np.maximum(wide - 1, 1),
            steep=np.where(size > wide, steep, 0.0),
        )

    def _width(self, number: int, way: str) -> Number:
        return SegmentTree(self.phases, self.segment, Choice(1)).width(self.segment.phases[number], way)

    def _bits(self, choice: Choice, number: int) -> Figure:
        """Off-chip bits of a vector phase, without what the buffer keeps between phases."""
        problem = self.phases.problem
        plan = self._plan(replace(choice, fused=self.size), number)
        skipped = {tensor for tensor in choice.place if tensor in self.phases.between(self.segment)}
        found: Figure = 0.0
        for row in count(plan, only=plan.levels.home).rows:
            if row.node == plan.levels.home and row.tensor not in skipped:
                found = found + real(row.count) * bits_of(row.tensor, plan, problem.machine)
        return found

    def _room(self, choice: Choice, fused: Number) -> Figure:
        """Bits in the buffer of the segment's tree, its products' operands left out."""
        problem, buffer = self.phases.problem, self.phases.problem.parts.buffer.name
        plan = self._plan(replace(choice, fused=fused, bare=True))
        copies = problem.accounting.pipeline_copies
        return real(live_bits(plan, problem.bits, buffer, in_copies=copies).get(buffer, 0))

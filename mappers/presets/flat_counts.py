"""Counts of a segment's phases by themselves, by the engine, for all fused tiles at once.

A product is counted in every layout with its operands nowhere on chip, for a tile of columns, and for all tiles: the
traffic of an operand does not depend on where the others are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.tree import LoopTree, Node
from hw_models.spatial.activity import Activity, activity_of
from mappers.presets.flat_phases import Phases, Segment
from mappers.presets.flat_tree import OUTSIDE, TILE, Choice, Layout, SegmentTree

Array: TypeAlias = npt.NDArray[Any]
"""Numbers by fused tile."""


@dataclass(frozen=True, eq=False)
class LayoutCounts:
    """A product in one layout: cycles, and off-chip bits by operand and place ("" for none), by fused tile."""

    layout: Layout
    cycles: Array
    bits: dict[tuple[str, str], Array]


@dataclass(frozen=True, eq=False)
class Counted:
    """A product in all layouts."""

    name: str
    tensors: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    layouts: list[LayoutCounts]


@dataclass(frozen=True, eq=False)
class SegmentCounts:
    """Counts of the phases of one segment.

    Attributes:
        fused: the columns of a tile, of each tile that is looked at.
    """

    phases: Phases
    segment: Segment
    fused: Array

    @cached_property
    def products(self) -> tuple[int, ...]:
        """Numbers of the phases that are products."""
        return tuple(i for i, phase in enumerate(self.segment.phases) if phase.product)

    @property
    def copies(self) -> bool:
        """Whether what crosses the stages of a pipeline takes room in copies."""
        return self.phases.problem.accounting.pipeline_copies

    def activity(self, node: Node) -> Activity:
        problem = self.phases.problem
        return activity_of(problem.plan(LoopTree(node, self.phases.split)), problem.machine, problem.accounting)

    def room(self, choice: Choice, number: int | None = None) -> Array:
        """Return the bits in the buffer of the segment's tree with a choice, or of one phase's."""
        problem = self.phases.problem
        node = SegmentTree(self.phases, self.segment, choice).node(number)
        plan = problem.plan(LoopTree(node, self.phases.split))
        activity = Activity(plan, problem.machine, (), {}, self.copies)
        buffer = problem.parts.buffer.name
        return self.each(live_bits(plan, activity.bits, buffer, in_copies=self.copies).get(buffer, 0))

    def each(self, number: Any) -> Array:
        """Return a number for each fused tile."""
        found: Array = 0 * self.fused + number
        return found

    def operands(self, name: str) -> tuple[str, ...]:
        step = self.phases.steps[name]
        return tuple(dict.fromkeys(o.tensor for o in (*step.inputs, step.output)))

    def counted(self, number: int) -> Counted:
        if number not in self._products_counted:
            self._products_counted[number] = self._count(number)
        return self._products_counted[number]

    @cached_property
    def _products_counted(self) -> dict[int, Counted]:
        return {}

    def _count(self, number: int) -> Counted:
        name = self.segment.phases[number].names[0]
        tensors = self.operands(name)
        levels = {t: (TILE,) if self._has_column(t) else (TILE, OUTSIDE) for t in tensors}
        found = []
        for layout in self._layouts(name):
            bits: dict[tuple[str, str], Array] = {}
            cycles = None
            for level in ("", TILE, OUTSIDE):
                place = {t: level for t in tensors if level in levels[t]}
                if level and not place:
                    continue
                choice = Choice(self.fused, place, {name: layout})
                activity = self.activity(SegmentTree(self.phases, self.segment, choice).node(number))
                cycles = next(iter(activity.tasks.values())).cycles
                for tensor in place if level else tensors:
                    bits[tensor, level] = self.each(home_bits(activity, tensor))
            assert cycles is not None
            found.append(LayoutCounts(layout, self.each(cycles), bits))
        return Counted(name, tensors, levels, found)

    def _has_column(self, tensor: str) -> bool:
        return self.segment.column in self.phases.ranks_of(tensor)

    def _layouts(self, name: str) -> list[Layout]:
        """Pairs of groups along the array, and orders of the others in time."""
        _, groups = SegmentTree(self.phases, self.segment, Choice(1)).groups(name)
        dims = self.phases.problem.parts.dimensions(self.phases.array(name))
        square = len(dims) == 2 and isinstance(dims[0][1], int) and dims[0][1] == dims[1][1]
        pairs = combinations if square else permutations
        found = []
        for along in pairs(range(len(groups)), 2):
            rest = [i for i in range(len(groups)) if i not in along]
            found += [Layout(along, time) for time in permutations(rest)]
        return found

    @cached_property
    def rooms(self) -> dict[tuple[str, str], Array]:
        """Bits in the buffer of operands of products, by place."""
        found: dict[tuple[str, str], Array] = {}
        for number in self.products:
            counted = self.counted(number)
            for tensor in counted.tensors:
                for level in counted.levels[tensor]:
                    if (tensor, level) not in found:
                        found[tensor, level] = self._room_of(tensor, level, number)
        return found

    def _room_of(self, tensor: str, level: str, number: int) -> Array:
        """As in the whole segment: a tensor of several phases may be there in copies."""
        used = self.phases.used_in(self.segment)[tensor]
        bits = self.room(Choice(self.fused, {tensor: level}), number)
        return bits if len(used) == 1 or not self.copies else np.maximum(bits, bits // 2 * (1 + max(used) - min(used)))


def home_bits(activity: Activity, tensor: str | None = None, without: Collection[str] = ()) -> Any:
    """Off-chip bits of one tensor, or of all but some."""
    home = activity.machine.root.name
    found: Any = 0
    for row in activity.rows:
        if (
            row.node == home
            and row.action in ("read", "fill", "update", "drain")
            and tensor in (None, row.tensor)
            and row.tensor not in without
        ):
            found = found + row.count * activity.bits(row.tensor)
    return found


def least(arrays: list[Array]) -> Array:
    found = arrays[0]
    for one in arrays[1:]:
        found = np.minimum(found, one)
    return found

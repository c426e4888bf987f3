"""What the phases of a segment cost by themselves, in closed form, for any tile of fused columns.

An operand of a product passes the off-chip memory once for each turn of the loops outside its innermost hold that it
lacks: of the loops of the product itself where nothing keeps it but registers, of the loop over tiles where the buffer
keeps its tile, of none where the buffer keeps all of it. A result comes back on every visit but the first. All numbers
are floats, or arrays of them by choice and point; the engine counts what is chosen exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, permutations
from typing import Any, TypeAlias

import numpy as np

from einsum_cascades.loops.arith import everywhere
from einsum_cascades.loops.space import Operand
from einsum_cascades.loops.tree import INSTANCES
from hw_models.spatial.moved import real
from hw_models.spatial.work import cycles_of
from mappers.presets.flat_nest import Atom, Dimensions, operands_of
from mappers.presets.flat_phases import Phases, Segment
from mappers.presets.flat_tree import OUTSIDE, Choice, Layout, SegmentTree
from mappers.presets.problem import lanes

Figure: TypeAlias = Any
"""A float, or an array of them."""
_Passes: TypeAlias = dict[tuple[int, str], tuple[Figure, Figure]]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles of fused columns.

    Attributes:
        size: columns in all.
        fused: columns of a tile.
    """

    size: Figure
    fused: Figure

    @cached_property
    def trips(self) -> Figure:
        """How many tiles there are."""
        return np.ceil(self.size / self.fused)

    @cached_property
    def rest(self) -> Figure:
        """Columns beyond those of whole tiles."""
        return self.size - self.whole * self.fused

    @cached_property
    def whole(self) -> Figure:
        """How many tiles are whole."""
        return np.floor(self.size / self.fused)

    @cached_property
    def _steps(self) -> dict[str, tuple[Figure, Figure]]:
        return {}

    def steps(self, key: str, width: Figure) -> tuple[Figure, Figure]:
        """Return how many steps of a width all tiles take together, and whether one takes several.

        Args:
            key: what the width is known by.
        """
        if key not in self._steps:
            total = self.whole * np.ceil(self.fused / width) + np.ceil(self.rest / width)
            self._steps[key] = total, np.minimum(self.fused, self.size) > width
        return self._steps[key]


@dataclass(frozen=True, eq=False)
class Group:
    """Ranks that the same operands of a product have: these operands, and whether the fused column is among them."""

    members: frozenset[str]
    column: bool


@dataclass(frozen=True, eq=False)
class Sized:
    """Numbers of a product.

    Attributes:
        turns: of each group by where it lies (``""`` in time), the turns in time of its ranks, the column left out.
        widths: positions where a group may lie: along the last dimension of the array, and along the others.
        once: cycles of a point, times turns of the loops over copies and over what all operands have.
        bits: of each operand, once for each turn of batches that it lacks.
    """

    turns: tuple[dict[str, Figure], ...]
    widths: dict[str, Figure]
    once: Figure
    bits: dict[str, Figure]


@dataclass(frozen=True, eq=False)
class Way:
    """A product in one layout, for some tiles.

    Attributes:
        layouts: the layout, and the same turned by a quarter.
        cycles: in all.
        turned: where it is turned, as that takes fewer cycles.
        passes: turns of each group in time where it lies, and whether there are several within a tile.
    """

    layouts: tuple[Layout, ...]
    cycles: Figure
    turned: Figure
    passes: _Passes


@dataclass(frozen=True, eq=False)
class Product:
    """A product of a segment.

    Attributes:
        name: the Einsum.
        operands: by name.
        layouts: pairs of layouts that differ in which dimension of the array has which group; one alone on a square.
    """

    phases: Phases
    segment: Segment
    name: str
    operands: dict[str, Operand] = field(init=False)
    layouts: tuple[tuple[Layout, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        step = self.phases.steps[self.name]
        found = operands_of([step])
        object.__setattr__(self, "operands", {name: several[0] for name, several in found.items()})
        object.__setattr__(self, "layouts", self._layouts())

    @cached_property
    def result(self) -> str:
        """The name of what it makes."""
        return self.phases.steps[self.name].output.name

    @cached_property
    def _array(self) -> str:
        return self.phases.array(self.name).name

    @cached_property
    def _dimensions(self) -> Dimensions:
        return self.phases.problem.parts.dimensions(self.phases.array(self.name))

    def _layouts(self) -> tuple[tuple[Layout, ...], ...]:
        dims = self._dimensions
        square = len(dims) == 2 and everywhere(dims[0][1] == dims[1][1])
        found = []
        for along in combinations(range(len(self.groups)), 2):
            rest = [i for i in range(len(self.groups)) if i not in along]
            for time in permutations(rest):
                both = (Layout(along, time), Layout((along[1], along[0]), time))
                found.append(both[:1] if square else both)
        return tuple(found)

    @cached_property
    def _tree(self) -> SegmentTree:
        column = self.segment.column
        size = self.phases.space.sizes[column] if column is not None else 1
        return SegmentTree(self.phases, self.segment, Choice(size))

    @cached_property
    def _atoms(self) -> list[list[Atom]]:
        return self._tree.groups(self.name)[1]

    @cached_property
    def groups(self) -> list[Group]:
        """Its ranks, by which operands have them."""
        column = self.segment.column
        return [Group(atoms[0].members, any(a.rank == column for a in atoms)) for atoms in self._atoms]

    @cached_property
    def sized(self) -> Sized:
        """Its numbers."""
        dims = self._dimensions
        sides = (("last", dims[:1]), ("others", dims[1:]), ("", ()))
        return Sized(
            tuple({where: self._turns(atoms, along) for where, along in sides} for atoms in self._atoms),
            {"last": real(lanes(dims[:1])), "others": real(lanes(dims[1:]))},
            self._once(),
            self._bits(),
        )

    def _turns(self, atoms: Sequence[Atom], dimensions: Dimensions) -> Figure:
        """Turns in time of atoms that lie along dimensions one after another, those of the column left out."""
        left = [real(length) for _, length in dimensions]
        found: Figure = 1.0
        for atom in atoms:
            extent, side = real(atom.extent), 1.0
            for place, free in enumerate(left):
                taken = np.minimum(np.ceil(extent / side), free)
                side, left[place] = side * taken, np.floor(free / taken)
            if atom.rank != self.segment.column:
                found = found * np.ceil(extent / side)
        return found

    def _once(self) -> Figure:
        phases, step = self.phases, self.phases.steps[self.name]
        instances = real(phases.problem.sizes[INSTANCES])
        found = np.ceil(instances / real(lanes(phases.problem.parts.outside)))
        for atom in self._tree.groups(self.name)[0]:
            found = found * real(phases.space.sizes[atom.rank] if atom.rank in phases.batches else atom.extent)
        array = phases.array(self.name)
        return found * real(cycles_of(step.einsum, array, phases.problem.accounting))

    def _bits(self) -> dict[str, Figure]:
        phases, found = self.phases, {}
        for name, operand in self.operands.items():
            bits = real(phases.problem.bits(operand.tensor)) * real(phases.space.values(operand.ranks))
            for rank in phases.batches:
                if rank != self.segment.column and rank not in phases.wholes(operand.ranks):
                    bits = bits * real(phases.space.sizes[rank])
            found[name] = bits
        return found

    def ways(self, sized: Sized, tiles: Tiles) -> list[Way]:
        """Return its layouts for some tiles; of two that are turned by a quarter the one of fewer cycles."""
        passes: _Passes = {}
        found = []
        for layouts in self.layouts:
            cycles = [self._cycles(layout, sized, tiles, passes) for layout in layouts]
            if len(layouts) == 1:
                found.append(Way(layouts, cycles[0], False, passes))
            else:
                found.append(Way(layouts, np.minimum(*cycles), cycles[1] < cycles[0], passes))
        return found

    def _cycles(self, layout: Layout, sized: Sized, tiles: Tiles, passes: _Passes) -> Figure:
        cycles = sized.once
        for key in _order(layout):
            if key not in passes:
                passes[key] = self._passes(*key, sized, tiles)
            cycles = cycles * passes[key][0]
        return cycles

    def _lacks(self, name: str, way: Way, tiles: Tiles) -> Figure:
        """How often an operand passes if only registers keep it."""
        found = [self._lacks_in(name, layout, way.passes, tiles) for layout in way.layouts]
        return found[0] if len(found) == 1 or found[0] is found[1] else np.where(way.turned, found[1], found[0])

    def _lacks_in(self, name: str, layout: Layout, passes: _Passes, tiles: Tiles) -> Figure:
        passing: Figure = 1.0
        inside: Figure = False
        for group, where in reversed(_order(layout)):
            total, several = passes[group, where]
            if name in self.groups[group].members:
                inside = inside | several
                continue
            least = tiles.trips if self.groups[group].column else 1.0
            if inside is not False:
                passing = passing * np.where(inside, total, least)
            elif self.groups[group].column:
                passing = passing * least
        return passing

    def _passes(self, number: int, where: str, sized: Sized, tiles: Tiles) -> tuple[Figure, Figure]:
        """Turns in time of a group, all tiles together, and whether there are several within one."""
        turns = sized.turns[number][where]
        if not self.groups[number].column:
            return turns, turns > 1
        if not where:
            return turns * tiles.size, (turns > 1) | (np.minimum(tiles.fused, tiles.size) > 1)
        total, several = tiles.steps(f"{self._array}.{where}", sized.widths[where])
        return turns * total, several | (turns > 1)

    def moved(self, name: str, sized: Sized, way: Way, tiles: Tiles, place: str) -> Figure:
        """Return the bits of an operand that move off chip, from or to its place in the buffer."""
        lacks = self.least(name, tiles, place) if place else self._lacks(name, way, tiles)
        return sized.bits[name] * (2 * lacks - 1 if name == self.result else lacks)

    def least(self, name: str, tiles: Tiles, place: str) -> Figure:
        """How often an operand passes if the buffer keeps it; if not, it passes as often as its tile, or more."""
        return 1.0 if place == OUTSIDE or self.has_column(name) else tiles.trips

    def has_column(self, name: str) -> bool:
        """Whether an operand changes along the fused column."""
        return self.segment.column in self.phases.wholes(self.operands[name].ranks)


def _order(layout: Layout) -> list[tuple[int, str]]:
    """Groups in the order of their loops in time, and where they lie."""
    return [(layout.along[0], "last"), (layout.along[1], "others"), *((group, "") for group in layout.time)]

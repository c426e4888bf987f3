"""One nest for all Einsums of a segment, on two arrays at a time: FuseMax's shape with all that it leaves open.

Choices, one after another:

    rows      how many row tiles follow one another in a visit: powers of two, up to a third of a PE's registers
    overlap   stages (a tile of its own for each), tiles, arrays: what runs side by side
    crossing  kept, or spilled: where tensors with a value per row stay between two passes
    inputs    by pass, or once: how often inputs of the rows that several passes read are fetched
    array     of each Einsum that both arrays can do, the more work the earlier: matrix or vector

A segment has such trees if one fits on the arrays that presets bind its Einsums to (``mappers.presets.binding``).
Columns are grouped as largely as the buffer allows: a larger group fetches what the rows have less often, and nothing
more often, so no smaller one is better in time or energy.

Source: Nayak et al., "FuseMax", MICRO 2024, section V.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod
from typing import cast

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Einsum
from einsum_cascades.loops.arith import Number, steps
from einsum_cascades.loops.space import steps_of
from einsum_cascades.loops.tree import INSTANCES, LoopTree
from hw_models.machine import Array
from mappers.presets.apart import apart_from_columns
from mappers.presets.binding import bind
from mappers.presets.fused import Fused
from mappers.presets.fusemax import rereading, sized_to_fit
from mappers.presets.phases import is_product
from mappers.presets.problem import Problem, lanes
from mappers.presets.slots import Overlap
from mappers.residency import ArrayName, Residency
from mappers.roles import Roles
from mappers.search.figures import Figures
from mappers.search.floors import Loads, busiest
from mappers.search.frames.frame import Box, Value
from mappers.search.segment import Segment

OVERLAPS: tuple[Overlap, ...] = ("stages", "tiles", "arrays")
_FIXED = 4
"""So many choices come before the arrays."""
_MOST = 16
"""So many row tiles follow one another at most where registers are without limit."""


class FusedFrame:
    """Trees of FuseMax's shape."""

    name = "fused"

    def values(self, segment: Segment, box: Box) -> tuple[Value, ...] | None:
        """Return what the next choice of a box may be."""
        shape = _shape(segment)
        place = len(box.choices)
        if place < _FIXED:
            return (shape.rows, shape.overlaps, shape.crossing, shape.inputs)[place]
        if place - _FIXED < len(shape.free):
            first = shape.default[shape.free[place - _FIXED]]
            return (first, "vector" if first == "matrix" else "matrix")
        return None

    def floor(self, segment: Segment, box: Box) -> Figures:
        """Return what no tree of a box is better than: what its Einsums take on the arrays chosen."""
        shape = _shape(segment)
        if not box.choices:
            return segment.floors.of(segment)
        arrays = shape.arrays(box)
        fixed: dict[str, float] = {}
        free: list[Loads] = []
        for einsum in segment.einsums:
            loads = shape.loads(einsum, int(box.choices[0]))
            if einsum.name in arrays:
                array = shape.node(arrays[einsum.name])
                fixed[array] = fixed.get(array, 0.0) + loads[array]
            else:
                free.append(loads)
        fetched = dict.fromkeys(shape.by_row, shape.groups(box))
        nodes = {name: shape.node(array) for name, array in arrays.items()}
        return segment.floors.with_choices(segment, busiest(fixed, free), fetched, nodes)

    def tree(self, segment: Segment, box: Box) -> LoopTree:
        """Return the tree of a box that makes all choices."""
        rows, overlap, crossing, inputs = box.choices[:_FIXED]
        shape = _shape(segment)
        fused = shape.fused(shape.arrays(box), cast(Overlap, overlap), int(rows))
        if crossing == "spilled":
            spilled = frozenset(fused.residency.crossing_tiles)
            fused = replace(fused, residency=replace(fused.residency, spilled=spilled))
        if inputs == "once":
            fused = replace(fused, whole=rereading(fused.residency, shape.roles))
        tree = sized_to_fit(fused)
        if dict(tree.split) != dict(segment.space.split):
            raise InputError("the cascade's partitions are cut otherwise")
        return tree


@dataclass(frozen=True, eq=False)
class _Shape:
    """What choices a segment has.

    Attributes:
        problem: the segment as a problem of its own.
        default: the array that presets bind each Einsum to.
    """

    segment: Segment
    problem: Problem
    roles: Roles
    default: dict[str, ArrayName]

    def check(self) -> None:
        """Check that the nest has room on the arrays that presets bind Einsums to.

        Raises:
            InputError: one tile does not fit the buffer, even with what passes hand on spilled.
        """
        fused = self.fused(self.default)
        try:
            sized_to_fit(fused)
        except InputError:
            crossing = frozenset(fused.residency.crossing_tiles)
            if not crossing:
                raise
            sized_to_fit(replace(fused, residency=replace(fused.residency, spilled=crossing)))

    @cached_property
    def by_row(self) -> tuple[str, ...]:
        """Inputs with a value per row, which each group of columns fetches again."""
        cascade = self.problem.cascade
        plain = dict(self.segment.problem.cascade.views)
        ranks = {t: set(cascade.ranks_of[t]) for t in cascade.inputs}
        by_row = [t for t, own in ranks.items() if own & self.roles.family and not own & {*self.columns}]
        return tuple(dict.fromkeys(plain.get(t, t) for t in by_row))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The ranks that lie along the columns."""
        return self.fused(self.default).columns

    def groups(self, box: Box) -> int:
        """How many groups of columns there are, at least: the inputs of the columns stay for a whole group, and so does
        what passes hand on, unless it is spilled."""
        held = [t for t in self.problem.cascade.inputs if not self.roles.family & set(self._ranks(t))]
        if len(box.choices) > 2 and box.choices[2] == "kept":
            held += self.residency(self.default).crossing_tiles
        kept = 0
        for tensor in held:
            ranks = set(self._ranks(tensor))
            if ranks & {*self.columns}:
                kept += self._values(ranks - {*self.roles.batches}) * int(self.problem.bits(tensor))
        return max(1, -(-kept // max(8 * int(self.problem.parts.buffer.bytes or 0), 1)))

    def _ranks(self, tensor: str) -> tuple[str, ...]:
        return self.problem.cascade.ranks_of[tensor]

    def _values(self, ranks: set[str]) -> int:
        """Values of a tensor with these ranks, in one iteration of iterative ones."""
        space = self.segment.space
        own = [r for r in ranks if space.whole(r) not in space.iterative]
        return prod(
            int(steps(space.sizes[w], space.length(g)) if g else space.sizes[w]) for w, g in space.grains(own).items()
        )

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """How many row tiles a visit may have, for the segment's cut of the partitions."""
        split = dict(self.segment.space.split)
        matrix = self.problem.parts.matrix
        found = [
            n for n in _row_counts(matrix, self._row_tiles) if dict(self.fused(self.default, times=n).split) == split
        ]
        if not found:
            raise InputError("the cascade's partitions are cut otherwise")
        return tuple(found)

    @cached_property
    def _row_tiles(self) -> int:
        tile = self.fused(self.default).tile[self.roles.source]
        return int(steps(self.problem.size(self.roles.source), tile))

    @cached_property
    def overlaps(self) -> tuple[Overlap, ...]:
        """What may run side by side."""
        return OVERLAPS if self.problem.parts.matrix is not self.problem.parts.vector else ("none",)

    @cached_property
    def crossing(self) -> tuple[str, ...]:
        """Where tensors with a value per row may stay between passes."""
        return ("kept", "spilled") if self.residency(self.default).crossing_tiles else ("kept",)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """How often inputs of the rows may be fetched."""
        return ("by pass", "once") if rereading(self.residency(self.default), self.roles) else ("by pass",)

    @cached_property
    def free(self) -> tuple[str, ...]:
        """The Einsums that both arrays can do, the more work the earlier."""
        parts = self.problem.parts
        if parts.matrix is parts.vector:
            return ()
        both = [e for e in self.segment.einsums if parts.offers(parts.matrix, e) and parts.offers(parts.vector, e)]
        points = self.segment.floors.points
        return tuple(e.name for e in sorted(both, key=lambda e: -points[e.name]))

    def arrays(self, box: Box) -> dict[str, ArrayName]:
        """Return the arrays of the Einsums that have one in a box."""
        chosen = cast(tuple[ArrayName, ...], box.choices[_FIXED:])
        only = {name: array for name, array in self.default.items() if name not in self.free}
        return only | dict(zip(self.free, chosen, strict=False))

    def node(self, array: ArrayName) -> str:
        """Return the name of an array in the machine."""
        parts = self.problem.parts
        return parts.matrix.name if array == "matrix" else parts.vector.name

    def residency(self, arrays: dict[str, ArrayName], spilled: frozenset[str] = frozenset()) -> Residency:
        """Return where tensors live."""
        return Residency(self.problem.cascade, self.roles, arrays, self.problem.parts.between is not None, spilled)

    def fused(self, arrays: dict[str, ArrayName], overlap: Overlap = "tiles", times: int = 1) -> Fused:
        """Return the nest with the choices that a residency leaves."""
        return Fused(self.problem, self.roles, self.residency(arrays), overlap, times=times, wide=True)

    def loads(self, einsum: Einsum, times: int) -> Loads:
        """Return the fewest cycles that an Einsum takes on each of the two arrays: a step in each visit, or more."""
        parts = self.problem.parts
        arrays = dict.fromkeys((parts.matrix.name, parts.vector.name))
        tile, visits = self._in_tile(einsum), self._visits(einsum, times)
        able = [a for a in arrays if parts.offers(self.problem.machine.array(a), einsum)]
        return {a: float(self.segment.floors.cycles(einsum, a, tile, visits)) for a in able}

    def _in_tile(self, einsum: Einsum) -> bool:
        """Whether an Einsum runs tile by tile beside a product."""
        return einsum.name in self._beside_products

    @cached_property
    def _beside_products(self) -> frozenset[str]:
        section, family = self.residency(self.default).section, self.roles.family
        step_of = steps_of(self.problem.cascade)
        passes = {
            section[e.name] for e in self.segment.einsums if family & set(e.ranks) and is_product(step_of[e.name])
        }
        rows = {e.name for e in self.segment.einsums if family & set(e.ranks)}
        return frozenset(name for name in rows if section[name] in passes and not section[name][1])

    def _visits(self, einsum: Einsum, times: int) -> int:
        """How often an instance of an array visits an Einsum, at least."""
        fused, size = self._nests(times), self.problem.size
        found = steps(self.problem.sizes[INSTANCES], lanes(self.problem.parts.outside))
        for rank in self.roles.batches:
            found = found * size(rank)
        for rank in fused.columns:
            found = found * steps(size(rank), fused.tile[rank])
        if self.residency(self.default).section[einsum.name][1]:
            return int(found)
        return int(found * steps(size(self.roles.source), fused.tile[self.roles.source]))

    def _nests(self, times: int) -> Fused:
        if times not in self._found:
            self._found[times] = self.fused(self.default, times=times)
        return self._found[times]

    @cached_property
    def _found(self) -> dict[int, Fused]:
        return {}


@lru_cache(maxsize=512)
def _shape(segment: Segment) -> _Shape:
    """Return what choices a segment has.

    Raises:
        InputError: it cannot be fused.
    """
    apart, _, roles = apart_from_columns(segment.cascade)
    if apart is not None:
        raise InputError("some Einsums have no column", hint="they run before")
    shape = _Shape(segment, segment.part, roles, bind(segment.part, roles))
    shape.check()
    return shape


def row_splits(problem: Problem) -> tuple[tuple[tuple[str, Number], ...], ...]:
    """Return how a visit's rows cut the partitions of a cascade that can be fused.

    Raises:
        InputError: it cannot be fused.
    """
    _, cascade, roles = apart_from_columns(problem.cascade)
    part = replace(problem, cascade=cascade, whole=problem.cascade)
    between = part.parts.between is not None
    residency = Residency(cascade, roles, bind(part, roles), between)
    one = Fused(part, roles, residency, "tiles")
    tiles = steps(part.size(roles.source), one.tile[roles.source])
    return tuple(replace(one, times=n).split for n in _row_counts(part.parts.matrix, int(tiles)))


def _row_counts(matrix: Array, tiles: int) -> list[int]:
    """How many row tiles a visit may have: for more than one, the tile that is made and the one that is used, and what
    they are made of, have room in the registers."""
    most = min(_MOST if matrix.registers is None else matrix.registers // 3, tiles)
    return [1 << k for k in range(max(most, 1).bit_length())]

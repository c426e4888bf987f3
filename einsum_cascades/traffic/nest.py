"""One loop order of a segment: what it keeps on chip and what it moves, for given tiles.

The loops over tiles stand around the whole segment, outermost first; the innermost one walks its rank value by value.
With n(r) = ceil(N(r)/t(r)) tiles of t(r) values:

    input    size · Π n(q) over ranks q that its readers walk and it lacks, outside one of its own loops (n > 1)
    result   size · (2 Π n(q) - 1) over ranks q reduced into it, outside one of its own loops
    kept     Π t(r) per input tile (a stream of one innermost slice per Einsum needs no room), and per result that is
             accumulated; a tensor that waits during the loop over q needs all of each rank whose loop is inside q
    waiting  a fiber between two passes over q: N(q) · Π t(r), all of those whose loop is inside q; what does not fit is
             spilled and moved again

Values inside a tile that wait for nothing need no room here: they pass through registers. So no mapping of this kind
needs less.

Source: Huang et al., "Mind the Gap" (Orojenesis), ISCA 2024; Nayak et al., "FuseMax", MICRO 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from einsum_cascades.traffic.segments import Crossing, Gap, Segment, Shape

Number = Any
"""An exact integer, or an array of floats (one entry per candidate)."""


Where = tuple[str, Gap, bool]
"""A family, the slots between which tensors wait, and whether they wait within a tile only."""


@dataclass(frozen=True)
class Tiles:
    """Values and number of tiles of each rank."""

    values: Mapping[str, Number]
    trips: Mapping[str, Number]

    def with_rank(self, rank: str, values: Number, size: int) -> Tiles:
        """Return the tiles with another tile of one rank."""
        return Tiles({**self.values, rank: values}, {**self.trips, rank: -(-size // values)})


@dataclass(frozen=True)
class Nest:
    """A segment under one loop order, outermost first."""

    segment: Segment
    order: tuple[str, ...]

    @cached_property
    def position(self) -> dict[str, int]:
        """Place of each loop, outermost first."""
        return {rank: place for place, rank in enumerate(self.order)}

    @cached_property
    def active(self) -> tuple[str, ...]:
        """Ranks whose number of tiles multiplies some traffic, in loop order."""
        found = {q for tensor, walked in self._moved() for q in self._outside(tensor, walked)}
        return tuple(rank for rank in self.order if rank in found)

    def traffic(self, tiles: Tiles) -> Number:
        """Values moved, spilled fibers apart."""
        total: Number = 0
        for tensor, walked in self.segment.inputs.items():
            total = total + self._size(tensor) * self._repeats(tensor, walked, tiles)
        for tensor, reduced in self.segment.outputs.items():
            total = total + self._size(tensor) * (2 * self._repeats(tensor, reduced, tiles) - 1)
        return total

    def kept(self, tiles: Tiles) -> Number:
        """Values that must be on chip, waiting fibers apart."""
        total: Number = 0
        for tensor in self.segment.inputs:
            total = total + self._tile(tensor, tiles)
        for changing in self._changing:
            streamed: Number = 0
            for tensor in changing:
                streamed = _most(streamed, self._tile(tensor, tiles))
            total = total - streamed
        for tensor, reduced in self.segment.outputs.items():
            if reduced:
                total = total + self._tile(tensor, tiles) * _any_loop(reduced, tiles)
        for tensor in self.segment.waits:
            total = total + self._waits(tensor, tiles)
        return total

    @cached_property
    def gaps(self) -> dict[Where, list[Crossing]]:
        """The tensors that wait together, those first that cost most to spill."""
        found: dict[Where, list[Crossing]] = {}
        for crossing in sorted(self.segment.crossings, key=lambda c: -c.moves / len(c.gaps)):
            for gap in crossing.gaps:
                found.setdefault((crossing.rank, gap, crossing.tile is not None), []).append(crossing)
        return found

    def waiting(self, tiles: Tiles) -> dict[Where, Number]:
        """Values of all fibers that wait together, for one set of tiles."""
        return {where: sum(self.fiber(c, tiles) for c in members) for where, members in self.gaps.items()}

    def spilled(self, tiles: Tiles, room: Number) -> Number:
        """Values moved because fibers do not fit in ``room`` values: those that cost least are spilled first.

        A tensor's transfers are shared out evenly among the gaps in which it waits, and what waits within a tile has
        the room to itself, so that this is never too much.
        """
        total: Number = 0
        for members in self.gaps.values():
            left = room
            for crossing in members:
                fiber = self.fiber(crossing, tiles)
                kept = _least(left, fiber)
                left = left - kept
                size, shares = self._size(crossing.tensor) * crossing.moves, len(crossing.gaps)
                walked = self.segment.inputs.get(crossing.tensor, ())
                repeats = self._repeats(crossing.tensor, walked, tiles)
                total = total + _share(size * repeats * (fiber - kept), _most(fiber, 1) * shares)
        return total

    def fiber(self, crossing: Crossing, tiles: Tiles) -> Number:
        """Values of a tensor that wait between two passes, beyond those that it keeps in any case."""
        if crossing.tile is not None:
            return crossing.tile
        shape = self.segment.shapes[crossing.tensor]
        rank = crossing.rank
        whole = self.segment.sizes[rank] if rank in shape.ranks else 1
        others = Shape(tuple(r for r in shape.ranks if r != rank), shape.parts)
        fiber = whole * self._room(others, (rank,), tiles)
        if crossing.tensor in self.segment.waits:
            fiber = _most(fiber - self._waits(crossing.tensor, tiles), 0)
        return fiber

    def _waits(self, tensor: str, tiles: Tiles) -> Number:
        """Values of a tensor that must be kept during the loops over ranks that it lacks or is carried along."""
        ranks = self.segment.waits[tensor]
        return self._room(self.segment.shapes[tensor], ranks, tiles) * _any_loop(ranks, tiles)

    def _moved(self) -> list[tuple[str, tuple[str, ...]]]:
        return [*self.segment.inputs.items(), *self.segment.outputs.items()]

    def _own(self, tensor: str) -> tuple[str, ...]:
        return tuple(r for r in self.segment.shapes[tensor].ranks if r in self.position)

    def _outside(self, tensor: str, walked: tuple[str, ...]) -> tuple[str, ...]:
        """Ranks that a tensor lacks and its Einsums walk, outside one of its own loops."""
        own = self._own(tensor)
        last = max((self.position[r] for r in own), default=-1)
        lacking = set(walked) - set(self.segment.shapes[tensor].all_ranks)
        return tuple(q for q in self.order[: max(last, 0)] if q in lacking)

    def _repeats(self, tensor: str, walked: tuple[str, ...], tiles: Tiles) -> Number:
        repeats: Number = 1
        for q in self._outside(tensor, walked):
            inside = [r for r in self._own(tensor) if self.position[r] > self.position[q]]
            repeats = repeats * _choose(_any_loop(inside, tiles), tiles.trips[q], 1)
        return repeats

    def _size(self, tensor: str) -> int:
        return self.segment.shapes[tensor].size(self.segment.sizes)

    def _tile(self, tensor: str, tiles: Tiles) -> Number:
        shape = self.segment.shapes[tensor]
        room: Number = 1
        for _, extent in shape.parts:
            room = room * extent
        for rank in shape.ranks:
            room = room * tiles.values.get(rank, 1)
        return room

    def _room(self, shape: Shape, ranks: tuple[str, ...], tiles: Tiles) -> Number:
        """Values of a tensor that has to wait during the loops over some ranks."""
        room: Number = 1
        for _, extent in shape.parts:
            room = room * extent
        for rank in shape.ranks:
            outside = [q for q in ranks if q in self.position and self.position[q] < self.position.get(rank, -1)]
            size, tile = self.segment.sizes[rank], tiles.values.get(rank, 1)
            room = room * _choose(_any_loop(outside, tiles), size, tile)
        return room

    @cached_property
    def _changing(self) -> tuple[tuple[str, ...], ...]:
        """Per Einsum the inputs that change with the innermost loop; the values of the largest come one by one.

        An input that several Einsums read is listed once.
        """
        if not self.order:
            return ()
        innermost, seen = self.order[-1], set[str]()
        found = []
        for reads in self.segment.reads:
            changing = tuple(t for t in reads if innermost in self.segment.shapes[t].ranks and t not in seen)
            seen.update(changing)
            found.append(changing)
        return tuple(changing for changing in found if changing)


def _any_loop(ranks: Any, tiles: Tiles) -> Number:
    """Whether some rank has more than one tile."""
    found: Number = False
    for rank in ranks:
        if rank in tiles.trips:
            found = found | (tiles.trips[rank] > 1)
    return found


def _choose(condition: Number, then: Number, otherwise: Number) -> Number:
    if isinstance(condition, np.ndarray):
        return np.where(condition, then, otherwise)
    return then if condition else otherwise


def _least(first: Number, second: Number) -> Number:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.minimum(first, second)
    return min(first, second)


def _most(first: Number, second: Number) -> Number:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.maximum(first, second)
    return max(first, second)


def _share(numerator: Number, denominator: Number) -> Number:
    """Divide; whole numbers round down, since a bound may not be too large."""
    if isinstance(numerator, int) and isinstance(denominator, int):
        return numerator // denominator
    return numerator / denominator

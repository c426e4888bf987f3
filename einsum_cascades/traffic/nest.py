"""One loop order of a segment: what it keeps on chip and what it moves, for given tiles.

The loops over tiles stand around the whole segment, outermost first; the innermost one walks its rank value by value.
With n(r) = ceil(N(r)/t(r)) tiles of t(r) values:

    input    size · Π n(q) over ranks q that its readers walk and it lacks, outside one of its own loops (n > 1)
    result   size · (2 Π n(q) - 1) over ranks q reduced into it, outside one of its own loops
    kept     of each moment (`moments.py`): Π t(r) per input tile, and per result that is accumulated; a tensor that
             waits during the loop over q needs all of each rank whose loop is inside q. Those of the moment's Einsums
             count, and those that a loop around it keeps: over a rank that the tensor lacks, with none of its own
             loops inside. An input that is used once a tile streams; where an Einsum has none, its largest that changes
             with the innermost loop does
    waiting  a fiber between two passes over q: N(q) · Π t(r), all of those whose loop is inside q, beside what loops
             around both passes keep; what does not fit is spilled and moved again

Values inside a tile that wait for nothing need no room here: they pass through registers. So no mapping of this kind
needs less.

Source: Huang et al., "Mind the Gap" (Orojenesis), ISCA 2024; Nayak et al., "FuseMax", MICRO 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from einsum_cascades.traffic.moments import Split
from einsum_cascades.traffic.segments import Crossing, Gap, Segment, Shape

Number = Any
"""An exact integer, or an array of floats (one entry per candidate)."""


Where = tuple[str, Gap, bool]
"""A family, the slots between which tensors wait, and whether they wait within a tile only."""


Term = tuple[str, frozenset[str]]
"""A condition on tiles: several of one rank, and one of each of others."""
Terms = frozenset[Term]
"""Conditions one of which must hold."""
ALWAYS: Terms = frozenset({("", frozenset())})


@dataclass(frozen=True)
class Tiles:
    """Values and number of tiles of each rank; and what was found for them already."""

    values: Mapping[str, Number]
    trips: Mapping[str, Number]
    memo: dict[object, Number] = field(default_factory=dict, compare=False, repr=False)

    def with_rank(self, rank: str, values: Number, size: int) -> Tiles:
        """Return the tiles with another tile of one rank."""
        return Tiles({**self.values, rank: values}, {**self.trips, rank: -(-size // values)})


@dataclass(frozen=True, eq=False)
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

    def kept(self, tiles: Tiles) -> list[Number]:
        """Values that must be on chip in each moment, waiting fibers apart."""
        found = []
        for moment, (tensors, passing) in zip(self.segment.moments, self._there, strict=True):
            total = self._together(tensors, tiles)
            largest: Number = 0
            for tensor, terms in passing.items():
                free = _not(self._hold(terms, tiles)) if terms else 1
                largest = _most(largest, free * self._kept(tensor, tiles))
            total = total + largest
            for number, changing in self._changing(moment):
                total = total - self._streamed(number, changing, tiles)
            found.append(_most(total, 0))
        return found

    @cached_property
    def _there(self) -> list[tuple[dict[Terms, tuple[str, ...]], dict[str, Terms]]]:
        """Per moment, the tensors that are there by condition; and those that its Einsums hand on, unless a loop keeps
        them: of these the largest counts, since the others can be made and used in parts."""
        found: list[tuple[dict[Terms, tuple[str, ...]], dict[str, Terms]]] = []
        uses = [{t for number in moment for t in self.segment.uses[number]} for moment in self.segment.moments]
        for moment, own in zip(self.segment.moments, uses, strict=True):
            there: dict[str, Terms] = {}
            passing: dict[str, Terms] = {}
            for tensor in self._roomy:
                terms: set[Term] = set()
                for other, used in zip(self.segment.moments, uses, strict=True):
                    if tensor in used and not (other == moment and self._finer(moment)):
                        splits = [s for s in self.segment.splits if s.slots[moment[0]] != s.slots[other[0]]]
                        terms |= self._stays(tensor, splits)
                inside = tensor not in self.segment.inputs and not self.segment.outputs.get(tensor)
                if tensor in own and inside:
                    passing[tensor] = frozenset(terms)
                if terms or (tensor in own and not inside):
                    there[tensor] = ALWAYS if tensor in own and not inside else frozenset(terms)
            found.append((_by_terms(there), passing))
        return found

    def _finer(self, moment: tuple[int, ...]) -> bool:
        """Whether a moment moves nothing off chip, so that it may walk its tiles in parts as small as it likes."""
        names = {self.segment.einsums[number] for number in moment}
        return not any(self.segment.reads[number] for number in moment) and not names & self.segment.outputs.keys()

    def _together(self, tensors: Mapping[Terms, tuple[str, ...]], tiles: Tiles) -> Number:
        """Values of the tensors whose conditions hold."""
        total: Number = 0
        for terms, members in tensors.items():
            if (self, members) not in tiles.memo:
                tiles.memo[self, members] = sum(self._kept(tensor, tiles) for tensor in members)
            if terms == ALWAYS:
                total = total + tiles.memo[self, members]
            else:
                total = total + self._hold(terms, tiles) * tiles.memo[self, members]
        return total

    def _hold(self, terms: Terms, tiles: Tiles) -> Number:
        """Whether one of several conditions holds."""
        if terms not in tiles.memo:
            found: Number = False
            for rank, single in terms:
                found = found | (tiles.trips[rank] > 1) & _not(_any_loop(single, tiles))
            tiles.memo[terms] = found
        return tiles.memo[terms]

    @cached_property
    def _roomy(self) -> tuple[str, ...]:
        """Tensors whose tiles need room."""
        results = [t for t, reduced in self.segment.outputs.items() if reduced]
        return tuple(dict.fromkeys([*self.segment.inputs, *results, *self.segment.waits]))

    def _kept(self, tensor: str, tiles: Tiles) -> Number:
        """Values of a tensor that are kept where it is there."""
        if (self, tensor) not in tiles.memo:
            tiles.memo[self, tensor] = self._kept_anew(tensor, tiles)
        return tiles.memo[self, tensor]

    def _kept_anew(self, tensor: str, tiles: Tiles) -> Number:
        if tensor in self.segment.inputs:
            return self._tile(tensor, tiles)
        room: Number = 0
        if self.segment.outputs.get(tensor):
            room = self._tile(tensor, tiles) * _any_loop(self.segment.outputs[tensor], tiles)
        if tensor in self.segment.waits:
            room = _most(room, self._waits(tensor, tiles))
        return room

    def _stays(self, tensor: str, splits: Sequence[Split]) -> set[Term]:
        """When a loop that both sides of splits share keeps a tensor, none of whose own loops is inside."""
        found: set[Term] = set()
        for rank, inside in self._keepers[tensor]:
            single = set(inside)
            for split in splits:
                shared = self.position.get(split.rank, len(self.order)) > self.position[rank]
                if not shared and not (split.within and rank == split.rank):
                    single.add(split.rank)
            if rank not in single:
                found.add((rank, frozenset(single)))
        return found

    @cached_property
    def _keepers(self) -> dict[str, list[tuple[str, list[str]]]]:
        """By tensor, the ranks whose loops may keep it, each with its own ranks inside."""
        found: dict[str, list[tuple[str, list[str]]]] = {}
        for tensor in self._roomy:
            pairs = zip(self.segment.walks, self.segment.uses, strict=True)
            walked = {r for ranks, used in pairs if tensor in used for r in ranks}
            lacked = walked - set(self.segment.shapes[tensor].all_ranks) | set(self.segment.waits.get(tensor, ()))
            own = self._own(tensor)
            found[tensor] = [
                (rank, [r for r in own if place < self.position[r]])
                for place, rank in enumerate(self.order)
                if rank in lacked
            ]
        return found

    @cached_property
    def gaps(self) -> dict[Where, list[Crossing]]:
        """The tensors that wait together, those first that cost most to spill."""
        found: dict[Where, list[Crossing]] = {}
        for crossing in sorted(self.segment.crossings, key=lambda c: -c.moves / len(c.gaps)):
            for gap in crossing.gaps:
                found.setdefault((crossing.rank, gap, crossing.tile is not None), []).append(crossing)
        return found

    def waiting(self, tiles: Tiles) -> list[tuple[Number, list[Crossing]]]:
        """Return where tensors wait between passes: the values kept beside them, and the tensors.

        Of what is made before and used after, one value is there at least.
        """
        found: list[tuple[Number, list[Crossing]]] = []
        for where, members in self.gaps.items():
            rank, gap, within = where
            waits = {crossing.tensor for crossing in members} | {t for ts in self._beside[where].values() for t in ts}
            made = [t for t in self._roomy if t not in waits and not within and self._made_before(t, rank, gap)]
            one = sum(_least(self._kept(tensor, tiles), 1) for tensor in made)
            found.append((self._together(self._beside[where], tiles) + one, members))
        return found

    @cached_property
    def _beside(self) -> dict[Where, dict[Terms, tuple[str, ...]]]:
        """What stays while tensors wait: what loops around both passes keep, and what is made for later."""
        found: dict[Where, dict[Terms, tuple[str, ...]]] = {}
        for where, members in self.gaps.items():
            rank, _, within = where
            waits = {crossing.tensor for crossing in members}
            there: dict[str, Terms] = {}
            for tensor in self._roomy:
                terms = frozenset(self._stays(tensor, [Split(rank, ())]))
                if terms and tensor not in waits and not within:
                    there[tensor] = terms
            found[where] = _by_terms(there)
        return found

    def _made_before(self, tensor: str, rank: str, gap: Gap) -> bool:
        """Whether a tensor that stays on chip is made before a gap between passes over a rank and read after it."""
        segment = self.segment
        if tensor not in segment.waits or tensor in segment.outputs:
            return False
        slots = next((s.slots for s in segment.splits if s.rank == rank and not s.within), None)
        if slots is None:
            return False
        touching = [slots[number] for number, used in enumerate(segment.uses) if tensor in used]
        return min(touching) <= gap[0] and max(touching) >= gap[1]

    def spilled(self, tiles: Tiles, capacity: Number) -> Number:
        """Values moved because fibers do not fit in a capacity: those that cost least are spilled first.

        A tensor's transfers are shared out evenly among the gaps in which it waits, and what waits within a tile has
        the room to itself, so that this is never too much.
        """
        total: Number = 0
        for beside, members in self.waiting(tiles):
            left = _most(capacity - beside, 0)
            for number, crossing in enumerate(members):
                fiber, moved, shares = self._moves(crossing, tiles)
                kept = _least(left, fiber)
                total = total + _share(moved * (fiber - kept), shares)
                if number < len(members) - 1:
                    left = left - kept
        return total

    def _moves(self, crossing: Crossing, tiles: Tiles) -> tuple[Number, Number, Number]:
        """Values of a fiber, those moved if all fibers are spilled, and by how much to divide these for one value."""
        key = (self, crossing.tensor, crossing.rank, crossing.moves)
        if key not in tiles.memo:
            fiber = self.fiber(crossing, tiles)
            walked = self.segment.inputs.get(crossing.tensor, ())
            repeats = self._repeats(crossing.tensor, walked, tiles)
            moved = self._size(crossing.tensor) * crossing.moves * repeats
            tiles.memo[key] = fiber, moved, _most(fiber, 1) * len(crossing.gaps)
        found: tuple[Number, Number, Number] = tiles.memo[key]
        return found

    def fiber(self, crossing: Crossing, tiles: Tiles) -> Number:
        """Values of a tensor that wait between two passes."""
        if crossing.tile is not None:
            return crossing.tile
        shape = self.segment.shapes[crossing.tensor]
        rank = crossing.rank
        whole = self.segment.sizes[rank] if rank in shape.ranks else 1
        others = Shape(tuple(r for r in shape.ranks if r != rank), shape.parts)
        return whole * self._room(others, (rank,), tiles)

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

    def _changing(self, moment: tuple[int, ...]) -> list[tuple[int, tuple[str, ...]]]:
        """Per Einsum of a moment the inputs that change with the innermost loop, each listed once."""
        if not self.order:
            return []
        innermost, seen = self.order[-1], set[str]()
        found = []
        for number in moment:
            reads = self.segment.reads[number]
            changing = tuple(t for t in reads if innermost in self.segment.shapes[t].ranks and t not in seen)
            seen.update(changing)
            found.append((number, changing))
        return [(number, changing) for number, changing in found if changing]

    def _streamed(self, number: int, tensors: tuple[str, ...], tiles: Tiles) -> Number:
        """Values of an Einsum's inputs that need no room: those used once a tile; if there are none, the largest."""
        largest: Number = 0
        streams: Number = 0
        some: Number = False
        for tensor in tensors:
            once: Number = True
            for rank in self.segment.walks[number]:
                if rank in tiles.values and rank not in self.segment.shapes[tensor].all_ranks:
                    once = once & (tiles.values[rank] <= 1)
            size = self._tile(tensor, tiles)
            largest, streams, some = _most(largest, size), streams + once * size, some | once
        return _choose(some, streams, largest)


def _by_terms(there: Mapping[str, Terms]) -> dict[Terms, tuple[str, ...]]:
    found: dict[Terms, tuple[str, ...]] = {}
    for tensor, terms in there.items():
        found[terms] = (*found.get(terms, ()), tensor)
    return found


def _any_loop(ranks: Any, tiles: Tiles) -> Number:
    """Whether some rank has more than one tile."""
    found: Number = False
    for rank in ranks:
        if rank in tiles.trips:
            found = found | (tiles.trips[rank] > 1)
    return found


def _not(condition: Number) -> Number:
    return ~condition if isinstance(condition, np.ndarray | np.bool_) else not condition


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

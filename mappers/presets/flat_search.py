"""FLAT's own choice: how many columns to fuse, what stays on chip, how each product lies.

What is held says how large a fused tile fits: its room grows linearly, so that tile is found in closed form. Of smaller
tiles only the smallest that makes as many of them can be better, or one that fills the columns of the array; where the
ends of a pipeline take time, more and smaller ones too. Then all layouts of the products are compared by closed forms
of cycles and off-chip traffic (``flat_counts.py``). All is done for a number of sets of held tensors and of points at
once; of many points, those go on at which a bound leaves hope.

The least latency wins, a second of the off-chip memory's time counting as a millisecond of it: so traffic decides
between latencies that differ by less than a thousandth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np

from hw_models.spatial.moved import real
from mappers.points import pick
from mappers.presets.flat_base import Base, Bases
from mappers.presets.flat_counts import Figure, Product, Sized, Tiles, Way
from mappers.presets.flat_found import Array, Found, chosen, combinations_of, layouts_of, sum_of
from mappers.presets.flat_phases import Phases, Segment
from mappers.presets.flat_tree import OUTSIDE, TILE, Choice

TRAFFIC = 1e-3
"""What a second of off-chip traffic counts, in seconds of latency."""
_SETS = 256
"""Up to so many sets of places are tried; of more operands, all in one kind of place, or some of them in order."""
_TOGETHER = 4096
"""Sets times points that are looked at together; from as many points on, bounds come first."""
_BLOCK = 16384
"""Points that are searched together, so that their numbers stay in the cache."""
_LITTLE = 2.0**-60
"""Bits that a column takes at least."""
_MORE = ((1, 1.0), (4, 1.0001), (16, 1.0002), (64, 1.0003), (256, 1.0004))
"""By how much the number of tiles is raised where a pipeline's ends take time, and what scores are multiplied by then,
since smaller tiles come in and out of the buffer more often."""
_TRIED = 2 * len(_MORE)
"""Tiles that are tried at most for a set of places."""


@dataclass(frozen=True)
class _Numbers:
    """All that scores depend on, at some points.

    Attributes:
        size: columns in all.
        columns: of the matrix array.
        rooms: bits of each operand in the buffer, by place: of one column, if it changes along that.
        copies: turns of the loop around a pipeline without one over tiles.
        seconds_per_bit: of the off-chip memory.
        fewest: seconds of the products, whatever the tile.
    """

    base: Base
    products: tuple[Sized, ...]
    size: Figure
    columns: Figure
    rooms: dict[tuple[str, str], Figure]
    copies: Figure
    frequency: Figure
    seconds_per_bit: Figure
    fewest: Figure


@dataclass(frozen=True, eq=False)
class Search:
    """The search for one segment at some points."""

    phases: Phases
    segment: Segment
    count: int

    @cached_property
    def products(self) -> tuple[Product, ...]:
        """The products in order."""
        return tuple(
            Product(self.phases, self.segment, phase.names[0]) for phase in self.segment.phases if phase.product
        )

    @cached_property
    def bases(self) -> tuple[Base, ...]:
        """What is fixed before products are looked at."""
        return tuple(Bases(self.phases, self.segment).all())

    @cached_property
    def free(self) -> dict[str, tuple[str, ...]]:
        """Operands of products that the buffer may keep, and where: what has no column stays for all tiles."""
        between = self.phases.between(self.segment)
        found: dict[str, tuple[str, ...]] = {}
        for one in self.products:
            for name, operand in one.operands.items():
                if operand.tensor not in between:
                    found[operand.tensor] = (TILE if one.has_column(name) else OUTSIDE, "")
        return found

    @cached_property
    def places(self) -> list[tuple[str, ...]]:
        """The sets of places that are tried: of each operand its place."""
        options = list(self.free.values())
        if prod(len(own) for own in options) <= _SETS:
            return list(product(*options))
        kept, gone = (tuple(own[level] for own in options) for level in range(2))
        found = dict.fromkeys((kept, gone))
        for many in range(len(options)):
            found[(*kept[:many], *gone[many:])] = None
            found[(*gone[:many], *kept[many:])] = None
        return list(found)

    # Numbers

    def _numbers(self, base: Base) -> _Numbers:
        problem, column = self.phases.problem, self.segment.column
        dims = problem.parts.dimensions(problem.parts.matrix)
        per_bit: Figure = 0.0
        for rate in problem.machine.root.rates:
            if rate is not None:
                per_bit = np.maximum(per_bit, 1 / (8 * real(rate)))
        size = real(self.phases.space.sizes[column]) if column is not None else 1.0
        frequency = real(problem.machine.frequency_hz)
        fewest: Figure = 0.0
        for one in self.products:
            ways = one.ways(one.sized, Tiles(size, size))
            fewest = fewest + reduce(np.minimum, [way.cycles for way in ways]) / frequency
        return _Numbers(
            base=base,
            products=tuple(one.sized for one in self.products),
            size=size,
            columns=real(dims[0][1]) if dims else 1.0,
            rooms=self._rooms,
            copies=real(problem.sizes["instances"]),
            frequency=frequency,
            seconds_per_bit=per_bit,
            fewest=fewest,
        )

    @cached_property
    def _along(self) -> dict[str, bool]:
        """Whether each operand changes along the column."""
        return {o.tensor: p.has_column(name) for p in self.products for name, o in p.operands.items()}

    @cached_property
    def _rooms(self) -> dict[tuple[str, str], Figure]:
        phases, found = self.phases, {}
        apart = {self.segment.column, *phases.batches}
        for tensor, places in self.free.items():
            bits = real(phases.problem.bits(tensor))
            for rank, grain in phases.space.grains(phases.problem.cascade.ranks_of[tensor]).items():
                if rank not in apart:
                    bits = bits * np.ceil(real(phases.space.sizes[rank]) / real(phases.space.length(grain)))
            used = phases.used_in(self.segment)[tensor]
            copies = max(used) - min(used) + 1 if phases.problem.accounting.pipeline_copies else 1
            double = phases.problem.parts.buffer.double_buffered
            for place in places[:-1]:
                found[tensor, place] = bits * max(copies, 2 if place == TILE or double else 1)
        return found

    # The search

    def best(self) -> Found:
        """Return the best choice at each point."""
        numbers = [self._numbers(base) for base in self.bases]
        found = Found.none(self.count, len(self.products), fixed=not isinstance(numbers[0].size, np.ndarray))
        for first in range(0, self.count, _BLOCK):
            points = np.arange(first, min(first + _BLOCK, self.count))
            self._search(found, points, numbers if len(points) == self.count else pick(tuple(numbers), points))
        return found

    def _search(self, found: Found, block: Array, numbers: Sequence[_Numbers]) -> None:
        """Look at all sets of places at some points."""
        together = max(1, _TOGETHER // len(block))
        for number, here in enumerate(numbers):
            for first in range(0, len(self.places), together):
                some = range(first, min(first + together, len(self.places)))
                points, there = block, here
                if together == 1:
                    hopeful = self._hopeful(found.score[block], here, some)
                    if not len(hopeful):
                        continue
                    points, there = block[hopeful], pick(here, hopeful)
                for place, tiles, weight in self._tiles(there, some):
                    order = (number * len(self.places) + first) * _TRIED + place
                    self._improve(found, points, number, order, there, some, tiles, weight)

    def _hopeful(self, score: Array, here: _Numbers, some: range) -> Array:
        """The points at which a set of places may be better than the best so far: no tile makes a lower score."""
        largest = self._largest(here, some)
        fits = largest >= 1
        tiles = Tiles(here.size, np.where(fits, largest, 1.0))
        places = dict(zip(self.free, self.places[some[0]], strict=True))
        bits = here.base.bits
        for one, sized in zip(self.products, here.products, strict=True):
            for name, operand in one.operands.items():
                if operand.tensor not in here.base.choice.place:
                    bits = bits + one.least(name, tiles, places.get(operand.tensor, "")) * sized.bits[name]
        bound = self._score(here, self._vectors(here, None), here.fewest, bits * here.seconds_per_bit, None)
        there = fits & (bound * (1 - 1e-9) < score)
        return np.flatnonzero(np.broadcast_to(there, (1, len(score)))[0])

    def _tiles(self, here: _Numbers, some: range) -> Iterator[tuple[int, Tiles, Figure]]:
        """Yield tiles worth trying for some sets of places, their numbers, and what scores are multiplied by."""
        largest = self._largest(here, some)
        fits = largest >= 1
        least = np.ceil(here.size / np.maximum(largest, 1))
        ends = self._ends and here.base.choice.overlap and self.segment.column is not None
        for number, (more, factor) in enumerate(_MORE if ends else _MORE[:1]):
            weight = np.where(fits, factor, np.inf)
            even = np.ceil(here.size / np.minimum(least * more, here.size))
            yield 2 * number, Tiles(here.size, even), weight
            full = largest if more == 1 else even
            full = np.minimum(np.floor(full / here.columns) * here.columns, here.size)
            full = np.where(full >= 1, full, even)
            if np.any(full != even):
                yield 2 * number + 1, Tiles(here.size, full), weight

    def _largest(self, here: _Numbers, some: range) -> Figure:
        """The largest tile that fits, below 1 if none does."""
        base = here.base
        fixed, slope = self._room(here, some)
        wide = np.minimum(base.width, here.size)
        left = base.capacity - fixed
        beyond = wide + np.floor((left - base.wide - wide * slope) / np.maximum(base.steep + slope, _LITTLE))
        if base.laid is None:
            return np.minimum(beyond, here.size)
        within = 1 + np.floor((left - base.narrow - slope) / np.maximum(base.shallow + slope, _LITTLE))
        return np.minimum(np.where(beyond >= wide, beyond, np.minimum(within, wide)), here.size)

    @property
    def _ends(self) -> bool:
        """Whether the ends of pipelines take time."""
        return self.phases.problem.accounting.pipeline_ends and len(self.segment.phases) > 1

    def _room(self, here: _Numbers, some: range) -> tuple[Figure, Figure]:
        """Bits in the buffer of operands in their places: whatever the tile, and for each fused column."""
        fixed: Figure = 0.0
        slope: Figure = 0.0
        for number, tensor in enumerate(self.free):
            for place, there in self._where(number, some):
                if place:
                    room = there * here.rooms[tensor, place]
                    if place == TILE and self._along[tensor]:
                        slope = slope + room
                    else:
                        fixed = fixed + room
        return fixed, slope

    def _where(self, number: int, some: range) -> list[tuple[str, Figure]]:
        """Return the places of an operand in some sets, each with 1 where it is there and 0 where not."""
        own = [self.places[place][number] for place in some]
        distinct = list(dict.fromkeys(own))
        if len(distinct) == 1:
            return [(distinct[0], 1.0)]
        return [(place, np.array([[float(one == place)] for one in own])) for place in distinct]

    def _improve(
        self,
        found: Found,
        points: Array,
        number: int,
        order: int,
        here: _Numbers,
        some: range,
        tiles: Tiles,
        weight: Figure,
    ) -> None:
        """Compare all layouts of the products with the best so far at some points."""
        ways = [one.ways(sized, tiles) for one, sized in zip(self.products, here.products, strict=True)]
        moved = self._moved(here, some, ways, tiles)
        busy = [[way.cycles / here.frequency for way in own] for own in ways]
        vectors, fixed = self._vectors(here, tiles), here.base.bits * here.seconds_per_bit
        tried = list(combinations_of(ways, moved))
        score: Any = np.inf
        which: Any = 0
        for place, combination in enumerate(tried):
            seconds = sum_of(map(chosen, busy, combination), 0.0)
            moving = sum_of(map(chosen, moved, combination), fixed)
            new = self._score(here, vectors, seconds, moving, tiles)
            which = np.where(new < score, place, which)
            score = np.minimum(new, score)
        shape = (len(some), len(points))
        score, which = np.broadcast_to(score * weight, shape), np.broadcast_to(which, shape)
        row = np.argmin(score, axis=0) if len(some) > 1 else np.zeros(len(points), int)
        best, orders = score[row, np.arange(len(points))], order + row * _TRIED
        better = found.better(points, best, orders)
        at, row = points[better], row[better]
        found.score[at], found.order[at], found.base[at] = best[better], orders[better], number
        found.places[at] = some[0] + row
        found.fused[at] = np.broadcast_to(tiles.fused, shape)[row, better]
        which = which[row, better]
        for place in np.unique(which):
            there = np.flatnonzero(which == place)
            own = layouts_of(ways, tried[place], (row[there], better[there]), shape)
            found.layouts[at[there]] = np.column_stack(own) if own else 0

    def _moved(self, here: _Numbers, some: range, ways: list[list[Way]], tiles: Tiles) -> list[list[Figure]]:
        """Seconds of off-chip traffic of each product in each layout; what the buffer keeps for several moves once."""
        order = {tensor: number for number, tensor in enumerate(self.free)}
        seen: set[str] = set()
        found: list[list[Figure]] = []
        for one, sized, own in zip(self.products, here.products, ways, strict=True):
            totals: list[Figure] = [0.0] * len(own)
            for name, operand in one.operands.items():
                tensor = operand.tensor
                if tensor not in order and tensor in here.base.choice.place:
                    continue
                for place, there in self._where(order[tensor], some) if tensor in order else [("", 1.0)]:
                    if not place:
                        amounts = [there * one.moved(name, sized, way, tiles, "") for way in own]
                    elif tensor not in seen:
                        amounts = [there * one.moved(name, sized, own[0], tiles, place)] * len(own)
                    else:
                        continue
                    totals = [total + amount for total, amount in zip(totals, amounts, strict=True)]
                seen.add(tensor)
            found.append([total * here.seconds_per_bit for total in totals])
        return found

    def _vectors(self, here: _Numbers, tiles: Tiles | None) -> tuple[Figure, list[Figure]]:
        """Seconds of vector phases, at least if no tiles are given: on the matrix array, and on each other one."""
        base, matrix = here.base, self.phases.problem.parts.matrix.name
        scale: Figure = 1.0
        if base.laid is not None and tiles is not None:
            scale = tiles.steps("lanes", base.laid)[0] / base.turns
        found = {name: cycles * scale / here.frequency for name, cycles in base.cycles.items()}
        return found.pop(matrix, 0.0), list(found.values())

    def _score(
        self, here: _Numbers, vectors: tuple[Figure, list[Figure]], seconds: Figure, moving: Figure, tiles: Tiles | None
    ) -> Figure:
        """What is minimised, from seconds of the products and of off-chip traffic; at least, if no tiles are given."""
        first, others = vectors
        busy = seconds + first
        total = busy
        for one in others:
            busy = np.maximum(busy, one)
        if self._ends or not here.base.choice.overlap:
            total = sum_of(others, total)
        if not here.base.choice.overlap:
            busy = total
        elif self._ends and tiles is not None:
            trips = np.where(tiles.trips > 1, tiles.trips, here.copies * tiles.trips)
            busy = busy + (total - busy) / trips
        return np.maximum(busy, moving) + TRAFFIC * moving

    # What a choice by number stands for

    def choice(self, found: Found, at: int) -> Choice:
        """Return what was found at a point, but for the tile; the choice that keeps least on chip if nothing fits."""
        base: Choice = self.bases[int(found.base[at])].choice
        if not np.isfinite(found.score[at]):
            return replace(base, place={}, fibers=False, overlap=False, lanes={}, layouts={})
        held: dict[str, str] = dict(base.place)
        for tensor, place in zip(self.free, self.places[int(found.places[at])], strict=True):
            if place:
                held[tensor] = place
        numbers = found.layouts[at].tolist()
        layouts = {one.name: one.layouts[n // 2][n % 2] for one, n in zip(self.products, numbers, strict=True)}
        return replace(base, place=held, layouts=layouts)

"""FLAT's own choice: how many columns to fuse, what stays on chip, how each product lies.

What is held says how large a fused tile fits: its room grows linearly, so that tile is found in closed form. Of smaller
tiles only the smallest that makes as many of them can be better, or one that fills the columns of the array; where the
ends of a pipeline take time, more and smaller ones too. Then all layouts of the products are compared by closed forms
of cycles and off-chip traffic (``flat_counts.py``). All is done for a number of sets of held tensors and of points at
once.

The least latency wins, a second of the off-chip memory's time counting as a millisecond of it: so traffic decides
between latencies that differ by less than a thousandth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_models.spatial.cost import real
from mappers.presets.flat_base import Base, Bases
from mappers.presets.flat_counts import Figure, Product, Tiles, Way
from mappers.presets.flat_phases import Phases, Segment
from mappers.presets.flat_tree import OUTSIDE, TILE, Choice, Layout

TRAFFIC = 1e-3
"""What a second of off-chip traffic counts, in seconds of latency."""
_SETS = 256
"""Up to so many sets of places are tried; of more operands, all in one kind of place, or some of them in order."""
_LAYOUTS = 32
"""Up to so many combinations of layouts are tried; of more products, each by itself."""
_TOGETHER = 65536
"""Sets times points that are looked at together."""
_LITTLE = 2.0**-60
"""Bits that a column takes at least."""
_MORE = (1, 4, 16, 64, 256)
"""By how much the number of tiles is raised where a pipeline's ends take time."""
_WEIGHTS = (1.0, 1.0001, 1.0002, 1.0003, 1.0004)
"""What scores are multiplied by for that: smaller tiles come in and out of the buffer more often."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Found:
    """The best choice at each point, by number; ``score`` is infinite where nothing fits."""

    score: Array
    base: Array
    places: Array
    fused: Array
    layouts: Array
    turned: Array
    fixed: bool

    @property
    def columns(self) -> list[Array]:
        """What makes trees differ; the fused tile too, if it is all that may differ between points."""
        numbers = [np.isfinite(self.score), self.base, self.places, self.layouts, self.turned]
        return [*numbers, self.fused] if self.fixed else numbers


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
    def size(self) -> Figure:
        """Columns in all."""
        column = self.segment.column
        return real(self.phases.space.sizes[column]) if column is not None else 1.0

    @cached_property
    def free(self) -> dict[str, tuple[str, ...]]:
        """Operands of products that the buffer may keep, and where."""
        between = self.phases.between(self.segment)
        found: dict[str, tuple[str, ...]] = {}
        for one in self.products:
            for name, operand in one.operands.items():
                if operand.tensor not in between:
                    found[operand.tensor] = ("", TILE) if one.has_column(name) else ("", TILE, OUTSIDE)
        return found

    @cached_property
    def places(self) -> list[tuple[str, ...]]:
        """The sets of places that are tried: of each operand its place."""
        options = list(self.free.values())
        if prod(len(own) for own in options) <= _SETS:
            return list(product(*options))
        found = {tuple(own[min(level, len(own) - 1)] for own in options): None for level in (2, 1, 0)}
        for level in (2, 1):
            for many in range(len(options)):
                kept = [own[min(level, len(own) - 1)] for own in options]
                found[(*kept[:many], *("" for _ in options[many:]))] = None
                found[(*("" for _ in options[:many]), *kept[many:])] = None
        return list(found)

    def best(self) -> Found:
        """Return the best choice at each point."""
        count = self.count
        fixed = not isinstance(self.size, np.ndarray)
        found = Found(
            np.full(count, np.inf),
            base=np.zeros(count, int),
            places=np.zeros(count, int),
            fused=np.ones(count),
            layouts=np.zeros(count, int),
            turned=np.zeros(count, int),
            fixed=fixed,
        )
        together = max(1, _TOGETHER // count)
        for number, base in enumerate(self.bases):
            left = iter(range(len(self.places)))
            while some := list(islice(left, together)):
                for tiles, fits, weight in self._tiles(base, some):
                    self._improve(found, number, base, some, tiles, np.where(fits, weight, np.inf))
        return found

    # Tiles

    def _tiles(self, base: Base, some: list[int]) -> Iterator[tuple[Tiles, Figure, float]]:
        """Yield tiles worth trying for some sets of places, where they fit, and what their scores are multiplied by."""
        fixed, slope = self._room(some)
        wide = np.minimum(base.width, self.size)
        left = base.capacity - fixed - base.wide - wide * slope
        beyond = wide + np.floor(left / np.maximum(base.steep + slope, _LITTLE))
        left = base.capacity - fixed - base.narrow - slope
        within = 1 + np.floor(left / np.maximum(base.shallow + slope, _LITTLE))
        largest = np.minimum(np.where(beyond >= wide, beyond, np.minimum(within, wide)), self.size)
        fits = largest >= 1
        least = np.ceil(self.size / np.maximum(largest, 1))
        several = _MORE if self._ends and base.choice.overlap and self.segment.column is not None else (1,)
        for more, weight in zip(several, _WEIGHTS, strict=False):
            even = np.ceil(self.size / np.minimum(least * more, self.size))
            yield Tiles(self.size, even), fits, weight
            full = largest if more == 1 else even
            full = np.minimum(np.floor(full / self._columns) * self._columns, self.size)
            full = np.where(full >= 1, full, even)
            if np.any(full != even):
                yield Tiles(self.size, full), fits, weight

    @property
    def _ends(self) -> bool:
        return self.phases.problem.accounting.pipeline_ends

    @cached_property
    def _columns(self) -> Figure:
        """Columns of the matrix array."""
        dims = self.phases.problem.parts.dimensions(self.phases.problem.parts.matrix)
        return real(dims[0][1]) if dims else 1.0

    def _room(self, some: list[int]) -> tuple[Figure, Figure]:
        """Bits in the buffer of operands in their places: whatever the tile, and for each fused column."""
        fixed: Figure = 0.0
        slope: Figure = 0.0
        for number, tensor in enumerate(self.free):
            for place, there in self._where(number, some):
                if place:
                    room = there * self._rooms[tensor, place]
                    if TILE == place and self._along[tensor]:
                        slope = slope + room
                    else:
                        fixed = fixed + room
        return fixed, slope

    def _where(self, number: int, some: list[int]) -> list[tuple[str, Figure]]:
        """Return the places of an operand in some sets, each with 1 where it is there and 0 where not."""
        own = [self.places[place][number] for place in some]
        distinct = list(dict.fromkeys(own))
        if len(distinct) == 1:
            return [(distinct[0], 1.0)]
        return [(place, np.array([[float(one == place)] for one in own])) for place in distinct]

    @cached_property
    def _along(self) -> dict[str, bool]:
        return {o.tensor: p.has_column(name) for p in self.products for name, o in p.operands.items()}

    @cached_property
    def _rooms(self) -> dict[tuple[str, str], Figure]:
        """Bits of each operand in the buffer, by place: of one column, if it changes along it."""
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
            for place in places[1:]:
                found[tensor, place] = bits * max(copies, 2 if place == TILE or double else 1)
        return found

    # Layouts

    def _improve(self, found: Found, number: int, base: Base, some: list[int], tiles: Tiles, weight: Figure) -> None:
        """Compare all layouts of the products with the best so far."""
        ways = [one.ways(tiles) for one in self.products]
        moved = self._all_moved(base, some, ways, tiles)
        shape = (len(some), self.count)
        score: Any = np.full(shape, np.inf)
        which: Any = np.zeros(shape, int)
        for place, combination in enumerate(self._combinations):
            cycles: Figure = 0.0
            bits = base.bits
            for own, layout, amounts in zip(ways, combination, moved, strict=True):
                cycles, bits = cycles + own[layout].cycles, bits + amounts[layout]
            new = self._score(base, cycles, bits, tiles)
            better = new < score
            score, which = np.where(better, new, score), np.where(better, place, which)
        score = score * weight
        row = np.argmin(score, axis=0)
        at = np.arange(self.count)
        there = np.flatnonzero(score[row, at] < found.score)
        row = row[there]
        found.score[there] = score[row, there]
        found.base[there] = number
        found.places[there] = np.asarray(some)[row]
        found.fused[there] = np.broadcast_to(tiles.fused, shape)[row, there]
        found.layouts[there] = layouts = which[row, there]
        found.turned[there] = self._turned(ways, layouts, row, there, shape)

    @cached_property
    def _combinations(self) -> list[tuple[int, ...]]:
        options = [range(len(one.layouts)) for one in self.products]
        if prod(len(own) for own in options) <= _LAYOUTS:
            return list(product(*options))
        return list(dict.fromkeys(tuple(min(n, len(o) - 1) for o in options) for n in range(max(map(len, options)))))

    def _turned(self, ways: list[list[Way]], layouts: Array, row: Array, there: Array, shape: tuple[int, int]) -> Array:
        """Which products' layouts are turned, as bits of a number."""
        chosen = np.array(self._combinations)[layouts]
        code = np.zeros(len(there), int)
        for number, own in enumerate(ways):
            for layout, way in enumerate(own):
                if way.turned is not False:
                    turned = np.broadcast_to(way.turned, shape)[row, there] & (chosen[:, number] == layout)
                    code |= turned.astype(int) << number
        return code

    def _all_moved(self, base: Base, some: list[int], ways: list[list[Way]], tiles: Tiles) -> list[list[Figure]]:
        """Off-chip bits of each product in each layout; what the buffer keeps for several products moves once."""
        order = {tensor: number for number, tensor in enumerate(self.free)}
        seen: set[str] = set()
        found: list[list[Figure]] = []
        for one, own in zip(self.products, ways, strict=True):
            totals: list[Figure] = [0.0] * len(own)
            for name, operand in one.operands.items():
                tensor = operand.tensor
                if tensor not in order:
                    if tensor not in base.choice.place:
                        totals = [t + one.moved(name, way, tiles, "") for t, way in zip(totals, own, strict=True)]
                    continue
                for place, there in self._where(order[tensor], some):
                    if place and tensor in seen:
                        continue
                    if place:
                        kept = there * one.moved(name, own[0], tiles, place)
                        totals = [t + kept for t in totals]
                    else:
                        totals = [t + there * one.moved(name, w, tiles, "") for t, w in zip(totals, own, strict=True)]
                seen.add(tensor)
            found.append(totals)
        return found

    def _score(self, base: Base, cycles: Figure, bits: Figure, tiles: Tiles) -> Figure:
        machine = self.phases.problem.machine
        by_array: dict[str, Figure] = dict(base.cycles)
        if base.laid is not None:
            by_array = {name: c * tiles.steps("lanes", base.laid)[0] / base.turns for name, c in by_array.items()}
        matrix = self.phases.problem.parts.matrix.name
        by_array[matrix] = by_array.get(matrix, 0.0) + cycles
        total: Figure = 0.0
        busy: Figure = 0.0
        for one in by_array.values():
            total, busy = total + one, np.maximum(busy, one)
        if not base.choice.overlap:
            busy = total
        elif self._ends and len(self.segment.phases) > 1:
            trips = np.where(tiles.trips > 1, tiles.trips, self._copies * tiles.trips)
            busy = busy + (total - busy) / trips
        moving: Figure = 0.0
        for rate in machine.root.rates:
            if rate is not None:
                moving = np.maximum(moving, bits / (8 * real(rate)))
        return np.maximum(busy / real(machine.frequency_hz), moving) + TRAFFIC * moving

    @cached_property
    def _copies(self) -> Figure:
        """Turns of the loop around a pipeline without one over tiles."""
        return real(self.phases.problem.sizes["instances"])

    # What a choice by number stands for

    def choice(self, found: Found, at: int) -> Choice:
        """Return what was found at a point, but for the tile; the choice that keeps least on chip if nothing fits."""
        base = self.bases[found.base[at]].choice
        if not np.isfinite(found.score[at]):
            return replace(Bases(self.phases, self.segment).registers, fibers=False, overlap=False)
        held: dict[str, str] = dict(base.place)
        for tensor, place in zip(self.free, self.places[found.places[at]], strict=True):
            if place:
                held[tensor] = place
        return replace(base, place=held, layouts=self._layouts(int(found.layouts[at]), int(found.turned[at])))

    def _layouts(self, layouts: int, turned: int) -> Mapping[str, Layout]:
        chosen = zip(self.products, self._combinations[layouts], strict=True)
        return {one.name: one.layouts[own][turned >> n & 1] for n, (one, own) in enumerate(chosen)}

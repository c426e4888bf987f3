"""The cheapest loop order and tiles of one segment, for many capacities at once.

Every order of the ranks is tried, and of each rank every tile that makes a different number of trips: of the rank whose
trips matter most the largest that fits, which has a closed form since what must be kept grows linearly with it; of the
others all. Where these are too many (ranks over 65,536 values, or several of them), neighbouring tiles count as one: as
large as the smallest of them, with the trips of the largest. That errs towards less traffic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.traffic.nest import Nest, Tiles
from einsum_cascades.traffic.segments import Segment

MOST_RANKS = 5
"""Segments that walk more ranks count their Einsums one by one."""

_EXACT = 256
_SHORT = 16
_CHUNK = 400_000
_MOST_CANDIDATES = 20_000

Floats = NDArray[np.float64]
Number = Any
"""An exact integer, or an array of floats."""
_Choice = tuple[Nest, Tiles]


@dataclass(frozen=True)
class Best:
    """The cheapest choice for one capacity: exact counts of values."""

    nest: Nest
    tiles: Tiles
    traffic: int
    spilled: int


class SegmentSearch:
    """The search over one segment; what does not depend on the capacity is made once.

    Args:
        segment: the Einsums.
        alone: whether they count one by one.
    """

    def __init__(self, segment: Segment, *, alone: bool = False) -> None:
        self.segment, self.alone = segment, alone

    @cached_property
    def ranks(self) -> tuple[str, ...]:
        """The ranks that loops walk."""
        return tuple(r for r, size in self.segment.sizes.items() if size > 1)

    @property
    def searchable(self) -> bool:
        """Whether its orders are tried; else its Einsums count one by one."""
        return 0 < len(self.ranks) <= MOST_RANKS and not self.alone

    @cached_property
    def nests(self) -> tuple[_Candidates, ...]:
        """One nest of each kind: orders that cost the same for any tiles are tried once."""
        if not self.searchable:
            return ()
        kinds: dict[object, _Candidates] = {}
        probe = _probe(self.segment.sizes)
        for order in permutations(self.ranks):
            nest = Nest(self.segment, order)
            waits = [beside + sum(nest.fiber(c, probe) for c in members) for beside, members in nest.waiting(probe)]
            found = [nest.traffic(probe), *nest.kept(probe), *waits]
            mark = (order[-1:], *(tuple(np.broadcast_to(values, 8).tolist()) for values in found))
            kinds.setdefault(mark, _Candidates(nest))
        return tuple(kinds.values())

    def best(self, capacities: Sequence[int]) -> list[Best | None]:
        """Return the cheapest choice for each capacity in values; None where nothing fits."""
        if not self.nests:
            return self._alone(capacities)
        found: list[Best | None] = []
        size = max(1, _CHUNK // max(c.count for c in self.nests))
        for start in range(0, len(capacities), size):
            found += self._best(capacities[start : start + size])
        return found

    def _alone(self, capacities: Sequence[int]) -> list[Best | None]:
        """Return, where there are too many ranks, what its Einsums move one by one: each input counted in one of them.

        The others' tensors then take no room, and a result that stays inside is not written in the end, so that no way
        to fuse them moves less.
        """
        segment = self.segment
        least = [segment.compulsory] * len(capacities)
        if len(self.ranks) > MOST_RANKS or self.alone:
            totals, seen = [0] * len(capacities), set[str]()
            points = [math.prod(segment.sizes[r] for r in walked) for walked in segment.walks]
            for number in sorted(range(len(segment.einsums)), key=lambda n: -points[n]):
                part = segment.alone(number, seen)
                seen.update(part.inputs)
                name = segment.einsums[number]
                inside = 0 if name in segment.outputs else segment.shapes[name].size(segment.sizes)
                for place, one in enumerate(SegmentSearch(part).best(capacities)):
                    totals[place] += 0 if one is None else one.traffic // segment.repeats - inside
            least = [max(pair) for pair in zip(least, totals, strict=True)]
        nest = Nest(segment, ())
        return [Best(nest, Tiles({}, {}), number * segment.repeats, 0) for number in least]

    def _best(self, capacities: Sequence[int]) -> list[Best | None]:
        room = np.array(capacities, dtype=float)[:, None] + self.point
        least = np.full(len(capacities), np.inf)
        chosen: list[_Choice | None] = [None] * len(capacities)
        for candidates in self.nests:
            if (least <= self.segment.compulsory).all():
                break
            for tiles in candidates.tiles(room):
                cost = candidates.cost(tiles, room)
                at = np.argmin(cost, axis=1)
                costs = np.take_along_axis(cost, at[:, None], axis=1)[:, 0]
                for row in np.flatnonzero(costs < least):
                    least[row] = costs[row]
                    chosen[row] = candidates.nest, _pick(tiles, cost.shape, int(row), int(at[row]))
        return [_exact(choice, capacity + self.point) for choice, capacity in zip(chosen, capacities, strict=True)]

    @cached_property
    def point(self) -> int:
        """The values of one point of the Einsum that has most: a schedule may have them on chip in any order, so the
        room for them does not count."""
        return max(map(len, self.segment.uses))


class _Candidates:
    """The tiles that one nest tries."""

    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        sizes = nest.segment.sizes
        *outer, innermost = nest.order
        long = [r for r in outer if r in nest.active and sizes[r] > _SHORT]
        self.solved = max(long, key=lambda r: sizes[r], default=None)
        free = [r for r in outer if r != self.solved and r in nest.active]
        fineness = _EXACT
        while math.prod(len(_divisions(sizes[r], fineness)) for r in free) > _MOST_CANDIDATES and fineness > 1:
            fineness //= 2
        axes = [
            _divisions(sizes[r], fineness) if r in free else ((1, sizes[r]), (sizes[r], 1))
            for r in outer
            if r != self.solved
        ]
        grid = np.meshgrid(*(np.arange(len(axis)) for axis in axes), indexing="ij")
        chosen = [np.array(axis, dtype=float)[g.ravel()] for axis, g in zip(axes, grid, strict=True)]
        ranks = [r for r in outer if r != self.solved]
        one = np.ones((1, 1))
        self.fixed = Tiles(
            {r: pairs[None, :, 0] for r, pairs in zip(ranks, chosen, strict=True)} | {innermost: one},
            {r: pairs[None, :, 1] for r, pairs in zip(ranks, chosen, strict=True)}
            | {innermost: one * sizes[innermost]},
        )
        self.count = max(1, grid[0].size if grid else 1)

    def tiles(self, room: Floats) -> Iterator[Tiles]:
        """Yield sets of tiles, as arrays over capacities and candidates."""
        if self.solved is None:
            yield self.fixed
            return
        size = self.nest.segment.sizes[self.solved]
        yield self.with_tile(size)
        yield self.with_tile(1)
        for start in (1, size - 2):
            for tile in self._largest(start, room):
                yield self.with_tile(np.ceil(size / np.ceil(size / tile)))

    def _largest(self, start: int, room: Floats) -> Iterator[Floats]:
        """Yield the largest tiles that fit, alone and with the fibers of each wait.

        What must be kept is a line in the tile, but where another input becomes the largest and streams.
        """
        nest, one, two = self.nest, self.with_tile(start), self.with_tile(start + 1)
        assert self.solved is not None
        size = nest.segment.sizes[self.solved]

        def most(first: Number, second: Number) -> Floats:
            step = second - first
            with np.errstate(divide="ignore", invalid="ignore"):
                fitting = np.floor((room - first) / step) + start
            return np.clip(np.where(step > 0, fitting, size), 1, size - 1)

        alone = np.full((1, 1), float(size - 1))
        for first, second in zip(nest.kept(one), nest.kept(two), strict=True):
            alone = np.minimum(alone, most(first, second))
        yield alone
        for (least, members), (more, _) in zip(nest.waiting(one), nest.waiting(two), strict=True):
            fibers = [sum(nest.fiber(crossing, tiles) for crossing in members) for tiles in (one, two)]
            yield np.minimum(alone, most(least + fibers[0], more + fibers[1]))

    def with_tile(self, tile: float | Floats) -> Tiles:
        """All candidates, with a tile of the solved rank."""
        assert self.solved is not None
        values = tile if isinstance(tile, np.ndarray) else np.full((1, 1), float(tile))
        return self.fixed.with_rank(self.solved, values, self.nest.segment.sizes[self.solved])

    def cost(self, tiles: Tiles, room: Floats) -> Floats:
        """Values moved by each candidate for each capacity; infinite where it does not fit."""
        kept: Number = 0.0
        for moment in self.nest.kept(tiles):
            kept = np.maximum(kept, moment)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = self.nest.traffic(tiles) + self.nest.spilled(tiles, room)
        return np.where(room >= kept, moved, np.full((len(room), self.count), np.inf))


@lru_cache(maxsize=256)
def _divisions(size: int, fineness: int) -> tuple[tuple[int, int], ...]:
    """(tile, trips) pairs of a rank; all that make a different number of trips for up to ``fineness`` trips or values.

    Between these, neighbours count as one, with the smaller tile and the fewer trips: never too much.
    """
    few = min(size, fineness)
    pairs = {(-(-size // trips), trips) for trips in range(1, few + 1)}
    pairs |= {(tile, -(-size // tile)) for tile in range(1, few + 1)}
    trips, most = few, -(-size // few)
    while trips < most:
        following = min(most, trips + max(1, trips // fineness))
        pairs.add((-(-size // following), trips + 1))
        trips = following
    return tuple(sorted(pairs))


def _probe(sizes: Mapping[str, int]) -> Tiles:
    """Eight sets of tiles that tell nests apart."""
    generator = np.random.default_rng(1)
    values = {r: np.append(generator.integers(1, size + 1, 6), [1, size]).astype(float) for r, size in sizes.items()}
    return Tiles(values, {r: np.ceil(sizes[r] / v) for r, v in values.items()})


def _pick(tiles: Tiles, shape: tuple[int, ...], row: int, column: int) -> Tiles:
    def one(values: Floats) -> int:
        return int(np.broadcast_to(values, shape)[row, column])

    return Tiles({r: one(v) for r, v in tiles.values.items()}, {r: one(v) for r, v in tiles.trips.items()})


def _exact(choice: _Choice | None, capacity: int) -> Best | None:
    if choice is None:
        return None
    nest, tiles = choice
    spilled = nest.spilled(tiles, capacity)
    repeats = nest.segment.repeats
    return Best(nest, tiles, (nest.traffic(tiles) + spilled) * repeats, spilled * repeats)

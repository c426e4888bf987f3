"""The cheapest loop order and tiles of one segment, for many capacities at once.

Every order of the ranks is tried, and of each rank every tile that makes a different number of trips: of the rank whose
trips matter most the largest that fits, which has a closed form since what must be kept grows linearly with it; of the
others all. Where these are too many (ranks over 65,536 values, or several of them), neighbouring tiles count as one: as
large as the smallest of them, with the trips of the largest. That errs towards less traffic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.traffic.nest import Nest, Tiles
from einsum_cascades.traffic.segments import Segment

MOST_RANKS = 5
"""Segments that walk more ranks count compulsory traffic only."""

_EXACT = 256
_SHORT = 16
_CHUNK = 400_000
_MOST_CANDIDATES = 20_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Best:
    """The cheapest choice for one capacity: exact counts of values."""

    nest: Nest
    tiles: Tiles
    traffic: int
    spilled: int


class SegmentSearch:
    """The search over one segment; what does not depend on the capacity is made once."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment

    @cached_property
    def ranks(self) -> tuple[str, ...]:
        """The ranks that loops walk."""
        return tuple(r for r, size in self.segment.sizes.items() if size > 1)

    @property
    def searchable(self) -> bool:
        """Whether its orders are tried; else it counts compulsory traffic only."""
        return 0 < len(self.ranks) <= MOST_RANKS

    @cached_property
    def nests(self) -> tuple[_Candidates, ...]:
        """One nest of each kind: orders that cost the same for any tiles are tried once."""
        if not self.searchable:
            return ()
        kinds: dict[object, _Candidates] = {}
        probe = _probe(self.segment.sizes)
        for order in permutations(self.ranks):
            nest = Nest(self.segment, order)
            found = [nest.traffic(probe), nest.kept(probe), *nest.waiting(probe).values()]
            mark = (order[-1:], *(tuple(np.broadcast_to(values, 8).tolist()) for values in found))
            kinds.setdefault(mark, _Candidates(nest))
        return tuple(kinds.values())

    def best(self, capacities: Sequence[int]) -> list[Best | None]:
        """Return the cheapest choice for each capacity in values; None where nothing fits."""
        if not self.nests:
            nest = Nest(self.segment, ())
            free = Best(nest, Tiles({}, {}), self.segment.compulsory * self.segment.repeats, 0)
            return [free] * len(capacities)
        found: list[Best | None] = []
        size = max(1, _CHUNK // max(c.count for c in self.nests))
        for start in range(0, len(capacities), size):
            found += self._best(capacities[start : start + size])
        return found

    def _best(self, capacities: Sequence[int]) -> list[Best | None]:
        room = np.array(capacities, dtype=float)[:, None]
        least = np.full(len(capacities), np.inf)
        chosen: list[tuple[Nest, Tiles] | None] = [None] * len(capacities)
        for candidates in self.nests:
            for tiles in candidates.tiles(room):
                cost = candidates.cost(tiles, room)
                at = np.argmin(cost, axis=1)
                costs = np.take_along_axis(cost, at[:, None], axis=1)[:, 0]
                for row in np.flatnonzero(costs < least):
                    least[row] = costs[row]
                    chosen[row] = candidates.nest, _pick(tiles, cost.shape, int(row), int(at[row]))
        return [_exact(choice, capacity) for choice, capacity in zip(chosen, capacities, strict=True)]


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

    def tiles(self, room: Floats) -> list[Tiles]:
        """Return sets of tiles, as arrays over capacities and candidates."""
        if self.solved is None:
            return [self.fixed]
        size = self.nest.segment.sizes[self.solved]
        found = [self.with_tile(size), self.with_tile(1)]
        for start in (1, size - 2):
            for first, step in self.lines(start):
                with np.errstate(divide="ignore", invalid="ignore"):
                    most = np.floor((room - first) / step) + start
                tile = np.clip(np.where(step > 0, most, size), 1, size - 1)
                found.append(self.with_tile(np.ceil(size / np.ceil(size / tile))))
        return found

    def with_tile(self, tile: float | Floats) -> Tiles:
        """All candidates, with a tile of the solved rank."""
        assert self.solved is not None
        values = tile if isinstance(tile, np.ndarray) else np.full((1, 1), float(tile))
        return self.fixed.with_rank(self.solved, values, self.nest.segment.sizes[self.solved])

    def lines(self, start: int) -> list[tuple[Floats, Floats]]:
        """What must be kept at a tile of ``start``, and what one value more adds: alone, and with all fibers that wait.

        Both are lines in the tile, but where another input becomes the largest and streams.
        """
        one, two = self.with_tile(start), self.with_tile(start + 1)
        kept, slope = self.nest.kept(one), self.nest.kept(two) - self.nest.kept(one)
        after = self.nest.waiting(two)
        waiting = self.nest.waiting(one).items()
        return [(kept, slope), *((kept + fiber, slope + after[gap] - fiber) for gap, fiber in waiting)]

    def cost(self, tiles: Tiles, room: Floats) -> Floats:
        """Values moved by each candidate for each capacity; infinite where it does not fit."""
        left = room - self.nest.kept(tiles)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = self.nest.traffic(tiles) + self.nest.spilled(tiles, np.maximum(left, 0))
        return np.where(left >= 0, moved, np.full((len(room), self.count), np.inf))


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


def _exact(choice: tuple[Nest, Tiles] | None, capacity: int) -> Best | None:
    if choice is None:
        return None
    nest, tiles = choice
    spilled = nest.spilled(tiles, max(0, capacity - nest.kept(tiles)))
    repeats = nest.segment.repeats
    return Best(nest, tiles, (nest.traffic(tiles) + spilled) * repeats, spilled * repeats)

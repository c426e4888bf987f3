"""FLAT's own choice at many points at once: what ``mappers/flat_search.py`` chooses at each.

Holding a tensor never adds traffic and changes no cycles, so the least latency and traffic of a fused tile are reached
with a set of held tensors that cannot grow. Fused tiles are tried from the largest on. With those tensors held that fit
beside the smallest tile, traffic never falls from one to the next, and cycles are never fewer than with the largest: a
point at which that bound is no better than the best found needs no smaller tile. Which of several choices with that
latency and traffic is taken, the order of the search decides; this is settled at the end, for the one fused tile of
each point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product as combinations_of
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hw_models.batched import real
from mappers.batched.divisors import MOST_TILES, tile_count_rows
from mappers.batched.flat_tile import FusedTile, Undominated, free_tensors, held_flags
from mappers.batched.subsets import pick
from mappers.capacity import least, most
from mappers.flat_nest import STATIONARY, FlatProblem

Array: TypeAlias = npt.NDArray[Any]


_TOGETHER: Final = ([0], [1], [2, 3], [4, 5, 6, 7], list(range(8, MOST_TILES)))
"""Fused tiles that are compared at once, by their place from the largest on: ever fewer points come so far."""


@dataclass(frozen=True)
class Beside:
    """What a contraction's latency depends on beside its own cycles and traffic: numbers, or arrays over points.

    Attributes:
        cycles_1d, cycles_2d, values: cycles by array and DRAM values of the vector phases.
        frequency_hz, bandwidth_bytes_per_s, value_bytes: of the machine.
    """

    cycles_1d: Any
    cycles_2d: Any
    values: Any
    frequency_hz: Any
    bandwidth_bytes_per_s: Any
    value_bytes: int

    def at(self, some: Array) -> Beside:
        """Return it for some of the points."""
        return Beside(
            at(self.cycles_1d, some),
            at(self.cycles_2d, some),
            at(self.values, some),
            at(self.frequency_hz, some),
            at(self.bandwidth_bytes_per_s, some),
            self.value_bytes,
        )

    def latency_s(self, cycles: Any, traffic: Any) -> Any:
        """Return latencies in seconds, from the cycles of the contractions and all off-chip bytes."""
        cycles = most(self.cycles_1d, self.cycles_2d + cycles)
        return np.maximum(real(cycles) / self.frequency_hz, real(traffic) / self.bandwidth_bytes_per_s)


def at(value: Any, some: Array) -> Any:
    """Return an array at some points; a number as it is."""
    return value[some] if isinstance(value, np.ndarray) else value


@dataclass(frozen=True)
class Choices:
    """The choice at each point.

    Attributes:
        found: whether there is any.
        fused: columns fused at a time.
        between: whether phases hand tensors on in the buffer.
        options: for each product, the stationary operand and the held tensors: s · 2^k + the flags as bits.
    """

    found: Array
    fused: Array
    between: Array
    options: list[Array]


@dataclass
class _Best:
    """The least latency and traffic so far at each point, and where they were found.

    Attributes:
        order: place of the fused tile, and of whether phases hand tensors on, in the order of the search.
    """

    latency: Array
    traffic: Array
    order: Array
    fused: Array

    @classmethod
    def none(cls, count: int) -> _Best:
        """Nothing found yet."""
        zeros = [np.zeros(count, np.int64) for _ in range(3)]
        return cls(np.full(count, np.inf), *zeros)

    def beaten(self, points: Array, latency: Any, traffic: Any, order: Array) -> Array:
        """Whether figures are better than the best at some points, or as good and earlier in the order."""
        reached = self.latency[points]
        found: Array = latency < reached
        tied = np.flatnonzero(latency == reached)
        if len(tied):
            there, moved = points[tied], np.broadcast_to(traffic, found.shape)[tied]
            least_moved = self.traffic[there]
            earlier = (moved == least_moved) & (order[tied] < self.order[there])
            found[tied] = (moved < least_moved) | earlier
        return found

    def update(self, points: Array, latency: Array, traffic: Array, order: Array, fused: Array) -> None:
        """Take over the figures that are better; a point may occur several times."""
        rows = np.flatnonzero(self.beaten(points, latency, traffic, order))
        if (np.diff(points[rows]) <= 0).any():
            rows = rows[np.lexsort((order[rows], traffic[rows], latency[rows], points[rows]))]
            rows = rows[np.diff(points[rows], prepend=-1) != 0]
        there = points[rows]
        self.latency[there], self.traffic[there] = latency[rows], traffic[rows]
        self.order[there], self.fused[there] = order[rows], fused[rows]


def search_many(problem: FlatProblem, beside: dict[bool, Beside], count: int) -> Choices:
    """Return the best choice that fits the buffer at each point.

    Args:
        problem: of arrays over the points; all have the same structure.
        beside: what else the latency depends on, by whether phases hand tensors on in the buffer.
        count: number of points.
    """
    best = _Best.none(count)
    array = problem.architecture.array_2d
    size = problem.sizes[problem.roles.column]
    columns = least(size, array.columns)
    tiles = tile_count_rows(np.broadcast_to(np.asarray(-(-size // columns)), (count,)).astype(np.int64))
    smallest = FusedTile(problem, np.broadcast_to(np.asarray(columns), (count,)))
    ever = {between: smallest.ever_held(between) for between in (True, False)}
    active = np.ones(count, bool)
    for turns in _TOGETHER:
        turn, points = np.nonzero((tiles[:, turns].T > 0) & active)
        if not len(points):
            break
        tile = FusedTile(
            _at(problem, points, count), np.asarray(pick(columns, points) * tiles[points, turns[0] + turn])
        )
        going = np.zeros(len(points), bool)
        for place, between in enumerate((True, False)):
            held = {tensor: flags[points] for tensor, flags in ever[between].items()}
            order = 2 * (turns[0] + turn) + place
            going |= _improve(tile, between, held, beside[between].at(points), best, points, order)
        last = turn == len(turns) - 1
        active = np.zeros(count, bool)
        active[points[last]] = going[last]
    options = [np.zeros(count, np.int64) for _ in problem.products]
    found = np.isfinite(best.latency)
    between_phases = best.order % 2 == 0
    for between in (True, False):
        points = np.flatnonzero(found & (between_phases == between))
        if len(points):
            tile = FusedTile(_at(problem, points, count), best.fused[points])
            _settle(tile, between, beside[between].at(points), best, points, options)
    return Choices(found, np.where(found, best.fused, 1), between_phases, options)


def _at(problem: FlatProblem, points: Array, count: int) -> FlatProblem:
    """The problem at some of the points, of which one may occur several times."""
    if len(points) == count and np.array_equal(points, np.arange(count)):
        return problem
    return replace(problem, sizes=pick(problem.sizes, points), architecture=pick(problem.architecture, points))


def _improve(
    tile: FusedTile,
    between: bool,
    ever: dict[str, Array],
    beside: Beside,
    best: _Best,
    points: Array,
    order: Array,
) -> Array:
    """Compare the largest sets of held tensors with the best so far; return where smaller tiles may be better still."""
    width = beside.value_bytes
    fixed = beside.values + tile.handed_on(between)
    fewest = tile.fewest_cycles
    least_moved = [np.where(ever[t], tile.fewest(t, True), tile.fewest(t, False)) for t in tile.free]
    traffic = (fixed + sum(least_moved)) * width
    going = best.beaten(points, beside.latency_s(fewest, traffic), traffic, order) & ever[""]
    if not going.any():
        return going
    fits = tile.fitting(between)
    for held in reversed(list(fits)):
        largest = fits[held] & going
        for tensor in tile.free:
            if tensor not in held:
                largest &= ~fits[held | {tensor}]
        some = np.flatnonzero(largest)
        if not len(some):
            continue
        traffic = (at(fixed, some) + sum(at(tile.fewest(t, t in held), some) for t in tile.free)) * width
        latency = beside.at(some).latency_s(at(fewest, some), traffic)
        some = some[best.beaten(points[some], latency, traffic, order[some])]
        if len(some):
            latency, traffic = _fastest(tile, held, between, beside.at(some), some)
            best.update(points[some], latency, traffic, order[some], tile.fused[some])
    return going


def _fastest(tile: FusedTile, held: frozenset[str], between: bool, beside: Beside, some: Array) -> tuple[Array, Array]:
    """The least latency, and with it the least traffic, of all stationary operands for a set of held tensors."""
    cycles = [[c[some] for c in each] for each in tile.cycles]
    moved = [tile.moved(place, held, between, some) for place in range(len(cycles))]
    least_latency = np.full(len(some), np.inf)
    least_traffic = np.zeros(len(some), np.int64)
    for way in combinations_of(range(len(STATIONARY)), repeat=len(cycles)):
        traffic = (beside.values + sum(m[s] for m, s in zip(moved, way, strict=True))) * beside.value_bytes
        latency = beside.latency_s(sum(c[s] for c, s in zip(cycles, way, strict=True)), traffic)
        better = (latency < least_latency) | ((latency == least_latency) & (traffic < least_traffic))
        np.copyto(least_latency, latency, where=better)
        np.copyto(least_traffic, traffic, where=better)
    return least_latency, least_traffic


def _settle(tile: FusedTile, between: bool, beside: Beside, best: _Best, points: Array, options: list[Array]) -> None:
    """Find the first choice, in the order of the search, that has the latency and traffic found to be best."""
    problem, width = tile.problem, tile.problem.value_bytes
    fixed = beside.values + tile.handed_on(between)
    wanted, reached = best.traffic[points], best.latency[points]
    order = np.full(len(points), np.iinfo(np.int64).max)
    kept = [Undominated(tile, place, between) for place in range(len(tile.cycles))]
    sets = [len(held_flags(len(free_tensors(problem, product)))) for product in problem.products]
    for held, fits in tile.fitting(between).items():
        traffic = (fixed + sum(tile.fewest(tensor, tensor in held) for tensor in tile.free)) * width
        some = np.flatnonzero(fits & (traffic <= wanted))
        if not len(some):
            continue
        here = beside.at(some)
        moved = [tile.moved(place, held, between, some) for place in range(len(kept))]
        chosen = [tile.place_of(product, held) for product in problem.products]
        for way in combinations_of(range(len(STATIONARY)), repeat=len(kept)):
            same = (here.values + sum(m[s] for m, s in zip(moved, way, strict=True))) * width == wanted[some]
            cycles = sum(c[s][some] for c, s in zip(tile.cycles, way, strict=True))
            same &= here.latency_s(cycles, wanted[some]) == reached[some]
            place = 0
            for s, h, many in zip(way, chosen, sets, strict=True):
                place = place * len(STATIONARY) * many + s * many + h
            there = np.flatnonzero(same & (place < order[some]))
            if not len(there):
                continue
            there = some[there]
            for each, s, h in zip(kept, way, chosen, strict=True):
                there = there[each.of(s, h, there)]
            order[there] = place
    assert (order < np.iinfo(np.int64).max).all(), "the latency and traffic that were found belong to no choice"
    for found, many in zip(reversed(options), reversed(sets), strict=True):
        order, found[points] = np.divmod(order, len(STATIONARY) * many)

"""FLAT's own choice at many points at once: what ``mappers/flat_search.py`` chooses at each.

Cycles depend on the stationary operands alone, traffic on what is held as well, so for a fused tile and a set of held
tensors the least of both over the stationary operands bounds what any choice can reach. Points at which that bound is
no better than the best found so far are left out; the others are compared in full, in the order of the search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product as combinations_of
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hw_models.architecture import Architecture
from hw_models.batched import batch_latency_s
from mappers.batched.divisors import MOST_TILES, tile_count_rows
from mappers.batched.nest import home_values
from mappers.batched.subsets import pick
from mappers.batched.values import Values
from mappers.capacity import least, most
from mappers.contraction import Product
from mappers.flat_nest import STATIONARY, FlatProblem
from mappers.phases import phase_cycles

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class VectorWork:
    """What the vector phases do, if phases hand their tiles on in the buffer or not: cycles by array, DRAM values."""

    cycles_1d: Any
    cycles_2d: Any
    values: Any


@dataclass
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
    latency: Array = field(repr=False)
    traffic: Array = field(repr=False)
    order: Array = field(repr=False)

    @classmethod
    def none(cls, count: int, products: int, whole: Any) -> Choices:
        """No choice anywhere yet."""
        options = [np.zeros(count, np.int64) for _ in range(products)]
        return cls(
            np.zeros(count, bool),
            np.ones(count, whole),
            np.zeros(count, bool),
            options,
            np.full(count, np.inf),
            np.zeros(count, whole),
            np.zeros(count, np.int64),
        )


def free_tensors(problem: FlatProblem, product: Product) -> tuple[str, ...]:
    """Return the operands of a product that may be held in the buffer or not, whatever phases hand on."""
    return tuple(o.tensor for o in product.operands if o.tensor not in problem.intermediates)


def held_flags(count: int) -> list[tuple[bool, ...]]:
    """Return the sets of held tensors in the order of the search."""
    return list(combinations_of((False, True), repeat=count))


def search_many(problem: FlatProblem, vector: dict[bool, VectorWork], count: int, whole: Any) -> Choices:
    """Return the best choice that fits the buffer at each point.

    Args:
        problem: of arrays over the points; all have the same structure.
        vector: the work of the vector phases, by whether phases hand tensors on in the buffer.
        count: number of points.
        whole: type of whole numbers.
    """
    best = Choices.none(count, len(problem.products), whole)
    array = problem.architecture.array_2d
    size = problem.sizes[problem.roles.column]
    columns = least(size, array.columns)
    steps = np.broadcast_to(np.asarray(-(-size // columns)), (count,))
    tiles = tile_count_rows(steps.astype(np.int64))
    for turn in range(MOST_TILES):
        points = np.flatnonzero(tiles[:, turn])
        if not len(points):
            break
        here = replace(problem, sizes=pick(problem.sizes, points), architecture=pick(problem.architecture, points))
        fused = np.asarray(pick(columns, points) * tiles[points, turn].astype(whole))
        _Turn(here, fused, points, best, turn).compare({b: pick(work, points) for b, work in vector.items()})
    return best


class _Turn:
    """One fused tile at each of some points."""

    def __init__(self, problem: FlatProblem, fused: Array, points: Array, best: Choices, turn: int) -> None:
        self.problem, self.fused, self.points, self.best, self.turn = problem, fused, points, best, turn
        self.free = [free_tensors(problem, p) for p in problem.products]
        self.cycles = [self._cycles(p) for p in problem.products]
        self.sides = [self._sides(p) for p in problem.products]

    def _all(self, value: Any) -> Array:
        return np.broadcast_to(np.asarray(value), (len(self.points),))

    def _cycles(self, product: Product) -> Array:
        """Cycles by stationary operand."""
        per_point = phase_cycles((("mac", 1),), self.problem.architecture.array_2d, self.problem.accounting)
        found = []
        for stationary in STATIONARY:
            shape, keys = self.problem.layout(product, stationary, frozenset())
            values = Values(self.problem.extents(product, stationary, self.fused))  # type: ignore[arg-type]
            time = [k for k, spatial in zip(keys, shape.spatial, strict=True) if not spatial]
            found.append(self._all(values[values.product(time)] * per_point))
        return np.stack(found)

    def _sides(self, product: Product) -> list[list[tuple[Any, Any]]]:
        """DRAM values by stationary operand and operand, if the operand is off chip and if it is on chip."""
        tensors = frozenset(o.tensor for o in product.operands)
        found = []
        for stationary in STATIONARY:
            values = Values(self.problem.extents(product, stationary, self.fused))  # type: ignore[arg-type]
            sides = []
            for on_chip in (frozenset[str](), tensors):
                shape, keys = self.problem.layout(product, stationary, on_chip)
                nest = shape.compiled
                sides.append([home_values(values, chain, nest, keys) for chain in nest.chains])
            found.append(list(zip(*sides, strict=True)))
        return found

    def _traffic(self, place: int, between: bool) -> Array:
        """DRAM values of a product by stationary operand and set of held tensors."""
        product, free = self.problem.products[place], self.free[place]
        rows = []
        for sides in self.sides[place]:
            fixed, choice = 0, []
            for operand, side in zip(product.operands, sides, strict=True):
                if operand.tensor in self.problem.intermediates:
                    fixed = fixed + side[between]
                else:
                    choice.append(side)
            rows.append(
                np.stack(
                    [
                        self._all(fixed + sum(side[on] for side, on in zip(choice, flags, strict=True)))
                        for flags in held_flags(len(free))
                    ]
                )
            )
        return np.stack(rows)

    def _room(self, between: bool) -> tuple[Any, dict[str, Any]]:
        """Values in the buffer with no tensor held, and how many more each held tensor takes."""
        shared, base = 0, sum(self.problem.fibers_from_outside)
        more: dict[str, Any] = {}
        for tensor, on, off, hands_on in self.problem.places(self.fused):  # type: ignore[arg-type]
            if hands_on:
                shared = most(shared, on) if between else 0
            elif tensor in self.problem.intermediates:
                base = base + (on if between else off)
            else:
                base = base + off
                more[tensor] = more.get(tensor, 0) + (on - off)
        return base + shared, more

    def compare(self, vector: dict[bool, VectorWork]) -> None:
        """Compare the choices with the best so far."""
        for place, between in enumerate((True, False)):
            traffic = [self._traffic(i, between) for i in range(len(self.problem.products))]
            self._compare(between, 2 * self.turn + place, traffic, vector[between])

    def _compare(self, between: bool, turn: int, traffic: list[Array], vector: VectorWork) -> None:
        best, architecture = self.best, self.problem.architecture
        width = self.problem.value_bytes
        fewest = most(vector.cycles_1d, vector.cycles_2d + sum(c.min(axis=0) for c in self.cycles))
        base, more = self._room(between)
        choices = 1
        for values in traffic:
            choices *= values.shape[0] * values.shape[1]
        order = turn * choices
        kept: list[Array] | None = None
        for held in self._held():
            tensors = {t for free, (_, flags) in zip(self.free, held, strict=True) for t, on in zip(free, flags, strict=True) if on}
            room = base + sum(more[t] for t in tensors)
            moved = vector.values + sum(v[:, h].min(axis=0) for v, (h, _) in zip(traffic, held, strict=True))
            bound = self._all(batch_latency_s(((fewest, moved * width),), architecture))
            reached, least_moved = best.latency[self.points], best.traffic[self.points]
            tie = (moved * width <= least_moved) & (best.order[self.points] >= order)
            tie |= moved * width < least_moved
            hopeful = ~best.found[self.points] | (bound < reached) | ((bound == reached) & tie)
            some = np.flatnonzero((room * width <= architecture.global_buffer.bytes) & hopeful)
            if not len(some):
                continue
            if kept is None:
                kept = [_undominated(c, v) for c, v in zip(self.cycles, traffic, strict=True)]
            chosen = [h for h, _ in held]
            options = _Options(
                [c[:, some] for c in self.cycles],
                [v[:, h][:, some] for v, h in zip(traffic, chosen, strict=True)],
                [k[:, h][:, some] for k, h in zip(kept, chosen, strict=True)],
                chosen,
                [v.shape[1] for v in traffic],
            )
            self._settle(options, some, between, order, pick(vector, some), pick(architecture, some))

    def _held(self) -> Iterator[tuple[tuple[int, tuple[bool, ...]], ...]]:
        """Sets of held tensors for each product, the largest first."""
        each = [list(enumerate(held_flags(len(free)))) for free in self.free]
        yield from sorted(combinations_of(*each), key=lambda held: -sum(sum(flags) for _, flags in held))

    def _settle(
        self,
        options: _Options,
        some: Array,
        between: bool,
        order: int,
        vector: VectorWork,
        architecture: Architecture,
    ) -> None:
        """Compare all stationary operands for one set of held tensors."""
        best, where = self.best, self.points[some]
        width = self.problem.value_bytes
        for stationary in combinations_of(range(len(STATIONARY)), repeat=len(self.problem.products)):
            cycles, moved, allowed, place = options.of(stationary)
            cycles = most(vector.cycles_1d, vector.cycles_2d + cycles)
            traffic = (vector.values + moved) * width
            latency = np.asarray(batch_latency_s(((cycles, traffic),), architecture))
            reached, least_moved = best.latency[where], best.traffic[where]
            earlier = (traffic < least_moved) | ((traffic == least_moved) & (order + place < best.order[where]))
            better = allowed & (~best.found[where] | (latency < reached) | ((latency == reached) & earlier))
            now = np.flatnonzero(better)
            if not len(now):
                continue
            there = where[now]
            best.found[there] = True
            best.latency[there] = latency[now]
            best.traffic[there] = traffic[now]
            best.order[there] = order + place
            best.fused[there] = self.fused[some[now]]
            best.between[there] = between
            for found, s, h, sets in zip(best.options, stationary, options.held, options.sets, strict=True):
                found[there] = s * sets + h


@dataclass(frozen=True)
class _Options:
    """The options of each product for one set of held tensors, by stationary operand."""

    cycles: list[Array]
    traffic: list[Array]
    allowed: list[Array]
    held: list[int]
    sets: list[int]

    def of(self, stationary: tuple[int, ...]) -> tuple[Any, Any, Any, int]:
        """Cycles, DRAM values, whether the search considers it, and its place in the order of the search."""
        place = 0
        for s, h, sets in zip(stationary, self.held, self.sets, strict=True):
            place = place * len(STATIONARY) * sets + s * sets + h
        rows = [(c[s], t[s], a[s]) for s, c, t, a in zip(stationary, self.cycles, self.traffic, self.allowed, strict=True)]
        allowed: Any = True
        for _, _, each in rows:
            allowed = allowed & each
        return sum(c for c, _, _ in rows), sum(t for _, t, _ in rows), allowed, place


def _undominated(cycles: Array, traffic: Array) -> Array:
    """Whether no option holds strictly less and takes no more cycles and traffic."""
    sets = held_flags(int(np.log2(traffic.shape[1])))
    kept = np.ones(traffic.shape, bool)
    for (s, row), (other, less) in combinations_of(enumerate(cycles), repeat=2):
        as_fast = less <= row
        for (h, flags), (g, fewer) in combinations_of(enumerate(sets), repeat=2):
            if g != h and all(a <= b for a, b in zip(fewer, flags, strict=True)):
                kept[s, h] &= ~(as_fast & (traffic[other, g] <= traffic[s, h]))
    return kept

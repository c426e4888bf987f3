"""FLAT's own choice: how many columns to fuse, what stays on chip, how each product lies.

Once the fused tile and the place of what lies between phases are fixed, products are independent of one another but for
room in the buffer: each is counted by itself, by the engine, for every layout and every place of its operands, all fused
tiles at once as arrays. Of a number of tiles only the smallest tile that makes it can be best, or one that fills the columns
of the array. Tiles are then looked at from the best bound on, each with the combinations of products that no other makes
idle; the best few are evaluated in full. The least latency wins, then the least off-chip traffic.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, permutations
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.tree import LoopTree, Node
from hw_models.spatial.activity import Activity, activity_of
from mappers.presets.flat_phases import Phases, Segment
from mappers.presets.flat_tree import OUTSIDE, TILE, Choice, Layout, SegmentTree
from mappers.presets.problem import lanes

Array = npt.NDArray[Any]
MOST_COMBINATIONS = 64
"""Combinations of products kept at a time."""
MOST_TILES = 24
"""Fused tiles that are looked at with all combinations."""
_SUBSETS = 4
"""Up to so many tensors between phases, all sets of them are tried on chip; of more, all or none."""


class Option(NamedTuple):
    """One way for a product, at one fused tile."""

    cycles: int
    bits: int
    room: int
    layout: Layout
    place: tuple[tuple[str, str], ...]


class Combination(NamedTuple):
    """Options chosen for the first products: their sums, and what they say."""

    cycles: int
    bits: int
    room: int
    layouts: tuple[tuple[str, Layout], ...]
    place: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Base:
    """What a choice fixes before the products: numbers by fused tile.

    Attributes:
        choice: without layouts and inputs.
        vector: cycles of vector phases by array.
        bits: off-chip, of vector phases and of products' operands between phases.
        room: bits in the buffer.
    """

    choice: Choice
    vector: dict[str, Array]
    bits: Array
    room: Array


@dataclass(frozen=True, eq=False)
class Search:
    """The search for one segment."""

    phases: Phases
    segment: Segment

    @cached_property
    def fused(self) -> Array:
        """Fused tiles worth trying, the largest first."""
        column = self.segment.column
        if column is None:
            return np.array([1], np.int64)
        size = int(self.phases.space.sizes[column])
        dims = self.phases.problem.parts.dimensions(self.phases.problem.parts.matrix)
        width = min(size, int(dims[0][1]) if dims else 1)
        tiles = set(_evenly(size)) | {min(size, width * n) for n in _evenly(-(-size // width))}
        return np.array(sorted(tiles, reverse=True), np.int64 if self._fits_words else object)

    @cached_property
    def _fits_words(self) -> bool:
        """Whether counts stay below 64 bits."""
        most = 0.0
        for step in self.phases.steps.values():
            points = 4096.0 * float(self.phases.problem.sizes["instances"])
            for rank in self.phases.wholes(step.ranks):
                points *= float(self.phases.space.sizes[rank])
            most = max(most, points)
        return most < 2.0**62

    @cached_property
    def capacity(self) -> int:
        """Bits of the buffer."""
        return 8 * int(self.phases.problem.parts.buffer.bytes)

    @cached_property
    def between(self) -> tuple[str, ...]:
        """Tensors that one phase leaves to another."""
        return self.phases.between(self.segment)

    @cached_property
    def products(self) -> tuple[int, ...]:
        """Numbers of the phases that are products."""
        return tuple(i for i, phase in enumerate(self.segment.phases) if phase.product)

    def choices(self) -> Iterator[Choice]:
        """Yield choices, those with the best bounds first."""
        found: list[tuple[float, int, int, Base]] = []
        for base in self._bases():
            latency, bits = self._bound(base)
            for place in np.lexsort((np.asarray(bits, float), latency))[:MOST_TILES]:
                if np.isfinite(latency[place]):
                    found.append((float(latency[place]), int(bits[place]), int(place), base))
        found.sort(key=lambda one: one[:2])
        ready: list[tuple[float, int, Choice]] = []
        for latency_bound, bits_bound, place, base in found[: 2 * MOST_TILES]:
            if len(ready) >= 8 and (latency_bound, bits_bound) >= sorted(r[:2] for r in ready)[7]:
                break
            combined = self._best(base, place)
            if combined is not None:
                ready.append(combined)
        yield from (choice for _, _, choice in sorted(ready, key=lambda one: one[:2]))

    # What is fixed before the products

    def _bases(self) -> Iterator[Base]:
        overlaps = (True,) if len(self.segment.phases) < 2 or not self._copies else (True, False)
        for on_chip in self._sets():
            for fibers in (True, False) if set(self.between) - set(on_chip) else (True,):
                for overlap in overlaps:
                    place = dict.fromkeys(on_chip, TILE) | (self._lent if fibers else {})
                    yield self._base(Choice(self.fused, place, fibers=fibers, overlap=overlap, share=self._share))

    @property
    def _copies(self) -> bool:
        return self.phases.problem.accounting.pipeline_copies

    @cached_property
    def _share(self) -> bool:
        """Whether the registers have room for what the Einsums of a pass hand on."""
        if self.phases.problem.accounting.fibers_in_registers:
            return True
        for number in self._vectors:
            tree = SegmentTree(self.phases, self.segment, Choice(1))
            activity = self._activity(tree.node(number))
            for name, bits in activity.peak_bits.items():
                level = activity.plan.levels[name]
                if level.computes and level.capacity_bits is not None and bits > level.capacity_bits:
                    return False
        return True

    @cached_property
    def _vectors(self) -> tuple[int, ...]:
        return tuple(i for i, phase in enumerate(self.segment.phases) if not phase.product)

    @cached_property
    def _lent(self) -> dict[str, str]:
        """What vector phases read from outside and that has no column: it stays for all tiles."""
        made, found = self.phases.made_in(self.segment), {}
        for number in self._vectors:
            for name in self.segment.phases[number].names:
                for operand in self.phases.steps[name].inputs:
                    tensor = operand.tensor
                    if tensor not in made and self.segment.column not in self.phases.ranks_of(tensor):
                        found[tensor] = OUTSIDE
        return found

    def _sets(self) -> list[tuple[str, ...]]:
        if len(self.between) > _SUBSETS:
            return [self.between, ()]
        return [s for n in range(len(self.between), -1, -1) for s in combinations(self.between, n)]

    def _base(self, choice: Choice) -> Base:
        zero = 0 * self.fused
        vector: dict[str, Array] = {}
        bits = zero
        ways = dict(choice.lanes)
        for number in self._vectors:
            best: tuple[float, Activity, str] | None = None
            for way in ("row", "column", "both"):
                activity = self._vector(replace(choice, lanes={number: way}), number)
                cycles = float(np.max(np.asarray(sum(t.cycles for t in activity.tasks.values()), float)))
                if best is None or cycles < best[0]:
                    best = (cycles, activity, way)
            assert best is not None
            ways[number] = best[2]
            for task in best[1].tasks.values():
                vector[task.array] = vector.get(task.array, zero) + task.cycles
            skipped = {t for t in choice.place if t in self.between}
            bits = bits + zero + _home_bits(best[1], without=skipped)
        choice = replace(choice, lanes=ways)
        return Base(choice, vector, bits, self._room(choice))

    def _vector(self, choice: Choice, number: int) -> Activity:
        key = (number, choice.lanes[number], choice.fibers, frozenset(choice.place.items()))
        if key not in self._seen:
            self._seen[key] = self._activity(SegmentTree(self.phases, self.segment, choice).node(number))
        return self._seen[key]

    @cached_property
    def _seen(self) -> dict[object, Activity]:
        return {}

    def _activity(self, node: Node) -> Activity:
        problem = self.phases.problem
        return activity_of(problem.plan(LoopTree(node, self.phases.split)), problem.machine, problem.accounting)

    def _room(self, choice: Choice) -> Array:
        """Bits in the buffer of a tree with this choice."""
        problem = self.phases.problem
        node = SegmentTree(self.phases, self.segment, choice).node()
        plan = problem.plan(LoopTree(node, self.phases.split))
        activity = Activity(plan, problem.machine, (), {}, self._copies)
        buffer = problem.parts.buffer.name
        found = live_bits(plan, activity.bits, buffer, in_copies=self._copies)
        return 0 * self.fused + found.get(buffer, 0)

    # Products

    def _operands(self, name: str) -> tuple[str, ...]:
        step = self.phases.steps[name]
        return tuple(dict.fromkeys(o.tensor for o in (*step.inputs, step.output)))

    def _counted(self, number: int) -> Counted:
        if number not in self._products_counted:
            self._products_counted[number] = self._count(number)
        return self._products_counted[number]

    @cached_property
    def _products_counted(self) -> dict[int, Counted]:
        return {}

    def _count(self, number: int) -> Counted:
        name = self.segment.phases[number].names[0]
        tensors = self._operands(name)
        levels = {t: (TILE,) if self._has_column(t) else (TILE, OUTSIDE) for t in tensors}
        found = []
        for layout in self._layouts(name):
            bits: dict[tuple[str, str], Array] = {}
            cycles = None
            for level in ("", TILE, OUTSIDE):
                place = {t: level for t in tensors if level in levels[t]}
                if level and not place:
                    continue
                choice = Choice(self.fused, place, {name: layout})
                activity = self._activity(SegmentTree(self.phases, self.segment, choice).node(number))
                cycles = next(iter(activity.tasks.values())).cycles
                for tensor in place if level else tensors:
                    bits[tensor, level] = 0 * self.fused + _home_bits(activity, tensor)
            assert cycles is not None
            found.append(LayoutCounts(layout, 0 * self.fused + cycles, bits))
        return Counted(name, tensors, levels, found)

    def _has_column(self, tensor: str) -> bool:
        return self.segment.column in self.phases.ranks_of(tensor)

    def _layouts(self, name: str) -> list[Layout]:
        """Pairs of groups along the array, and orders of the others in time."""
        _, groups = SegmentTree(self.phases, self.segment, Choice(1)).groups(name)
        dims = self.phases.problem.parts.dimensions(self.phases.array(name))
        square = len(dims) == 2 and isinstance(dims[0][1], int) and dims[0][1] == dims[1][1]
        pairs = combinations if square else permutations
        found = []
        for along in pairs(range(len(groups)), 2):
            rest = [i for i in range(len(groups)) if i not in along]
            found += [Layout(along, time) for time in permutations(rest)]
        return found

    @cached_property
    def _rooms(self) -> dict[tuple[str, str], Array]:
        """Bits in the buffer of operands of products, by place."""
        found: dict[tuple[str, str], Array] = {}
        for number in self.products:
            counted = self._counted(number)
            for tensor in counted.tensors:
                for level in counted.levels[tensor]:
                    if (tensor, level) not in found:
                        found[tensor, level] = self._room_of(tensor, level, number)
        return found

    def _room_of(self, tensor: str, level: str, number: int) -> Array:
        """As in the whole segment: a tensor of several phases may be there in copies."""
        used = self.phases.used_in(self.segment)[tensor]
        bits = self._room_alone(Choice(self.fused, {tensor: level}), number)
        return bits if len(used) == 1 or not self._copies else np.maximum(bits, bits // 2 * (1 + max(used) - min(used)))

    def _room_alone(self, choice: Choice, number: int) -> Array:
        problem = self.phases.problem
        node = SegmentTree(self.phases, self.segment, choice).node(number)
        plan = problem.plan(LoopTree(node, self.phases.split))
        activity = Activity(plan, problem.machine, (), {}, self._copies)
        buffer = problem.parts.buffer.name
        return 0 * self.fused + live_bits(plan, activity.bits, buffer, in_copies=self._copies).get(buffer, 0)

    # Bounds and combinations

    def _free(self, counted: Counted, base: Base) -> list[str]:
        return [t for t in counted.tensors if t not in self.between and t not in base.choice.place]

    def _bound(self, base: Base) -> tuple[Array, Array]:
        """The least latency and traffic by fused tile, products taken one by one; infinite where not even these fit."""
        cycles: Array = 0 * self.fused
        bits = base.bits
        for number in self.products:
            counted = self._counted(number)
            cycles = cycles + _least([one.cycles for one in counted.layouts])
            bits = bits + _least([self._bits(one, counted, base, None) for one in counted.layouts])
        latency = np.asarray(self._latency(base, cycles, bits, slice(None)), float)
        return np.where(np.asarray(base.room <= self.capacity, bool), latency, np.inf), bits

    def _bits(self, one: LayoutCounts, counted: Counted, base: Base, place: Mapping[str, str] | None) -> Array:
        """Traffic of a product: of each operand the least of its places, or in given ones."""
        total: Array = 0 * self.fused
        for tensor in counted.tensors:
            if tensor in base.choice.place:
                if tensor not in self.between:
                    total = total + one.bits[tensor, base.choice.place[tensor]]
            elif tensor in self.between:
                total = total + one.bits[tensor, ""]
            elif place is None:
                total = total + _least([one.bits[tensor, level] for level in ("", *counted.levels[tensor])])
            else:
                total = total + one.bits[tensor, place.get(tensor, "")]
        return total

    def _latency(self, base: Base, cycles: Array, bits: Array, at: Any) -> Array:
        machine = self.phases.problem.machine
        matrix = self.phases.problem.parts.matrix.name
        by_array = {name: np.asarray(c[at], float) for name, c in base.vector.items()}
        by_array[matrix] = by_array.get(matrix, 0.0) + np.asarray(cycles, float)
        busy: Any = sum(by_array.values()) if not base.choice.overlap else 0.0
        for one in by_array.values():
            busy = np.maximum(busy, one)
        if base.choice.overlap and self.phases.problem.accounting.pipeline_ends and self.segment.column is not None:
            size = int(self.phases.space.sizes[self.segment.column])
            trips = np.asarray(-(-size // self.fused[at]), float)
            whole = float(self.phases.problem.sizes["instances"]) * trips
            trips = np.where(
                trips > 1, trips, whole
            )  # without a loop over columns, tiles of instances follow one another
            busy = busy + (sum(by_array.values()) - busy) / trips
        rates = [rate for rate in machine.root.rates if rate is not None]
        moved = np.asarray(bits, float) / 8 / min(rates) if rates else 0.0
        return np.maximum(busy / float(machine.frequency_hz), moved)

    def _best(self, base: Base, at: int) -> tuple[float, int, Choice] | None:
        """The best combination for one fused tile."""
        found = self._combined(base, at)
        best: tuple[float, int, Choice] | None = None
        for one in found:
            bits = int(base.bits[at]) + one.bits
            latency = float(self._latency(base, np.asarray(one.cycles), np.asarray(bits), at))
            if best is None or (latency, bits) < best[:2]:
                place = {**base.choice.place, **dict(one.place)}
                choice = replace(base.choice, fused=int(self.fused[at]), place=place, layouts=dict(one.layouts))
                best = (latency, bits, choice)
        return best

    def _combined(self, base: Base, at: int) -> list[Combination]:
        left = self.capacity - int(base.room[at])
        seen: dict[str, int] = {}
        for number in self.products:
            for tensor in self._free(self._counted(number), base):
                seen[tensor] = seen.get(tensor, 0) + 1
        shared = {t for t, times in seen.items() if times > 1}
        found = [Combination(0, 0, 0, (), ())]
        for number in self.products:
            counted = self._counted(number)
            options = self._options(counted, base, at, left)
            kept: dict[tuple[tuple[str, str], ...], list[Combination]] = {}
            for before in found:
                there = dict(before.place)
                known = {t for n in self.products if n < number for t in self._counted(n).tensors} & shared
                for option in options:
                    new = self._joined(before, there, known, counted, option, at)
                    if new is None or new.room > left:
                        continue
                    key = tuple(sorted(pair for pair in new.place if pair[0] in shared))
                    kept.setdefault(key, []).append(new)
            found = [one for rivals in kept.values() for one in _pareto(rivals)]
            found = _thinned(found)
        return found

    def _joined(
        self, before: Combination, there: dict[str, str], known: set[str], counted: Counted, option: Option, at: int
    ) -> Combination | None:
        """One more product; a tensor that an earlier one has too is in the same place, and comes once."""
        bits, room = option.bits, option.room
        place = dict(option.place)
        for tensor in known & set(counted.tensors):
            if there.get(tensor) != place.get(tensor):
                return None
            if tensor in place:
                one = next(x for x in counted.layouts if x.layout is option.layout)
                bits -= int(one.bits[tensor, place[tensor]][at])
                room -= int(self._rooms[tensor, place[tensor]][at])
        return Combination(
            before.cycles + option.cycles,
            before.bits + bits,
            before.room + room,
            (*before.layouts, (counted.name, option.layout)),
            tuple({**there, **place}.items()),
        )

    def _options(self, counted: Counted, base: Base, at: int, left: int) -> list[Option]:
        """All layouts and places of a product at one fused tile, without the worse ones."""
        free = self._free(counted, base)
        found: list[Option] = []
        for one in counted.layouts:
            partial: list[tuple[int, int, tuple[tuple[str, str], ...]]] = [
                (int(self._fixed(one, counted, base)[at]), 0, ())
            ]
            for tensor in free:
                grown = []
                for bits, room, place in partial:
                    grown.append((bits + int(one.bits[tensor, ""][at]), room, place))
                    for level in counted.levels[tensor]:
                        more = room + int(self._rooms[tensor, level][at])
                        if more <= left:
                            grown.append((bits + int(one.bits[tensor, level][at]), more, (*place, (tensor, level))))
                partial = grown
            found += [Option(int(one.cycles[at]), bits, room, one.layout, place) for bits, room, place in partial]
        return _pareto(found)

    def _fixed(self, one: LayoutCounts, counted: Counted, base: Base) -> Array:
        """Traffic of operands whose place the base says."""
        total: Array = 0 * self.fused
        for tensor in counted.tensors:
            if tensor in self.between:
                total = total + (0 if tensor in base.choice.place else one.bits[tensor, ""])
            elif tensor in base.choice.place:
                total = total + one.bits[tensor, base.choice.place[tensor]]
        return total


@dataclass(frozen=True, eq=False)
class LayoutCounts:
    """A product in one layout: cycles, and off-chip bits by operand and place ("" for none), by fused tile."""

    layout: Layout
    cycles: Array
    bits: dict[tuple[str, str], Array]


@dataclass(frozen=True, eq=False)
class Counted:
    """A product in all layouts."""

    name: str
    tensors: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    layouts: list[LayoutCounts]


def _evenly(size: int) -> list[int]:
    """The smallest tile for each number of tiles: at most two square roots of them."""
    root = isqrt(size)
    return sorted({-(-size // n) for n in range(1, root + 2)} | set(range(1, root + 2)))


def _home_bits(activity: Activity, tensor: str | None = None, without: Collection[str] = ()) -> Any:
    """Off-chip bits of one tensor, or of all but some."""
    home = activity.machine.root.name
    found: Any = 0
    for row in activity.rows:
        if (
            row.node == home
            and row.action in ("read", "fill", "update", "drain")
            and tensor in (None, row.tensor)
            and row.tensor not in without
        ):
            found = found + row.count * activity.bits(row.tensor)
    return found


def _least(arrays: list[Array]) -> Array:
    found = arrays[0]
    for one in arrays[1:]:
        found = np.minimum(found, one)
    return found


def _pareto(found: list[Any]) -> list[Any]:
    """Those that no other equals or betters in cycles, bits and room."""
    kept: list[Any] = []
    for one in sorted(found, key=lambda o: o[:3]):
        if not any(k.bits <= one.bits and k.room <= one.room for k in kept):
            kept.append(one)
    return kept


def _thinned(found: list[Combination]) -> list[Combination]:
    """At most so many, an even selection by traffic with both ends."""
    if len(found) <= MOST_COMBINATIONS:
        return found
    ordered = sorted(found, key=lambda one: (one.bits, one.cycles, one.room))
    last = len(ordered) - 1
    chosen = {round(i * last / (MOST_COMBINATIONS - 3)) for i in range(MOST_COMBINATIONS - 2)}
    least = [min(ordered, key=lambda one: (one.cycles, one.bits)), min(ordered, key=lambda one: (one.room, one.bits))]
    return list(dict.fromkeys([ordered[i] for i in sorted(chosen)] + least))


__all__ = ["Search", "lanes"]

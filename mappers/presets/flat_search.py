"""FLAT's own choice: how many columns to fuse, what stays on chip, how each product lies.

Once the fused tile and the place of what lies between phases are fixed, products are independent of one another but
for room in the buffer: each is counted by itself, by the engine, for every layout and every place of its operands,
all fused tiles at once as arrays. Of a number of tiles only the smallest tile that makes it can be best, or one that
fills the columns of the array. Tiles are then looked at from the best bound on, each with the combinations of
products that no other makes idle; the best few are evaluated in full. The least latency wins, then the least off-
chip traffic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from math import isqrt
from typing import Any

import numpy as np

from hw_models.spatial.activity import Activity
from mappers.presets.flat_counts import Array, Counted, LayoutCounts, SegmentCounts, home_bits, least
from mappers.presets.flat_pareto import Combination, Option, pareto, thinned
from mappers.presets.flat_phases import Phases, Segment
from mappers.presets.flat_tree import OUTSIDE, TILE, Choice, SegmentTree

MOST_TILES = 24
"""Fused tiles that are looked at with all combinations."""
_SUBSETS = 4
"""Up to so many tensors between phases, all sets of them are tried on chip; of more, all or none."""


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
        return np.array(sorted(tiles, reverse=True), np.int64 if _fits_words(self.phases) else object)

    @cached_property
    def counts(self) -> SegmentCounts:
        """Counts of phases by themselves."""
        return SegmentCounts(self.phases, self.segment, self.fused)

    @cached_property
    def capacity(self) -> int:
        """Bits of the buffer."""
        return 8 * int(self.phases.problem.parts.buffer.bytes or 0)

    @cached_property
    def between(self) -> tuple[str, ...]:
        """Tensors that one phase leaves to another."""
        return self.phases.between(self.segment)

    def choices(self) -> Iterator[tuple[float, int, Choice]]:
        """Yield choices with estimates of their latency and off-chip bits, the best first."""
        found: list[tuple[float, int, int, Base]] = []
        for base in self._bases():
            latency, bits = self._bound(base)
            order = np.lexsort((np.asarray(bits, float), latency))[:MOST_TILES]
            for place in dict.fromkeys([*order.tolist(), *self._promising(base)]):
                if np.isfinite(latency[place]):
                    found.append((float(latency[place]), int(bits[place]), int(place), base))
        found.sort(key=lambda one: one[:2])
        ready: list[tuple[float, int, Choice]] = []
        for latency_bound, bits_bound, place, base in found:
            if ready and (latency_bound, bits_bound) > min(ready, key=lambda r: r[:2])[:2]:
                break
            combined = self._best(base, place)
            if combined is not None:
                ready.append(combined)
        yield from sorted(ready, key=lambda one: one[:2])

    # What is fixed before the products

    def _bases(self) -> Iterator[Base]:
        overlaps = (True,) if len(self.segment.phases) < 2 or not self.counts.copies else (True, False)
        for on_chip in self._sets():
            for fibers in (True, False) if set(self.between) - set(on_chip) else (True,):
                for overlap in overlaps:
                    place = dict.fromkeys(on_chip, TILE) | (self._lent if fibers else {})
                    choice = replace(self.registers, fused=self.fused, place=place, fibers=fibers, overlap=overlap)
                    yield self._base(choice)

    @cached_property
    def registers(self) -> Choice:
        """How registers are used: as far as they have room, Einsums of a pass hand on values in them, and operands that
        change at every point pass through them."""
        choices = [Choice(1), Choice(1, share=False), Choice(1, share=False, lean=True)]
        return next((choice for choice in choices[:-1] if self._has_registers(choice)), choices[-1])

    def _has_registers(self, choice: Choice) -> bool:
        if self.phases.problem.accounting.fibers_in_registers:
            return True
        for number in range(len(self.segment.phases)):
            activity = self.counts.activity(SegmentTree(self.phases, self.segment, choice).node(number))
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
        zero = self.counts.each(0)
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
            bits = bits + zero + home_bits(best[1], without=skipped)
        choice = replace(choice, lanes=ways)
        return Base(choice, vector, bits, self.counts.room(choice))

    def _vector(self, choice: Choice, number: int) -> Activity:
        key = (number, choice.lanes[number], choice.fibers, frozenset(choice.place.items()))
        if key not in self._seen:
            self._seen[key] = self.counts.activity(SegmentTree(self.phases, self.segment, choice).node(number))
        return self._seen[key]

    @cached_property
    def _seen(self) -> dict[object, Activity]:
        return {}

    # Bounds and combinations

    def _free(self, counted: Counted, base: Base) -> list[str]:
        return [t for t in counted.tensors if t not in self.between and t not in base.choice.place]

    def _bound(self, base: Base) -> tuple[Array, Array]:
        """The least latency and traffic by fused tile, products taken one by one; infinite where not even these fit."""
        cycles: Array = self.counts.each(0)
        bits = base.bits
        for number in self.counts.products:
            counted = self.counts.counted(number)
            cycles = cycles + least([one.cycles for one in counted.layouts])
            bits = bits + least([self._bits(one, counted, base) for one in counted.layouts])
        latency = np.asarray(self._latency(base, cycles, bits, slice(None)), float)
        return np.where(np.asarray(base.room <= self.capacity, bool), latency, np.inf), bits

    def _bits(self, one: LayoutCounts, counted: Counted, base: Base) -> Array:
        """The least traffic of a product."""
        total = self._fixed(one, counted, base)
        for tensor in self._free(counted, base):
            total = total + self._least_bits(one, tensor, counted.levels[tensor], base)
        return total

    def _promising(self, base: Base) -> list[int]:
        """Places of fused tiles that do well when operands come on chip one after another as long as they fit."""
        cycles: Array = self.counts.each(0)
        bits, room = base.bits, base.room
        for number in self.counts.products:
            counted = self.counts.counted(number)
            one = min(counted.layouts, key=lambda x: float(np.sum(np.asarray(x.cycles, float))))
            cycles = cycles + one.cycles
            bits = bits + self._fixed(one, counted, base)
            for tensor in self._free(counted, base):
                best = one.bits[tensor, ""]
                for level in counted.levels[tensor]:
                    more = self.counts.rooms[tensor, level]
                    taken = np.asarray((one.bits[tensor, level] < best) & (room + more <= self.capacity), bool)
                    best, room = np.where(taken, one.bits[tensor, level], best), room + np.where(taken, more, 0)
                bits = bits + best
        latency = np.asarray(self._latency(base, cycles, bits, slice(None)), float)
        order = np.lexsort((np.asarray(bits, float), latency))[:MOST_TILES]
        return [int(place) for place in order]

    def _least_bits(self, one: LayoutCounts, tensor: str, levels: tuple[str, ...], base: Base) -> Array:
        """The least traffic of an operand over those of its places that leave the rest its room."""
        found = one.bits[tensor, ""]
        for level in levels:
            there = base.room + self.counts.rooms[tensor, level] <= self.capacity
            found = np.where(np.asarray(there, bool), np.minimum(found, one.bits[tensor, level]), found)
        return found

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
        found: Array = np.maximum(busy / float(machine.frequency_hz), moved)
        return found

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
        for number in self.counts.products:
            for tensor in self._free(self.counts.counted(number), base):
                seen[tensor] = seen.get(tensor, 0) + 1
        shared = {t for t, times in seen.items() if times > 1}
        found = [Combination(0, 0, 0, (), ())]
        for number in self.counts.products:
            counted = self.counts.counted(number)
            options = self._options(counted, base, at, left)
            kept: dict[tuple[tuple[str, str], ...], list[Combination]] = {}
            for before in found:
                there = dict(before.place)
                known = {t for n in self.counts.products if n < number for t in self.counts.counted(n).tensors} & shared
                for option in options:
                    new = self._joined(before, there, known, counted, option, at)
                    if new is None or new.room > left:
                        continue
                    key = tuple(sorted(pair for pair in new.place if pair[0] in shared))
                    kept.setdefault(key, []).append(new)
            found = [one for rivals in kept.values() for one in pareto(rivals)]
            found = thinned(found)
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
                room -= int(self.counts.rooms[tensor, place[tensor]][at])
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
                        more = room + int(self.counts.rooms[tensor, level][at])
                        if more <= left:
                            grown.append((bits + int(one.bits[tensor, level][at]), more, (*place, (tensor, level))))
                partial = grown
            found += [Option(int(one.cycles[at]), bits, room, one.layout, place) for bits, room, place in partial]
        return pareto(found)

    def _fixed(self, one: LayoutCounts, counted: Counted, base: Base) -> Array:
        """Traffic of operands whose place the base says."""
        total: Array = self.counts.each(0)
        for tensor in counted.tensors:
            if tensor in self.between:
                total = total + (0 if tensor in base.choice.place else one.bits[tensor, ""])
            elif tensor in base.choice.place:
                total = total + one.bits[tensor, base.choice.place[tensor]]
        return total


def _fits_words(phases: Phases) -> bool:
    """Whether counts of bits stay below 64 bits."""
    machine, most = phases.problem.machine, 0.0
    width = 4.0 * max(float(np.max(bits)) for bits in machine.role_bits.values())
    for step in phases.steps.values():
        points = width * float(phases.problem.sizes["instances"])
        for rank in phases.wholes(step.ranks):
            points *= float(phases.space.sizes[rank])
        most = max(most, points)
    return most < 2.0**62


def _evenly(size: int) -> list[int]:
    """The smallest tile for each number of tiles: at most two square roots of them."""
    root = isqrt(size)
    return sorted({-(-size // n) for n in range(1, root + 2)} | set(range(1, root + 2)))

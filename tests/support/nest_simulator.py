"""Brute-force reference for loop-nest analysis: runs a small nest value by value, with real buffers.

Rules, chosen independently of the analysis under test:

* Spatial loops run in lockstep on all instances; temporal loops step lexicographically, outermost slowest.
* A hold at depth ``d`` has one buffer per combination of the spatial loops outside ``d``. A buffer holds the
  elements that the loops from ``d`` inwards walk over. The home (outermost hold) holds everything, for ever.
* A buffer is emptied and filled anew when the elements that it should hold change; all below the homes are
  when a temporal loop among the first ``scope`` advances. Outputs drain from the innermost hold outwards,
  then inputs and partial sums come in from the outermost inwards.
* Inputs: with multicast, one read of the outer buffer serves all inner buffers that want an element.
* Outputs: the values that inner buffers under one outer buffer drain are summed on the way if the nest
  reduces spatially. A partial sum that the outer buffer holds is read back into one inner buffer, the others
  start from zero: a PE just does not read, while a memory between holds a zero, which buffers further in read
  back as they would the partial sum (visits are remembered for the element, not for each residency).
* A PE reads one value of each input and updates one value of the output per step in its own innermost buffer;
  it reads the old value unless there is none.

Nests must give each tensor an innermost hold inside all spatial loops (per-PE registers); without spatial
reduction no spatial loop may run over a rank that the output lacks. Below the homes no hold may be outside
the ``scope`` loops: a tile of the group would not walk over what such a buffer holds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from hw_models.activity import Count
from mappers.nest import LoopNest, Operand

Element = tuple[int, ...]
Instance = tuple[int, ...]
Values = dict[int, int]
Tiles = dict[Instance, frozenset[Element]]


def simulate(nest: LoopNest) -> dict[tuple[str, str], Count]:
    """Access counts per (memory, tensor), by executing ``nest``."""
    chains = [_Chain(nest, operand) for operand in nest.operands]
    temporal = [i for i, loop in enumerate(nest.loops) if not loop.spatial]
    previous_scope: Instance | None = None
    for step in _combinations(nest, temporal):
        scope = tuple(v for i, v in step.items() if i < nest.scope)
        for chain in chains:
            chain.advance(step, flush=scope != previous_scope)
        previous_scope = scope
    counts: dict[tuple[str, str], Count] = {}
    for chain in chains:
        chain.finish()
        counts |= chain.counts()
    return counts


def _combinations(nest: LoopNest, positions: list[int]) -> Iterator[Values]:
    for values in itertools.product(*(range(nest.loops[i].extent) for i in positions)):
        yield dict(zip(positions, values, strict=True))


class _Buffers:
    """All instances of one memory for one tensor: a set of elements for each."""

    def __init__(self, nest: LoopNest, memory: str, depth: int) -> None:
        self.memory = memory
        self.depth = depth
        spatial = [i for i, loop in enumerate(nest.loops) if loop.spatial and i < depth]
        self.places: dict[Instance, Values] = {tuple(p.values()): p for p in _combinations(nest, spatial)}
        self.content: dict[Instance, set[Element]] = {instance: set() for instance in self.places}
        self.reads = self.fills = self.updates = self.drains = 0

    def count(self, tensor: str) -> Count:
        return Count(self.memory, tensor, self.reads, self.fills, self.updates, self.drains)


class _Chain:
    """The holds of one tensor, home first."""

    def __init__(self, nest: LoopNest, operand: Operand) -> None:
        self.nest, self.operand = nest, operand
        self.levels = [_Buffers(nest, h.memory, h.depth) for h in nest.holds if h.tensor == operand.tensor]
        self.wanted: list[Tiles] = [{} for _ in self.levels]
        self.known: dict[tuple[int, Instance], Tiles] = {}
        if any(loop.spatial and i >= self.levels[-1].depth for i, loop in enumerate(nest.loops)):
            raise ValueError(f"{operand.tensor}: the innermost hold is outside a spatial loop")

    def counts(self) -> dict[tuple[str, str], Count]:
        return {(b.memory, self.operand.tensor): b.count(self.operand.tensor) for b in self.levels}

    def element(self, values: Values) -> Element:
        """Coordinates in the tensor: each rank's loops are its digits, outermost most significant."""
        coordinates = dict.fromkeys(self.operand.ranks, 0)
        for i, loop in enumerate(self.nest.loops):
            if loop.rank in coordinates:
                coordinates[loop.rank] = coordinates[loop.rank] * loop.extent + values[i]
        return tuple(coordinates.values())

    def tile(self, depth: int, outside: Values) -> frozenset[Element]:
        inside = list(range(depth, len(self.nest.loops)))
        return frozenset(self.element(outside | v) for v in _combinations(self.nest, inside))

    def advance(self, step: Values, *, flush: bool) -> None:
        """Bring in what this step needs, then let every PE compute."""
        moved = [flush or self._moves(level, step) for level in range(1, len(self.levels))]
        if self.operand.output:
            for level in reversed(range(1, len(self.levels))):
                if moved[level - 1]:
                    self._drain(level)
        for level in range(1, len(self.levels)):
            if moved[level - 1]:
                self._enter(level, step)
                (self._reload if self.operand.output else self._fill)(level)
        self._compute(step)

    def finish(self) -> None:
        if self.operand.output:
            for level in reversed(range(1, len(self.levels))):
                self._drain(level)

    def _moves(self, level: int, step: Values) -> bool:
        return self._tiles(level, step) != self.wanted[level]

    def _tiles(self, level: int, step: Values) -> Tiles:
        depth = self.levels[level].depth
        outside = {i: v for i, v in step.items() if i < depth}
        key = level, tuple(outside.values())
        if key not in self.known:
            places = self.levels[level].places.items()
            self.known[key] = {name: self.tile(depth, outside | place) for name, place in places}
        return self.known[key]

    def _enter(self, level: int, step: Values) -> None:
        self.wanted[level] = self._tiles(level, step)

    def _families(self, level: int) -> Iterator[tuple[Instance, list[Instance]]]:
        """Each outer instance with the inner instances that it serves."""
        outer, inner = self.levels[level - 1], self.levels[level]
        for name in outer.places:
            yield name, [child for child in inner.places if child[: len(name)] == name]

    def _fill(self, level: int) -> None:
        outer, inner = self.levels[level - 1], self.levels[level]
        for parent, children in self._families(level):
            requests: list[Element] = []
            for child in children:
                inner.content[child] = set(self.wanted[level][child])
                requests += inner.content[child]
            if level > 1 and not set(requests) <= outer.content[parent]:
                raise AssertionError("a buffer serves what it does not hold")
            inner.fills += len(requests)
            outer.reads += len(set(requests)) if self.nest.multicast else len(requests)

    def _drain(self, level: int) -> None:
        outer, inner = self.levels[level - 1], self.levels[level]
        for parent, children in self._families(level):
            results: list[Element] = []
            for child in children:
                results += inner.content[child]
                inner.content[child] = set()
            inner.drains += len(results)
            outer.updates += len(set(results)) if self.nest.spatial_reduction else len(results)
            outer.content[parent] |= set(results)

    def _reload(self, level: int) -> None:
        outer, inner = self.levels[level - 1], self.levels[level]
        for parent, children in self._families(level):
            served: set[Element] = set()
            for child in children:
                known = self.wanted[level][child] & outer.content[parent]
                partial = known - served
                inner.content[child] = set(partial if level == len(self.levels) - 1 else known)
                served |= partial
            outer.reads += len(served)
            inner.fills += len(served)

    def _compute(self, step: Values) -> None:
        registers = self.levels[-1]
        for name, place in registers.places.items():
            value = self.element(step | place)
            if not self.operand.output:
                registers.reads += 1
                continue
            registers.updates += 1
            registers.reads += value in registers.content[name]
            registers.content[name].add(value)


def iterations(nest: LoopNest) -> int:
    """Points of the whole iteration space."""
    return math.prod(loop.extent for loop in nest.loops)

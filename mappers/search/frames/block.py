"""Einsums one after another on tiles of ranks that all of them have: what one hands to the next stays in the buffer.

    for columns: keep inputs, results and what passes between Einsums in the buffer
      seq: of each Einsum, for a rank that it streams over: keep what comes or goes by then { steps { registers { array

Choices, one after another:

    buffer    how many memories further out than the nearest one it is
    columns   up to two ranks that all Einsums have and none reduces, the outermost first, whose smallest tiles have
              room where all is streamed on the fastest arrays
    array     of each Einsum
    stream    of each Einsum, a rank, or none: what it reads from off chip, or leaves there, passes the buffer in steps
              of that rank, again for each tile; without, it stays for as long as the loops around do not change it
    trips     of the first of two columns, how many tiles there are; for n the smallest tile that makes n

The last column has as few tiles as fit: fewer fetch nothing more often. Tiles are whole steps of the array, so that no
number of them wastes steps. An Einsum lies over its array in the way of fewest steps, and adds up in registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import permutations
from math import prod

from einsum_cascades.errors import InputError
from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.space import Operand, Space, Step
from einsum_cascades.loops.tree import Compute, Hold, Loop, LoopTree, Node, sequence
from hw_models.machine import Array
from mappers.capacity import too_small
from mappers.presets.axes import Axis, axes_of, has
from mappers.presets.layout import Way, dimensions_of, laid, ways_of
from mappers.presets.problem import Problem, over_instances
from mappers.search.figures import Figures
from mappers.search.floors import Loads
from mappers.search.frames.frame import Box, Value
from mappers.search.segment import Segment

NONE = "-"
"""Stands for no rank."""
JOINED = " "
"""Between the names of columns."""


class BlockFrame:
    """Trees of Einsums one after another on common tiles."""

    name = "block"

    def values(self, segment: Segment, box: Box) -> tuple[Value, ...] | None:
        """Return what the next choice of a box may be."""
        block = _block(segment)
        place, count = len(box.choices), len(block.steps)
        if place == 0:
            return tuple(range(segment.problem.parts.buffers))
        if place == 1:
            return tuple(columns for columns in block.columns if block.roomy(box.with_value(columns)))
        if place < 2 + count:
            return block.arrays(block.steps[place - 2])
        if place < 2 + 2 * count:
            return block.streams(block.steps[place - 2 - count], _columns(box))
        columns = _columns(box)
        if len(columns) == 2 and place == 2 + 2 * count:
            return _Tree(block, box).trips()
        return None

    def floor(self, segment: Segment, box: Box) -> Figures:
        """Return what no tree of a box is better than: its Einsums' cycles one after another, and what is fetched."""
        block = _block(segment)
        count = len(block.steps)
        chosen = box.choices[2 : 2 + count]
        cycles = 0.0
        for place, step in enumerate(block.steps):
            loads: Loads = segment.floors.loads[step.output.tensor]
            cycles += loads[str(chosen[place])] if place < len(chosen) else min(loads.values(), default=0.0)
        arrays = {step.output.tensor: str(array) for step, array in zip(block.steps, chosen, strict=False)}
        return segment.floors.with_choices(segment, cycles, block.refetched(box), arrays)

    def tree(self, segment: Segment, box: Box) -> LoopTree:
        """Return the tree of a box that makes all choices."""
        return _Tree(_block(segment), box).fitting()


def _columns(box: Box) -> tuple[str, ...]:
    names = str(box.choices[1])
    return () if names == NONE else tuple(names.split(JOINED))


def _trips(size: int) -> Iterator[int]:
    """Numbers of tiles that differ in the smallest tile that makes them."""
    tile = None
    for trips in [*range(1, int(size**0.5) + 2), *sorted({-(-size // t) for t in range(1, int(size**0.5) + 2)})]:
        if trips <= size and (tile is None or -(-size // trips) < tile):
            tile = -(-size // trips)
            yield -(-size // tile)


@dataclass(frozen=True, eq=False)
class _Block:
    """What choices a segment has."""

    segment: Segment

    @property
    def space(self) -> Space:
        """The sizes of all ranks."""
        return self.segment.space

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The Einsums in the order in which they run."""
        return tuple(self.space.steps[name] for name in self.segment.names)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Ranks that may be cut around all Einsums."""
        common = [r for r in self.steps[0].output.ranks if all(r in s.ranks and r not in s.reduced for s in self.steps)]
        large = [r for r in common if self.space.sizes[r] > 1]
        found = [(), *permutations(large, 1), *permutations(large, 2)]
        return tuple(JOINED.join(ranks) or NONE for ranks in found)

    def roomy(self, box: Box) -> bool:
        """Whether the smallest tiles of columns have room, where all is streamed on the fastest arrays."""
        columns = _columns(box)
        arrays = [self.arrays(step)[0] for step in self.steps]
        streams = [self.streams(step, columns)[0] for step in self.steps]
        tree = _Tree(self, Box(box.frame, (*box.choices, *arrays, *streams)))
        try:
            tree.check({rank: tree.tiles(rank)[-1] for rank in columns})
        except InputError:
            return False
        return True

    def arrays(self, step: Step) -> tuple[str, ...]:
        """Return the arrays that may run an Einsum, the fastest first."""
        loads = self.segment.floors.loads[step.output.tensor]
        if not loads:
            self.segment.problem.parts.offered(step.einsum, self.segment.problem.parts.matrix)
        return tuple(sorted(loads, key=lambda a: loads[a]))

    def streams(self, step: Step, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the ranks that an Einsum may stream over: those of what comes from off chip, or goes there."""
        ranks = dict.fromkeys(r for o in self.outside(step) for r in o.ranks)
        found = [r for r in ranks if r not in columns and self.space.sizes[r] > 1]
        return (*sorted(found, key=lambda r: r not in step.reduced), NONE)

    def outside(self, step: Step) -> list[Operand]:
        """Return the operands that come from off chip, or go there."""
        return [o for o in (*step.inputs, step.output) if not self.within(o.tensor)]

    def within(self, tensor: str) -> bool:
        """Whether a tensor is made and used here alone."""
        return tensor in self.segment.made and tensor not in self.segment.exported

    def refetched(self, box: Box) -> dict[str, int]:
        """Return how often tensors are fetched, at least, once it is chosen what is streamed."""
        count = len(self.steps)
        if len(box.choices) < 2 + 2 * count or not _columns(box):
            return {}
        columns = _columns(box)
        streams = [str(value) for value in box.choices[2 + count : 2 + 2 * count]]
        trips = (
            {} if len(columns) == 1 else {columns[0]: int(box.choices[-1]) if len(box.choices) > 2 + 2 * count else 1}
        )
        kept, streamed = self._held(tuple(streams))
        room = sum(
            -(-bits // trips.get(columns[0], 1) if columns[0] in ranks else -bits)
            for bits, ranks in kept.values()
            if columns[-1] in ranks
        )
        capacity = self._capacity(int(box.choices[0]))
        trips[columns[-1]] = max(1, -(-room // max(1, capacity)))
        found = {}
        for name, ranks in {**{n: r for n, (_, r) in kept.items()}, **streamed}.items():
            last = max((i for i, c in enumerate(columns) if c in ranks), default=-1)
            around = columns if name in streamed else columns[: max(last, 0)]
            times = prod(trips[c] for c in around if c not in ranks)
            if name in self.segment.read and times > 1:
                found[name] = times
        return found

    @lru_cache(maxsize=8)  # noqa: B019
    def _capacity(self, further: int) -> int:
        return 8 * int(replace(self.segment.problem, further=further).parts.buffer.bytes or 0)

    @lru_cache(maxsize=64)  # noqa: B019
    def _held(
        self, streams: tuple[str, ...]
    ) -> tuple[dict[str, tuple[int, frozenset[str]]], dict[str, frozenset[str]]]:
        """What stays in the buffer, with its bits and its ranks; and what is streamed, with its ranks."""
        ranks: dict[str, frozenset[str]] = {}
        streamed = set()
        for step, rank in zip(self.steps, streams, strict=True):
            for operand in (*step.inputs, step.output):
                ranks[operand.tensor] = ranks.get(operand.tensor, frozenset()) | frozenset(operand.ranks)
                if rank in operand.ranks and not self.within(operand.tensor):
                    streamed.add(operand.tensor)
        sizes, bits = self.space.sizes, self.segment.problem.bits
        kept = {
            t: (int(bits(t)) * prod(int(sizes[r]) for r in own), own) for t, own in ranks.items() if t not in streamed
        }
        return kept, {t: ranks[t] for t in streamed}


@lru_cache(maxsize=512)
def _block(segment: Segment) -> _Block:
    """Return what choices a segment has.

    Raises:
        InputError: its Einsums cannot run one after another on common tiles.
    """
    steps = segment.steps
    if any(o.carried for s in steps for o in s.inputs) or len(steps) != len(segment.names):
        raise InputError("a recurrence runs iteration after iteration")
    if any(segment.space.whole(r) != r for s in steps for o in (*s.inputs, s.output) for r in o.ranks):
        raise InputError("ranks are cut by the cascade")
    return _Block(segment)


@dataclass(frozen=True, eq=False)
class _Tree:
    """One tree, but for the tiles of the last column."""

    block: _Block
    box: Box

    @cached_property
    def problem(self) -> Problem:
        """The whole problem, with the buffer chosen."""
        return replace(self.block.segment.problem, further=int(self.box.choices[0]))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The ranks cut around all Einsums."""
        return _columns(self.box)

    def trips(self) -> tuple[int, ...]:
        """Return how many tiles of the first column there may be, beside the smallest ones of the last.

        Raises:
            InputError: not even the smallest tiles fit.
        """
        first, last = self.columns
        counts = [*_trips(int(self.block.space.sizes[first]))]
        smallest = {last: self.tiles(last)[-1]}
        low, high = 0, len(counts) - 1
        self.check(smallest | {first: self._tile(first, counts[high])})
        while low < high:
            middle = (low + high) // 2
            if self._room(self.of(smallest | {first: self._tile(first, counts[middle])})) <= self._capacity:
                high = middle
            else:
                low = middle + 1
        return tuple(counts[high:])

    def tiles(self, rank: str) -> list[int]:
        """The tiles of a rank, the largest first."""
        return list(dict.fromkeys(self._tile(rank, n) for n in _trips(int(self.block.space.sizes[rank]))))

    def check(self, tiles: dict[str, int]) -> None:
        """Check that tiles of the columns fit the buffer.

        Raises:
            InputError: they do not.
        """
        room, buffer = self._room(self.of(tiles)), self.problem.parts.buffer.name
        if room > self._capacity:
            raise too_small("fused", -(-room // 8), self._capacity // 8, buffer)

    def fitting(self) -> LoopTree:
        """Return the tree with as few tiles of the last column as fit.

        Raises:
            InputError: not even the smallest tile does.
        """
        tiles: dict[str, int] = {}
        if len(self.columns) == 2:
            tiles[self.columns[0]] = self._tile(self.columns[0], int(self.box.choices[-1]))
        if not self.columns:
            return self.of(tiles)
        last = self.columns[-1]
        counts = self.tiles(last)
        low, high = 0, len(counts) - 1
        self.check(tiles | {last: counts[high]})
        while low < high:
            middle = (low + high) // 2
            if self._room(self.of(tiles | {last: counts[middle]})) <= self._capacity:
                high = middle
            else:
                low = middle + 1
        return self.of(tiles | {last: counts[high]})

    @property
    def _capacity(self) -> int:
        return 8 * int(self.problem.parts.buffer.bytes or 0)

    def _room(self, tree: LoopTree) -> int:
        plan = Plan(tree, self.block.space, self.problem.machine.levels, self.block.segment.exported)
        buffer = self.problem.parts.buffer.name
        copies = self.problem.accounting.pipeline_copies
        return int(live_bits(plan, self.problem.bits, buffer, in_copies=copies).get(buffer, 0))

    def _tile(self, rank: str, trips: int) -> int:
        """The smallest tile of whole steps that makes so many; within a step, any."""
        size, unit = int(self.block.space.sizes[rank]), self._unit(rank)
        steps = -(-size // unit)
        return min(size, unit * -(-steps // trips)) if trips <= steps else -(-size // trips)

    @lru_cache(maxsize=8)  # noqa: B019
    def _unit(self, rank: str) -> int:
        """Points of a rank that lie side by side, at most."""
        found = 1
        for step in self.block.steps:
            axes, way, _ = self._way(step, {})
            found = max(found, *(way.spread[i] for i, axis in enumerate(axes) if axis.rank == rank), 1)
        return found

    def of(self, tiles: dict[str, int]) -> LoopTree:
        """Return the tree with tiles of the columns."""
        segment, buffer = self.block.segment, self.problem.parts.buffer.name
        body = sequence(*(self._nest(step, tiles) for step in self.block.steps))
        for tensor in segment.names:
            if self.block.within(tensor):
                body = Hold(tensor, buffer, body)
        kept = self._kept()
        for depth in range(len(self.columns), -1, -1):
            for name, ranks in kept.items():
                if max((i + 1 for i, c in enumerate(self.columns) if c in ranks), default=0) == depth:
                    body = Hold(name, buffer, body)
            if depth:
                rank = self.columns[depth - 1]
                body = Loop(rank, tiles[rank], body)
        return LoopTree(over_instances(self.problem, body), tuple(self.block.space.split.items()))

    def _kept(self) -> dict[str, frozenset[str]]:
        """What stays in the buffer for as long as the columns around do not change it, with its ranks."""
        found: dict[str, frozenset[str]] = {}
        streamed = set()
        for step in self.block.steps:
            for operand in self.block.outside(step):
                found[operand.tensor] = found.get(operand.tensor, frozenset()) | frozenset(operand.ranks)
                if self._stream(step) in operand.ranks:
                    streamed.add(operand.tensor)
        return {name: ranks for name, ranks in found.items() if name not in streamed}

    def _stream(self, step: Step) -> str:
        count = len(self.block.steps)
        return str(self.box.choices[2 + count + self.block.steps.index(step)])

    def _array(self, step: Step) -> Array:
        return self.problem.machine.array(str(self.box.choices[2 + self.block.steps.index(step)]))

    def _way(self, step: Step, tiles: dict[str, int]) -> tuple[tuple[Axis, ...], Way, list[str]]:
        """The axes of an Einsum in a tile, how they lie over its array, and the array's dimensions."""
        apart = {*self.columns, self._stream(step)}
        axes = axes_of([o.ranks for o in (*step.inputs, step.output)], self.block.space, apart)
        sizes = [min(int(axis.size), tiles.get(axis.rank, int(axis.size))) for axis in axes]
        dimensions = dimensions_of(self.problem, self._array(step))
        way = _fastest(tuple(sizes), tuple(int(n) for _, n in dimensions))
        return axes, way, [name for name, _ in dimensions]

    def _nest(self, step: Step, tiles: dict[str, int]) -> Node:
        """An Einsum in a tile."""
        axes, way, names = self._way(step, tiles)
        array, stream = self._array(step), self._stream(step)
        reduced = {self.block.space.whole(r) for r in step.reduced}
        order = sorted(range(len(axes)), key=lambda i: (axes[i].rank != stream, not reduced.isdisjoint(axes[i].ranks)))
        sizes = [min(int(axis.size), tiles.get(axis.rank, int(axis.size))) for axis in axes]
        loops = [(axes[i], way.spread[i]) for i in order if sizes[i] > way.spread[i]]
        body = laid(Compute(step.name, array.name), way, axes, names)
        registers = self._registers(step, array, loops)
        outside = self.block.outside(step)
        streamed = [o.name for o in dict.fromkeys(outside) if stream in o.ranks]
        first = 1 if loops and loops[0][0].rank == stream else 0
        for depth in range(len(loops), -1, -1):
            for operand in registers:
                if _depth(operand, loops) == depth:
                    body = Hold(operand.name, array.name, body)
            if depth == first:
                for name in streamed:
                    body = Hold(name, self.problem.parts.buffer.name, body)
            if depth:
                axis, tile = loops[depth - 1]
                body = Loop(axis.rank, tile * axis.unit, body)
        return body

    def _registers(self, step: Step, array: Array, loops: list[tuple[Axis, int]]) -> list[Operand]:
        """The operands that registers have room for: of more, those that stay for no further step are left out."""
        operands = [*dict.fromkeys((*step.inputs, step.output))]
        if self.problem.accounting.fibers_in_registers or array.registers is None:
            return operands
        staying = sorted(operands, key=lambda o: _depth(o, loops))
        return [o for o in operands if o in staying[: array.registers]]


@lru_cache(maxsize=4096)
def _fastest(sizes: tuple[int, ...], lengths: tuple[int, ...]) -> Way:
    """The way of fewest steps in which axes lie over an array."""
    return ways_of(sizes, lengths)[0]


def _depth(operand: Operand, loops: list[tuple[Axis, int]]) -> int:
    return max((i + 1 for i, (axis, _) in enumerate(loops) if has(axis, operand.ranks)), default=0)

"""The tree of a block (``block.py``), with as few tiles of the last column as fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.space import Operand, Step
from einsum_cascades.loops.tree import Compute, Hold, Loop, LoopTree, Node, sequence
from hw_models.machine import Array
from mappers.capacity import too_small
from mappers.presets.axes import Axis, axes_of, has
from mappers.presets.layout import Way, dimensions_of, laid, ways_of
from mappers.presets.problem import Problem, over_instances
from mappers.search.frames.block_choices import Block, columns_of
from mappers.search.frames.frame import Box


def trips_of(size: int) -> Iterator[int]:
    """Numbers of tiles that differ in the smallest tile that makes them."""
    tile = None
    for trips in [*range(1, int(size**0.5) + 2), *sorted({-(-size // t) for t in range(1, int(size**0.5) + 2)})]:
        if trips <= size and (tile is None or -(-size // trips) < tile):
            tile = -(-size // trips)
            yield -(-size // tile)


@dataclass(frozen=True, eq=False)
class BlockTree:
    """One tree, but for the tiles of the last column."""

    block: Block
    box: Box

    @cached_property
    def problem(self) -> Problem:
        """The whole problem, with the buffer chosen."""
        return replace(self.block.segment.problem, further=int(self.box.choices[0]))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The ranks cut around all Einsums."""
        return columns_of(self.box)

    def trips(self) -> tuple[int, ...]:
        """Return how many tiles of the first column there may be, beside the smallest ones of the last.

        Raises:
            InputError: not even the smallest tiles fit.
        """
        first, last = self.columns
        counts = [*trips_of(int(self.block.space.sizes[first]))]
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
        return list(dict.fromkeys(self._tile(rank, n) for n in trips_of(int(self.block.space.sizes[rank]))))

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

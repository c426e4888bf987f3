"""The best nest of one matrix product by itself, found in closed form over all tiles at once.

    for copies and batch axes: for off-chip tiles { keep operands in the buffer { for steps { registers { spatial }}}}

Searched: which axes lie along the array (``layout.py``), in which order tiles follow each other off chip and steps on
chip, which operands the buffer holds, and the tile, in steps of the array. What is stationary in a memory follows from
the order: a hold stands outside the innermost loops that its tensor lacks. With trips n of an axis off chip and steps N
in all

    values fetched into the buffer     = values of the tensor · Π trips of the axes it lacks outside its hold
    values that the array asks for     = values of the tensor · Π (N outside its registers, else trips) of these axes
    partial sums that come back        = values sent - values of the result

The least latency wins, then the least off-chip traffic, then the fewest cycles, then the least energy; nests that ask
no more of the buffer in a cycle than its ports serve go before others. A larger buffer allows all that a smaller one
does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import permutations, product
from typing import Any, NamedTuple

import numpy as np

from einsum_cascades.loops.arith import least
from hw_models.accounting import Accounting
from hw_models.machine import Machine, Memory
from hw_models.prices import NodePrice, node_prices
from mappers.capacity import tile_counts
from mappers.presets.layout import Way, ways_of

_TILES = 1536
"""About so many tiles are tried for each nest."""


@dataclass(frozen=True)
class Shape:
    """A product without names, so that equal ones are searched once.

    Attributes:
        sizes: of its axes; batch axes are left out.
        has: of each operand, the result last, which axes it has.
        bits: of each operand's values.
        batch: how often it is done, one after another.
        copies: how often it is done in all.
        cycles: of one point.
        lengths: of the array's dimensions.
        buffer, array: names of the nodes used.
        places: operands that a PE's registers have room for.
    """

    sizes: tuple[int, ...]
    has: tuple[tuple[bool, ...], ...]
    bits: tuple[int, ...]
    batch: int
    copies: int
    cycles: int
    lengths: tuple[int, ...]
    buffer: str
    array: str


class Nest(NamedTuple):
    """One way to do a product.

    Attributes:
        way: how it lies over the array.
        off, on: axes in the order of the loops off chip and on chip, the outermost first.
        tile: of each axis, the points of the buffer's tile.
        held: of each operand, whether the buffer holds it.
    """

    way: Way
    off: tuple[int, ...]
    on: tuple[int, ...]
    tile: tuple[int, ...]
    held: tuple[bool, ...]


class _Found(NamedTuple):
    key: tuple[float, ...]
    nest: Nest


@lru_cache(maxsize=4096)
def best_nest(shape: Shape, machine: Machine, accounting: Accounting) -> Nest:
    """Return the best nest of a product."""
    search = _Search(shape, machine, accounting)
    best: _Found | None = None
    for way, cycles in search.ways():
        if best is not None and search.floor(cycles) > best.key[1:4]:
            continue
        best = search.of(way, cycles, best)
    assert best is not None
    return best.nest


@dataclass(frozen=True, eq=False)
class _Search:
    shape: Shape
    machine: Machine
    accounting: Accounting

    def ways(self) -> list[tuple[Way, int]]:
        """Return the ways to lie over the array with their cycles, the fastest first."""
        ways = ways_of(self.shape.sizes, self.shape.lengths)
        once = self.shape.batch * self.shape.cycles
        return [(way, once * math.prod(way.steps(self.shape.sizes))) for way in ways]

    def floor(self, cycles: int) -> tuple[float, float, float]:
        """Return what no nest of so many cycles is better than: latency, traffic, cycles."""
        bits = float(sum(v * b for v, b in zip(self.values, self.shape.bits, strict=True)))
        out = self.values[-1] * self.shape.bits[-1]
        latency = np.maximum(cycles / self.machine.frequency_hz, self._seconds(self.machine.root, bits - out, out))
        return float(latency), bits, float(cycles)

    @cached_property
    def values(self) -> list[int]:
        """Values of each operand, in all copies."""
        found = []
        for has in self.shape.has:
            number = self.shape.copies
            for size, own in zip(self.shape.sizes, has, strict=True):
                number *= size if own else 1
            found.append(number)
        return found

    @cached_property
    def _prices(self) -> tuple[NodePrice, NodePrice, NodePrice]:
        """Prices of the off-chip memory, the buffer and the array."""
        prices = node_prices(self.machine).nodes
        return prices[self.machine.root.name], prices[self.shape.buffer], prices[self.shape.array]

    @cached_property
    def _buffer(self) -> Memory:
        return self.machine.memory(self.shape.buffer)

    def _seconds(self, memory: Memory, reads: Any, writes: Any) -> Any:
        """Seconds that a memory takes for so many bits read and written."""
        shared, out, into = memory.rates
        found: Any = 0.0
        for bits, rate in ((reads + writes, shared), (reads, out), (writes, into)):
            if rate is not None:
                found = np.maximum(found, bits / 8 / rate)
        return found

    def of(self, way: Way, cycles: int, best: _Found | None) -> _Found | None:
        """Return the best nest that lies so over the array, or the best one before if none is better."""
        steps = way.steps(self.shape.sizes)
        once = [1.0] * len(steps)
        meshes = cache(lambda: self._meshes(way, steps))
        for held in product((True, False), repeat=len(self.shape.has)):
            tiles = self._tiles(way, steps, held, meshes)
            if tiles is None:
                continue
            trips = [(-(-n // tile)).astype(float) for n, tile in zip(steps, tiles, strict=True)]
            offs, ons = (
                self._orders(tuple(bool((t > 1).any()) for t in trips)),
                self._orders(tuple(n > 1 for n in steps)),
            )
            moved = self._passing(offs, trips, once)
            wanted = self._passing(ons, [np.full(trips[0].shape, float(n)) for n in steps], trips)
            found = self._best(way, cycles, held, tiles, offs, ons, moved, wanted, best)
            best = found or best
        return best

    def _orders(self, loops: tuple[bool, ...]) -> list[tuple[int, ...]]:
        """Return the orders of loops that differ in what is stationary; axes without a loop stand outermost."""
        return _orders(self.shape.has, loops)

    def _passing(self, orders: list[tuple[int, ...]], outside: Sequence[Any], inside: Sequence[Any]) -> list[Any]:
        """Values that pass a hold of each operand: an array over orders and tiles.

        Args:
            outside: how often a loop outside the hold over an axis that the tensor lacks makes them pass.
            inside: likewise of one inside.
        """
        found = []
        for values, has in zip(self.values, self.shape.has, strict=True):
            rows = np.empty((len(orders), outside[0].size))
            for row, order in enumerate(orders):
                around = _around(order, has)
                number: Any = float(values)
                for axis, own in enumerate(has):
                    if not own:
                        number = number * (outside[axis] if axis in around else inside[axis])
                rows[row] = number
            found.append(rows)
        return found

    def _best(
        self,
        way: Way,
        cycles: int,
        held: tuple[bool, ...],
        tiles: list[Any],
        offs: list[tuple[int, ...]],
        ons: list[tuple[int, ...]],
        moved: list[Any],
        wanted: list[Any],
        before: _Found | None,
    ) -> _Found | None:
        """The best orders and tile for the operands held; None if they are no better than the best one before."""
        wanted = [asked[None, :, :] for asked in wanted]
        use = self._use(held, [into[:, None, :] for into in moved], wanted)
        latency = np.maximum(cycles / self.machine.frequency_hz, self._seconds(self.machine.root, *use.home))
        latency = np.maximum(latency, self._seconds(self._buffer, use.reads, use.writes))
        slow, traffic = ~np.asarray(self._served(use, cycles)), use.home[0] + use.home[1]
        shape = (len(offs), len(ons), tiles[0].size)
        best: Any = np.arange(math.prod(shape))
        key: list[float] = []
        for column in (slow, latency, traffic):
            best, smallest = _least(column, shape, best)
            key.append(smallest)
            if before is not None and tuple(key) > before.key[: len(key)]:
                return None
        at = np.unravel_index(best, shape)
        home = (_at(at, use.home[0]), _at(at, use.home[1]))
        use = _Use(home, _at(at, use.reads), _at(at, use.writes))
        energy = np.broadcast_to(self._joules(use, way, [_at(at, asked) for asked in wanted]), best.shape)
        joules = float(energy.min())
        if before is not None and (*key, float(cycles), joules) >= before.key:
            return None
        best = best[energy == joules]
        size = np.prod([tile.astype(float) for tile in tiles], axis=0)[best % shape[-1]]
        off, on, place = np.unravel_index(best[size == size.max()][0], shape)
        tile = tuple(min(int(t[place]) * s, n) for t, s, n in zip(tiles, way.spread, self.shape.sizes, strict=True))
        return _Found((*key, float(cycles), joules), Nest(way, offs[off], ons[on], tile, held))

    def _use(self, held: tuple[bool, ...], moved: list[Any], wanted: list[Any]) -> _Use:
        """Bits at the off-chip memory and the buffer."""
        home_reads = home_writes = reads = writes = np.float64(0)
        last = len(held) - 1
        for number, (kept, into, asked, bits) in enumerate(zip(held, moved, wanted, self.shape.bits, strict=True)):
            passing = into if kept else asked
            if number < last:
                home_reads = home_reads + passing * bits
                reads, writes = reads + kept * asked * bits, writes + kept * into * bits
                continue
            values = self.values[number]
            home_writes, home_reads = home_writes + passing * bits, home_reads + (passing - values) * bits
            if kept:
                writes = writes + (asked + into - values) * bits
                reads = reads + (asked - values + into * self.accounting.drain_reads) * bits
        return _Use((home_reads, home_writes), reads, writes)

    def _served(self, use: _Use, cycles: int) -> Any:
        """Whether the buffer's ports, one row each in a cycle, serve the array in its busy cycles."""
        width = self._buffer.width_bits
        if width is None:
            return np.bool_(True)
        rows = self._buffer.ports * width * (self.shape.copies // max(1, self.shape.batch) or 1)
        return use.reads + use.writes <= rows * float(cycles)

    def _joules(self, use: _Use, way: Way, wanted: list[Any]) -> Any:
        """Energy of what differs between nests: off-chip memory, buffer, and filling the registers."""
        home, buffer, array = self._prices
        found = use.home[0] * home.read_j_per_bit + use.home[1] * home.write_j_per_bit
        found = found + use.reads * buffer.read_j_per_bit + use.writes * buffer.write_j_per_bit
        files = 1 if self.accounting.all_register_files else self.machine.instances(self.shape.array)
        last = len(wanted) - 1
        for number, (asked, has, bits) in enumerate(zip(wanted, self.shape.has, self.shape.bits, strict=True)):
            lying = asked * math.prod(1 if own else count for count, own in zip(way.spread, has, strict=True))
            if number < last:
                found = found + lying * bits * array.write_j_per_bit / files
                continue
            back = asked - self.values[last]
            reads = back + lying * (int(self.accounting.drain_reads) - 1)
            found = found + (reads * array.read_j_per_bit + back * array.write_j_per_bit) * bits / files
        return found

    def _meshes(self, way: Way, steps: tuple[int, ...]) -> list[list[Any]]:
        """Return by axis the tiles of the others that are tried, in steps; of the axis itself one."""
        count = len(steps)
        density = max(3, int((_TILES / count) ** (1 / max(1, count - 1))))
        grids = [np.unique(self._even(a, n, _counts(n, density), way)) for a, n in enumerate(steps)]
        found = []
        for solved in range(count):
            others = [g if a != solved else np.array([1]) for a, g in enumerate(grids)]
            found.append([m.ravel() for m in np.meshgrid(*others, indexing="ij")])
        return found

    def _tiles(
        self, way: Way, steps: tuple[int, ...], held: tuple[bool, ...], meshes: Callable[[], list[list[Any]]]
    ) -> list[Any] | None:
        """Return tiles in steps of each axis, as large as fit; None if none does."""
        if self._fits(steps, way, held) or not any(held):
            return [np.array([n]) for n in steps]
        found: list[list[Any]] = []
        for solved, others in enumerate(meshes()):
            most = self._largest(solved, others, steps, way, held)
            tiles = np.broadcast_to(self._even(solved, steps[solved], most, way), others[solved].shape)
            found.append([*others[:solved], tiles, *others[solved + 1 :]])
        joined = [np.concatenate([mesh[a] for mesh in found]) for a in range(len(steps))]
        fits = np.min(joined, axis=0) > 0
        joined = [np.maximum(j, 1) for j in joined]
        fits &= self._fits(joined, way, held)
        return [j[fits] for j in joined] if fits.any() else None

    def _largest(self, solved: int, mesh: list[Any], steps: tuple[int, ...], way: Way, held: tuple[bool, ...]) -> Any:
        """The largest tile of one axis that fits beside the others', made even over the trips that it needs."""
        one, two = (self._room([*mesh[:solved], c, *mesh[solved + 1 :]], way, held) for c in (0, 1))
        most = np.maximum(self._capacity - one, -1) // np.maximum(two - one, 1)
        most = np.minimum(np.floor(most).astype(np.int64), steps[solved])
        trips = -(-steps[solved] // np.maximum(most, 1))
        return np.where(most > 0, -(-steps[solved] // trips), 0)

    def _even(self, axis: int, steps: int, counts: Any, way: Way) -> Any:
        """Tiles that divide the steps and are tried, where the accounting says so and they are half as large or more."""
        if not self.accounting.groups_divide or self.shape.sizes[axis] % way.spread[axis]:
            return counts
        divisors = _divisors(steps)
        even = divisors[np.maximum(np.searchsorted(divisors, counts, side="right") - 1, 0)]
        return np.where((2 * even >= counts) & (even <= counts), even, counts)

    @property
    def _capacity(self) -> float:
        size: Any = self._buffer.bytes
        return float(8 * size) / (2 if self._buffer.double_buffered else 1)

    def _fits(self, tiles: Sequence[Any], way: Way, held: tuple[bool, ...]) -> Any:
        return self._room(tiles, way, held, whole=True) <= self._capacity

    def _room(self, tiles: Sequence[Any], way: Way, held: tuple[bool, ...], *, whole: bool = False) -> Any:
        """Bits that the operands held take."""
        found: Any = 0.0
        for kept, has, bits in zip(held, self.shape.has, self.shape.bits, strict=True):
            if not kept:
                continue
            number: Any = float(bits)
            for axis, own in enumerate(has):
                if own:
                    points = tiles[axis] * way.spread[axis]
                    number = number * (least(points, self.shape.sizes[axis]) if whole else points)
            found = found + number
        return found


def _least(column: Any, shape: tuple[int, ...], places: Any) -> tuple[Any, float]:
    """Of places in a shape, those where a column that is broadcast to it is least, and that value."""
    if column.ndim == 0:
        return places, float(column)
    flat = (column if column.shape == shape else np.broadcast_to(column, shape)).ravel()
    values = flat if places.size == flat.size else flat[places]
    smallest = values.min()
    return places[values == smallest], float(smallest)


def _at(places: tuple[Any, ...], values: Any) -> Any:
    """Values at places of the shape that they are broadcast to."""
    if np.ndim(values) == 0:
        return values
    return values[tuple(place if length > 1 else 0 for place, length in zip(places, values.shape, strict=True))]


class _Use(NamedTuple):
    """Bits read and written: off chip, and in the buffer."""

    home: tuple[Any, Any]
    reads: Any
    writes: Any


@lru_cache(maxsize=4096)
def _orders(has: tuple[tuple[bool, ...], ...], loops: tuple[bool, ...]) -> list[tuple[int, ...]]:
    """Orders of loops, of those alike in what stands outside the holds one; axes without a loop come first."""
    still = [axis for axis, there in enumerate(loops) if not there]
    found: dict[tuple[tuple[int, ...], ...], tuple[int, ...]] = {}
    for order in permutations(axis for axis, there in enumerate(loops) if there):
        whole = (*still, *order)
        found.setdefault(tuple(tuple(sorted(_around(order, own))) for own in has), whole)
    return list(found.values())


@lru_cache(maxsize=4096)
def _around(order: tuple[int, ...], has: tuple[bool, ...]) -> tuple[int, ...]:
    """The axes that a tensor lacks whose loops stand outside its hold."""
    depth = max((i + 1 for i, axis in enumerate(order) if has[axis]), default=0)
    return tuple(axis for axis in order[:depth] if not has[axis])


@lru_cache(maxsize=4096)
def _divisors(number: int) -> Any:
    """Divisors in rising order, those that the published evaluation's mapper tries: of more than 16 an even selection."""
    return np.array(sorted(tile_counts(number)))


@lru_cache(maxsize=4096)
def _counts(steps: int, density: int) -> Any:
    """Tiles, in steps, that an axis is tried with: of so many trips each the smallest, evenly spaced in their ratio."""
    trips = np.unique(np.rint(np.geomspace(1, steps, density)).astype(np.int64)) if steps > density else None
    trips = np.arange(1, steps + 1) if trips is None else trips
    return np.unique(-(-steps // trips))

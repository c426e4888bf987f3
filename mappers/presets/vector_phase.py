"""A run of Einsums by itself (a softmax), walked pass after pass: which array, which lanes, what the buffer keeps.

The groups of ``fusion.py`` say which loops are shared. Searched: the array, whether the lanes lie along axes of the
passes alone or along one of the shared ones as well, and the order of shared loops. Of each tensor the buffer keeps a
tile, outside some of the loops around its uses, or nothing; what is made and used within a pass stays in registers. Of
all choices that fit, the least latency wins, then the least off-chip traffic, then the vector array, then the fewest
cycles.

    traffic of a tensor = its values · Π trips of the loops outside its hold that it lacks     (results: out, and back)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, permutations, product
from typing import NamedTuple

import numpy as np

from einsum_cascades.loops.space import Space, Step
from einsum_cascades.loops.tree import INSTANCES, parts_of
from hw_models.machine import Array
from hw_models.spatial.work import cycles_of
from mappers.presets.axes import Axis, has
from mappers.presets.fusion import Group
from mappers.presets.layout import Way, dimensions_of, ways_of
from mappers.presets.problem import Problem, lanes

_ORDERS = 48
_CHOICES = 1 << 17


class Cut(NamedTuple):
    """A loop in time: an axis and the units that it takes at a time."""

    axis: Axis
    units: int

    @property
    def trips(self) -> int:
        """How often it turns."""
        return int(-(-self.axis.size // self.units))


class Option(NamedTuple):
    """Where the buffer keeps a tensor: outside so many of the loops around all its uses; None is nowhere.

    Attributes:
        traffic, room: values moved off chip, and in the buffer.
    """

    outside: int | None
    traffic: int
    room: int


@dataclass(frozen=True, eq=False)
class Layout:
    """One way to walk a phase.

    Attributes:
        array: where it runs.
        shared: how the axes of groups with parts lie over its dimensions, and of which groups they are.
        leaves: of each group that works point by point, how its own axes lie.
        loops: of each group, its loops, the outermost first.
    """

    array: Array
    common: tuple[Axis, ...]
    shared: Way
    leaves: dict[Group, Way]
    loops: dict[Group, tuple[Cut, ...]]


@dataclass(frozen=True, eq=False)
class Walk:
    """A layout with what the buffer keeps: of each tensor, outside how many loops of the groups around its uses."""

    layout: Layout
    kept: dict[str, int]


@dataclass(frozen=True, eq=False)
class VectorPhase:
    """A phase to be walked."""

    problem: Problem
    space: Space
    root: Group

    def best(self) -> tuple[tuple[float, ...], Walk]:
        """Return the best way to walk it, after what ways are ordered by.

        Raises:
            InputError: no array offers what an Einsum needs.
        """
        best: tuple[tuple[float, ...], Walk] | None = None
        for number, array in enumerate(self._arrays()):
            for layout in self._layouts(array):
                cycles = self._cycles(layout)
                floor = self._seconds(cycles, self.compulsory)
                if best is not None and (floor, self.compulsory, number, cycles) >= best[0]:
                    continue
                kept, traffic = self._kept(layout)
                key = (self._seconds(cycles, traffic), traffic, number, cycles)
                if best is None or key < best[0]:
                    best = key, Walk(layout, kept)
        assert best is not None
        return best

    def _arrays(self) -> list[Array]:
        """Arrays that offer all that the phase needs and have registers for it, the vector array first."""
        parts, steps = self.problem.parts, self.root.steps
        found = [
            array
            for array in dict.fromkeys((parts.vector, parts.matrix, *self.problem.machine.arrays))
            if all(parts.offers(array, step.einsum) for step in steps) and self._registers(array)
        ]
        return found or [parts.offered(max(steps, key=lambda s: s.name).einsum, parts.vector)]

    def _registers(self, array: Array) -> bool:
        if array.registers is None or self.problem.accounting.fibers_in_registers:
            return True
        leaves = [way[-1] for way in self.root.leaves()]
        most = max(len({o.name for s in leaf.steps for o in (*s.inputs, s.output)}) for leaf in leaves)
        return bool(most <= array.registers)

    # Layouts

    def _layouts(self, array: Array) -> Iterator[Layout]:
        """Yield the ways to lay the phase over an array and to order its loops."""
        lengths = [length for _, length in dimensions_of(self.problem, array)]
        groups = list(_groups(self.root))
        common = [axis for group in groups if group.parts for axis in group.axes]
        orders = [self._orders(group) for group in groups]
        seen: set[tuple[object, ...]] = set()
        for shared in self._shared(common, lengths):
            room = list(lengths)
            for _, dim, count in shared.placed:
                room[dim] //= count
            leaves = {g: self._fastest(g, room) for g in groups if not g.parts}
            key = (shared.placed, tuple(way.placed for way in leaves.values()))
            if key in seen:
                continue
            seen.add(key)
            spread = dict(zip(common, shared.spread, strict=True))
            for order in islice(product(*orders), _ORDERS):
                loops = {}
                for group, axes in zip(groups, order, strict=True):
                    own = spread if group.parts else dict(zip(group.axes, leaves[group].spread, strict=True))
                    loops[group] = tuple(Cut(axis, own[axis]) for axis in axes)
                yield Layout(array, tuple(common), shared, leaves, loops)

    def _shared(self, common: Sequence[Axis], lengths: Sequence[int]) -> Iterator[Way]:
        """Yield how one shared axis lies over all lanes, or over those that the passes leave; none first."""
        sizes = [axis.size for axis in common]
        able = self._able(common)
        none = Way((), (1,) * len(common))
        yield none
        if not lengths:
            return
        taken = [
            [
                math.prod(c for _, dim, c in self._fastest(way[-1], lengths).placed if dim == d)
                for d in range(len(lengths))
            ]
            for way in self.root.leaves()
        ]
        left = [length // max(own[d] for own in taken) for d, length in enumerate(lengths)]
        for room in (left, list(lengths)):
            for axis in able:
                yield _along(axis, sizes, room)

    def _fastest(self, group: Group, lengths: Sequence[int]) -> Way:
        """The way to lay a group's axes that takes the fewest steps."""
        return ways_of([axis.size for axis in group.axes], lengths, self._able(group.axes, parts=True))[0]

    def _able(self, axes: Sequence[Axis], *, parts: bool = False) -> list[int]:
        """Axes that may lie over lanes: not iterative ones, nor those with others inside."""
        whole = [
            axis.unit == 1 or (parts and all(a.rank != axis.rank for a in axes[i + 1 :])) for i, axis in enumerate(axes)
        ]
        return [i for i, axis in enumerate(axes) if whole[i] and axis.rank not in self.space.iterative]

    def _orders(self, group: Group) -> list[tuple[Axis, ...]]:
        """Orders of a group's loops: iterative ranks stay before inner parts of theirs."""
        found = []
        for order in permutations(group.axes):
            places = {axis: place for place, axis in enumerate(order)}
            pairs = [(a, b) for i, a in enumerate(group.axes) for b in group.axes[i + 1 :] if a.rank == b.rank]
            if all(places[a] < places[b] for a, b in pairs):
                found.append(order)
        return found

    def _cycles(self, layout: Layout) -> int:
        cascade, accounting = self.problem.cascade, self.problem.accounting
        total = 0
        for way in self.root.leaves():
            trips = math.prod(cut.trips for group in way for cut in layout.loops[group])
            total += trips * sum(cycles_of(step.einsum, layout.array, cascade, accounting) for step in way[-1].steps)
        return int(total * -(-self.problem.sizes.get(INSTANCES, 1) // lanes(self.problem.parts.outside)))

    def _seconds(self, cycles: int, bits: float) -> float:
        machine = self.problem.machine
        rate = machine.root.shared_bytes_per_s
        return float(max(cycles / machine.frequency_hz, 0.0 if rate is None else bits / 8 / rate))

    # What the buffer keeps

    @cached_property
    def compulsory(self) -> float:
        """Bits that come from and go to other phases at least once."""
        return float(
            sum(self.values(t) * self.problem.bits(t) for t in self.tensors if not self.made(t) or self.wanted(t))
        )

    @cached_property
    def tensors(self) -> dict[str, list[Step]]:
        """By tensor, the Einsums that use it."""
        found: dict[str, list[Step]] = {}
        for step in self.root.steps:
            for operand in dict.fromkeys((*step.inputs, step.output)):
                uses = found.setdefault(operand.tensor, [])
                if step not in uses:
                    uses.append(step)
        return found

    def made(self, tensor: str) -> bool:
        """Whether the phase makes a tensor."""
        return any(step.output.tensor == tensor for step in self.root.steps)

    def wanted(self, tensor: str) -> bool:
        """Whether what the phase makes is wanted by others."""
        own = {step.name for step in self.root.steps}
        others = [s for s in self.space.steps.values() if s.name not in own]
        plain = dict(self.problem.cascade.views)
        read = {plain.get(o.tensor, o.tensor) for s in others for o in s.inputs}
        return tensor in self.problem.cascade.outputs or tensor in read

    def along(self, tensor: str) -> frozenset[str]:
        """Iterative ranks along which a tensor is carried."""
        return (
            self.space.iterative & set(map(self.space.whole, self.ranks(tensor)))
            if self._carried(tensor)
            else frozenset()
        )

    def state(self, tensor: str) -> frozenset[str]:
        """Iterative ranks along which a tensor is carried, of which only the newest value is wanted."""
        whole = self.along(tensor)
        if not whole or tensor in self.problem.cascade.outputs:
            return frozenset()
        loops = [self._loop(step, whole) for step in self.root.steps if step.output.tensor == tensor]
        for step in self.space.steps.values():
            for operand in step.inputs:
                each = operand.tensor == tensor and whole & set(map(self.space.whole, operand.ranks))
                if each and (step not in self.root.steps or self._loop(step, whole) not in loops):
                    return frozenset()
        return whole

    def _loop(self, step: Step, ranks: frozenset[str]) -> Group | None:
        """The innermost group around an Einsum that loops over some ranks."""
        way = next(way for way in self.root.leaves() if step in way[-1].steps)
        return next((group for group in reversed(way) if any(axis.rank in ranks for axis in group.axes)), None)

    def ranks(self, tensor: str) -> tuple[str, ...]:
        """Ranks along which a tensor changes in the phase."""
        operands = [o for s in self.tensors[tensor] for o in (*s.inputs, s.output) if o.tensor == tensor]
        return tuple(dict.fromkeys(r for o in operands for r in o.ranks))

    def held_ranks(self, tensor: str) -> tuple[str, ...]:
        """Ranks of what a hold of a tensor keeps: of a state not those that it is carried along."""
        state = self.state(tensor)
        return tuple(r for r in self.ranks(tensor) if self.space.whole(r) not in state)

    def values(self, tensor: str) -> int:
        """Values of a tensor that pass between phases, in all copies."""
        return int(self.space.values(self.held_ranks(tensor)))

    def around(self, tensor: str) -> tuple[Group, ...]:
        """The groups around all uses of a tensor, the outermost first."""
        ways = [way for way in self.root.leaves() if any(s in way[-1].steps for s in self.tensors[tensor])]
        found = ways[0]
        for way in ways[1:]:
            found = tuple(g for g in found if g in way)
        return found

    def _kept(self, layout: Layout) -> tuple[dict[str, int], float]:
        """Return what the buffer keeps so that the traffic is least, and this in bits."""
        options = {t: list(_worthwhile(self._options(t, layout))) for t in self.tensors}
        buffer = self.problem.parts.buffer
        capacity = 8 * int(buffer.bytes or 0) // (2 if buffer.double_buffered else 1)
        chosen = _choose([(options[t], int(self.problem.bits(t))) for t in options], capacity)
        kept = {t: o.outside for t, o in zip(options, chosen, strict=True) if o.outside is not None}
        return kept, float(sum(o.traffic * self.problem.bits(t) for t, o in zip(options, chosen, strict=True)))

    def _options(self, tensor: str, layout: Layout) -> Iterator[Option]:
        """Yield the places where the buffer can keep a tensor, and what comes of each."""
        groups, made = self.around(tensor), self.made(tensor)
        within = made and not groups[-1].parts and len(self.tensors[tensor]) > 1 and not self.state(tensor)
        passes = not made or self.wanted(tensor)
        ranks, values = self.held_ranks(tensor), self.values(tensor)
        if within and not self._carried(tensor):
            yield Option(None, values if passes else 0, 0)
            return
        loops = [cut for group in groups for cut in layout.loops[group]]
        last = min((i for i, cut in enumerate(loops) if cut.axis.rank in self.along(tensor)), default=len(loops))
        for place in range(last + 1):
            lacked = math.prod(cut.trips for cut in loops[:place] if not has(cut.axis, ranks))
            moved = values * lacked
            traffic = (2 * moved - values if made else moved) if passes else 0
            yield Option(place, traffic, self._region(ranks, loops[:place]))
        yield Option(None, self._streamed(tensor, layout), 0)

    def _carried(self, tensor: str) -> bool:
        return any(o.carried and o.tensor == tensor for s in self.root.steps for o in s.inputs)

    def _streamed(self, tensor: str, layout: Layout) -> int:
        """Values that move off chip if the buffer keeps nothing of a tensor."""
        total = 0
        ranks = self.ranks(tensor)
        values = int(self.space.values(ranks))
        for way in self.root.leaves():
            leaf = way[-1]
            uses = [s for s in leaf.steps if s in self.tensors[tensor]]
            if not uses:
                continue
            outer = [cut for group in way[:-1] for cut in layout.loops[group]]
            own = layout.loops[leaf]
            depth = max((i + 1 for i, cut in enumerate(own) if has(cut.axis, ranks)), default=0)
            moved = values * math.prod(cut.trips for cut in (*outer, *own[:depth]) if not has(cut.axis, ranks))
            writes = any(s.output.tensor == tensor for s in uses)
            reads = any(o.tensor == tensor and (not writes or o.carried) for s in uses for o in s.inputs)
            total += (2 * moved - values if writes else 0) + (moved if reads else 0)
        return total

    def _region(self, ranks: tuple[str, ...], loops: Sequence[Cut]) -> int:
        """Values of a tensor that the loops outside its hold select."""
        tiles = {cut.axis.rank: cut.units * cut.axis.unit for cut in loops}
        joint = {part: rank for rank in tiles for part in parts_of(rank)}
        grains = {joint.get(rank, rank): grain for rank, grain in self.space.grains(ranks).items()}
        found = 1
        for rank, grain in grains.items():
            found *= -(
                -min(self.space.extent(rank), tiles.get(rank, self.space.extent(rank))) // self.space.length(grain)
            )
        return found


def _groups(group: Group) -> Iterator[Group]:
    yield group
    for part in group.parts:
        yield from _groups(part)


def _along(axis: int, sizes: Sequence[int], room: Sequence[int]) -> Way:
    spread, placed = [1] * len(sizes), []
    for dim, length in enumerate(room):
        count = min(-(-sizes[axis] // spread[axis]), length)
        if count > 1:
            spread[axis] *= count
            placed.append((axis, dim, count))
    return Way(tuple(placed), tuple(spread))


def _worthwhile(options: Iterator[Option]) -> Iterator[Option]:
    """Leave out what takes more room for no less traffic."""
    least = math.inf
    for option in sorted(options, key=lambda o: (o.room, o.traffic)):
        if option.traffic < least:
            least = option.traffic
            yield option


def _choose(options: Sequence[tuple[list[Option], int]], capacity: int) -> list[Option]:
    """Return of each tensor one option, so that all fit and the traffic is least, then the room."""
    while math.prod(len(own) for own, _ in options) > _CHOICES:
        longest = max(range(len(options)), key=lambda i: len(options[i][0]))
        own, bits = options[longest]
        options = [*options[:longest], ([own[0], own[-1]] if len(own) > 2 else own[:1], bits), *options[longest + 1 :]]
    traffic = room = np.zeros(1)
    for own, bits in options:
        traffic = np.add.outer(traffic, [float(o.traffic * bits) for o in own]).ravel()
        room = np.add.outer(room, [float(o.room * bits) for o in own]).ravel()
    fits = room <= capacity
    place = int(np.lexsort([room, traffic, ~fits])[0])
    shape = [len(own) for own, _ in options]
    return [own[int(i)] for (own, _), i in zip(options, np.unravel_index(place, shape), strict=True)]

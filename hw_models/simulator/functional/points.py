"""What happens when a compute runs: the positions walk their points in lockstep, reading, computing, folding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from math import prod
from typing import NamedTuple

from einsum_cascades.ir import Access
from einsum_cascades.loops.space import Operand
from einsum_cascades.loops.tree import parts_of
from hw_models.simulator.functional.holds import Holds
from hw_models.simulator.functional.layout import Address, Part
from hw_models.simulator.functional.masks import Folded
from hw_models.simulator.functional.once import once
from hw_models.simulator.functional.places import Place
from hw_models.simulator.functional.state import State
from hw_models.simulator.functional.stores import COMPLETE, Run, Store, Thread, Value
from hw_models.simulator.functional.traffic import Columns, Tally


class _Input(NamedTuple):
    """An access of a compute.

    Attributes:
        hold: from which it reads; None is home.
        lag: by how many iterations the value may be older than the newest.
        careful: whether each read is looked at by itself.
    """

    access: Access
    address: Address
    tensor: str
    hold: Place | None
    lag: int
    careful: bool


class _Lockstep:
    """The points of some positions, step by step.

    Attributes:
        members: by step, the positions that have a point.
        count: steps.
    """

    def __init__(self, ranges: Sequence[Sequence[tuple[int, int]]]) -> None:
        self.ranges = ranges
        shapes = [tuple([high - low for low, high in own]) for own in ranges]
        self.cells: list[list[tuple[int, int]]] | None = None
        self.members: Columns
        self.single = False
        if len(set(shapes)) == 1:
            self.count = prod(shapes[0])
            self.single = self.count == 1
            self.members = [range(len(shapes))] * self.count
            return
        most = [max(sizes) for sizes in zip(*shapes, strict=True)]
        self.cells = [[] for _ in range(prod(most))]
        for position, shape in enumerate(shapes):
            strides = [prod(most[i + 1 :]) for i in range(len(most))]
            sides = [range(0, n * stride, stride) for n, stride in zip(shape, strides, strict=True)]
            for point, at in enumerate(_summed(0, sides)):
                self.cells[at].append((position, point))
        self.cells = [cell for cell in self.cells if cell]
        self.count = len(self.cells)
        self.members = [[position for position, _ in cell] for cell in self.cells]

    def columns(self, walk: _Walk) -> Columns:
        """Return what each position has at each point, by step."""
        by_position = [walk(own, self.single) for own in self.ranges]
        if self.cells is None:
            return list(zip(*by_position, strict=True))
        return [[by_position[position][point] for position, point in cell] for cell in self.cells]


class _Walk:
    """What the points of a position add up to, by its ranges of the ranks that a compute walks."""

    def __init__(self, base: int, sides: Sequence[tuple[Callable[[int, int], list[int]], bool]]) -> None:
        self.base, self.sides = base, [side for side, _ in sides]
        self.changing = [(i, side) for i, (side, changes) in enumerate(sides) if changes]

    def __call__(self, ranges: Sequence[tuple[int, int]], single: bool) -> list[int]:
        """Return it for all points, in order; ``single`` says that there is one."""
        if single:
            found = self.base
            for i, side in self.changing:
                found += side(*ranges[i])[0]
            return [found]
        return _summed(self.base, [side(*own) for side, own in zip(self.sides, ranges, strict=True)])


class Points:
    """Runs computes."""

    def __init__(self, state: State, holds: Holds) -> None:
        self.state, self.holds, self.wiring = state, holds, state.wiring
        self.points: Counter[int] = Counter()
        self.steps: Counter[int] = Counter()

    def run(self, place: Place, threads: Sequence[Thread]) -> None:
        """Walk all points of some positions."""
        slots = self._slots(place)
        ranges = [[thread.ranges[slot] for slot in slots] for thread in threads]
        if any(grain > 1 for grain in self._walked(place).values()):
            grains = list(self._walked(place).values())
            ranges = [[(low // g, -(-high // g)) for (low, high), g in zip(own, grains, strict=True)] for own in ranges]
        lockstep = _Lockstep(ranges)
        inputs, keys, stores = self._inputs(place), [], []
        for one in inputs:
            keys.append(lockstep.columns(self.walk(place, one.address)))
            stores.append([self.state.source(thread, one.hold, one.tensor) for thread in threads])
        indices = {
            rank: lockstep.columns(self._index(place, rank))
            for rank in self.state.functions[self.wiring.step(place).name].indices
        }
        out = _Out(self, place, threads, lockstep)
        batch = 1 if self._stepwise(place) else lockstep.count
        for first in range(0, lockstep.count, batch):
            steps = range(first, min(first + batch, lockstep.count))
            read = {
                one.access: self._read(one, keys[n], stores[n], lockstep.members, steps, threads)
                for n, one in enumerate(inputs)
            }
            at = {rank: [index for t in steps for index in columns[t]] for rank, columns in indices.items()}
            out.write(read, at, steps)
        for n, one in enumerate(inputs):
            way = self.state.way(one.hold, place.where, True)
            Tally(self.state, way, threads, stores[n]).inward(one.tensor, keys[n], lockstep.members, one.hold)
        self.steps[place.number] += lockstep.count
        self.points[place.number] += sum(map(len, lockstep.members))
        self.state.step += lockstep.count

    # What is known of a compute before it runs.

    @once
    def _walked(self, place: Place) -> dict[str, int]:
        """Points per step, by the ranks that a compute walks: those that loops around it cut as one are one."""
        grains = dict(self.state.ranks.grains(self.wiring.step(place).ranks))
        for joined in dict.fromkeys(loop.loop.rank for loop in place.loops if len(parts_of(loop.loop.rank)) > 1):
            own = [part for part in parts_of(joined) if part in grains]
            if own:
                if len(own) < len(parts_of(joined)) or any(grains[part] > 1 for part in own):
                    raise self.state.fault(f"{joined} is not one rank of {self.wiring.step(place).name}")
                grains = {**{r: g for r, g in grains.items() if r not in own}, joined: 1}
        return grains

    @once
    def _slots(self, place: Place) -> list[int]:
        return [self.state.regions.slots[rank] for rank in self._walked(place)]

    @once
    def _inputs(self, place: Place) -> list[_Input]:
        found = []
        for operand in self.wiring.step(place).inputs:
            chain = self.wiring.chain(place, operand)
            hold = chain[-1] if chain else None
            careful = operand.tensor in self.state.ranks.carried or (hold is not None and hold.hold.part != 1)
            lag = self.wiring.lag(place, operand)
            for address in self.state.regions.addresses(place, operand, False):
                found.append(_Input(address.access, address, operand.tensor, hold, lag, careful))
        return found

    @once
    def _stepwise(self, place: Place) -> bool:
        """Whether a step may read what the one before it wrote, or miss what that took the place of."""
        step = self.wiring.step(place)
        own = any(operand.tensor == step.output.tensor for operand in step.inputs)
        return own or any(hold.hold.place is not None for hold in self.wiring.chain(place, step.output))

    @once
    def foreign(self, place: Place) -> frozenset[Place]:
        """Return the loops around a compute over ranks that its Einsum lacks: their turns repeat it."""
        own = self.state.ranks.grains(self.wiring.step(place).ranks)
        return frozenset(loop for loop in place.loops if own.keys().isdisjoint(parts_of(loop.loop.rank)))

    # Points.

    @once
    def walk(self, place: Place, what: Address | Folded) -> _Walk:
        """Return what gives the values that points want, or the numbers of their bits."""
        sides = []
        for rank, grain in self._walked(place).items():
            changes = any(what.changes(part) for part in parts_of(rank))
            if len(parts_of(rank)) == 1:
                sides.append((cache(partial(what.along, rank, grain)), changes))
            else:
                sides.append((cache(partial(self._joined, what, rank)), changes))
        return _Walk(what.base, sides)

    def _joined(self, what: Address | Folded, rank: str, low: int, high: int) -> list[int]:
        """What the points of ranks that are cut as one add."""
        points = (self.state.regions.parted(rank, index) for index in range(low, high))
        return [sum(what.add(part, at) for part, at in point.items()) for point in points]

    @once
    def _index(self, place: Place, rank: str) -> _Walk:
        """Return what gives where points are along a rank."""
        part, sides = self.state.ranks.part(rank), []
        for walked, grain in self._walked(place).items():
            own = part.whole in parts_of(walked)
            sides.append((cache(partial(self._along, part, walked, grain)), own))
        return _Walk(0, sides)

    def _along(self, part: Part, walked: str, grain: int, low: int, high: int) -> list[int]:
        if part.whole not in parts_of(walked):
            return [0] * (high - low)
        if walked == part.whole:
            return [part.at(index * grain) for index in range(low, high)]
        return [part.at(self.state.regions.parted(walked, index)[part.whole]) for index in range(low, high)]

    def _read(
        self,
        one: _Input,
        columns: Columns,
        stores: Sequence[Store],
        members: Columns,
        steps: range,
        threads: Sequence[Thread],
    ) -> list[float]:
        """Return the values that an access reads in some steps, each checked."""
        state, tensor, found = self.state, one.tensor, []
        if one.careful:
            for t in steps:
                for i, key in zip(members[t], columns[t], strict=True):
                    store = state.beyond(threads[i], one.hold, tensor, key)[0]
                    found.append(state.read(store, tensor, key, one.lag, t).number)
            return found
        tables = [store.values for store in stores]
        for t in steps:
            for i, key in zip(members[t], columns[t], strict=True):
                try:
                    value = tables[i][key]
                except KeyError:
                    raise state.missing(stores[i], tensor, key, t) from None
                if value.mask != COMPLETE:
                    state.complete(stores[i], tensor, key, value, t)
                found.append(value.number)
        state.checked += len(found)
        return found


class _Out:
    """Where the results of some positions go."""

    def __init__(
        self,
        points: Points,
        place: Place,
        threads: Sequence[Thread],
        lockstep: _Lockstep,
    ) -> None:
        self.state, self.holds, self.threads, self.members = points.state, points.holds, threads, lockstep.members
        self.step = points.wiring.step(place)
        operand: Operand = self.step.output
        self.tensor = operand.tensor
        self.function = self.state.functions[self.step.name]
        chain = points.wiring.chain(place, operand)
        self.into = chain[-1] if chain else None
        (address,) = self.state.regions.addresses(place, operand, True)
        folded = self.state.by_step[self.step.name]
        self.keys = lockstep.columns(points.walk(place, address))
        self.bits = lockstep.columns(points.walk(place, folded))
        foreign = points.foreign(place)
        self.runs: list[Run] = [
            (place, tuple((loop, low) for loop, low in thread.turns if loop in foreign)) for thread in threads
        ]
        self.stores = [self.state.source(thread, self.into, self.tensor) for thread in threads]
        self.tally = Tally(self.state, self.state.way(self.into, place.where, False), threads, self.stores)
        self.partial = self.into is not None and self.into.hold.part != 1
        self.apart = self.tally.each
        self.onward = self.into is not None and points.wiring.writes_through(self.into)
        self.tally.outward(self.tensor, self.keys, self.members)

    def write(self, read: dict[Access, list[float]], indices: dict[str, list[int]], steps: range) -> None:
        """Compute some steps and fold the results in."""
        points = sum(len(self.members[t]) for t in steps)
        results = iter(self.function(read, indices, points))
        arrived = back = 0
        for t in steps:
            for i, key, value in self._values(t, results):
                arrived += 1
                store = self.stores[i]
                passed: tuple[Place, ...] = ()
                if self.partial:
                    store, passed = self.state.beyond(self.threads[i], self.into, self.tensor, key)
                before = store.values.get(key)
                if before is not None and before.run == value.run:
                    value = self.holds.sum(self.tensor, key, before, value)
                    if passed:
                        self.holds.back(self.tally, self.tensor, passed)
                    else:
                        back += 1
                self.holds.put(store, self.tensor, key, value)
                if passed:
                    arrived -= 1
                    self.holds.update(self.tally, self.tensor, passed)
                if self.onward:
                    self.holds.write_on(self.threads[i], store, key)
        self.state.rows[self.tally.way.memory, self.tensor, "update"] += arrived
        self.tally.back(self.tensor, back)

    def _values(self, t: int, results: Iterator[float]) -> Iterator[tuple[int, int, Value]]:
        """Yield what a step gives, that of positions that are summed on the way as one: of which one, where, what."""
        members, keys, bits = self.members[t], self.keys[t], self.bits[t]
        if self.apart or len(members) == 1:
            for i, key, bit, number in zip(members, keys, bits, results, strict=False):
                yield i, key, Value(number, 1 << bit, self.runs[i])
            return
        groups: dict[tuple[int, int], tuple[int, int, Value]] = {}
        for i, key, bit, number in zip(members, keys, bits, results, strict=False):
            value = Value(number, 1 << bit, self.runs[i])
            which = (self.tally.groups[0][i], key)
            if which in groups:
                first = groups[which]
                value = self.holds.sum(self.tensor, key, first[2], value)
                value.run = self.runs[i]
                groups[which] = (i, key, value)
            else:
                groups[which] = (i, key, value)
        yield from groups.values()


def _summed(base: int, sides: Sequence[Sequence[int]]) -> list[int]:
    """Return all sums of one of each side, the last one changing fastest."""
    found = [base]
    for side in sides:
        if len(side) == 1:
            (one,) = side
            if one:
                found = [a + one for a in found]
        elif len(found) == 1:
            found = [found[0] + b for b in side]
        else:
            found = [a + b for a in found for b in side]
    return found

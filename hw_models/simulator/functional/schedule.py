"""The order in which a tree runs: a loop in time epoch by epoch, what is late in it in later epochs.

All positions of spatial loops go together, in lockstep; within an epoch the nodes run in tree order. Nothing is laid
out ahead but the iterations of a pipeline that are under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from operator import itemgetter
from time import monotonic
from typing import Any, NamedTuple

from einsum_cascades.loops.tree import Compute, Hold, Last, Late, Loop, parts_of
from hw_models.simulator.functional.holds import Holds
from hw_models.simulator.functional.occupancy import FullError
from hw_models.simulator.functional.once import once
from hw_models.simulator.functional.places import Place
from hw_models.simulator.functional.points import Points
from hw_models.simulator.functional.state import State
from hw_models.simulator.functional.stores import Position, Store, Thread, Visit, moved
from hw_models.simulator.functional.wiring import tensor_of

_OFTEN = 0.2
"""Seconds between two reports of progress."""


class _Task(NamedTuple):
    """What an epoch does at one place: enter a hold, leave it, compute, or run a loop in time."""

    order: int
    kind: str
    place: Place
    threads: Sequence[Thread]
    stores: Sequence[Store] = ()


_Epochs = dict[int, list[_Task]]
_Touched = tuple[int, Position, tuple[tuple[int, int], ...]]
"""Number of a use, where it is, and its tiles of the ranks that loops cut."""


class Schedule:
    """Runs a tree."""

    def __init__(
        self, state: State, holds: Holds, points: Points, progress: Callable[[float], None] | None = None
    ) -> None:
        self.state, self.wiring, self.holds, self.points = state, state.wiring, holds, points
        self.progress = progress
        self._told = monotonic()
        self._done: list[tuple[int, int]] = []
        self._late: dict[Place | None, int] = {}
        self._ragged = False
        self._patterns: dict[tuple[Any, ...], list[_Touched]] = {}
        self._lasts = {place.node.rank for place in self.wiring.root.all() if isinstance(place.node, Last)}
        foreign = {loop for compute in self.wiring.computes for loop in points.foreign(compute)}
        self._repeats = frozenset(foreign)

    def run(self) -> None:
        """Run it all."""
        state = self.state
        thread = Thread((0,) * len(state.dimensions), state.regions.whole, {})
        epochs: _Epochs = {}
        self._collect(self.wiring.root, [thread], 0, epochs)
        self._late[None] = max(epochs, default=0)
        for number in sorted(epochs):
            self._epoch(epochs[number], number, max(epochs) + 1)

    @property
    def short(self) -> bool:
        """Whether a longer run may keep more at a time: some pipeline had fewer turns of full size than stages, what
        runs in a last turn alone met a smaller tile than those before, or a state had one iteration."""
        holds = [place for place in self.wiring.sites if isinstance(place.node, Hold) and place.node.state]
        if self._ragged or any(self.state.layouts[tensor_of(hold)].versions <= 2 for hold in holds):
            return True
        turns = {loop: 1 if loop is None else loop.trips for loop in self._late}
        return any(late >= turns[loop] for loop, late in self._late.items() if late)

    # Epochs.

    def _loop(self, place: Place, threads: Sequence[Thread]) -> None:
        """Run a loop in time."""
        loop = place.loop
        slot, tile = self.state.regions.slots[loop.rank], int(loop.tile)
        sizes = [high - low for low, high in (thread.ranges[slot] for thread in threads)]
        trips = -(-max(sizes) // tile)
        place.trips = max(place.trips, max(1, max(sizes) // tile))
        epochs: _Epochs = {}
        number = 0
        while number < trips or epochs:
            if number < trips:
                inside = self._cut(place, threads, number)
                self._collect(place.below[0], inside, number, epochs)
                if epochs:
                    self._late[place] = max(self._late.get(place, 0), max(epochs) - number)
            if number in epochs:
                self._epoch(epochs.pop(number), number, max(trips, max(epochs, default=0) + 1))
            number += 1

    def _epoch(self, tasks: list[_Task], number: int, epochs: int) -> None:
        """Run what an epoch does, in tree order."""
        tasks.sort(key=lambda task: task.order)
        occupancy = self.state.rooms.occupancy
        depth = len(occupancy.abreast)
        for done, task in enumerate(tasks):
            occupancy.turn_to(task.place.sides, depth)
            self._done.append((number * len(tasks) + done, epochs * len(tasks)))
            self._do(task)
            self._done.pop()
        occupancy.turn_to((), depth)

    def _do(self, task: _Task) -> None:
        if task.kind == "loop":
            self._loop(task.place, task.threads)
            return
        self.state.here = task.place
        try:
            if task.kind == "compute":
                self.points.run(task.place, task.threads)
            elif task.kind == "enter":
                self.holds.enter(task.place, task.threads, task.stores)
            else:
                self.holds.leave(task.place, task.threads, task.stores)
        except FullError as full:
            raise self._too_full(task.place, full) from None
        if self.progress is not None and monotonic() - self._told >= _OFTEN:
            self._tell(self.progress)

    def _tell(self, progress: Callable[[float], None]) -> None:
        fraction, part = 0.0, 1.0
        for done, of in self._done:
            part /= of
            fraction += done * part
        progress(fraction)
        self._told = monotonic()

    def _too_full(self, place: Place, full: FullError) -> Exception:
        over = full.needed - full.room
        unit, name = (8, "byte") if full.room % 8 == full.needed % 8 == 0 else (1, "bit")
        said = f"{full.room // unit:,} {name}s, and {full.needed // unit:,} are taken: {over // unit:,} too many"
        level = self.state.levels[full.memory]
        one = "a PE of " if level.computes else "an instance of " if self.state.levels.fan_out(level.name) else ""
        keeps = f", as {tensor_of(place)} comes" if isinstance(place.node, Hold) else ""
        return self.state.fault(
            f"{one}{level.name} has {said}{keeps}", hint="take smaller tiles, or keep tensors further out"
        )

    # What an iteration does.

    def _collect(self, place: Place, threads: Sequence[Thread], epoch: int, epochs: _Epochs) -> None:
        """Put what a subtree does for one iteration of the loop around it into the epochs in which it does it."""
        node = place.node
        if isinstance(node, Loop):
            if node.over is None:
                epochs.setdefault(epoch, []).append(_Task(place.first, "loop", place, threads))
            else:
                self._collect(place.below[0], self._spread(place, threads), epoch, epochs)
        elif isinstance(node, Late):
            self._collect(place.below[0], threads, epoch + node.by, epochs)
        elif isinstance(node, Last):
            if kept := [thread for thread in threads if node.rank not in thread.early]:
                self._collect(place.below[0], kept, epoch, epochs)
        elif isinstance(node, Hold):
            self._collect_hold(place, threads, epoch, epochs)
        elif isinstance(node, Compute):
            self._check_apart(place, threads)
            epochs.setdefault(epoch, []).append(_Task(place.first, "compute", place, threads))
        else:
            for child in place.below:
                self._collect(child, threads, epoch, epochs)

    def _collect_hold(self, place: Place, threads: Sequence[Thread], epoch: int, epochs: _Epochs) -> None:
        if not self.wiring.used_in(place):
            self.state.here = place
            message = f"nothing inside uses {place.hold.tensor} of {place.where}"
            raise self.state.fault(message, hint="leave this hold out, or move it")
        fan = self.state.fan(place.where)
        visits = [Visit(fan, {}) for _ in threads]
        inside = [thread.within(place.number, visit) for thread, visit in zip(threads, visits, strict=True)]
        entering: Sequence[Thread] = inside
        if self.wiring.is_spread(place):
            pairs = self._spread_stores(place, inside)
            entering, stores = [thread for thread, _ in pairs], [store for _, store in pairs]
        else:
            stores = []
            for thread, visit in zip(inside, visits, strict=True):
                at = fan(thread.position)
                store = visit.stores[at] = Store(place, at, self.state.regions.region(place, thread.ranges))
                stores.append(store)
        self._check_apart(place, entering)
        low, high = self.wiring.lateness(place)
        epochs.setdefault(epoch + low, []).append(_Task(place.first, "enter", place, entering, stores))
        self._collect(place.below[0], inside, epoch, epochs)
        epochs.setdefault(epoch + high, []).append(_Task(place.final, "leave", place, entering, stores))

    def _check_apart(self, place: Place, threads: Sequence[Thread]) -> None:
        if len(threads) < 2:
            return
        fan = self.state.fan(place.where)
        if len({fan(thread.position) for thread in threads}) < len(threads):
            self.state.here = place
            raise self.state.fault(f"{place.where} has fewer instances than positions come to it")

    # Loops.

    def _cut(self, place: Place, threads: Sequence[Thread], number: int) -> list[Thread]:
        """Return the threads that have an iteration of a loop in time, with its tile."""
        loop = place.loop
        slot, tile = self.state.regions.slots[loop.rank], int(loop.tile)
        found = []
        for thread in threads:
            begin, end = thread.ranges[slot]
            low = begin + number * tile
            if low < end:
                high = min(low + tile, end)
                found.append(self._turned(place, thread, thread.position, slot, low, high))
        return found

    def _turned(self, place: Place, thread: Thread, position: Position, slot: int, low: int, high: int) -> Thread:
        """Return a thread in a turn of a loop around it."""
        whole, rank = thread.ranges, place.loop.rank
        turns = (*thread.turns, (place, low)) if place in self._repeats else thread.turns
        early = thread.early
        if rank in self._lasts:
            begin, end = whole[slot]
            self._ragged |= begin < low and high - low < int(place.loop.tile)
            early = early | {rank} if high < end else early
        return Thread(position, (*whole[:slot], (low, high), *whole[slot + 1 :]), thread.visits, turns, early)

    def _spread(self, place: Place, threads: Sequence[Thread]) -> list[Thread]:
        """Return the threads of all positions of a spatial loop."""
        slot = self.state.regions.slots[place.loop.rank]
        over = self.state.dimensions[place.loop.over or ""]
        found: list[tuple[int, Thread]] = []
        for thread in threads:
            own, (begin, end) = thread.position, thread.ranges[slot]
            for number, at, low, high in self._tiles(place, own[over], begin, end):
                position = (*own[:over], at, *own[over + 1 :])
                found.append((number, self._turned(place, thread, position, slot, low, high)))
        found.sort(key=itemgetter(0))
        return [thread for _, thread in found]

    @once
    def _tiles(self, place: Place, at: int, begin: int, end: int) -> list[tuple[int, int, int, int]]:
        """The iterations of a spatial loop over a range: number, place along its dimension, and tile."""
        loop = place.loop
        tile, length = int(loop.tile), int(self.state.levels.dimensions[loop.over or ""])
        first = at * self._positions(place)
        found = [(n, first + n, low, min(low + tile, end)) for n, low in enumerate(range(begin, end, tile))]
        if found[-1][1] >= length:
            self.state.here = place
            raise self.state.fault(f"{loop.over} has {length} positions, and needs {found[-1][1] + 1}")
        return found

    @once
    def _positions(self, place: Place) -> int:
        """Most iterations of a loop, as the first of those around it have them."""
        rank, found = place.loop.rank, 1
        left = self.state.regions.length(rank)
        for loop in (*place.loops, place):
            if loop.loop.rank == rank:
                tile = int(loop.loop.tile)
                found, left = -(-left // tile), min(left, tile)
        return found

    # Holds over several instances.

    def _spread_stores(self, place: Place, inside: Sequence[Thread]) -> list[tuple[Thread, Store]]:
        """Make the stores of a hold in all instances that its uses are at; return them with the threads there."""
        found, slots, cut = [], self._slots(place), self._cut_inside(place)
        for thread in inside:
            regions: dict[Position, list[int]] = {}
            several: dict[Position, dict[int, None]] = {}
            ranges = list(thread.ranges)
            key = (place, thread.position, tuple([ranges[slot] for slot in cut]), thread.early)
            if key not in self._patterns:
                self._patterns[key] = list(self._touched(place, place.below[0], [thread]))
            for use, at, tiles in self._patterns[key]:
                for slot, tile in zip(cut, tiles, strict=True):
                    ranges[slot] = tile
                region = self.state.regions.region(place, ranges, use)
                if at in regions and regions[at] is not region:
                    several.setdefault(at, dict.fromkeys(regions[at])).update(dict.fromkeys(region))
                regions[at] = region
            visit = thread.visits[place.number]
            for at, region in regions.items():
                there = thread.at(moved(thread.position, slots, at))
                instance = visit.at(there.position)
                store = Store(place, instance, list(several[at]) if at in several else region)
                visit.stores[instance] = store
                found.append((there, store))
        return found

    @once
    def _slots(self, hold: Place) -> list[int]:
        """The dimensions along which a hold's memory has instances."""
        return sorted(self.state.dimensions[d] for d in self.state.levels.fan_out(hold.where))

    @once
    def _cut_inside(self, hold: Place) -> list[int]:
        """The ranks that loops inside a hold cut."""
        ranks = (place.loop.rank for place in hold.all() if isinstance(place.node, Loop))
        return [self.state.regions.slots[rank] for rank in dict.fromkeys(ranks)]

    def _touched(self, hold: Place, place: Place, threads: list[Thread]) -> Iterator[_Touched]:
        """Yield the uses of a hold in a subtree, at which of its instances they are, and their tiles."""
        node, slot_of = place.node, self.state.regions.slots
        if isinstance(node, Compute):
            cut, slots = self._cut_inside(hold), self._slots(hold)
            for use, thread in product(self._uses(hold, place), threads):
                yield use, tuple([thread.position[s] for s in slots]), tuple([thread.ranges[s] for s in cut])
        elif isinstance(node, Last):
            threads = [thread for thread in threads if node.rank not in thread.early]
        elif isinstance(node, Loop) and node.over is not None:
            threads = self._spread(place, threads)
        elif isinstance(node, Loop) and self._matters(place):
            sizes = [high - low for low, high in (thread.ranges[slot_of[node.rank]] for thread in threads)]
            trips = -(-max(sizes) // int(node.tile))
            threads = [thread for number in range(trips) for thread in self._cut(place, threads, number)]
        for child in place.below if threads else ():
            yield from self._touched(hold, child, threads)

    @once
    def _uses(self, hold: Place, place: Place) -> list[int]:
        """Numbers of the uses of a hold that a compute is."""
        own = self.wiring.used_in(hold)
        return [number for number, use in enumerate(self.wiring.uses) if use.place is place and use in own]

    @once
    def _matters(self, loop: Place) -> bool:
        """Whether it matters to what instances touch where a loop in time stands: loops over them cut its rank again,
        or something is run in its last turn alone."""
        ranks = set(parts_of(loop.loop.rank))
        return not ranks.isdisjoint(self._lasts) or any(
            not ranks.isdisjoint(parts_of(inner.node.rank))
            for inner in loop.below[0].all()
            if isinstance(inner.node, Loop) and inner.node.over is not None
        )

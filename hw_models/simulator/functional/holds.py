"""What happens when a hold is entered and left.

* A hold of inputs fetches on entering; one access of the outer memory serves all positions that want the value and that
  only dimensions of links that multicast tell apart.
* A hold of results fetches on entering what was summed before; of positions whose results are summed on the way one
  gets it and the others begin from nothing. Of positions that are not summed on the way but want one value at a time
  the first gets it; each other adds what it finds there as it leaves.
* A hold of results whose reader is inside it, but reads from further out, writes a value on as soon as it is complete.
* What is made by another compute of the same Einsum, or in another iteration of a loop whose rank the Einsum lacks,
  begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hw_models.simulator.functional.once import once
from hw_models.simulator.functional.places import Place
from hw_models.simulator.functional.state import State
from hw_models.simulator.functional.stores import Store, Thread, Value
from hw_models.simulator.functional.traffic import Tally
from hw_models.simulator.functional.wiring import tensor_of


class Holds:
    """Fills and empties stores."""

    def __init__(self, state: State) -> None:
        self.state, self.wiring = state, state.wiring

    def enter(self, hold: Place, threads: Sequence[Thread], stores: Sequence[Store]) -> None:
        """Enter a hold at the positions of its instances, each with its store."""
        place, enter = self.wiring.place_of(hold), self.state.rooms.enter
        for thread, store in zip(threads, stores, strict=True):
            enter(store, None if place is None else self.state.source(thread, place, tensor_of(place)))
        if not self.wiring.writes(hold):
            self._fetch(hold, threads, stores)
            return
        if hold.hold.state:
            self._begin(hold, threads, stores)
        if self._leaves_something(hold) or (hold.hold.state and self.wiring.begins_with_what_is_made(hold)):
            self._fetch_sums(hold, threads, stores)

    def leave(self, hold: Place, threads: Sequence[Thread], stores: Sequence[Store]) -> None:
        """Leave a hold: write back what was made or added to, and drop all."""
        if self.wiring.writes(hold) and self._leaves_something(hold):
            self._write_back(hold, threads, stores)
        for store in stores:
            store.values.clear()
            self.state.rooms.leave(store)

    @once
    def _leaves_something(self, hold: Place) -> bool:
        return self.wiring.kept_outside(hold) and self.wiring.wanted(hold)

    # Coming in.

    def _fetch(self, hold: Place, threads: Sequence[Thread], stores: Sequence[Store]) -> None:
        """Fetch what a hold of inputs keeps."""
        tensor, outer, state = tensor_of(hold), self.wiring.outer(hold), self.state
        if outer is None and tensor not in self.wiring.at_home:
            return
        way = state.way(outer, hold.where, True)
        sources = [state.source(thread, outer, tensor) for thread in threads]
        lag, versions = self.wiring.longest(hold), state.layouts[tensor].versions
        column: list[int] = []
        members: list[int] = []
        careful = tensor in state.ranks.carried or (outer is not None and outer.hold.part != 1)
        for i, (thread, store) in enumerate(zip(threads, stores, strict=True)):
            began = self._first_version(hold, thread) if hold.hold.state else 0
            keys = store.region if store.kept is None else sorted(store.kept)
            for key in keys if not began else [key + began for key in keys]:
                if careful:
                    value = state.read(state.beyond(thread, outer, tensor, key)[0], tensor, key, lag)
                else:
                    value = state.plain(sources[i], tensor, key)
                store.values[key] = value
                if hold.hold.state:
                    store.newest[key // versions] = key % versions
                column.append(key)
                members.append(i)
        Tally(state, way, threads, sources).inward(tensor, [column], [members], outer)
        state.rows[hold.where, tensor, "fill"] += len(column)

    def _first_version(self, hold: Place, thread: Thread) -> int:
        """Where a state's versions begin in a thread's range of iterations."""
        layout = self.state.layouts[tensor_of(hold)]
        if layout.iterative is None:
            return 0
        part = layout.axes[layout.iterative].part
        return part.at(thread.ranges[self.state.regions.slots[part.whole]][0])

    def _begin(self, hold: Place, threads: Sequence[Thread], stores: Sequence[Store]) -> None:
        versions = self.state.layouts[tensor_of(hold)].versions
        for thread, store in zip(threads, stores, strict=True):
            store.began = self._first_version(hold, thread)
            for key in store.region:
                store.newest[key // versions] = store.began

    def same_run(self, value: Value, hold: Place, thread: Thread) -> bool:
        """Whether what is further out is a part of the sum that goes on in a hold."""
        if not value.run:
            return False
        maker, turns = value.run
        return any(use.writes and use.place is maker for use in self.wiring.used_in(hold)) and all(
            (loop, low) in thread.turns for loop, low in turns if loop in hold.loops
        )

    def _fetch_sums(self, hold: Place, threads: Sequence[Thread], stores: Sequence[Store]) -> None:
        """Fetch what was summed before into a hold in which more is."""
        tensor, outer, state, is_state = tensor_of(hold), self.wiring.outer(hold), self.state, hold.hold.state
        tally = Tally(state, state.way(outer, hold.where, False), (), ())
        for thread, store in zip(threads, stores, strict=True):
            for key in store.region:
                if store.kept is not None and key not in store.kept:
                    continue
                key += store.began
                source, passed = state.beyond(thread, outer, tensor, key)
                value = source.values.get(key)
                if value is None:
                    if is_state and store.began:
                        raise state.missing(source, tensor, key)
                    continue
                if value.taken or not (is_state or self.same_run(value, hold, thread)):
                    continue
                value.taken = not is_state
                store.values[key] = Value(value.number, value.mask, value.run)
                store.fetched.add(key)
                self.back(tally, tensor, passed)
                state.rows[hold.where, tensor, "fill"] += 1

    # Going out.

    def put(self, store: Store, tensor: str, key: int, value: Value, *, several: bool = False) -> None:
        """Put a value into a store; what it is in the place of is gone.

        Args:
            several: whether iterations of a state may be left out.
        """
        state = self.state
        store.values[key] = value
        store.dirty.add(key)
        state.made[tensor].add(key)
        hold = store.hold
        if hold is None:
            return
        if hold.hold.state:
            self._turn(hold, store, tensor, key, several)
        if store.room is not None:
            for other in store.room.stores:
                if other is not store:
                    other.values.pop(self._same_place(store, tensor, key, other), None)

    def _turn(self, hold: Place, store: Store, tensor: str, key: int, several: bool) -> None:
        """Go on to another version of a state's value; those that nothing may read any more are dropped."""
        place, version = divmod(key, self.state.layouts[tensor].versions)
        newest = store.newest.get(place, version)
        if not several and version not in (newest, newest + 1):
            raise self.state.fault(f"{{}} is made after {version - newest - 1:+} iterations", tensor, key)
        store.newest[place] = version
        old = key - self.wiring.longest(hold) - 1
        while old in store.values and old >= key - version:
            dropped = store.values.pop(old)
            if old in store.dirty and self.wiring.each_wanted(hold):
                store.outgoing[old] = dropped
            else:
                store.dirty.discard(old)
            old -= 1

    def _same_place(self, store: Store, tensor: str, key: int, other: Store) -> int:
        """Return the value of another store in whose place one is: of the same indices, or of as many before it."""
        assert other.hold is not None
        own, their = self.state.layouts[tensor], self.state.layouts[tensor_of(other.hold)]
        if {axis.part.rank for axis in own.axes} == {axis.part.rank for axis in their.axes}:
            at = {axis.part.rank: index for axis, index in zip(own.axes, own.indices(key), strict=True)}
            return sum(at[axis.part.rank] * axis.stride for axis in their.axes)
        number = store.region.index(key)
        return other.region[number] if number < len(other.region) else -1

    def _write_back(self, hold: Place, threads: Sequence[Thread], stores: Sequence[Store]) -> None:
        tensor, outer, state = tensor_of(hold), self.wiring.outer(hold), self.state
        versions = state.layouts[tensor].versions
        items = []
        for thread, store in zip(threads, stores, strict=True):
            for key in store.fetched:
                source, _ = state.beyond(thread, outer, tensor, key)
                if key in source.values:
                    source.values[key].taken = False
            for key in sorted(store.dirty):
                newest = not hold.hold.state or key % versions == store.newest[key // versions]
                if newest or self.wiring.each_wanted(hold):
                    items.append((thread, store, key))
        self._write(hold, items)

    def write_on(self, thread: Thread, store: Store, key: int) -> None:
        """Write a value on, if it is complete and something inside the hold reads it from further out."""
        hold = store.hold
        if hold is None or not self.wiring.writes_through(hold):
            return
        state, tensor = self.state, tensor_of(hold)
        if store.values[key].mask not in (-1, state.whole(tensor, key)):
            return
        versions = state.layouts[tensor].versions
        if hold.hold.state and not self.wiring.each_wanted(hold) and key % versions != versions - 1:
            return
        source, _ = state.beyond(thread, self.wiring.outer(hold), tensor, key)
        if (before := source.values.get(key)) is not None:
            before.taken = False
        self._write(hold, [(thread, store, key)])
        store.dirty.discard(key)
        store.fetched.discard(key)

    def _write(self, hold: Place, items: Sequence[tuple[Thread, Store, int]]) -> None:
        """Write values further out; those that are summed on the way, or are of one instance there, as one."""
        if not items:
            return
        tensor, outer, state = tensor_of(hold), self.wiring.outer(hold), self.state
        way = state.way(outer, hold.where, False)
        threads = [thread for thread, _, _ in items]
        tally = Tally(state, way, threads, [state.source(thread, outer, tensor) for thread in threads])
        groups: dict[Any, list[tuple[Thread, Store, int]]] = {}
        for number, item in zip(tally.groups[0], items, strict=True):
            groups.setdefault((number, item[2]), []).append(item)
        state.rows[hold.where, tensor, "drain"] += len(items)
        for group in sorted(groups.values(), key=_fetched, reverse=True):
            self._arrive(hold, tally, group[0], self._joined(tensor, group), _fetched(group))
        tally.outward(tensor, [[key for _, _, key in items]], [range(len(items))])

    def _joined(self, tensor: str, group: Sequence[tuple[Thread, Store, int]]) -> Value:
        """Sum the values of several instances on their way out."""
        found: Value | None = None
        for _, store, key in group:
            value = store.values.get(key) or store.outgoing.get(key)
            if value is None:
                raise self.state.fault("{} is gone before it is written back: another took its place", tensor, key)
            found = Value(value.number, value.mask, value.run) if found is None else self.sum(tensor, key, found, value)
            found.run = found.run or value.run
        assert found is not None
        return found

    def sum(self, tensor: str, key: int, one: Value, other: Value) -> Value:
        """Return two parts of a sum as one."""
        if one.mask & other.mask:
            raise self.state.fault("{} has a point summed into it twice", tensor, key)
        return Value(self.state.fold(tensor, key, one.number, other.number), one.mask | other.mask, one.run)

    def _arrive(self, hold: Place, tally: Tally, item: tuple[Thread, Store, int], value: Value, fetched: bool) -> None:
        """Put a value that leaves a hold where it goes, onto what is there."""
        (thread, _, key), tensor, state = item, tensor_of(hold), self.state
        outer = self.wiring.outer(hold)
        source, passed = state.beyond(thread, outer, tensor, key)
        before = source.values.get(key)
        if not hold.hold.state and not fetched and before is not None and self.same_run(before, hold, thread):
            self.back(tally, tensor, passed)
            state.rows[hold.where, tensor, "fill"] += 1
            state.rows[hold.where, tensor, "read"] += 1
            run = value.run
            value = self.sum(tensor, key, before, value)
            value.run = run
        self.put(source, tensor, key, value, several=hold.hold.state)
        self.update(tally, tensor, passed)
        self.write_on(thread, source, key)

    def back(self, tally: Tally, tensor: str, passed: tuple[Place, ...]) -> None:
        """Note that a partial sum comes back, from further out where holds are passed by."""
        tally.back(tensor)
        if passed:
            self.state.rows[tally.way.memory, tensor, "read"] -= 1
            self.state.rows[self.state.pass_by(passed, tensor, "spilled read"), tensor, "read"] += 1

    def update(self, tally: Tally, tensor: str, passed: tuple[Place, ...]) -> None:
        """Note that a value arrives, further out where holds are passed by."""
        memory = self.state.pass_by(passed, tensor, "spilled write") if passed else tally.way.memory
        self.state.rows[memory, tensor, "update"] += 1


def _fetched(group: Sequence[tuple[Thread, Store, int]]) -> bool:
    """Whether a sum that was fetched is among some values."""
    return any(key in store.fetched for _, store, key in group)

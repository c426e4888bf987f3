"""How much of each memory is taken, instance by instance, as a tree runs; and the most that it ever was.

What stands side by side (``par``) is there at a time, whichever part of it the simulator runs first: each part begins
at the most that the ones before it took. Parts that compute on the memory's own array take turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from einsum_cascades.loops.levels import Levels
from einsum_cascades.loops.tree import Compute
from hw_models.simulator.functional.once import once
from hw_models.simulator.functional.places import Place
from hw_models.simulator.functional.stores import Room, Store

Key: TypeAlias = tuple[str, Any]
"""A memory, and which instance of it."""


class FullError(Exception):
    """A memory has no room.

    Attributes:
        room, needed: bits of an instance.
    """

    def __init__(self, memory: str, room: int, needed: int) -> None:
        super().__init__(memory)
        self.memory, self.room, self.needed = memory, room, needed


class _Side:
    """One part of a ``par`` while it runs: of each instance that it touched, bits before it and the most since."""

    __slots__ = ("before", "most", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.before: dict[Key, int] = {}
        self.most: dict[Key, int] = {}


class _Abreast:
    """A ``par`` while it runs: of each instance what was taken before it, by how much its parts raised that, what is
    left of it, and the most at all."""

    __slots__ = ("base", "beside", "left", "most", "place", "side", "turns")

    def __init__(self, place: Place, number: int) -> None:
        self.place, self.side = place, _Side(number)
        self.base: dict[Key, int] = {}
        self.beside: dict[Key, int] = {}
        self.turns: dict[Key, int] = {}
        self.left: dict[Key, int] = {}
        self.most: dict[Key, int] = {}


class Occupancy:
    """Bits taken in each instance of each memory."""

    def __init__(self, levels: Levels, unlimited: Iterable[str]) -> None:
        free = {levels.home, *unlimited}
        self.limits = {
            level.name: int(level.capacity_bits)
            for level in levels.levels
            if level.capacity_bits is not None and level.name not in free
        }
        self.taken: dict[Key, int] = {}
        self.peaks: dict[str, int] = {}
        self.states: dict[Key, list[Store]] = {}
        self.abreast: list[_Abreast] = []

    # Stores come and go.

    def enter(self, store: Store, memory: str, bits: int, place: Store | None, shared: bool) -> None:
        """Give a store room, or that of another one and what is wanting there.

        Args:
            shared: whether others may take its place.
        """
        if place is not None and place.room is not None and place.room.users:
            store.room = place.room
            store.room.users += 1
            store.room.stores.append(store)
            bits = max(0, bits - store.room.bits)
            store.room.bits += bits
        elif shared:
            store.room = Room(bits, store)
        key, store.bits = (memory, store.at), bits
        self._change(key, bits)
        assert store.hold is not None
        if store.hold.hold.state:
            store.high = self.taken[key]
            self.states.setdefault(key, []).append(store)

    def grow(self, store: Store, memory: str, bits: int) -> None:
        """Give a store more room, which it should have had since it was entered."""
        key = (memory, store.at)
        store.bits += bits
        if store.room is not None:
            store.room.bits += bits
        since = store.high + bits
        for other in self.states.get(key, ()):
            other.high += bits
        self._change(key, bits)
        if self.abreast:
            side = self.abreast[-1].side
            side.most[key] = max(side.most[key], since)
        if since > self.peaks[memory]:
            self._rise(memory, since)

    def leave(self, store: Store, memory: str) -> None:
        """Take a store's room back, unless another one has its place."""
        key, room = (memory, store.at), store.room
        assert store.hold is not None
        if store.hold.hold.state:
            self.states[key].remove(store)
        if room is None:
            self._change(key, -store.bits)
            return
        room.users -= 1
        room.stores.remove(store)
        if not room.users:
            self._change(key, -room.bits)

    def _change(self, key: Key, bits: int) -> None:
        before = self.taken.get(key, 0)
        now = self.taken[key] = before + bits
        if self.abreast:
            side = self.abreast[-1].side
            if key not in side.before:
                side.before[key] = side.most[key] = before
            if now > side.most[key]:
                side.most[key] = now
        if now > self.peaks.get(key[0], -1):
            self._rise(key[0], now)
        for state in self.states.get(key, ()) if self.states else ():
            state.high = max(state.high, now)

    def _rise(self, memory: str, bits: int) -> None:
        self.peaks[memory] = bits
        if memory in self.limits and bits > self.limits[memory]:
            raise FullError(memory, self.limits[memory], bits)

    # What stands side by side.

    def turn_to(self, sides: tuple[tuple[Place, int], ...], depth: int) -> None:
        """Go on in other parts of ``par`` nodes, after the first so many that are open."""
        here = self.abreast[depth:]
        same = 0
        while same < min(len(here), len(sides)) and (here[same].place, here[same].side.number) == sides[same]:
            same += 1
        while len(self.abreast) > depth + same:
            top = self.abreast[-1]
            self._end_side(top)
            if len(self.abreast) == depth + same + 1 and same < len(sides) and top.place is sides[same][0]:
                self._begin_side(top, sides[same][1])
                same += 1
                break
            self._end(self.abreast.pop())
        for place, number in sides[same:]:
            self.abreast.append(_Abreast(place, number))

    @once
    def _takes_turns(self, place: Place, number: int, memory: str) -> bool:
        return any(isinstance(p.node, Compute) and p.where == memory for p in place.below[number].all())

    def _begin_side(self, par: _Abreast, number: int) -> None:
        par.side = _Side(number)
        for key, base in par.base.items():
            turns = 0 if self._takes_turns(par.place, number, key[0]) else par.turns.get(key, 0)
            self.taken[key] = base + par.beside.get(key, 0) + turns

    def _end_side(self, par: _Abreast) -> None:
        side = par.side
        for key, before in side.before.items():
            par.base.setdefault(key, before)
            rise = side.most[key] - before
            if self._takes_turns(par.place, side.number, key[0]):
                par.turns[key] = max(par.turns.get(key, 0), rise)
            else:
                par.beside[key] = par.beside.get(key, 0) + rise
            par.left[key] = par.left.get(key, 0) + self.taken[key] - before
            par.most[key] = max(par.most.get(key, 0), side.most[key])

    def _end(self, par: _Abreast) -> None:
        """Leave it, with what is left; what is around it learns of the most."""
        for key, base in par.base.items():
            self.taken[key] = base + par.left[key]
            if self.abreast:
                side = self.abreast[-1].side
                side.before.setdefault(key, base)
                side.most[key] = max(side.most.get(key, 0), par.most[key])

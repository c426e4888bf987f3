"""Which room a store takes: of its tensor's values, copies and parts included, or another one's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from einsum_cascades.loops.levels import Levels
from hw_models.simulator.functional.occupancy import Occupancy
from hw_models.simulator.functional.once import once
from hw_models.simulator.functional.places import Place
from hw_models.simulator.functional.stores import Store
from hw_models.simulator.functional.wiring import Wiring, tensor_of


class Rooms:
    """The room that stores take in the memories of a machine.

    A hold that keeps a part takes the values of its regions that ⌈n · part⌉ counts, n running through those of one
    instance from visit to visit: a visit of v values keeps ⌈v · part⌉ or one less.
    """

    def __init__(
        self, wiring: Wiring, levels: Levels, bits: Callable[[str], int], unlimited: Iterable[str] = ()
    ) -> None:
        self.wiring, self.levels, self.bits = wiring, levels, bits
        self.occupancy = Occupancy(levels, unlimited)
        self._seen: dict[tuple[Place, Any], int] = {}

    def enter(self, store: Store, place: Store | None) -> None:
        """Give a store its room, that of another one where the hold says so."""
        hold = store.hold
        assert hold is not None
        if hold.hold.part != 1:
            self._choose(store, hold)
        store.planes = hold.planes
        self.occupancy.enter(store, hold.where, self._size(store, hold), place, self._shared(hold))

    def leave(self, store: Store) -> None:
        """Take a store's room back."""
        assert store.hold is not None
        self.occupancy.leave(store, store.hold.where)

    def planes(self, store: Store, planes: int) -> None:
        """Note that so many iterations' values of a state live at a time."""
        hold = store.hold
        assert hold is not None
        before = self._size(store, hold)
        store.planes = hold.planes = max(planes, hold.planes)
        self.occupancy.grow(store, hold.where, self._size(store, hold) - before)

    def _size(self, store: Store, hold: Place) -> int:
        values = len(store.region) if store.kept is None else len(store.kept)
        bits, copies = self._each(hold)
        return values * bits * max(store.planes, copies)

    @once
    def _shared(self, hold: Place) -> bool:
        """Whether other holds take the place of what one keeps."""
        return any(self.wiring.place_of(site) is hold for site in self.wiring.sites if hold.encloses(site))

    @once
    def _each(self, hold: Place) -> tuple[int, int]:
        """Bits of a value, and how often it takes them at least."""
        low, high = self.wiring.span(hold)
        timed = any(loop.loop.over is None for loop in hold.loops)
        double = hold.hold.double or (self.levels[hold.where].double_buffered and timed)
        return self.bits(tensor_of(hold)), 2 if double and low == high else 1

    def _choose(self, store: Store, hold: Place) -> None:
        up, down = hold.hold.part.numerator, hold.hold.part.denominator
        seen = self._seen.get((hold, store.at), 0)
        counted = [-(-(seen + n) * up // down) for n in range(len(store.region) + 1)]
        store.kept = frozenset(key for n, key in enumerate(store.region) if counted[n + 1] > counted[n])
        self._seen[hold, store.at] = seen + len(store.region)

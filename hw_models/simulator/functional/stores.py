"""What memories keep while a tree runs: values, and in each the set of the points that are summed into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from hw_models.simulator.functional.places import Place

Run: TypeAlias = tuple[Any, ...]
"""Which repetition of which compute a value is of."""
Position: TypeAlias = tuple[int, ...]
"""Where along each dimension of the machine."""
COMPLETE = -1
"""Stands for all points of a value."""


class Value:
    """A number, the points summed into it (a set of bits), and by which compute in which repetition.

    ``taken`` says that its sum goes on in a hold further in.
    """

    __slots__ = ("mask", "number", "run", "taken")

    def __init__(self, number: float, mask: int, run: Run = ()) -> None:
        self.number, self.mask, self.run, self.taken = number, mask, run, False


class Given(dict[int, Value]):
    """The values of an input at home."""

    def __init__(self, numbers: list[float]) -> None:
        super().__init__()
        self.numbers = numbers

    def __missing__(self, key: int) -> Value:
        value = self[key] = Value(self.numbers[key], COMPLETE)
        return value


class Room:
    """Bits of one instance of a memory that one tensor takes, or several, each in the place of the one before."""

    __slots__ = ("bits", "stores", "users")

    def __init__(self, bits: int, store: Store) -> None:
        self.bits, self.users, self.stores = bits, 1, [store]


class Store:
    """What one instance keeps for one visit of a hold; the home's has no hold.

    Attributes:
        at: which instance.
        region: the values that it is to keep (of a state, each with the version 0); ``kept`` is those that it has
            room for, where that is a part.
        began: of a state, the version with which it began; ``newest`` by value.
        dirty: what was made or added to since it was fetched.
        fetched: sums that go on.
        outgoing: values of a state's earlier iterations that wait to be written.
        high: most bits that its instance has kept since it was entered.
    """

    __slots__ = (
        "at",
        "began",
        "bits",
        "dirty",
        "fetched",
        "high",
        "hold",
        "kept",
        "newest",
        "outgoing",
        "planes",
        "region",
        "room",
        "values",
    )

    def __init__(self, hold: Place | None, at: Any = (), region: list[int] | None = None) -> None:
        self.hold, self.at, self.region = hold, at, region or []
        self.values: dict[int, Value] = {}
        self.kept: frozenset[int] | None = None
        self.newest: dict[int, int] = {}
        self.began = 0
        self.dirty: set[int] = set()
        self.fetched: set[int] = set()
        self.outgoing: dict[int, Value] = {}
        self.planes = 1
        self.bits = self.high = 0
        self.room: Room | None = None


class Visit:
    """One visit of a hold by one thread: the stores of its instances.

    Where spatial loops inside run over dimensions of the hold's own memory, it is in all those instances, and each
    keeps what the uses there touch.
    """

    __slots__ = ("at", "stores")

    def __init__(self, at: Callable[[Position], Any], stores: dict[Any, Store]) -> None:
        self.at, self.stores = at, stores


class Thread:
    """One position of the machine: its ranges, and the stores around it.

    Attributes:
        ranges: of each rank that loops cut.
        turns: where the loops around it stand that some Einsum inside lacks.
        early: ranks of whose loops it is not in the last iteration.
    """

    __slots__ = ("early", "position", "ranges", "turns", "visits")

    def __init__(
        self,
        position: Position,
        ranges: tuple[tuple[int, int], ...],
        visits: dict[int, Visit],
        turns: tuple[tuple[Place, int], ...] = (),
        early: frozenset[str] = frozenset(),
    ) -> None:
        self.position, self.ranges, self.visits, self.turns, self.early = position, ranges, visits, turns, early

    def within(self, number: int, visit: Visit) -> Thread:
        """Return it inside a hold."""
        return Thread(self.position, self.ranges, {**self.visits, number: visit}, self.turns, self.early)

    def at(self, position: Position) -> Thread:
        """Return it at another position."""
        return Thread(position, self.ranges, self.visits, self.turns, self.early)


def moved(position: Position, slots: Iterable[int], to: Iterable[int]) -> Position:
    """Return a position with other places along some dimensions."""
    found = list(position)
    for slot, place in zip(slots, to, strict=True):
        found[slot] = place
    return tuple(found)

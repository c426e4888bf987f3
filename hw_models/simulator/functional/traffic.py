"""Counts accesses that happen in one step: those of several positions that are one to a memory, or to a link.

One read serves all positions that want a value and that only dimensions of links that multicast tell apart; results
of positions that only dimensions of links that sum tell apart leave as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from hw_models.simulator.functional.places import Place
from hw_models.simulator.functional.state import State, Way
from hw_models.simulator.functional.stores import Store, Thread

Columns: TypeAlias = Sequence[Sequence[int]]
"""By step, the values that the positions want, and which positions these are."""


class Tally:
    """The accesses of some positions over a way.

    Attributes:
        groups: for the outer memory and behind each link, a number for each position: positions of one number are told
            apart by nothing.
    """

    def __init__(self, state: State, way: Way, threads: Sequence[Thread], stores: Sequence[Store]) -> None:
        self.state, self.way, self.threads = state, way, threads
        known: dict[tuple[int, ...], tuple[int, ...]] = {}
        for apart in set(way.apart) if len(threads) > 1 else ():
            along = state.places_along(apart)
            numbers: dict[tuple[int, object], int] = {}
            known[apart] = tuple(
                [
                    numbers.setdefault((id(store), along(thread.position)), len(numbers))
                    for thread, store in zip(threads, stores, strict=True)
                ]
            )
        alone = (0,) * len(threads)
        self.groups = [known.get(apart, alone) for apart in way.apart]

    @property
    def each(self) -> bool:
        """Whether the outer memory tells all positions apart."""
        return len(set(self.groups[0])) == len(self.groups[0])

    def at(self, groups: tuple[int, ...], columns: Columns, members: Columns) -> int:
        """Return how many accesses there are where positions are grouped in one way."""
        different = len(set(groups))
        if different == len(groups):
            return sum(map(len, columns))
        if different == 1:
            return sum(len(set(column)) for column in columns)
        return sum(
            len({(groups[i], key) for i, key in zip(who, column, strict=True)})
            for who, column in zip(members, columns, strict=True)
        )

    def count(self, columns: Columns, members: Columns) -> list[int]:
        """Return how many accesses the outer memory has, and how many values leave each link."""
        known: dict[tuple[int, ...], int] = {}
        for groups in self.groups:
            if groups not in known:
                known[groups] = self.at(groups, columns, members)
        return [known[groups] for groups in self.groups]

    def inward(self, tensor: str, columns: Columns, members: Columns, hold: Place | None) -> None:
        """Note reads of what a hold (or home) keeps."""
        rows, counts = self.state.rows, self.count(columns, members)
        if hold is None or hold.hold.part == 1:
            rows[self.way.memory, tensor, "read"] += counts[0]
        else:
            self._spilled(tensor, columns, members, hold)
        for number, level in enumerate(self.way.levels):
            rows[level, tensor, "sent"] += counts[number]
            rows[level, tensor, "delivered"] += counts[number + 1]

    def _spilled(self, tensor: str, columns: Columns, members: Columns, hold: Place) -> None:
        """Note reads of what a hold keeps in part; each instance asks for the rest itself, further out."""
        far: dict[tuple[Place, ...], tuple[list[list[int]], list[list[int]]]] = {}
        for who, column in zip(members, columns, strict=True):
            here: dict[tuple[Place, ...], tuple[list[int], list[int]]] = {}
            for i, key in zip(who, column, strict=True):
                _, passed = self.state.beyond(self.threads[i], hold, tensor, key)
                asking, asked = here.setdefault(tuple(passed), ([], []))
                asking.append(i)
                asked.append(key)
            for passed, (asking, asked) in here.items():
                some, what = far.setdefault(passed, ([], []))
                some.append(asking)
                what.append(asked)
        for passed, (some, what) in far.items():
            times = self.at(self.groups[0], what, some)
            memory = self.state.pass_by(passed, tensor, "spilled read", times) if passed else self.way.memory
            self.state.rows[memory, tensor, "read"] += times

    def outward(self, tensor: str, columns: Columns, members: Columns) -> None:
        """Note what results do to the links."""
        rows, counts = self.state.rows, self.count(columns, members)
        for number, level in enumerate(self.way.levels):
            rows[level, tensor, "sent"] += counts[number + 1]
            rows[level, tensor, "delivered"] += counts[number]

    def back(self, tensor: str, times: int = 1) -> None:
        """Note partial sums that come back."""
        rows = self.state.rows
        rows[self.way.memory, tensor, "read"] += times
        for level in self.way.levels:
            rows[level, tensor, "sent"] += times
            rows[level, tensor, "delivered"] += times

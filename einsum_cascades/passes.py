"""Passes: how often a cascade must walk a whole rank before it may walk it again, under any mapping.

Every Einsum gets a slot on the line before < in pass 1 < after 1 < in pass 2 < ..., encoded as 0, 1, 2, ...:

- inputs are there before pass 1; an Einsum takes the largest slot of its operands;
- one that walks the *whole* rank family and finds itself after pass k runs in pass k+1;
- its result streams in the same pass while it keeps the family, or those parts of it that are outermost in
  the pass's loop order (all partial results of a pass agree on one order); with no part left, it is there
  only after the pass;
- a value carried along an iterative rank of the family streams; its last value is there after the pass;
- an Einsum that walks only a part of the family (partial results) needs no pass of its own: it sits in a
  pass or between two.

The passes of a cascade are the largest pass number. The bound follows from data dependencies alone. With an
iterative rank outside the family it is the number of passes of one iteration.

Source: Nayak et al., "FuseMax", MICRO 2024, section 3 (passes, live footprints, the taxonomy of attention).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, islice, product
from types import MappingProxyType

from einsum_cascades.errors import InputError
from einsum_cascades.graph import dependencies
from einsum_cascades.ir import Cascade
from einsum_cascades.not_a_rank import not_a_rank


@dataclass(frozen=True)
class PassAnalysis:
    """The passes of a cascade over one rank family.

    Attributes:
        rank: the rank asked for.
        family: its parts, outermost first; the rank alone if it is not split.
        passes: passes of the cascade.
        einsum_pass: per Einsum the earliest pass in which it runs or, where it does not walk the whole
            family, the pass after which it can (0: before the first). An ``init`` Einsum of a tensor that the
            body writes too is not listed.
        tensor_passes: per tensor with a rank of the family, how many distinct passes write or read its fiber,
            the least over all schedules with ``passes`` passes. A visit between two passes, of partial
            results only, counts as one more. Where it is more than one, the whole fiber is live, or loaded
            as often.
    """

    rank: str
    family: tuple[str, ...]
    passes: int
    einsum_pass: Mapping[str, int]
    tensor_passes: Mapping[str, int]
    tensor_visits: Mapping[str, tuple[int, ...]]


def slot_name(slot: int) -> str:
    """Return ``before pass 1``, ``pass 1``, ``after pass 1``, ``pass 2``, ... for the slots 0, 1, 2, 3, ..."""
    number = (slot + 1) // 2
    return f"pass {number}" if slot & 1 else f"after pass {number}" if slot else "before pass 1"


@lru_cache(maxsize=256)
def analyse_passes(cascade: Cascade, rank: str = "M", *, within_tile: bool = False) -> PassAnalysis:
    """Analyse the passes of a cascade over a rank.

    Args:
        cascade: the cascade.
        rank: a rank, or a family by any of its names: M, M1 or M0.
        within_tile: treat ``rank`` alone as the family, every other part fixed; for M0, the passes over the
            fiber of one tile.

    Raises:
        InputError: the cascade has no such rank, or its dependencies form a circle.
    """
    known = {r for d in cascade.declarations for r in d.ranks} | {r for e in cascade.einsums for r in e.ranks}
    if not within_tile:
        known |= {partition.rank for partition in cascade.partitions}
    if rank not in known:
        raise not_a_rank(cascade, rank, known)
    family = (rank,) if within_tile else cascade.family(rank)
    schedule = Schedule(cascade, Family(cascade, family))
    visits = schedule.tensor_visits()
    return PassAnalysis(
        rank,
        family,
        schedule.passes,
        MappingProxyType(schedule.einsum_passes()),
        MappingProxyType({tensor: len(slots) for tensor, slots in visits.items()}),
        MappingProxyType(visits),
    )


Parts = frozenset[str]
_SEARCH_LIMIT = 256


class Family:
    """A rank family, and what of it some ranks walk over."""

    def __init__(self, cascade: Cascade, order: tuple[str, ...]) -> None:
        self.order = order
        self.whole: Parts = frozenset(order)
        self._parts: dict[str, Parts] = {part: frozenset({part}) for part in order}
        self._parts |= {p.rank: self.whole for p in cascade.partitions if p.parts == order}

    def parts(self, ranks: Iterable[str]) -> Parts:
        """The parts of the family among some ranks; an unsplit M stands for all of them."""
        return frozenset(part for rank in ranks for part in self._parts.get(rank, ()))


class Schedule:
    """The constraints between Einsums, and the earliest slots that satisfy them.

    An edge (producer, consumer, parts) says which parts of the family the value that is read keeps.
    ``streaming`` holds, per pass (the last entry repeats), the proper parts that the pass's loop order lets
    stream.
    """

    def __init__(self, cascade: Cascade, family: Family) -> None:
        self.cascade = cascade
        self.family = family
        self.walked = [family.parts(einsum.ranks) for einsum in cascade.einsums]
        self.edges = [
            (d.producer, d.consumer, family.parts(d.write.ranks) & family.parts(d.read.ranks))
            for d in dependencies(cascade)
            if not any(distance > 0 and not family.parts([rank]) for rank, distance in d.distances)
        ]
        self.last_slot = 2 * sum(parts == family.whole for parts in self.walked)
        self.slots, self.streaming = self._earliest()
        self.passes = (max(self.slots, default=0) + 1) // 2
        self.last_slot = 2 * self.passes

    def fit(self, einsum: int, slot: int, allowed: Sequence[int] | None = None) -> int | None:
        """Return the first slot from ``slot`` on in which an Einsum may run.

        One that walks the whole family runs in a pass, one that walks none of it between passes.
        """
        walked = self.walked[einsum]
        parity = 1 if walked == self.family.whole else None if walked else 0
        candidates = range(slot, min(slot + 2, self.last_slot + 1)) if allowed is None else allowed
        return next((s for s in candidates if s >= slot and parity in (None, s & 1)), None)

    def settle(self, slots: list[int], visits: Iterable[int] = (), allowed: Sequence[int] = ()) -> list[int] | None:
        """Raise slots, those of ``visits`` to allowed ones, until all constraints hold, or return None."""
        slots, limited = list(slots), frozenset(visits)
        for einsum in limited:
            fitted = self.fit(einsum, slots[einsum], allowed)
            if fitted is None:
                return None
            slots[einsum] = fitted
        changed = True
        while changed:
            changed = False
            for producer, consumer, parts in self.edges:
                slot = slots[producer]
                if slot & 1 and not self.streams(parts, slot):
                    slot += 1
                if slot > slots[consumer]:
                    fitted = self.fit(consumer, slot, allowed if consumer in limited else None)
                    if fitted is None:
                        return None
                    slots[consumer], changed = fitted, True
        return slots

    def streams(self, parts: Parts, slot: int) -> bool:
        """Whether a value that keeps these parts is there while its pass still runs."""
        if parts == self.family.whole:
            return True
        return parts in self.streaming[min(slot // 2, len(self.streaming) - 1)]

    def _earliest(self) -> tuple[list[int], tuple[frozenset[Parts], ...]]:
        """Earliest slots under the loop orders that need the fewest passes; the natural order wins a tie."""
        start = [1 if parts == self.family.whole else 0 for parts in self.walked]
        partial = {parts for *_, parts in self.edges if parts and parts != self.family.whole}
        orders = list(islice(_chains(partial, self.family.order), 16))
        depth = 1 if len(orders) == 1 else min(int(math.log(_SEARCH_LIMIT, len(orders))), self.last_slot // 2)
        found = []
        for self.streaming in product(orders, repeat=max(1, depth)):
            slots = self.settle(start)
            if slots is not None:
                found.append((slots, self.streaming))
        if not found:
            raise InputError(
                f"the dependencies of cascade '{self.cascade.name}' form a circle that no pass resolves",
                hint="a value may depend only on values of other Einsums or of earlier iterations",
            )
        return min(found, key=lambda result: (max(result[0], default=0) + 1) // 2)

    def einsum_passes(self) -> dict[str, int]:
        """Earliest pass of each Einsum by name, or the pass after which it runs."""
        body = {einsum.name for einsum in self.cascade.body}
        found: dict[str, int] = {}
        for index, einsum in enumerate(self.cascade.einsums):
            if index >= len(self.cascade.init) or einsum.name not in body:
                found[einsum.name] = max(found.get(einsum.name, 0), (self.slots[index] + 1) // 2)
        return found

    def tensor_visits(self) -> dict[str, tuple[int, ...]]:
        """Fewest distinct slots that visit each tensor with a rank of the family."""
        visits: dict[str, set[int]] = {d.tensor: set() for d in self.cascade.declarations if self.family.parts(d.ranks)}
        for index, einsum in enumerate(self.cascade.einsums):
            for access in (einsum.output, *einsum.inputs):
                if self.family.parts(access.ranks):
                    visits.setdefault(access.tensor, set()).add(index)
        return {tensor: self._least_visits(indices) for tensor, indices in visits.items()}

    def _least_visits(self, visits: set[int]) -> tuple[int, ...]:
        """Fewest slots for some Einsums: exact, unless there are too many sets of slots to try."""
        earliest = {self.slots[index] for index in visits}
        trials = (
            allowed
            for number in range(1, len(earliest))
            for allowed in combinations(range(self.last_slot, min(earliest) - 1, -1), number)
        )
        for allowed in islice(trials, _SEARCH_LIMIT):
            if allowed[0] >= max(earliest) and self.settle(self.slots, visits, allowed[::-1]) is not None:
                return allowed[::-1]
        return tuple(sorted(earliest))


def _chains(sets: set[Parts], order: tuple[str, ...]) -> Iterator[frozenset[Parts]]:
    """Maximal chains of sets under inclusion: what each loop order lets stream, natural order first."""

    def position(parts: Parts) -> list[int]:
        return sorted(order.index(part) for part in parts)

    def extend(chain: tuple[Parts, ...]) -> Iterator[frozenset[Parts]]:
        above = [s for s in sets if not chain or s > chain[-1]]
        lowest = [s for s in above if not any(other < s for other in above)]
        if not lowest:
            yield frozenset(chain)
        for parts in sorted(lowest, key=position):
            yield from extend((*chain, parts))

    return extend(())

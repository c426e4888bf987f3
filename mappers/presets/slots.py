"""Which Einsums of a tile run side by side: the slots of a pipeline, from the dependencies between two arrays.

Within one visit of a tile the matrix array works in even stages and the vector array in odd ones: an Einsum comes one
stage after the latest operand that the other array makes. A vector stage that the matrix array waits for is a slot of
its own; other vector work moves beside the next matrix stage, and after the last one beside the first stage of the next
tile, as does what runs after the pass. If tiles pass through the buffer the arrays are decoupled and there is one slot.

Interleaved, an Einsum is late by the number of matrix stages that it comes after, so that what changes arrays is made
in an epoch before (``drained.py`` makes them as many as the results need to leave). Serial, all is of one iteration,
and drains are waited for, but what nothing in the tile waits for: it is of the iteration before, beside the next tile
or beside the matrix stage that it takes values from.

Source: Nayak et al., "FuseMax", MICRO 2024, section V (binding), of which this is the general rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeAlias, TypeVar

from einsum_cascades.ir import Einsum
from einsum_cascades.order import carried
from mappers.residency import Residency

Overlap: TypeAlias = Literal["none", "arrays", "tiles", "stages"]
"""What runs side by side: nothing; what the two arrays do in one tile; and in neighbouring tiles; each stage in a tile
of its own, so that an epoch takes no longer than the work of the busier array."""
Slot: TypeAlias = list[tuple[int, list[Einsum]]]
"""Parts that run side by side: by how many iterations each is late, and its Einsums in order."""
_K = TypeVar("_K")


def slots_of(residency: Residency, einsums: list[Einsum], after: list[Einsum], overlap: Overlap) -> list[Slot]:
    """Return the slots of one visit.

    Args:
        einsums: of the tile.
        after: those that run once, after the last row tile.
    """
    if overlap == "none":
        return [[(0, [einsum])] for einsum in (*einsums, *after)]
    interleaved = overlap == "tiles"
    stage = _stages(einsums, residency)
    if residency.decoupled or overlap == "stages":
        last = max(stage.values(), default=0)
        parts = [(number, [e for e in einsums if stage[e.name] == number]) for number in range(last + 1)]
        parts[-1][1].extend(after)
        return _from_zero([[(late, members) for late, members in parts if members]])
    waited = _waited_for(einsums, residency)
    last = max((s for s in stage.values() if s % 2 == 0), default=0)
    slot_of, start = dict(stage), {name: -(-slot // 2) if interleaved else 0 for name, slot in stage.items()}
    for einsum in einsums:
        slot = stage[einsum.name]
        if slot % 2 and einsum.name not in waited:
            slot_of[einsum.name] = _beside(einsum, slot, last, residency, stage, interleaved)
    again = {} if interleaved else {name: int(slot < stage[name]) for name, slot in slot_of.items()}
    lates = start | again
    if again:
        found = raised(lates, _order(einsums, slot_of, residency))
        lates = found or start | {name: late for name, late in again.items() if slot_of[name] == 0}
    slots: dict[int, list[tuple[int, Einsum]]] = {0: []}
    for einsum in einsums:
        slots.setdefault(slot_of[einsum.name], []).append((lates[einsum.name], einsum))
    made = {e.name: late + (slot > 0) for slot, members in slots.items() for late, e in members}
    for einsum in after:
        late = max((made.get(a.tensor, 0) for a in einsum.inputs), default=0)
        made[einsum.name] = late
        slots[0].append((late, einsum))
    return _from_zero([_parts(slots[number], residency) for number in sorted(slots) if slots[number]])


def raised(start: Mapping[_K, int], order: Iterable[tuple[_K, _K, int]]) -> dict[_K, int] | None:
    """Return numbers that are no less than those given, and in order; None if there are none.

    Args:
        order: (one, another, by how much the other's number is larger, at least).
    """
    found, pairs = dict(start), list(order)
    for _ in range(len(found) + 1):
        short = [(one, other, by) for one, other, by in pairs if found[other] < found[one] + by]
        if not short:
            return found
        for one, other, by in short:
            found[other] = max(found[other], found[one] + by)
    return None


def _order(einsums: list[Einsum], slot_of: Mapping[str, int], residency: Residency) -> Iterator[tuple[str, str, int]]:
    """Yield what reads what, and by how much later it is at least; states may be of the tile just before."""
    for einsum in einsums:
        name = einsum.name
        for tensor, again in {(a.tensor, carried(a, residency.cascade)) for a in einsum.inputs if a.tensor in slot_of}:
            in_turn = slot_of[tensor] == slot_of[name] and residency.arrays[tensor] == residency.arrays[name]
            if again:
                yield tensor, name, -int(slot_of[tensor] < slot_of[name])
            else:
                yield tensor, name, int(slot_of[tensor] >= slot_of[name] and not in_turn)


def _from_zero(slots: list[Slot]) -> list[Slot]:
    """Lateness counted from the earliest part."""
    least = min((late for slot in slots for late, _ in slot), default=0)
    return [[(late - least, members) for late, members in slot] for slot in slots]


def _parts(members: Iterable[tuple[int, Einsum]], residency: Residency) -> Slot:
    """Einsums of one array and lateness run one after another; matrix work is listed first."""
    found: dict[tuple[bool, int], list[Einsum]] = {}
    for late, einsum in members:
        found.setdefault((residency.arrays[einsum.name] != "matrix", late), []).append(einsum)
    return [(late, found[vector, late]) for vector, late in sorted(found)]


def _beside(
    einsum: Einsum, slot: int, last: int, residency: Residency, stage: dict[str, int], interleaved: bool
) -> int:
    if slot < last:
        return slot + 1
    if not interleaved:
        inner = set(einsum.ranks) - residency.roles.family - {residency.roles.column, *residency.roles.batches}
        for access in einsum.inputs:
            fresh = access.tensor in stage and not carried(access, residency.cascade)
            if fresh and residency.arrays[access.tensor] == "matrix" and inner & set(access.ranks):
                return stage[access.tensor]
    return 0


def _stages(einsums: list[Einsum], residency: Residency) -> dict[str, int]:
    stage: dict[str, int] = {}
    for einsum in einsums:
        found = 0 if residency.arrays[einsum.name] == "matrix" else 1
        for access in einsum.inputs:
            if access.tensor in stage and not carried(access, residency.cascade):
                crossed = residency.arrays[access.tensor] != residency.arrays[einsum.name]
                found = max(found, stage[access.tensor] + crossed)
        stage[einsum.name] = found
    return stage


def _waited_for(einsums: list[Einsum], residency: Residency) -> set[str]:
    """Einsums of the vector array from which, in the same visit, something on the matrix array follows."""
    waited: set[str] = set()
    names = {e.name for e in einsums}
    for einsum in reversed(einsums):
        if residency.arrays[einsum.name] == "matrix" or einsum.name in waited:
            waited |= {a.tensor for a in einsum.inputs if a.tensor in names and not carried(a, residency.cascade)}
    return {n for n in waited if residency.arrays[n] == "vector"}

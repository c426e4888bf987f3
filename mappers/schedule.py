"""Which Einsums of a tile run side by side: epochs derived from the dependencies between the two arrays.

Within one visit of a tile, the 2D array works in even stages and the 1D array in odd ones: an Einsum comes one stage
after the latest operand that the other array makes. A 1D stage that the 2D array waits for is an epoch of its own.
1D work that nothing on the 2D array waits for moves beside the next 2D stage; after the last one it moves beside the
first 2D stage of the neighbouring tile, as does what runs after the pass. If tiles go through the buffer the arrays are
decoupled, and the whole visit is one epoch.

``serial`` runs tiles one after another: what streams a fiber from the 2D array stays beside it, and the 1D array waits
for the 2D array to drain. ``interleaved`` overlaps neighbouring tiles, which hides both (MICRO 2024, section V).
"""

from __future__ import annotations

from einsum_cascades.ir import Einsum
from mappers.residency import Residency
from mappers.sections import Section, carried

Epochs = tuple[tuple[str, ...], ...]


def epochs(residency: Residency, *, interleaved: bool) -> tuple[Epochs, int]:
    """Return the epochs of all sections in order, and how many of them wait for the 2D array to drain."""
    by_section: dict[Section, list[Einsum]] = {}
    for einsum in residency.einsums:
        by_section.setdefault(residency.section[einsum.name], []).append(einsum)
    order = sorted(by_section)
    result: list[list[str]] = []
    drains = 0
    for section in order:
        names = [e.name for e in by_section[section]]
        if section[1] or residency.decoupled:
            result.append(names)
        else:
            found, waits = _tile_epochs(by_section[section], residency, interleaved)
            result += found
            drains += waits
    if len(order) > 1 and order[-1][1]:
        result[1 if order[0][1] else 0] += result.pop()
    return tuple(tuple(e) for e in result if e), drains


def _tile_epochs(einsums: list[Einsum], residency: Residency, interleaved: bool) -> tuple[list[list[str]], int]:
    stage = _stages(einsums, residency)
    waited = _waited_for(einsums, residency)
    last = max((s for s in stage.values() if s % 2 == 0), default=0)
    slots: dict[int, list[str]] = {}
    for einsum in einsums:
        slot = stage[einsum.name]
        if slot % 2 and einsum.name not in waited:
            slot = _beside(einsum, slot, last, residency, stage, interleaved)
        slots.setdefault(slot, []).append(einsum.name)
    slots.setdefault(0, [])
    lone = sum(1 for slot in slots if slot % 2)
    return [slots[s] for s in sorted(slots)], 0 if interleaved else lone


def _beside(
    einsum: Einsum, slot: int, last: int, residency: Residency, stage: dict[str, int], interleaved: bool
) -> int:
    if slot < last:
        return slot + 1
    if not interleaved:
        inner = set(einsum.ranks) - residency.roles.family - {residency.roles.column, *residency.roles.batches}
        for access in einsum.inputs:
            fresh = access.tensor in stage and not carried(access, einsum, residency.cascade)
            if fresh and residency.arrays[access.tensor] == "array_2d" and inner & set(access.ranks):
                return stage[access.tensor]
    return 0


def _stages(einsums: list[Einsum], residency: Residency) -> dict[str, int]:
    stage: dict[str, int] = {}
    for einsum in einsums:
        on_2d = residency.arrays[einsum.name] == "array_2d"
        found = 0 if on_2d else 1
        for access in einsum.inputs:
            if access.tensor in stage and not carried(access, einsum, residency.cascade):
                crossed = residency.arrays[access.tensor] != residency.arrays[einsum.name]
                found = max(found, stage[access.tensor] + crossed)
        stage[einsum.name] = found
    return stage


def _waited_for(einsums: list[Einsum], residency: Residency) -> set[str]:
    """Einsums of the 1D array from which, in the same visit, something on the 2D array follows."""
    waited: set[str] = set()
    names = {e.name for e in einsums}
    for einsum in reversed(einsums):
        if residency.arrays[einsum.name] == "array_2d" or einsum.name in waited:
            waited |= {
                a.tensor for a in einsum.inputs if a.tensor in names and not carried(a, einsum, residency.cascade)
            }
    return {n for n in waited if residency.arrays[n] == "array_1d"}

"""When the tensors of a segment are there together: its moments, between which passes part.

Passes over a rank are loops of their own: an Einsum of one pass and one of the next are never inside the same loop
over it, so their tiles need no room at the same time, unless a loop further out keeps them. So are the Einsum that sums
over a rank and the one that reads the sum, and one that walks a rank and one that does not. Einsums that no such split
parts are a *moment*.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Split:
    """Where passes over a rank part.

    Attributes:
        rank: whose loop the parts do not share.
        slots: of each Einsum, the part that it is in.
        within: whether only what is inside a tile of the rank parts.
    """

    rank: str
    slots: tuple[int, ...]
    within: bool = False


def moments_of(count: int, splits: tuple[Split, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of the Einsums of each moment, of so many Einsums."""
    found: dict[tuple[int, ...], list[int]] = {}
    for number in range(count):
        found.setdefault(tuple(split.slots[number] for split in splits), []).append(number)
    return tuple(tuple(members) for members in found.values())

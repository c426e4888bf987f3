"""Sections of a fused cascade: what runs during which pass over the row family, and what only after it.

Times follow the pass analysis (Nayak et al., MICRO 2024, section 3): an Einsum runs as soon as its operands are there.
Its section is ``(k, False)`` while pass k streams and ``(k, True)`` between pass k and the next.
"""

from __future__ import annotations

from einsum_cascades.ir import Access, Cascade, Size
from einsum_cascades.order import carried

Section = tuple[int, bool]


def sections(cascade: Cascade, family: frozenset[str]) -> dict[str, Section]:
    """Return the section of each Einsum of the body and of the final part."""
    there: dict[str, Section] = {}
    found: dict[str, Section] = {}
    for einsum in (*cascade.body, *cascade.final):
        moment: Section = (0, True)
        for access in einsum.inputs:
            if access.tensor in there and not carried(access, cascade):
                moment = max(moment, _when(access, there[access.tensor]))
        if family and family <= set(einsum.ranks) and moment[1]:
            moment = (moment[0] + 1, False)
        streams = bool(family & set(einsum.ranks)) and any(i in cascade.iterative_ranks for i in einsum.ranks)
        if streams and moment[1]:
            moment = (moment[0] + 1, False)
        found[einsum.name] = moment
        keeps = family & set(einsum.output.ranks)
        there[einsum.name] = moment if keeps else (moment[0], True)
    return found


def _when(access: Access, written: Section) -> Section:
    if any(isinstance(s, Size) for s in access.subscripts):
        return (written[0], True)
    return written

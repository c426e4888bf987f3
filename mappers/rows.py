"""The rank family that a cascade makes its passes over, and the section of each Einsum along it."""

from __future__ import annotations

from functools import lru_cache

from einsum_cascades.ir import Cascade
from einsum_cascades.passes import analyse_passes
from mappers.sections import Section, sections


def carriers(cascade: Cascade, rank: str) -> int:
    """Return how many tensors have a rank of the family."""
    family = set(cascade.family(rank))
    return sum(1 for d in cascade.declarations if family & set(d.ranks))


@lru_cache(maxsize=256)
def row_rank(cascade: Cascade) -> str | None:
    """Return the rank with the most passes (of equals the one that most tensors have); None if none is reduced.

    Iterative ranks, then ranks that the cascade splits, come before others.
    """
    preferred = [*cascade.iterative_ranks, *(part for p in cascade.partitions for part in p.parts)]
    reduced = [r for e in cascade.body for r in e.reduced_ranks]
    candidates = list(dict.fromkeys(preferred or reduced))
    if not candidates:
        return None
    return max(candidates, key=lambda r: (analyse_passes(cascade, r).passes, carriers(cascade, r)))


@lru_cache(maxsize=256)
def row_sections(cascade: Cascade) -> tuple[tuple[str, ...], dict[str, Section]]:
    """Return the row family, innermost part last, and the section of each Einsum of the body and final part."""
    row = row_rank(cascade)
    family = cascade.family(row) if row else ()
    return family, sections(cascade, frozenset(family))


def passes_of(cascade: Cascade) -> int:
    """Return how many passes over its row family a cascade makes when every Einsum runs as soon as its operands are there."""
    return max(number for number, _ in row_sections(cascade)[1].values())

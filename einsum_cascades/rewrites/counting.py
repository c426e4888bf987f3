"""The number of values along a rank, as a cascade can say it: C[m+1] = C[m] + 1 from C[0] = 0, read at C[M].

The notation folds only ranks that an operand walks over, so a sum of ones needs this recurrence.
"""

from __future__ import annotations

from einsum_cascades.ir import Access, Apply, Cascade, Const, Einsum, Number, Size, Stop, Var


def count_step(tensor: str, rank: str) -> Einsum:
    """Return ``C[m+1] = C[m] + 1``."""
    before = Access(tensor, (Var(rank),))
    return Einsum(Access(tensor, (Var(rank, 1),)), Apply("add", (before, Number(1.0))))


def count_start(tensor: str) -> Einsum:
    """Return ``C[0] = 0``."""
    return Einsum(Access(tensor, (Const(0),)), Number(0.0))


def known_count(cascade: Cascade, rank: str) -> Access | None:
    """Return the access of a count that a cascade has already."""
    for einsum in cascade.body:
        complete = Stop(rank, Size(rank)) in cascade.stop and count_start(einsum.name) in cascade.init
        if complete and einsum == count_step(einsum.name, rank):
            return Access(einsum.name, (Size(rank),))
    return None


def iterates_only_counts(cascade: Cascade) -> bool:
    """Whether nothing but counts is carried from one iteration to the next."""
    shifted = {e.name: e for e in cascade.body if any(isinstance(s, Var) and s.shift for s in e.output.subscripts)}
    counts = {t for t, e in shifted.items() if e == count_step(t, e.output.subscripts[0].rank)}  # type: ignore[union-attr]
    return set(shifted) == counts and {e.name for e in cascade.init} <= counts

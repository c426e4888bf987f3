"""Conditions that bound the keys which a query sees: ``m <= a * p + c`` or ``m >= a * p + c``.

From them follows, for a tile of queries, which keys any of them sees and which keys all of them see, so that whole
tiles of keys are skipped, and others need no mask.
"""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from kernels.gpu.generator.terms import ONE, Call, Input, Position, Sum, Term, added, is_scalar, nodes, summands, total

MOST = 2**30
"""Bounds beyond this are cut off: no length is so large."""


@dataclass(frozen=True)
class Bound:
    """``m <= slope * p + constant`` if ``upper``, else ``>=``; without equality if ``strict``."""

    upper: bool
    slope: int
    constant: Term
    strict: bool

    def rounded(self, constant: float) -> int:
        """Return the integer c for which ``m <= slope * p + c``, or ``>=``, says the same of integers."""
        if math.isnan(constant):
            return -MOST if self.upper else MOST
        constant = min(max(constant, -MOST), MOST)
        if self.upper:
            return math.ceil(constant) - 1 if self.strict else math.floor(constant)
        return math.floor(constant) + 1 if self.strict else math.ceil(constant)


def bounds_of(condition: Call, key_rank: str, query_rank: str, varying: AbstractSet[str]) -> tuple[Bound, ...]:
    """Return the bounds that a condition is, or none where it is no bound.

    Args:
        condition: a comparison.
        key_rank, query_rank: M and P.
        varying: scalar inputs that are not the same for all heads; they bound nothing.
    """
    if condition.operator == "eq":
        pair = (Call(operator, condition.operands) for operator in ("le", "ge"))
        found = [bound for one in pair for bound in bounds_of(one, key_rank, query_rank, varying)]
        return tuple(found) if len(found) == 2 else ()
    if condition.operator not in ("lt", "le", "gt", "ge"):
        return ()
    left, right = condition.operands
    if condition.operator in ("gt", "ge"):
        left, right = right, left
    # left - right <= 0
    slopes = {key_rank: 0.0, query_rank: 0.0}
    rest: Sum = {}
    for (scalar, x), number in added(summands(left), summands(right), -1.0).items():
        if isinstance(x, Position) and scalar == ONE and x.rank in slopes:
            slopes[x.rank] += number
        elif x == ONE and is_scalar(scalar) and not _varies(scalar, varying):
            rest[scalar, x] = number
        else:
            return ()
    of_key, of_query = slopes[key_rank], slopes[query_rank]
    if abs(of_key) != 1.0 or not abs(of_query) <= 2**10 or of_query != int(of_query):
        return ()
    constant = total(added({}, rest, -of_key))
    return (Bound(of_key > 0, int(-of_query * of_key), constant, condition.operator in ("lt", "gt")),)


def _varies(term: Term, varying: AbstractSet[str]) -> bool:
    return any(isinstance(x, Input) and x.tensor in varying for x in nodes(term))

"""What each input of a cascade is for, so that numbers can be drawn that try it.

A *flag* is only compared or chosen by, such as the keep of a key mask or a document's number; a *place* is compared
with an index, such as the width of a window. A *carrier* is a value whose infinities reach a maximum or minimum, such as
an additive mask. Inputs that are divided by, or stand under a logarithm or root, are positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from einsum_cascades.ir import Apply, Cascade, Expression, Index, accesses, leaves
from einsum_cascades.operators import COMPARISONS
from einsum_cascades.rewrites.infinities import Infinities
from einsum_cascades.rewrites.stability import positive_inputs


@dataclass(frozen=True)
class Roles:
    """The roles of inputs, by the names of plain tensors.

    Attributes:
        flags, places, positive: see above.
        carriers: for each carrier, the infinity that its folds ignore: -inf before a maximum, inf before a minimum.
        masks: whether anything can keep values from a fold: a flag, a place, a carrier or an index compared.
        indices: ranks whose indices are compared.
        folded: ranks that are reduced, partitioned ones as a whole.
    """

    flags: frozenset[str]
    places: frozenset[str]
    positive: frozenset[str]
    carriers: tuple[tuple[str, float], ...]
    indices: frozenset[str]
    folded: frozenset[str]

    @property
    def masks(self) -> bool:
        """Whether anything can keep values from a fold."""
        return bool(self.flags or self.places or self.carriers or self.indices)


@lru_cache(maxsize=64)
def roles(cascade: Cascade) -> Roles:
    """Return the roles of a cascade's inputs."""
    views = dict(cascade.views)
    reads = _Reads(cascade)
    compared = [c for e in cascade.einsums for c in _comparisons(e.expression)]
    with_index = [c for c in compared if any(isinstance(leaf, Index) for leaf in leaves(c))]
    places = {t for c in with_index for t in reads.behind(c)}
    ranks = {leaf.rank for c in with_index for leaf in leaves(c) if isinstance(leaf, Index)}
    flags = reads.conditions - reads.values

    def plain(found: set[str] | frozenset[str]) -> frozenset[str]:
        return frozenset(views.get(t, t) for t in found)

    carriers = {views.get(t, t): sign * float("inf") for t, sign in _carriers(cascade) if t not in flags}
    return Roles(
        plain(flags),
        plain(places & flags),
        plain(positive_inputs(cascade)),
        tuple(carriers.items()),
        frozenset(map(cascade.whole_rank, ranks)),
        frozenset(cascade.whole_rank(r) for e in cascade.einsums for r in e.reduced_ranks),
    )


class _Reads:
    """The inputs that results are computed from, as values and as conditions."""

    def __init__(self, cascade: Cascade) -> None:
        self.writers: dict[str, list[Expression]] = {}
        for einsum in cascade.einsums:
            self.writers.setdefault(einsum.name, []).append(einsum.expression)
        self.folds = {e.name for e in cascade.einsums if e.reductions}
        self.inputs = frozenset(cascade.inputs)
        self.values: set[str] = set()
        self.conditions: set[str] = set()
        seen: set[tuple[str, bool]] = set()
        waiting = [(tensor, False) for tensor in cascade.outputs]
        while waiting:
            tensor, condition = waiting.pop()
            if (tensor, condition) in seen:
                continue
            seen.add((tensor, condition))
            if tensor in self.inputs:
                (self.conditions if condition else self.values).add(tensor)
            for expression in self.writers.get(tensor, ()):
                waiting += _read(expression, condition and tensor not in self.folds)

    def behind(self, expression: Expression) -> set[str]:
        """The inputs that an expression is computed from elementwise."""
        found: set[str] = set()
        waiting = [a.tensor for a in accesses(expression)]
        seen = set(waiting)
        while waiting:
            tensor = waiting.pop()
            if tensor in self.inputs:
                found.add(tensor)
            elif tensor not in self.folds:
                more = {a.tensor for e in self.writers.get(tensor, ()) for a in accesses(e)} - seen
                seen |= more
                waiting += more
        return found


def _read(expression: Expression, condition: bool) -> Iterator[tuple[str, bool]]:
    """The tensors that an expression reads, and whether as conditions."""
    if isinstance(expression, Apply):
        for place, operand in enumerate(expression.operands):
            chooses = expression.operator in COMPARISONS or (expression.operator == "where" and place == 0)
            yield from _read(operand, condition or chooses)
    else:
        yield from ((a.tensor, condition) for a in accesses(expression))


def _comparisons(expression: Expression) -> Iterator[Expression]:
    if isinstance(expression, Apply):
        if expression.operator in COMPARISONS:
            yield expression
        for operand in expression.operands:
            yield from _comparisons(operand)


def _carriers(cascade: Cascade) -> Iterator[tuple[str, int]]:
    """Inputs, and the sign of an infinity of theirs that a maximum or minimum ignores."""
    folds = [(e, r) for e in cascade.einsums for r in e.reductions if r.operator in ("max", "min")]
    for rank in dict.fromkeys(cascade.whole_rank(r.rank) for _, r in folds):
        for tensor in cascade.inputs:
            reached = Infinities(cascade, rank, [tensor])
            for einsum, reduction in folds:
                sign = -1 if reduction.operator == "max" else 1
                if cascade.whole_rank(reduction.rank) == rank and (sign, False) in reached.of(einsum.expression):
                    yield tensor, sign

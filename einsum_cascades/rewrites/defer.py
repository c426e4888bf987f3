"""Defer a factor that does not depend on the reduced rank until after the reduction.

Multiplication distributes over the sum, addition over the maximum and minimum:

    sum_m  c(y) g(x_m)           = c(y) * sum_m g(x_m)             (division after the sum: c = 1/y)
    sum_m  sum_k c_k(y) g_k(x_m) = sum_k c_k(y) * sum_m g_k(x_m)   (moments: (x - y)^2 = x^2 - 2xy + y^2)
    max_m  g(x_m) + c(y)         = max_m g(x_m) + c(y)

The reductions of the g_k need no y, so they can run in an earlier pass. A g_k that is constant along some of the
reduced ranks is summed to their size times itself: the mean over D and N leaves D*N squares of it. Late values that
are computed from others elementwise, such as GM + log(SD), can be written out first, so that only SD is deferred.
Within a tile the rule holds for the inner rank alone: a factor that each tile has for itself is applied once per tile.

Sources: Nayak et al., "FuseMax", MICRO 2024, section 3 (deferring the division); T. Chan, G. Golub,
R. LeVeque, "Algorithms for computing the sample variance", The American Statistician 37(3), 1983 (moments,
and what they lose by cancellation).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from einsum_cascades.ir import Access, Cascade, Einsum, Expression, Extent, factors
from einsum_cascades.rewrites.separability import Term, scaled, separate, total
from einsum_cascades.rewrites.structure import (
    Names,
    Structure,
    assemble,
    carried,
    is_iterative,
    make,
    plain_access,
    signs,
    walked,
)
from einsum_cascades.rewrites.symbolic import distinct_leaves, product


@dataclass(frozen=True)
class Defer:
    """Take the ``late`` values out of the reduction of ``einsum`` over the ranks ``over``."""

    einsum: str
    late: tuple[str, ...]
    over: tuple[str, ...]
    name: ClassVar[str] = "defer"

    @classmethod
    def candidates(cls, cascade: Cascade, rank: str) -> Iterator[Defer]:
        """Yield every deferral over the family, or over its innermost part, that these rules allow.

        Late values that depend on one another are deferred from the last one on: first the last alone, then
        with the one before it, and so on.
        """
        if is_iterative(cascade):
            return
        family = Structure(cascade, rank)
        structures = [family]
        if len(family.parts) > 1:
            structures.append(Structure(cascade, rank, family.parts[-1:]))
        for structure in structures:
            for einsum in (*cascade.body, *cascade.final):
                if structure.whole_reduction(einsum) is not None:
                    yield from cls._from(structure, einsum)

    @classmethod
    def _from(cls, structure: Structure, einsum: Einsum) -> Iterator[Defer]:
        needed = {t for a in einsum.inputs for t in structure.late_values(a)}
        forms = [frozenset(needed)]
        if any(len(set(map(structure.depth, structure.written_out([t])))) > 1 for t in needed):
            forms.append(structure.written_out(needed))
        for values in forms:
            for level in sorted(set(map(structure.depth, values)), reverse=True):
                late = tuple(sorted(t for t in values if structure.depth(t) >= level))
                candidate = cls(einsum.name, late, structure.parts)
                if candidate.terms(structure) is not None:
                    yield candidate

    def describe(self) -> str:
        """Return the step in words."""
        late = " and ".join(self.late)
        return f"defer {late} until after the reduction of {self.einsum} over {', '.join(self.over)}"

    def caution(self, cascade: Cascade) -> str:
        """Return where digits can be lost: a sum of several moments cancels when the deferred values are large."""
        terms = self.terms(Structure(cascade, self.over[0], self.over))
        if terms is None or len(terms) == 1:
            return ""
        late = " and ".join(self.late)
        verb = "is" if len(self.late) == 1 else "are"
        return f"{self.einsum} adds {len(terms)} moments, which cancel where {late} {verb} large against what is left"

    def terms(self, structure: Structure) -> tuple[Term, ...] | None:
        """Return the terms that the reduction falls into, or None where the rule does not apply."""
        einsum = structure.writers[self.einsum]
        expression = structure.unlogged(structure.inlined(einsum.expression, self.late))
        found = distinct_leaves(expression)
        early = {a for a in found if structure.walks(a)}
        late = frozenset(a for a in found if isinstance(a, Access) and a.tensor in self.late and a not in early)
        if not late or any(structure.needs(a) & set(self.late) for a in early):
            return None
        kept = set(einsum.output.ranks)
        bound = {a for a in found if a not in late and (a in early or not set(a.ranks) <= kept)}
        positive = signs(structure.cascade).positive(found)
        terms = separate(expression, late, frozenset(bound), einsum.reductions[0].operator, positive)
        return terms if terms and self._summable(einsum, terms) else None

    def _summable(self, einsum: Einsum, terms: tuple[Term, ...]) -> bool:
        """Whether each basis can be folded on its own."""
        others = set(einsum.reduced_ranks) - set(self.over)
        left = {r for t in terms for part in (t.coefficient, t.basis) for r in walked(part)}
        if not set(einsum.output.ranks) <= left:
            return False
        for term in terms:
            if len(terms) > 1 and set(walked(term.coefficient)) & others:
                return False
            missing = set(constant_ranks(einsum, term))
            if missing & {*walked(term.basis), *walked(term.coefficient)}:
                return False
            if missing and einsum.reductions[0].operator != "add":
                return False
        return True

    def apply(self, cascade: Cascade) -> Cascade:
        """Return the cascade with the reduction split.

        Raises:
            ValueError: the rule does not apply.
        """
        structure = Structure(cascade, self.over[0], self.over)
        terms = self.terms(structure)
        if terms is None:
            raise ValueError(f"cannot {self.describe()}")
        einsum = structure.writers[self.einsum]
        operator = einsum.reductions[0].operator
        draft = _Draft(cascade, einsum, Names(cascade), "N" if len(terms) == 1 else "S")
        parts = [draft.part(term, operator) for term in terms]
        expression = parts[0] if len(parts) == 1 else total(parts)
        einsums = [*cascade.body, *cascade.final]
        position = einsums.index(einsum)
        einsums[position : position + 1] = [*draft.added, make(einsum.output, expression, operator)]
        return assemble(
            cascade,
            einsums,
            draft.ranks_of,
            suffix="-deferred",
            init=cascade.init,
            stop=cascade.stop,
            partitions=cascade.partitions,
            views=cascade.views,
        )


@dataclass
class _Draft:
    """The Einsums that a deferral adds."""

    cascade: Cascade
    einsum: Einsum
    names: Names
    prefix: str
    added: list[Einsum] = field(default_factory=list)
    ranks_of: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def part(self, term: Term, operator: str) -> Expression:
        """Return coefficient times the reduction of the basis (for a maximum, plus)."""
        missing = constant_ranks(self.einsum, term)
        if not missing:
            return scaled(term.coefficient, self.reduction(term, operator), operator)
        varying = set(self.einsum.reduced_ranks) & set(walked(term.basis))
        once = self.reduction(term, operator) if varying else term.basis
        return scaled(term.coefficient, scaled(once, self.count(missing), "add"), "add")

    def reduction(self, term: Term, operator: str) -> Access:
        """Return the access of the reduced basis; one that the cascade has already is used again."""
        inside = walked(term.basis)
        later = [r for r in self.einsum.reduced_ranks if r in walked(term.coefficient)]
        ranks = [r for r in (*later, *self.einsum.output.ranks) if r in inside]
        return self.add(self.prefix, ranks, self.hoisted(term.basis), operator)

    def add(self, prefix: str, ranks: Sequence[str], expression: Expression, operator: str = "add") -> Access:
        """Return the access of a new tensor, or of one that the cascade computes in the same way."""
        made = make(plain_access("", ranks), expression, operator)
        for known in (*self.cascade.body, *self.cascade.final, *self.added):
            same = known.expression == made.expression and set(known.reductions) == set(made.reductions)
            if same and Structure.plain(known.output):
                return known.output
        tensor = self.names.fresh(prefix + self.einsum.name)
        self.ranks_of[tensor] = tuple(ranks)
        self.added.append(make(plain_access(tensor, ranks), expression, operator))
        return self.added[-1].output

    def hoisted(self, basis: Expression) -> Expression:
        """Return a product with all but one factor computed once, where they walk over fewer ranks together."""
        parts = list(factors(basis))
        for place in reversed(range(len(parts) if len(parts) > 1 else 0)):
            others = product(parts[:place] + parts[place + 1 :])
            if not isinstance(others, Access) and 0 < len(walked(others)) < len(walked(basis)):
                return product([self.add("E", walked(others), others), parts[place]])
        return basis

    def count(self, ranks: Sequence[str]) -> Expression:
        """Return the number of points of some ranks; of all parts of a rank it is the whole rank's size."""
        left = dict.fromkeys(ranks)
        sizes = []
        for partition in self.cascade.partitions:
            if set(partition.parts) <= set(left):
                sizes.append(partition.rank)
                left = dict.fromkeys(rank for rank in left if rank not in partition.parts)
        return product([Extent(rank) for rank in (*sizes, *left)])


def constant_ranks(einsum: Einsum, term: Term) -> tuple[str, ...]:
    """Return the reduced ranks that no access of a basis walks over: it counts once for each of their points."""
    return tuple(rank for rank in einsum.reduced_ranks if rank not in carried(term.basis))

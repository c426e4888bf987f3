"""The form that is compiled: an Einsum reduces with one operator, and no costly operand is computed twice.

``Y = A[m, k] :: reduce(k) max :: reduce(m) +`` becomes ``Y_1[m] = A[m, k] :: reduce(k) max`` and
``Y = Y_1[m]``. An operand that walks over fewer ranks than its Einsum, such as ``exp(A[m, k] - D[m])`` in a
product summed over k for every n, is computed by an Einsum of its own when it is costly (exp, division, ...)
or a factor of a summed product. Neither changes a value beyond rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from einsum_cascades.ir import Access, Apply, Cascade, Declaration, Einsum, Expression, Reduction, Var, accesses, leaves
from einsum_cascades.operators import OPERATORS

_COSTLY = ("exp", "divide")
"""Work classes that are worth an Einsum of their own where an operand repeats."""


def normalise(cascade: Cascade) -> Cascade:
    """Return an equivalent cascade whose Einsums each reduce with at most one operator.

    Tensors of the original keep their names and values; the new ones are appended to the declarations.
    """
    writer = _Writer(cascade)
    init, body, final = (tuple(writer.section(part)) for part in (cascade.init, cascade.body, cascade.final))
    declared = (*cascade.declarations, *writer.declared)
    return replace(cascade, declarations=declared, init=init, body=body, final=final)


class _Writer:
    """Rewrites Einsums and declares the tensors that this needs."""

    def __init__(self, cascade: Cascade) -> None:
        self.taken = set(cascade.ranks_of) | {plain for _, plain in cascade.views}
        self.declared: list[Declaration] = []

    def section(self, einsums: tuple[Einsum, ...]) -> Iterator[Einsum]:
        """Yield the Einsums that stand for those of a section, in an order that can run."""
        for einsum in einsums:
            hoisted: list[Einsum] = []
            summed = einsum.reductions[:1] and einsum.reductions[0].operator == "add"
            expression = self.hoist(einsum, einsum.expression, bool(summed), hoisted)
            yield from hoisted
            yield from self.split(replace(einsum, expression=expression))

    def new(self, einsum: Einsum, ranks: tuple[str, ...]) -> Access:
        """Declare a tensor for a part of an Einsum."""
        number = 1
        while f"{einsum.name}_{number}" in self.taken:
            number += 1
        name = f"{einsum.name}_{number}"
        self.taken.add(name)
        self.declared.append(Declaration(name, ranks))
        return Access(name, tuple(Var(rank) for rank in ranks))

    def split(self, einsum: Einsum) -> Iterator[Einsum]:
        """Yield one Einsum per run of reductions with one operator."""
        groups = [tuple(group) for _, group in groupby(einsum.reductions, key=lambda r: r.operator)]
        ranks, expression = einsum.ranks, einsum.expression
        for group in groups[:-1]:
            folded = {reduction.rank for reduction in group}
            ranks = tuple(rank for rank in ranks if rank not in folded)
            output = self.new(einsum, ranks)
            yield Einsum(output, expression, group, einsum.location)
            expression = output
        last: tuple[Reduction, ...] = groups[-1] if groups else ()
        yield replace(einsum, expression=expression, reductions=last)

    def hoist(self, einsum: Einsum, part: Expression, factor: bool, found: list[Einsum]) -> Expression:
        """Replace the largest operands that are worth an Einsum of their own, and append these."""
        if not isinstance(part, Apply):
            return part
        walked = {rank for leaf in leaves(part) for rank in leaf.ranks}
        inside = factor and part.operator == "mul"
        worth = walked < set(einsum.ranks) and any(True for _ in accesses(part))
        if worth and (_costly(part) or (factor and not inside)):
            output = self.new(einsum, tuple(rank for rank in einsum.ranks if rank in walked))
            found.append(Einsum(output, part, (), einsum.location))
            return output
        return Apply(part.operator, tuple(self.hoist(einsum, o, inside, found) for o in part.operands))


def _costly(part: Expression) -> bool:
    if not isinstance(part, Apply):
        return False
    return OPERATORS[part.operator].work_class in _COSTLY or any(_costly(o) for o in part.operands)

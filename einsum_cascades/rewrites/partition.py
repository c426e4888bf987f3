"""Partition a rank into tiles: M becomes M1 tiles of M0 values, ``m = m1*M0 + m0``.

A fold over M is a fold over both parts, since its operator is associative and commutative; nothing else
changes. Inputs are read through views (BK of K), and where ``m`` is a value, ``m1*M0 + m0`` stands for it; ``M`` stays
the size of the whole. Source: Nayak et al., "TeAAL", MICRO 2023 (partitioning);
"FuseMax", MICRO 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from einsum_cascades.ir import (
    Access,
    Apply,
    Cascade,
    Einsum,
    Expression,
    Extent,
    Index,
    Partition,
    Reduction,
    Var,
)
from einsum_cascades.rewrites.structure import Names, Structure, assemble


@dataclass(frozen=True)
class PartitionRank:
    """Split ``rank`` into two ``parts``, outermost first."""

    rank: str
    parts: tuple[str, str]
    name: ClassVar[str] = "partition"

    @classmethod
    def candidates(cls, cascade: Cascade, rank: str) -> Iterator[PartitionRank]:
        """Yield the partition of a rank that is neither split nor iterative."""
        structure = Structure(cascade, rank)
        accesses = [a for e in cascade.einsums for a in (e.output, *e.inputs)]
        plain = all(Structure.plain(a) for a in accesses if rank in cascade.ranks_of[a.tensor])
        if structure.parts == (rank,) and rank not in cascade.iterative_ranks and plain:
            names = Names(cascade)
            yield cls(rank, (names.fresh(rank + "1"), names.fresh(rank + "0")))

    def describe(self) -> str:
        """Return the step in words."""
        return f"partition {self.rank} into {self.parts[0]} tiles of {self.parts[1]} values"

    def apply(self, cascade: Cascade) -> Cascade:
        """Return the partitioned cascade."""
        names = Names(cascade)
        renamed = {
            d.tensor: names.fresh("B" + d.tensor)
            for d in cascade.declarations
            if d.tensor in cascade.inputs and self.rank in d.ranks
        }
        ranks_of = {renamed.get(d.tensor, d.tensor): self._split(d.ranks) for d in cascade.declarations}
        views = [v for v in cascade.views if v[0] not in renamed]
        views += [(tiled, dict(cascade.views).get(plain, plain)) for plain, tiled in renamed.items()]

        def access(old: Access) -> Access:
            subscripts = tuple(
                new for s in old.subscripts for new in (map(Var, self.parts) if s == Var(self.rank) else (s,))
            )
            return Access(renamed.get(old.tensor, old.tensor), subscripts)

        def tiled(expression: Expression) -> Expression:
            if isinstance(expression, Access):
                return access(expression)
            if isinstance(expression, Apply):
                return Apply(expression.operator, tuple(map(tiled, expression.operands)))
            return self._place() if expression == Index(self.rank) else expression

        def einsum(old: Einsum) -> Einsum:
            reductions = tuple(Reduction(part, r.operator) for r in old.reductions for part in self._split((r.rank,)))
            return Einsum(access(old.output), tiled(old.expression), reductions)

        return assemble(
            cascade,
            [einsum(e) for e in (*cascade.body, *cascade.final)],
            ranks_of,
            suffix="-tiled",
            init=[einsum(e) for e in cascade.init],
            stop=cascade.stop,
            partitions=(*cascade.partitions, Partition(self.rank, self.parts)),
            views=views,
        )

    def _place(self) -> Expression:
        """The index along the whole rank."""
        outer, inner = self.parts
        return Apply("add", (Apply("mul", (Index(outer), Extent(inner))), Index(inner)))

    def _split(self, ranks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(part for rank in ranks for part in (self.parts if rank == self.rank else (rank,)))

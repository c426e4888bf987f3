"""Which rank plays which part when a cascade runs tile by tile.

The *row* family is the one that the cascade makes its passes over (keys, M); its innermost part lies along the rows of
the array. The *column* rank (queries, P) is carried by most tensors and stays put; it lies along the columns. Ranks
that every Einsum walks and none reduces are independent *batches*; the others are walked inside the tile.
"""

from __future__ import annotations

from dataclasses import dataclass

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade, Einsum
from mappers.rows import carriers, row_rank

_UNFUSED = "use the mapper unfused, which maps onto spatial arrays"


@dataclass(frozen=True)
class Roles:
    """Parts that ranks play.

    Attributes:
        row_outer: loops over the row family outside the tile (``M1``; for an unsplit rank the rank itself).
        row: the rank along the rows (``M0``, or the unsplit rank).
        column: the rank along the columns.
        batches: independent ranks that the cascade writes out.
        source: the row rank before it is split (``M``), whose size the workload gives.
        split: whether the cascade itself splits it.
    """

    row_outer: tuple[str, ...]
    row: str
    column: str
    batches: tuple[str, ...]
    source: str
    split: bool

    @property
    def family(self) -> frozenset[str]:
        """All ranks of the row family."""
        return frozenset((*self.row_outer, self.row))

    def in_tile(self, ranks: tuple[str, ...]) -> bool:
        """Whether something with these ranks has a value for each PE of the tile."""
        return self.row in ranks and self.column in ranks


def find_roles(cascade: Cascade) -> Roles:
    """Assign the parts from the cascade alone.

    Raises:
        InputError: the cascade has no reduced rank, or nothing to lay along the columns.
    """
    row = row_rank(cascade)
    if row is None:
        raise InputError(
            f"cascade {cascade.name} reduces no rank, so it has no tiles to fuse",
            hint=_UNFUSED,
        )
    family = cascade.family(row)
    if family[-1] in cascade.iterative_ranks:
        raise InputError(
            f"{family[-1]} of {cascade.name} is iterative: its values come one after another, not along an array",
            hint=f"split it (partition: {{{family[-1]}: [{family[-1]}1, {family[-1]}0]}}) and iterate the outer part, "
            f"or {_UNFUSED}",
        )
    family_set = {*family, row}
    walked = {r for e in cascade.einsums for r in e.ranks} - family_set
    others = list(dict.fromkeys(r for d in cascade.declarations for r in d.ranks if r in walked))
    row_inputs = [set(cascade.ranks_of[t]) for t in cascade.inputs if family_set & set(cascade.ranks_of[t])]
    batches = tuple(r for r in others if _independent(cascade, r) and all(r in ranks for ranks in row_inputs))
    reduced = {r for e in cascade.einsums for r in e.reduced_ranks}
    columns = [r for r in others if r not in batches and r not in reduced] or list(batches)
    if not columns:
        raise InputError(
            f"cascade {cascade.name} has no rank to lay beside {row} on an array",
            hint=_UNFUSED,
        )
    column = max(reversed(columns), key=lambda r: carriers(cascade, r))
    return Roles(
        row_outer=family[:-1] if len(family) > 1 else family,
        row=family[-1],
        column=column,
        batches=tuple(r for r in batches if r != column),
        source=next((p.rank for p in cascade.partitions if row in p.parts), row),
        split=len(family) > 1,
    )


def _independent(cascade: Cascade, rank: str) -> bool:
    einsums: tuple[Einsum, ...] = (*cascade.body, *cascade.final)
    return all(rank in e.ranks and rank not in e.reduced_ranks for e in einsums)

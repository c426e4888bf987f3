"""A cascade as a CPU runs it on one tile of queries: passes over the keys, each a row of products and loops.

Per pass (``einsum_cascades.passes``) the Einsums run in their order. The sum of a product of two tensors, each with a
rank of its own, is a matrix product; a sum that adds a product to what was there accumulates in it. All
others are vectorised loops over a tile; a reduction joins the loop that computes what it reduces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from einsum_cascades.ir import Access, Apply, Cascade, Einsum
from einsum_cascades.passes import analyse_passes
from mappers.roles import Roles, find_roles


@dataclass(frozen=True)
class ProductPiece:
    """A matrix product per tile.

    Attributes:
        einsum: whose it is.
        rows: ranks along the queries' side.
        columns: ranks of the other operand that the result keeps.
        depth: ranks that are summed.
        repeats: ranks that both operands and the result have: so many products.
    """

    einsum: Einsum
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    depth: tuple[str, ...]
    repeats: tuple[str, ...]

    @property
    def parts(self) -> tuple[Einsum, ...]:
        """The Einsum."""
        return (self.einsum,)


@dataclass(frozen=True)
class LoopPiece:
    """A loop over a tile: the Einsum that leads it, then reductions of its result."""

    einsums: tuple[Einsum, ...]

    @property
    def parts(self) -> tuple[Einsum, ...]:
        """The Einsums, the leading one first."""
        return self.einsums


Piece: TypeAlias = ProductPiece | LoopPiece


@dataclass(frozen=True)
class Program:
    """What runs for each tile of queries.

    Attributes:
        roles: which rank plays which part.
        family: all names of the row family, the unsplit rank's included.
        passes: the pieces of each pass over the keys, in order.
        crossing: intermediate tensors with a row rank that more than one pass touches.
        number_of_passes: passes over the keys.
    """

    roles: Roles
    family: frozenset[str]
    passes: tuple[tuple[Piece, ...], ...]
    crossing: frozenset[str]
    number_of_passes: int

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The pieces of all passes, in order."""
        return tuple(piece for pieces in self.passes for piece in pieces)

    def in_tile(self, access: Access) -> bool:
        """Whether what is accessed has a value for each query and key."""
        ranks = set(access.ranks)
        return self.roles.column in ranks and bool({self.roles.row, self.roles.source} & ranks)


@lru_cache(maxsize=256)
def program_of(cascade: Cascade) -> Program:
    """Return how a CPU runs a cascade.

    Raises:
        InputError: the cascade reduces no rank, or has none to tile beside it.
    """
    roles = find_roles(cascade)
    analysis = analyse_passes(cascade, roles.row)
    family = frozenset((*analysis.family, roles.source))
    einsums = (*cascade.body, *cascade.final)
    passes = []
    for number in range(analysis.passes + 1):
        chosen = [e for e in einsums if analysis.einsum_pass[e.name] == number]
        if chosen:
            passes.append(_pieces(chosen, roles))
    crossing = frozenset(
        tensor
        for tensor, ranks in cascade.ranks_of.items()
        if family & set(ranks) and tensor not in cascade.inputs and analysis.tensor_passes.get(tensor, 1) > 1
    )
    return Program(roles, family, tuple(passes), crossing, analysis.passes)


def _pieces(einsums: list[Einsum], roles: Roles) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    products = set()
    for einsum in einsums:
        product = _product(einsum, roles)
        if product is not None:
            pieces.append(product)
            products.add(einsum.name)
        elif not _accumulates(einsum, products):
            _append_loop(pieces, einsum)
    return tuple(pieces)


def _append_loop(pieces: list[Piece], einsum: Einsum) -> None:
    """Add an Einsum as a loop of its own, or to the last one if it does no more than reduce that one's results."""
    last = pieces[-1] if pieces else None
    if isinstance(last, LoopPiece) and einsum.reductions and isinstance(einsum.expression, Access):
        leader = last.einsums[0]
        if einsum.expression.tensor == leader.name and not leader.reductions:
            pieces[-1] = LoopPiece((*last.einsums, einsum))
            return
    pieces.append(LoopPiece((einsum,)))


def _accumulates(einsum: Einsum, products: set[str]) -> bool:
    expression = einsum.expression
    return (
        not einsum.reductions
        and isinstance(expression, Apply)
        and expression.operator == "add"
        and all(isinstance(operand, Access) for operand in expression.operands)
        and any(access.tensor in products for access in einsum.inputs)
    )


def _product(einsum: Einsum, roles: Roles) -> ProductPiece | None:
    """The matrix product that an Einsum is, if it is one."""
    expression = einsum.expression
    if not (isinstance(expression, Apply) and expression.operator == "mul" and len(einsum.inputs) == 2):
        return None
    if not all(isinstance(operand, Access) for operand in expression.operands):
        return None
    if not einsum.reductions or any(reduction.operator != "add" for reduction in einsum.reductions):
        return None
    one, other = (access.ranks for access in einsum.inputs)
    if roles.column in other and roles.column not in one:
        one, other = other, one
    kept = einsum.output.ranks
    rows = tuple(r for r in one if r in kept and r not in other)
    columns = tuple(r for r in other if r in kept and r not in one)
    shared = [r for r in one if r in other]
    if not rows or not columns or set(einsum.reduced_ranks) != set(shared) - set(kept):
        return None
    repeats = tuple(r for r in shared if r in kept)
    return ProductPiece(einsum, rows, columns, tuple(r for r in shared if r not in kept), repeats)

"""Reductions over a rank family, tile by tile: what local and running results have in common.

A reduction Y = fold_m F(x_m, y) with late values y can be computed per tile with a stand-in y0 for y and
mended by the correction T(y0, y), if F separates (see ``separability.py``) and every value of y that it
needs, written out down to reductions, is itself computed per tile. The stand-in is the tile's own value
(``local.py``) or the value so far (``iterate.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from einsum_cascades.ir import Access, Cascade, Einsum, Expression, Size, Var
from einsum_cascades.operators import OPERATORS
from einsum_cascades.rewrites.separability import Term, correction, finite_at_start, separate
from einsum_cascades.rewrites.structure import Names, Structure, make, plain_access, walked
from einsum_cascades.rewrites.symbolic import distinct_accesses, distinct_leaves, replace_accesses


@dataclass(frozen=True)
class Movable:
    """A reduction over the whole family that can be computed tile by tile.

    Attributes:
        einsum: the reduction.
        operator: what it folds with.
        late: the accesses y of its written-out term.
        term: how the term separates; None if it needs no late value.
    """

    einsum: Einsum
    operator: str
    late: tuple[Access, ...] = ()
    term: Term | None = None


class Tiles:
    """The reductions of a cascade that can be computed tile by tile, in the order of their dependencies."""

    def __init__(self, cascade: Cascade, rank: str) -> None:
        self.cascade = cascade
        self.structure = Structure(cascade, rank)
        self.outer = self.structure.parts[0]
        self.movable: dict[str, Movable] = {}
        for einsum in (*cascade.body, *cascade.final):
            found = self._movable(einsum)
            if found is not None:
                self.movable[einsum.name] = found

    def written_out(self, expression: Expression) -> Expression:
        """Return an expression with late values and all that needs them written out down to reductions."""
        structure = self.structure
        expression = structure.inlined(expression, structure.late)
        while True:
            table: dict[Access, Expression] = {}
            for access in distinct_accesses(expression):
                writer = structure.writers.get(access.tensor)
                if structure.is_late(access) and writer and not writer.reductions and structure.light(access):
                    table[access] = writer.expression
            if not table:
                return expression
            expression = replace_accesses(expression, table)

    def separated(self, expression: Expression, operator: str) -> tuple[tuple[Access, ...], Term | None] | None:
        """Return the late accesses of a written-out term and how it separates; None if it does not."""
        structure = self.structure
        expression = self.written_out(expression)
        found = distinct_leaves(expression)
        early = frozenset(a for a in found if structure.walks(a))
        late = tuple(a for a in found if isinstance(a, Access) and structure.is_late(a))
        if any(structure.needs(a) for a in early):
            return None
        if not late:
            return (), None
        if any(a.tensor not in self.movable for a in late):
            return None
        terms = separate(expression, frozenset(late), early, operator)
        return (late, terms[0]) if terms and len(terms) == 1 else None

    def _movable(self, einsum: Einsum) -> Movable | None:
        operator = self.structure.whole_reduction(einsum)
        if operator not in ("add", "max", "min"):
            return None
        found = self.separated(einsum.expression, operator)
        if found is None:
            return None
        late, term = found
        if term is not None and not self._mends(einsum, late, term):
            return None
        return Movable(einsum, operator, late, term)

    def _mends(self, einsum: Einsum, late: tuple[Access, ...], term: Term) -> bool:
        """Whether one correction per result exists, and leaves the identity alone where y0 starts from."""
        operator = einsum.reductions[0].operator
        before = {a: Access(a.tensor + "'", a.subscripts) for a in late}
        factor = correction(term, operator, before, {})
        if factor is None or not set(walked(factor)) <= set(einsum.output.ranks):
            return False
        return finite_at_start(factor, {before[a]: self.start(a.tensor) for a in late}, operator)

    def start(self, tensor: str) -> float:
        """The value of a reduction before anything is read."""
        identity = OPERATORS[self.movable[tensor].operator].identity
        assert identity is not None
        return identity

    def untouched(self, targets: Collection[str]) -> list[Einsum]:
        """The Einsums that need none of the targets."""
        touched = set(targets)
        kept = []
        for einsum in (*self.cascade.body, *self.cascade.final):
            if einsum.name in touched or any(a.tensor in touched for a in einsum.inputs):
                touched.add(einsum.name)
            else:
                kept.append(einsum)
        return kept


StandIn = Callable[[Access], Access]


@dataclass
class Draft:
    """The Einsums of the tiles while they are put together.

    Attributes:
        tiles: what is rewritten.
        targets: the reductions that are computed tile by tile.
        stand_in: the access of y0 inside a tile, for the access of a target.
    """

    tiles: Tiles
    targets: Collection[str]
    stand_in: StandIn
    names: Names
    einsums: list[Einsum] = field(default_factory=list)
    ranks_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _local: dict[str, Access] = field(default_factory=dict)
    _corrections: dict[Expression, Access] = field(default_factory=dict)

    def add(self, name: str, ranks: Iterable[str], expression: Expression, operator: str = "add") -> Access:
        """Add an Einsum for a new tensor, and return its access."""
        tensor = self.names.fresh(name)
        self.ranks_of[tensor] = tuple(ranks)
        self.einsums.append(make(plain_access(tensor, ranks), expression, operator))
        return self.einsums[-1].output

    def local(self, expression: Expression) -> Expression:
        """Return an expression with stand-ins for the targets; what needs them is made anew for each tile."""
        table: dict[Access, Expression] = {}
        for access in distinct_accesses(expression):
            if access.tensor in self.targets:
                table[access] = self.stand_in(access)
            elif self._depends(access):
                table[access] = self._local_tensor(access.tensor)
        return replace_accesses(expression, table)

    def _depends(self, access: Access) -> bool:
        return bool(self.tiles.structure.late_values(access)) and access.tensor in self.tiles.structure.writers

    def _local_tensor(self, tensor: str) -> Access:
        if tensor not in self._local:
            writer = self.tiles.structure.writers[tensor]
            outer = self.tiles.outer
            ranks = writer.output.ranks if outer in writer.output.ranks else (outer, *writer.output.ranks)
            self._local[tensor] = self.add("L" + tensor, ranks, self.local(writer.expression))
        return self._local[tensor]

    def localised(self, tensor: str) -> Access | None:
        """The local tensor that stands for one, if it was made."""
        return self._local.get(tensor)

    def contribution(self, movable: Movable) -> Access:
        """Return the result of one tile: the reduction over all but the outer rank, with the stand-ins."""
        outer = self.tiles.outer
        expression = self.local(movable.einsum.expression)
        ranks = (outer, *movable.einsum.output.ranks)
        if isinstance(expression, Access) and set(expression.ranks) == set(ranks):
            return expression
        return self.add("L" + movable.einsum.name, ranks, expression, movable.operator)

    def correction(
        self, late: tuple[Access, ...], term: Term, operator: str, before: StandIn, after: StandIn
    ) -> Access | None:
        """Return the access of T(y0, y) per tile, made once; None where it cannot be written."""
        factor = correction(term, operator, {a: before(a) for a in late}, {a: after(a) for a in late})
        if factor is None:
            return None
        if factor not in self._corrections:
            outer = self.tiles.outer
            ranks = (outer, *(r for r in walked(factor) if r != outer))
            name = "P" + "".join(dict.fromkeys(a.tensor for a in late))
            self._corrections[factor] = self.add(name, ranks, factor)
        return self._corrections[factor]


def at(tensor: str, outer: Var | Size, access: Access) -> Access:
    """Return the access of a tensor at one place of the outer rank, before the subscripts of another access."""
    return Access(tensor, (outer, *access.subscripts))

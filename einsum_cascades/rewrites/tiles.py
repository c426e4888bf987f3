"""Reductions over a rank family, tile by tile: what local and running results have in common.

A reduction Y = fold_m F(x_m, y) with late values y can be computed per tile with a stand-in y0 for y and
mended by the correction T(y0, y), if F separates (see ``separability.py``) and every value of y that it
needs, written out down to reductions, is itself computed per tile. The stand-in is the tile's own value
(``local.py``) or the value so far (``iterate.py``).

A stand-in may be a fold of nothing: where a mask hides whole tiles, a maximum so far is -inf and a sum of exponentials
0, and exp(-inf - (-inf)) and 0/0 are no numbers. Where that can be, terms read the stand-in through a *floor*,
``where(y0 == -inf, 0, y0)`` or ``where(s0 == 0, 1, s0)``, which is y0 for every other value, however small. What was
folded so far is then the identity, and the correction from the unfloored y0 leaves it so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from einsum_cascades.ir import Access, Apply, Cascade, Einsum, Expression, Leaf, Number, Size, Var, accesses, factors
from einsum_cascades.operators import COMPARISONS, OPERATORS
from einsum_cascades.printer import access_text, expression_text, number_text
from einsum_cascades.rewrites.infinities import Infinities
from einsum_cascades.rewrites.selection import select
from einsum_cascades.rewrites.separability import ONE, Term, correction, finite_at_start, separate
from einsum_cascades.rewrites.signs import Sign, Signs
from einsum_cascades.rewrites.stability import positive_inputs
from einsum_cascades.rewrites.structure import Names, Structure, make, plain_access, signs, walked
from einsum_cascades.rewrites.symbolic import distinct_accesses, distinct_leaves, replace_accesses


@dataclass(frozen=True)
class Movable:
    """A reduction over the whole family that can be computed tile by tile.

    Attributes:
        einsum: the reduction.
        operator: what it folds with.
        late: the accesses y of its written-out term.
        term: how the term separates; None if it needs no late value.
        floors: those y of which a tile may hold nothing, so that its stand-in needs a floor.
    """

    einsum: Einsum
    operator: str
    late: tuple[Access, ...] = ()
    term: Term | None = None
    floors: frozenset[str] = frozenset()


_FLOORS = {"max": 0.0, "min": 0.0, "add": 1.0}
"""For each fold, what stands for a result of nothing."""


class Tiles:
    """The reductions of a cascade that can be computed tile by tile, in the order of their dependencies.

    ``reasons`` says of others whose terms separate why they cannot.
    """

    def __init__(self, cascade: Cascade, rank: str) -> None:
        self.cascade = cascade
        self.structure = Structure(cascade, rank)
        self.outer = self.structure.parts[0]
        self.movable: dict[str, Movable] = {}
        self.reasons: dict[str, str] = {}
        self._infinities = Infinities(cascade, rank)
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
        kept, selected = select(expression, operator, {a: self._extreme(a) for a in late if self._is_extreme(a)})
        left = frozenset(late) & frozenset(distinct_accesses(kept))
        if selected and not left:
            return late, Term(ONE if operator == "add" else Number(0.0), kept, selected)
        terms = separate(kept, left, early, operator, self._positive(found))
        return (late, replace(terms[0], selected=selected)) if terms and len(terms) == 1 else None

    def _positive(self, found: Iterable[Leaf]) -> frozenset[Leaf]:
        return signs(self.cascade).positive(found)

    def _is_extreme(self, late: Access) -> bool:
        return self.movable[late.tensor].operator in ("max", "min")

    def _extreme(self, late: Access) -> tuple[str, Expression]:
        movable = self.movable[late.tensor]
        return movable.operator, movable.einsum.expression

    def _movable(self, einsum: Einsum) -> Movable | None:
        operator = self.structure.whole_reduction(einsum)
        if operator not in ("add", "max", "min"):
            return None
        found = self.separated(einsum.expression, operator)
        if found is None:
            self._note_moments(einsum, operator)
            return None
        late, term = found
        if term is None:
            return Movable(einsum, operator, late)
        floors = self._floors(einsum, late, term)
        if isinstance(floors, str):
            self.reasons[einsum.name] = floors
            return None
        return Movable(einsum, operator, late, term, floors)

    def _note_moments(self, einsum: Einsum, operator: str) -> None:
        """Say of a term that separates into several sums that it does."""
        structure = self.structure
        expression = self.written_out(einsum.expression)
        found = distinct_leaves(expression)
        early = frozenset(a for a in found if structure.walks(a))
        late = frozenset(a for a in found if isinstance(a, Access) and structure.is_late(a))
        if not late or any(structure.needs(a) for a in early):
            return
        terms = separate(expression, late, early, operator, self._positive(found))
        if terms:
            others = sorted({a.tensor for a in late} - set(self.movable))
            stuck = f"{', '.join(others)} cannot be computed tile by tile" if others else "none can be mended alone"
            self.reasons[einsum.name] = f"it separates into {len(terms)} sum{'s' * (len(terms) > 1)}, but {stuck}"

    def _floors(self, einsum: Einsum, late: tuple[Access, ...], term: Term) -> frozenset[str] | str:
        """The late values that need a floor; why no correction leaves an empty result alone, where none does."""
        operator = einsum.reductions[0].operator
        before = {a: Access(a.tensor + "'", a.subscripts) for a in late}
        factor = correction(term, operator, before, {})
        if factor is None:
            return "the correction cannot be written with the operators of the notation"
        text = expression_text(factor)
        read = (self.written_out(einsum.expression), factor)
        zero = next((d for part in read for d in self._may_be_zero(part, late, before)), None)
        if zero is not None:
            return f"it divides by {expression_text(zero)} so far, which may be 0 on the way"
        if not set(walked(factor)) <= set(einsum.output.ranks):
            return f"the correction {text} changes along more ranks than the result"
        start: dict[Access, float] = {before[a]: self.start(a.tensor) for a in late}
        signed = [a for a in accesses(factor) if a.tensor in self.cascade.inputs and a.tensor not in self._assumed]
        if not finite_at_start(factor, start, operator, signed):
            first = " and ".join(f"{access_text(a)} = {number_text(value)}" for a, value in start.items())
            reason = f"the correction {text} need not be finite at the start, with {first}"
            return reason + "".join(f"; {a.tensor} may be negative, so scale by it before the fold" for a in signed)
        empty = [a for a in late if self.may_be_empty(a.tensor)]
        needed = [a for a in empty if not finite_at_start(factor, start | {a: self.start(a.tensor)}, operator)]
        for a in needed:
            if self.floor(a.tensor) is None:
                return f"the correction divides by {access_text(a)} so far, a sum of both signs that may pass 0"
        floors = {a: value for a in needed if (value := self.floor(a.tensor)) is not None}
        left = {a: self.start(a.tensor) for a in empty if a not in floors}
        if not finite_at_start(factor, start | left | floors, operator):
            return f"the correction {text} need not be finite where a mask hides whole tiles"
        return frozenset(a.tensor for a in floors)

    def _may_be_zero(
        self, expression: Expression, late: tuple[Access, ...], before: dict[Access, Access]
    ) -> Iterator[Expression]:
        """What an expression divides by that may be 0 for late values of a part of the rank."""
        known = {old: a for a, old in before.items()}
        for divisor in _divisors(expression):
            for part in factors(replace_accesses(divisor, known)):
                read = set(accesses(part)) & set(late)
                least = Sign.NONNEGATIVE if all(self.floor(a.tensor) == _FLOORS["add"] for a in read) else Sign.POSITIVE
                if read and self._signs.of(part) < least:
                    yield part

    def may_be_empty(self, tensor: str) -> bool:
        """Whether a reduction of a tile, or of all so far, may be the identity though something was read."""
        movable = self.movable[tensor]
        if movable.operator == "add":
            return self._signs.of(movable.einsum.expression) is not Sign.POSITIVE
        sign = -1 if movable.operator == "max" else 1
        return any(s == sign for s, _ in self._infinities.of(movable.einsum.expression))

    def floor(self, tensor: str) -> float | None:
        """What stands for a reduction of nothing; None for a sum that can be 0 of values of both signs."""
        movable = self.movable[tensor]
        if movable.operator == "add" and self._signs.of(movable.einsum.expression) is Sign.ANY:
            return None
        return _FLOORS[movable.operator]

    @cached_property
    def _assumed(self) -> frozenset[str]:
        return positive_inputs(self.cascade)

    @cached_property
    def _signs(self) -> Signs:
        return Signs(self.cascade, self._infinities)

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


def _divisors(expression: Expression) -> Iterator[Expression]:
    if isinstance(expression, Apply):
        if expression.operator in ("div", "mod"):
            yield expression.operands[1]
        for operand in expression.operands:
            yield from _divisors(operand)


StandIn = Callable[[Access], Access]


@dataclass
class Draft:
    """The Einsums of the tiles while they are put together.

    Attributes:
        tiles: what is rewritten.
        targets: the reductions that are computed tile by tile.
        stand_in: the access of y0 inside a tile, for the access of a target.
        floored: for a target that needs a floor, the access of it.
    """

    tiles: Tiles
    targets: Collection[str]
    stand_in: StandIn
    names: Names
    einsums: list[Einsum] = field(default_factory=list)
    ranks_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    floored: dict[str, Access] = field(default_factory=dict)
    _local: dict[str, Access] = field(default_factory=dict)
    _corrections: dict[Expression, Access] = field(default_factory=dict)

    def add(self, name: str, ranks: Iterable[str], expression: Expression, operator: str = "add") -> Access:
        """Add an Einsum for a new tensor, and return its access."""
        tensor = self.names.fresh(name)
        self.ranks_of[tensor] = tuple(ranks)
        self.einsums.append(make(plain_access(tensor, ranks), expression, operator))
        return self.einsums[-1].output

    def safe(self, access: Access) -> Access:
        """Return the stand-in for a target, through its floor where its tiles may hold nothing."""
        stand_in, tensor = self.stand_in(access), access.tensor
        if tensor not in self.needing_floors:
            return stand_in
        if tensor not in self.floored:
            value = self.tiles.floor(tensor)
            assert value is not None
            nothing = Apply("eq", (stand_in, Number(self.tiles.start(tensor))))
            ranks = (self.tiles.outer, *access.ranks)
            self.floored[tensor] = self.add("F" + tensor, ranks, Apply("where", (nothing, Number(value), stand_in)))
        return self.floored[tensor]

    @cached_property
    def needing_floors(self) -> frozenset[str]:
        """The targets that the terms of some target read through a floor."""
        return frozenset().union(*(self.tiles.movable[t].floors for t in self.targets))

    def local(self, expression: Expression) -> Expression:
        """Return an expression with stand-ins for the targets; what needs them is made anew for each tile.

        A comparison reads a stand-in itself, since it is true or false of an infinity too.
        """
        if isinstance(expression, Access):
            if expression.tensor in self.targets:
                return self.safe(expression)
            return self._local_tensor(expression.tensor) if self._depends(expression) else expression
        if not isinstance(expression, Apply):
            return expression
        compares = expression.operator in COMPARISONS
        return Apply(
            expression.operator,
            tuple(
                self.stand_in(o) if compares and isinstance(o, Access) and o.tensor in self.targets else self.local(o)
                for o in expression.operands
            ),
        )

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
        self, late: tuple[Access, ...], term: Term, operator: str, before: StandIn, after: StandIn, reached: StandIn
    ) -> Access | None:
        """Return the access of T(y0, y) per tile, made once; None where it cannot be written.

        Args:
            late, term, operator: of the reduction.
            before, after: the accesses of y0 and y.
            reached: the access of y where it is compared with y0.
        """
        olds, news = {a: before(a) for a in late}, {a: after(a) for a in late}
        factor = correction(term, operator, olds, news, {a: reached(a) for a in late})
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

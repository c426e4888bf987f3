"""The result of a cascade written out over its inputs, whatever the number of its passes.

Every tensor is replaced by what computes it. Partial folds of a rank that is cut into parts become one fold of the
whole rank, products are drawn into sums, and an iteration is solved in closed form:

    r[i+1] = max(r[i], a[i]), r[0] = -inf                    r[I] = max over i of a[i]
    r[i+1] = a[i] + r[i] * g[i] / g[i+1], r[0] = 0           r[I] = sum over i of a[i] * g[i+1] / g[I]

so that the 1-pass, 2-pass and 3-pass cascades of one attention all become the same term.

Source: the rewrites of Nayak et al., "FuseMax", MICRO 2024, section 4, read backwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from einsum_cascades.errors import InputError
from einsum_cascades.ir import (
    Access,
    Apply,
    Cascade,
    Const,
    Einsum,
    Expression,
    Extent,
    Index,
    Number,
    Size,
    Subscript,
    Var,
)
from einsum_cascades.operators import OPERATORS
from kernels.gpu.generator.terms import (
    ONE,
    ZERO,
    Call,
    Factors,
    Fold,
    Input,
    Position,
    Product,
    Ranks,
    State,
    Sum,
    Term,
    added,
    call,
    factors,
    free,
    is_late,
    nodes,
    product,
    replaced,
    summands,
    total,
)


class Unfolding:
    """A cascade's tensors as terms.

    Attributes:
        cascade: the cascade.
        writers: the Einsum that gives each term that stands for a tensor, for messages.
    """

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.writers: dict[Term, Einsum] = {}
        self._views = dict(cascade.views)
        self._carried = {e.name for e in cascade.einsums if any(map(_is_place, e.output.subscripts))}
        self._einsums = {e.name: e for e in cascade.einsums if e.name not in self._carried}
        self._known: dict[Access, Term] = {}

    def parts(self, ranks: Iterable[str]) -> Ranks:
        """Return ranks with a partitioned one as its parts."""
        table = {p.rank: p.parts for p in self.cascade.partitions}
        return frozenset(part for rank in ranks for part in table.get(rank, (rank,)))

    def result(self, tensor: str) -> Term:
        """Return a tensor that the cascade computes."""
        return self._value(Access(tensor, tuple(Var(rank) for rank in self.cascade.ranks_of[tensor])), None)

    # ------------------------------------------------------------ tensors

    def _value(self, access: Access, reader: Einsum | None) -> Term:
        if access not in self._known:
            if access.tensor in self._carried:
                self._known[access] = self._carried_value(access, reader)
            else:
                self._known[access] = self._plain_value(access, reader)
        return self._known[access]

    def _plain_value(self, access: Access, reader: Einsum | None) -> Term:
        for subscript in access.subscripts:
            if not isinstance(subscript, Var) or subscript.shift:
                raise self._refusal(reader, f"reads {access.tensor} at a place of its own, not at every point")
        tensor = access.tensor
        if tensor in self._einsums:
            return self._written(self._einsums[tensor])
        ranks = self.cascade.ranks_of[tensor]
        if tensor in self._views:
            tensor = self._views[tensor]
            if tensor in self._einsums:
                return self._written(self._einsums[tensor])
            whole = dict.fromkeys(self.cascade.whole_rank(rank) for rank in ranks)
            ranks = self.cascade.ranks_of.get(tensor, tuple(whole))
        return Input(tensor, ranks, self.parts(ranks))

    def _written(self, einsum: Einsum) -> Term:
        term = self._folded(einsum, self._term(einsum.expression, einsum))
        self.writers.setdefault(term, einsum)
        return term

    def _term(self, expression: Expression, einsum: Einsum) -> Term:
        if isinstance(expression, Apply):
            if expression.operator in _NOT_ON_GPUS:
                symbol = OPERATORS[expression.operator].symbol
                raise self._refusal(einsum, f"uses '{symbol}', which no GPU kernel computes")
            operands = [self._term(operand, einsum) for operand in expression.operands]
            if expression.operator in ("mul", "div") and _cancels_an_index(expression.operator, *operands):
                raise self._refusal(einsum, "divides an index by itself, which is no number where it is 0")
            return call(expression.operator, *operands)
        if isinstance(expression, Access):
            return self._value(expression, einsum)
        return self._position(expression.rank) if isinstance(expression, Index) else expression

    def _position(self, rank: str) -> Term:
        """The number of a point; along the last part of a rank, by the number along the whole rank."""
        whole = self.cascade.whole_rank(rank)
        family = self.cascade.family(rank)
        if rank == whole or rank != family[-1]:
            return Position(rank, self.parts((rank,)))
        place: Term = Position(whole, self.parts((whole,)))
        for number, part in enumerate(family[:-1]):
            step: Term = Position(part, frozenset({part}))
            for inner in family[number + 1 :]:
                step = call("mul", step, Extent(inner))
            place = call("sub", place, step)
        return place

    # ------------------------------------------------------------ folds

    def _folded(self, einsum: Einsum, term: Term) -> Term:
        for reduction in einsum.reductions:
            term = self.fold(reduction.operator, self.parts((reduction.rank,)), term)
        return term

    def fold(self, operator: str, ranks: Ranks, term: Term) -> Term:
        """Return a term folded over ranks."""
        if operator == "add":
            return self._sum(ranks, term)
        if isinstance(term, Fold) and term.operator == operator:
            return Fold(operator, term.ranks | ranks, term.body)
        return Fold(operator, ranks, term)

    def _sum(self, ranks: Ranks, term: Term) -> Term:
        """A sum over ranks, without the factors that are the same for all of them."""
        groups: dict[Term, list[tuple[float, Term, Factors]]] = {}
        for (scalar, x), number in _multiplied_out(term).items():
            outside, inside = _split(factors(x), ranks)
            groups.setdefault(outside, []).append((number, scalar, inside))
        found: Sum = {}
        for outside, members in groups.items():
            if len(members) == 1:
                number, scalar, inside = members[0]
                outside = call("mul", call("mul", Number(number), scalar), outside)
                body = self._body(ranks, inside)
            else:
                parts: Sum = {}
                for number, scalar, inside in members:
                    one = call("mul", call("mul", Number(number), scalar), product(inside))
                    parts = added(parts, summands(one))
                body = Fold("add", ranks, total(parts))
            found = added(found, summands(call("mul", outside, body)))
        return total(found)

    def _body(self, ranks: Ranks, inside: Factors) -> Term:
        """The sum of a product: of two inputs it is a matrix product, and of a sum it is one sum over all ranks."""
        inner = [x for x, n in inside.powers.items() if n == 1 and isinstance(x, Fold) and x.operator == "add"]
        for fold in inner:
            others = {x: n for x, n in inside.powers.items() if x != fold}
            rest = product(Factors(inside.number, others, inside.exponent))
            if not free(rest) & fold.ranks:
                body = factors(call("mul", fold.body, rest))
                return self._body(fold.ranks | ranks, body)
        if not inside.powers and not inside.exponent:
            return self._count(ranks)
        inputs = [x for x in inside.powers if isinstance(x, Input)]
        if not inside.exponent and len(inside.powers) == 2 and len(inputs) == 2 and set(inside.powers.values()) == {1}:
            left, right = sorted(inputs, key=lambda x: x.tensor)
            common = [rank for rank in left.ranks if rank in right.ranks and self.parts((rank,)) == ranks]
            if common and left.free & right.free == ranks:
                return Product(left, right, common[0])
        return Fold("add", ranks, product(inside))

    def _count(self, ranks: Ranks) -> Term:
        """The number of points of ranks; of all parts of a rank it is the whole rank's size."""
        found: Term = ONE
        for partition in self.cascade.partitions:
            if set(partition.parts) <= ranks:
                found, ranks = call("mul", found, Extent(partition.rank)), ranks - set(partition.parts)
        for rank in sorted(ranks):
            found = call("mul", found, Extent(rank))
        return found

    # ------------------------------------------------------------ iterations

    def _carried_value(self, access: Access, reader: Einsum | None) -> Term:
        place = [(i, s) for i, s in enumerate(access.subscripts) if _is_place(s) or self._iterates(s)]
        if len(place) != 1:
            raise self._refusal(reader, f"reads {access.tensor}, which several iterations carry")
        at = place[0][1]
        if isinstance(at, Size):
            return self._last(access.tensor, at.rank)
        if isinstance(at, Var) and at.shift in (0, 1):
            ranks = tuple(s.rank for s in access.subscripts if isinstance(s, Var))
            return State(access.tensor, at.shift, self.parts(ranks))
        raise self._refusal(reader, f"reads {access.tensor} at a place of its own in the iteration")

    def _iterates(self, subscript: Subscript) -> bool:
        return isinstance(subscript, Var) and subscript.rank in self.cascade.iterative_ranks

    def _last(self, tensor: str, rank: str) -> Term:
        """The value of a carried tensor after the last iteration over a rank."""
        steps = [e for e in self.cascade.body if e.name == tensor]
        first = [e for e in self.cascade.init if e.name == tensor]
        stops = [s for s in self.cascade.stop if s.rank == rank]
        whole = len(stops) == 1 and stops[0].bound == Size(rank)
        if not whole or len(steps) != 1 or len(first) != 1 or not _is_from_the_start(first[0], steps[0], rank):
            raise self._refusal(steps[0] if steps else None, f"carries {tensor} in a way that has no closed form")
        step = steps[0]
        begin = self._term(first[0].expression, first[0])
        term = self._folded(step, self._term(step.expression, step))
        old = next((x for x in nodes(term) if isinstance(x, State) and x.tensor == tensor and x.shift == 0), None)
        if old is not None and isinstance(term, Call) and term.operator == "max":
            added_each = _other_operands(term, old)
            if added_each is not None and not _mentions(added_each, tensor):
                found = self.fold("max", self.parts((rank,)), added_each)
                return found if begin == Number(float("-inf")) else call("max", found, begin)
        if old is not None and begin == ZERO:
            solved = self._solved_sum(term, old, rank)
            if solved is not None:
                return solved
        raise self._refusal(step, f"carries {tensor} in a way that has no closed form")

    def _solved_sum(self, term: Term, old: State, rank: str) -> Term | None:
        """The last value of ``r[i+1] = a[i] + r[i] * g[i] / g[i+1]``, or None where it is not of this form."""
        new: Sum = {}
        kept: list[Term] = []
        for (scalar, x), number in summands(term).items():
            if x == old or any(y == old for y in factors(x).powers):
                kept.append(call("mul", call("mul", Number(number), scalar), x))
            elif _mentions(x, old.tensor):
                return None
            else:
                new[scalar, x] = number
        if len(kept) != 1:
            return None
        found = factors(kept[0])
        if found.number != 1.0 or found.powers.get(old) != 1:
            return None
        powers = {x: n for x, n in found.powers.items() if x != old}
        before, after = (_at(Factors(1.0, powers, found.exponent), shift) for shift in (0, 1))
        if len(before.powers) + len(after.powers) != len(powers) or not _are_all(found.exponent, before, after):
            return None
        moved = replaced(product(before), _advanced)
        if call("mul", moved, product(after)) != ONE:
            return None
        last = replaced(product(before), lambda x: self._last(x.tensor, rank) if isinstance(x, State) else None)
        correction = call("div", moved, last)
        return self.fold("add", self.parts((rank,)), call("mul", total(new), correction))

    def _refusal(self, einsum: Einsum | None, reason: str) -> InputError:
        name = einsum.name if einsum is not None else self.cascade.name
        return InputError(
            f"'{self.cascade.name}' has no fused GPU kernel: {name} {reason}",
            location=einsum.location if einsum is not None else None,
            hint=HINT,
        )


_NOT_ON_GPUS: Final = ("mod", "floor")
"""Operators that need the quotient's rounding to be exact, which that of GPUs is not."""

HINT = "a kernel takes a matrix product, elementwise and running reductions over the keys, a matrix product"


def _cancels_an_index(operator: str, left: Term, right: Term) -> bool:
    """Whether a factor with an index in it leaves a product or quotient, as if it were never 0."""
    above, below = factors(left).powers, factors(right).powers
    sign = 1 if operator == "mul" else -1
    gone = [x for x, n in below.items() if above.get(x, 0) * n * sign < 0 and not is_late(x)]
    return any(isinstance(node, Position) for x in gone for node in nodes(x))


def _is_place(subscript: Subscript) -> bool:
    """Whether a subscript tells one iteration from others."""
    return isinstance(subscript, Const | Size) or (isinstance(subscript, Var) and subscript.shift != 0)


def _is_from_the_start(first: Einsum, step: Einsum, rank: str) -> bool:
    """Whether an iteration starts with value 0 of a rank, and goes on one by one."""
    pairs = list(zip(first.output.subscripts, step.output.subscripts, strict=True))
    return [(a, b) for a, b in pairs if a != b] == [(Const(0), Var(rank, 1))]


def _split(found: Factors, ranks: Ranks) -> tuple[Term, Factors]:
    """A product's factors that do not change along ranks, and those that do.

    An exponent that can be infinite, such as a mask of queries, stays: outside it would cancel, and inf - inf is not 0.
    """
    outside = {x: n for x, n in found.powers.items() if not free(x) & ranks}
    inside = {x: n for x, n in found.powers.items() if x not in outside}
    constant = {k: v for k, v in found.exponent.items() if not free(k[1]) & ranks and not _masks(k[1])}
    varying = {key: value for key, value in found.exponent.items() if key not in constant}
    return product(Factors(found.number, outside, constant)), Factors(1.0, inside, varying)


def _masks(term: Term) -> bool:
    """Whether a term that no fold gives can be infinite."""
    return not is_late(term) and any(isinstance(x, Number) and abs(x.value) == float("inf") for x in nodes(term))


def _multiplied_out(term: Term) -> Sum:
    """A term as a sum in which no product holds a sum of what folds give, such as a difference of two softmaxes."""
    found: Sum = {}
    for (scalar, x), number in summands(term).items():
        parts = factors(x)
        inner = next((y for y, n in parts.powers.items() if n == 1 and _is_sum(y) and is_late(y)), None)
        if inner is None:
            found = added(found, {(scalar, x): number})
            continue
        rest = product(Factors(number, {y: n for y, n in parts.powers.items() if y != inner}, parts.exponent))
        for (factor, y), times in summands(inner).items():
            one = call("mul", call("mul", Number(times), factor), call("mul", y, call("mul", rest, scalar)))
            found = added(found, _multiplied_out(one))
    return found


def _is_sum(term: Term) -> bool:
    return isinstance(term, Call) and term.operator == "add"


def _other_operands(term: Term, old: State) -> Term | None:
    """The maximum of all but one operand of nested maxima, or None where that one is not among them exactly once."""
    found: list[Term] = []
    waiting: list[Term] = [term]
    while waiting:
        x = waiting.pop()
        if isinstance(x, Call) and x.operator == "max":
            waiting += x.operands
        else:
            found.append(x)
    if found.count(old) != 1 or len(found) < 2:
        return None
    found.remove(old)
    other = found[0]
    for x in found[1:]:
        other = call("max", other, x)
    return other


def _mentions(term: Term, tensor: str) -> bool:
    return any(isinstance(x, State) and x.tensor == tensor for x in nodes(term))


def _shifts(term: Term) -> set[int]:
    return {x.shift for x in nodes(term) if isinstance(x, State)}


def _at(found: Factors, shift: int) -> Factors:
    """The factors of a product that are of one place of an iteration."""
    powers = {x: n for x, n in found.powers.items() if _shifts(x) == {shift}}
    return Factors(1.0, powers, {key: value for key, value in found.exponent.items() if _shifts(key[1]) == {shift}})


def _are_all(exponent: Sum, *parts: Factors) -> bool:
    return len(exponent) == sum(len(part.exponent) for part in parts)


def _advanced(term: Term) -> Term | None:
    return State(term.tensor, 1, term.free) if isinstance(term, State) else None

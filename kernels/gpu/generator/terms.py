"""Values of a cascade as terms over its inputs, in a form in which equal values are written alike.

`call` keeps sums sorted and collected, ``s0 * x0 + s1 * x1``, with factors s that are the same everywhere; products
too, ``x0**n0 * x1**n1 * exp(sum)``: all exponentials of a product are one, so that ``exp(a - b) * exp(b - c)`` is
``exp(a - c)``. The arithmetic is that of real numbers: what overflows where is the business of who computes a term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Final

import numpy as np

from einsum_cascades.errors import InputError
from einsum_cascades.nodes import Extent, Number
from einsum_cascades.operators import OPERATORS

Ranks = frozenset[str]
_NONE: Final[Ranks] = frozenset()
MOST_NODES: Final = 4000
"""Nodes of a term beyond which it is refused."""


@dataclass(frozen=True)
class Input:
    """An input tensor at the points of its ranks; ``free`` are these ranks, a partitioned one as its parts."""

    tensor: str
    ranks: tuple[str, ...]
    free: Ranks


@dataclass(frozen=True)
class Position:
    """The number of the point along a rank; ``free`` as for `Input`."""

    rank: str
    free: Ranks


@dataclass(frozen=True)
class State:
    """What an iteration carries, before (shift 0) or after (1) the step at the point of its rank."""

    tensor: str
    shift: int
    free: Ranks


@dataclass(frozen=True)
class Product:
    """The sum of the products of two inputs over a rank that both have: a matrix product."""

    left: Input
    right: Input
    over: str

    @cached_property
    def free(self) -> Ranks:
        """The ranks along which it changes."""
        return self.left.free ^ self.right.free


@dataclass(frozen=True)
class Call:
    """An operator of the table applied to terms."""

    operator: str
    operands: tuple[Term, ...]
    size: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", 1 + sum(map(size, self.operands)))
        if self.size > MOST_NODES:
            raise InputError(
                f"an expression has more than {MOST_NODES} operators when it is written out",
                hint="a kernel computes it at every score",
            )

    @cached_property
    def free(self) -> Ranks:
        """The ranks along which it changes."""
        return frozenset().union(*(free(operand) for operand in self.operands))


@dataclass(frozen=True)
class Fold:
    """A term folded over ranks with an operator of the table."""

    operator: str
    ranks: Ranks
    body: Term

    @cached_property
    def free(self) -> Ranks:
        """The ranks along which it changes."""
        return free(self.body) - self.ranks


Term = Number | Extent | Input | Position | State | Product | Call | Fold

ONE: Final = Number(1.0)
ZERO: Final = Number(0.0)

Sum = dict[tuple[Term, Term], float]
"""A sum: the number of each (factor that is the same everywhere, term)."""


def free(term: Term) -> Ranks:
    """Return the ranks along which a term changes."""
    return _NONE if isinstance(term, Number | Extent) else term.free


def size(term: Term) -> int:
    """Return the number of nodes of a term."""
    if isinstance(term, Fold):
        return 1 + size(term.body)
    return term.size if isinstance(term, Call) else 1


def nodes(term: Term) -> Iterator[Term]:
    """Yield a term and all terms in it, outermost first."""
    yield term
    if isinstance(term, Call):
        for operand in term.operands:
            yield from nodes(operand)
    elif isinstance(term, Fold):
        yield from nodes(term.body)


def is_late(term: Term) -> bool:
    """Whether a term holds what a fold or an iteration gives."""
    return any(isinstance(node, Fold | State) for node in nodes(term))


def is_scalar(term: Term) -> bool:
    """Whether a term is the same everywhere, and known before anything is computed."""
    return not free(term) and not is_late(term)


def is_positive(term: Term) -> bool:
    """Whether a term is above 0 whatever its inputs are; one that says it by its form alone."""
    if isinstance(term, Number):
        return term.value > 0.0
    if isinstance(term, Call):
        if term.operator in ("exp", "sigmoid"):
            return True
        if term.operator == "max":
            return any(map(is_positive, term.operands))
        return term.operator in ("add", "mul", "div", "min", "sqrt") and all(map(is_positive, term.operands))
    return isinstance(term, Extent)


# ---------------------------------------------------------------- sums


def summands(term: Term) -> Sum:
    """Return a term as a sum."""
    if isinstance(term, Number):
        return {(ONE, ONE): term.value} if abs(term.value) < float("inf") else {(ONE, term): 1.0}
    if is_scalar(term) and not isinstance(term, Call):
        return {(term, ONE): 1.0}
    if isinstance(term, Call):
        return _summands_of_call(term)
    return {(ONE, term): 1.0}


def _summands_of_call(term: Call) -> Sum:
    operator, operands = term.operator, term.operands
    if operator == "add":
        return added(summands(operands[0]), summands(operands[1]))
    if operator == "sub":
        return added(summands(operands[0]), summands(operands[1]), -1.0)
    if operator == "neg":
        return added({}, summands(operands[0]), -1.0)
    if operator in ("mul", "div", "exp"):
        found = factors(term)
        scalars = {x: n for x, n in found.powers.items() if is_scalar(x)}
        others = {x: n for x, n in found.powers.items() if x not in scalars}
        exponent = {k: v for k, v in found.exponent.items() if not is_scalar(k[1])}
        constant = {k: v for k, v in found.exponent.items() if k not in exponent}
        scalar = _product(Factors(1.0, scalars, constant))
        if not exponent and len(others) == 1 and set(others.values()) == {1}:
            inside = summands(next(iter(others)))
            return {(_scaled(scalar, s), x): found.number * v for (s, x), v in inside.items()}
        return {(scalar, _product(Factors(1.0, others, exponent))): found.number}
    return {(term, ONE): 1.0} if is_scalar(term) else {(ONE, term): 1.0}


def _scaled(a: Term, b: Term) -> Term:
    return b if a == ONE else a if b == ONE else _product(factors(Call("mul", (a, b))))


def added(a: Sum, b: Sum, times: float = 1.0) -> Sum:
    """Return ``a + times * b``."""
    found = dict(a)
    for key, value in b.items():
        found[key] = found.get(key, 0.0) + times * value
    return {key: value for key, value in found.items() if value != 0.0}


def total(terms: Sum) -> Term:
    """Return a sum as a term."""
    if not terms:
        return ZERO
    parts = []
    for (scalar, term), number in sorted(terms.items(), key=lambda item: repr(item[0])):
        one = Factors(number, {x: 1 for x in (scalar, term) if x != ONE}, {})
        parts.append(_product(one, flat=True))
    return reduce(lambda a, b: Call("add", (a, b)), parts)


# ---------------------------------------------------------------- products


@dataclass(frozen=True)
class Factors:
    """``number * product of x**n * exp(exponent)``."""

    number: float
    powers: Mapping[Term, int]
    exponent: Sum


def factors(term: Term) -> Factors:
    """Return a term as a product."""
    if isinstance(term, Number):
        return Factors(term.value, {}, {})
    if isinstance(term, Call) and term.operator in ("mul", "div"):
        left, right = map(factors, term.operands)
        sign = 1 if term.operator == "mul" else -1
        if sign < 0 and right.number == 0.0:
            return Factors(left.number, {**left.powers, ZERO: -1}, left.exponent)
        powers = dict(left.powers)
        for x, n in right.powers.items():
            powers[x] = powers.get(x, 0) + sign * n
        number = left.number * (right.number if sign > 0 else 1.0 / right.number)
        return Factors(number, {x: n for x, n in powers.items() if n}, added(left.exponent, right.exponent, sign))
    if isinstance(term, Call) and term.operator == "exp":
        return Factors(1.0, {}, summands(term.operands[0]))
    if isinstance(term, Call) and term.operator in ("add", "sub", "neg"):
        terms = summands(term)
        if len(terms) == 1:
            (((scalar, x), number),) = terms.items()
            inner = [factors(y) for y in (scalar, x) if y != ONE and y != term]
            return reduce(_times, inner, Factors(number, {}, {}))
        return Factors(1.0, {total(terms): 1}, {}) if terms else Factors(0.0, {}, {})
    return Factors(1.0, {term: 1}, {})


def _times(a: Factors, b: Factors) -> Factors:
    powers = dict(a.powers)
    for x, n in b.powers.items():
        powers[x] = powers.get(x, 0) + n
    return Factors(a.number * b.number, {x: n for x, n in powers.items() if n}, added(a.exponent, b.exponent))


def _product(found: Factors, *, flat: bool = False) -> Term:
    """Return a product as a term; the factors of a ``flat`` one are written out already, and its number comes first."""
    if found.number == 0.0:
        return ZERO
    above = [x for x, n in sorted(found.powers.items(), key=lambda item: repr(item[0])) for _ in range(n)]
    below = [x for x, n in sorted(found.powers.items(), key=lambda item: repr(item[0])) for _ in range(-n)]
    if found.exponent:
        above.append(Call("exp", (total(found.exponent),)))
    if found.number != 1.0 or not above:
        above.insert(0, Number(found.number))
    term = reduce(lambda a, b: Call("mul", (a, b)), above)
    return reduce(lambda a, b: Call("div", (a, b)), below, term)


def product(found: Factors) -> Term:
    """Return a product as a term, written as `call` writes it."""
    return _written(_product(found))


# ---------------------------------------------------------------- building


def call(operator: str, *operands: Term) -> Term:
    """Return an operator applied to terms that `call` wrote, written as equal values are."""
    if all(isinstance(x, Number) for x in operands):
        values = [x.value for x in operands if isinstance(x, Number)]
        with np.errstate(all="ignore"):
            return Number(float(OPERATORS[operator].numpy(*values)))
    if operator == "where" and isinstance(operands[0], Number):
        return operands[1] if operands[0].value != 0.0 else operands[2]
    if operator == "where" and _is_floor(*operands):
        return operands[2]
    if operator in ("max", "min", "eq"):
        operands = tuple(sorted(operands, key=repr))
    return _written(Call(operator, operands))


def _is_floor(condition: Term, _: Term, kept: Term) -> bool:
    """Whether a choice is a maximum (or minimum) but where it is infinite, so that nothing was seen to shift by it."""
    compared = condition.operands if isinstance(condition, Call) and condition.operator == "eq" else ()
    infinite = any(isinstance(x, Number) and abs(x.value) == float("inf") for x in compared)
    return infinite and kept in compared and isinstance(kept, State | Fold)


def _written(term: Term) -> Term:
    if not isinstance(term, Call):
        return term
    if term.operator in ("add", "sub", "neg"):
        return total(summands(term))
    if term.operator in ("mul", "div", "exp"):
        return total(summands(_product(factors(term))))
    return term


def replaced(term: Term, change: Callable[[Term], Term | None]) -> Term:
    """Return a term in which every outermost part that ``change`` gives another for is that other."""
    other = change(term)
    if other is not None:
        return other
    if isinstance(term, Call):
        operands = tuple(replaced(operand, change) for operand in term.operands)
        return term if operands == term.operands else call(term.operator, *operands)
    return term

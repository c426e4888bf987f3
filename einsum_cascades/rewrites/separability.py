"""Whether a term falls apart into what is summed over and what is not.

Let x be the values that carry the reduced rank and y those that do not. A reduction can do without y until
its end, or can mend a result that was computed with an older y0, when

- for a sum, F(x, y) is a finite sum of products c_k(y) g_k(x). With one product this is
  F(x, y) F(x0, y0) = F(x, y0) F(x0, y), and the correction from y0 to y is the factor
  T(y0, y) = c(y) / c(y0), such as exp(y0 - y) for exp(x - y). With several, the g_k are moments. A choice
  between such a sum and 0 is one too: where(x, c(y) g(x), 0) = c(y) where(x, g(x), 0);
- for a maximum or minimum, F(x, y) = g(x) + c(y), and the correction is the term T(y0, y) = c(y) - c(y0).

A logarithm of a product is split first where that is legal: the factors that are above 0 whatever is read
(exponentials, their sums) get logarithms of their own, and the others share one:
log(exp(x - y) / s * w) = x - y - log(s) + log(w). Where w is 0 or negative, both sides are -inf or no number.

SymPy decides on the expression tree, and random numbers confirm what it found. Sources: M. Milakov,
N. Gimelshein, "Online normalizer calculation for softmax", 2018, arXiv:1805.02867 (the correction of a
running sum); Nayak et al., "FuseMax", MICRO 2024, section 3 (iterating a reduction).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.ir import Access, Apply, Expression, Leaf, Number
from einsum_cascades.rewrites.symbolic import (
    NotExpressible,
    Symbols,
    distinct_leaves,
    evaluate,
    product,
    replace_accesses,
)

if TYPE_CHECKING:
    import sympy

_SAMPLES = 32
_TOLERANCE = 1e-9
_MOST_TERMS = 16
_MOST_NODES = 400
_MOST_EXPANDED = 256

ONE = Number(1.0)


@dataclass(frozen=True, slots=True)
class Term:
    """One product of a separated sum (or, of a maximum, one sum): ``coefficient`` has no x, ``basis`` no y.

    ``selected`` are extremes y of which the term counts only the elements that reach them (``selection.py``).
    """

    coefficient: Expression
    basis: Expression
    selected: tuple[Access, ...] = ()


@lru_cache(maxsize=1024)
def separate(
    expression: Expression,
    late: frozenset[Access],
    early: frozenset[Leaf],
    operator: str = "add",
    positive: frozenset[Leaf] = frozenset(),
) -> tuple[Term, ...] | None:
    """Return F(x, y) as finitely many terms, or None when these rules cannot.

    Args:
        expression: F.
        late: y, the accesses that must leave the reduction.
        early: x, the accesses and indices that must stay inside. All else is constant and may stand on both sides.
        operator: what the reduction folds with: ``add``, ``max`` or ``min``.
        positive: the leaves that are above 0 whatever is read, for logarithms of products with them.
    """
    if operator not in ("add", "max", "min") or _size(expression) > _MOST_NODES:
        return None
    if _expanded(expression) > _MOST_EXPANDED:
        return None
    symbols = Symbols(distinct_leaves(expression), positive)
    try:
        value = _split_logarithms(symbols.to_sympy(expression))
        sides = frozenset(map(symbols.symbol, late)), frozenset(map(symbols.symbol, early))
        split = _products(value, *sides) if operator == "add" else _two_sums(value, *sides)
        if split is None:
            return None
        terms = tuple(Term(symbols.to_expression(c), symbols.to_expression(g)) for c, g in split)
    except NotExpressible:
        return None
    return terms if _confirmed(expression, combined(terms, operator)) else None


def combined(terms: Iterable[Term], operator: str) -> Expression:
    """Return the sum of products (for a maximum, of sums) that some terms say."""
    link = "mul" if operator == "add" else "add"
    first, *rest = (Apply(link, (term.coefficient, term.basis)) for term in terms)
    result: Expression = first
    for term in rest:
        result = Apply("add", (result, term))
    return result


def correction(
    term: Term,
    operator: str,
    before: Mapping[Access, Access],
    after: Mapping[Access, Access],
    reached: Mapping[Access, Access] | None = None,
) -> Expression | None:
    """Return T(y0, y), which turns a result computed with y0 into the one computed with y.

    Args:
        term: the only term of F.
        operator: what the reduction folds with; the correction multiplies a sum and is added to a maximum.
        before: the access of y0 for each access y.
        after: the access to write for each y.
        reached: the access to write for each y that is compared with its y0; as ``after`` if None.
    """
    import sympy

    symbols = Symbols()
    try:
        old, new = (symbols.to_sympy(replace_accesses(term.coefficient, table)) for table in (before, after))
        changed = sympy.expand(new - old) if operator != "add" else sympy.powsimp(new / old)
        factor = symbols.to_expression(changed)
    except NotExpressible:
        return None
    for y in term.selected:
        unchanged = Apply("eq", (before.get(y, y), (after if reached is None else reached).get(y, y)))
        if operator == "add":
            factor = unchanged if factor == ONE else Apply("mul", (unchanged, factor))
        else:
            factor = Apply("where", (unchanged, factor, Number(math.inf if operator == "min" else -math.inf)))
    return factor


def finite_at_start(
    factor: Expression, start: Mapping[Access, float], operator: str, signed: Collection[Leaf] = ()
) -> bool:
    """Whether a correction leaves the identity of a reduction alone where nothing has been read yet.

    Args:
        factor: T(y0, y).
        start: the value of each y0 before the first iteration.
        operator: what the reduction folds with.
        signed: leaves that may be negative; all others are taken to be above 0.
    """
    values = _samples(distinct_leaves(factor))
    values |= {leaf: values[leaf] * np.resize([1.0, -1.0], _SAMPLES) for leaf in signed if leaf in values}
    values |= {access: np.full(_SAMPLES, value) for access, value in start.items() if access in values}
    with np.errstate(all="ignore"):
        found = evaluate(factor, values)
    if operator == "add":
        return bool(np.isfinite(found).all())
    worst = np.inf if operator == "max" else -np.inf
    return bool((found != worst).all() and not np.isnan(found).any())


# ---------------------------------------------------------------- splitting


def _products(
    value: sympy.Expr, late: frozenset[sympy.Symbol], early: frozenset[sympy.Symbol]
) -> list[tuple[sympy.Expr, sympy.Expr]] | None:
    """Pairs (c, g) whose products add up to a value."""
    import sympy

    value = _spread_choices(_split_exponents(value, late, early), late, early)
    whole = _one_product(value, late, early)
    if whole is not None:
        return [whole]
    expanded = sympy.expand(value, power_exp=False)
    collected: dict[sympy.Expr, sympy.Expr] = {}
    for part in sympy.Add.make_args(expanded):
        pair = _one_product(part, late, early)
        if pair is None or len(collected) > _MOST_TERMS:
            return None
        number, basis = pair[1].as_coeff_Mul()
        collected[basis] = collected.get(basis, sympy.Integer(0)) + number * pair[0]
    if len(collected) > 1:
        factored = _one_product(sympy.factor(expanded), late, early)
        if factored is not None:
            return [factored]
    return [(c, g) for g, c in collected.items() if c != 0] or None


def _split_exponents(value: sympy.Expr, late: frozenset[sympy.Symbol], early: frozenset[sympy.Symbol]) -> sympy.Expr:
    """Exponentials as products of what has y and no x, and the rest: a constant maximum stays with its x."""
    import sympy

    def split(exponential: sympy.Expr) -> sympy.Expr:
        parts = sympy.Add.make_args(sympy.expand(exponential.args[0]))
        apart = [part for part in parts if part.free_symbols & late and not part.free_symbols & early]
        rest = sympy.exp(sympy.Add(*(part for part in parts if part not in apart)))
        return sympy.Mul(rest, *map(sympy.exp, apart))

    return value.replace(lambda part: isinstance(part, sympy.exp), split)


def _split_logarithms(value: sympy.Expr) -> sympy.Expr:
    """Logarithms of products as sums, where SymPy's assumptions allow it."""
    import sympy

    return value.replace(lambda part: isinstance(part, sympy.log), sympy.expand_log)


def _spread_choices(value: sympy.Expr, late: frozenset[sympy.Symbol], early: frozenset[sympy.Symbol]) -> sympy.Expr:
    """Take what is late out of choices between a sum of products and 0."""
    import sympy

    def spread(choice: sympy.Expr) -> sympy.Expr:
        condition, *values = choice.args
        if condition.free_symbols & late or 0 not in values or not choice.free_symbols & late:
            return choice
        place = 1 - values.index(0)
        pairs = _products(values[place], late, early)
        zero = sympy.Integer(0)
        return (
            choice
            if pairs is None
            else sympy.Add(*(c * choice.func(condition, *((g, zero) if place == 0 else (zero, g))) for c, g in pairs))
        )

    return value.replace(lambda part: getattr(part.func, "__name__", "") == "where", spread)


def _one_product(
    value: sympy.Expr, late: frozenset[sympy.Symbol], early: frozenset[sympy.Symbol]
) -> tuple[sympy.Expr, sympy.Expr] | None:
    """The pair (c, g) whose product is a value, constants in c."""
    import sympy

    coefficient, basis = sympy.Integer(1), sympy.Integer(1)
    for factor in sympy.Mul.make_args(value):
        if not factor.free_symbols & early:
            coefficient *= factor
        elif not factor.free_symbols & late:
            basis *= factor
        else:
            return None
    return coefficient, basis


def _two_sums(
    value: sympy.Expr, late: frozenset[sympy.Symbol], early: frozenset[sympy.Symbol]
) -> list[tuple[sympy.Expr, sympy.Expr]] | None:
    """The pair (c, g) whose sum is a value, constants in c."""
    import sympy

    coefficient, basis = sympy.Integer(0), sympy.Integer(0)
    for part in sympy.Add.make_args(sympy.expand(value)):
        if not part.free_symbols & early:
            coefficient += part
        elif not part.free_symbols & late:
            basis += part
        else:
            return None
    return [(coefficient, basis)]


# ---------------------------------------------------------------- numbers


def _size(expression: Expression) -> int:
    return 1 + sum(map(_size, expression.operands)) if isinstance(expression, Apply) else 1


def _expanded(expression: Expression) -> int:
    """How many terms an expression, or the argument of any function in it, has when it is multiplied out."""
    if not isinstance(expression, Apply):
        return 1
    counts = [_expanded(operand) for operand in expression.operands]
    if expression.operator in ("add", "sub"):
        return sum(counts)
    return math.prod(counts) if expression.operator in ("mul", "div") else max(counts)


def _samples(found: Iterable[Leaf]) -> dict[Leaf, NDArray[np.float64]]:
    generator = np.random.default_rng(20240)
    return {leaf: generator.uniform(0.25, 2.0, _SAMPLES) for leaf in found}


def _confirmed(first: Expression, second: Expression) -> bool:
    """Whether two expressions agree on random numbers."""
    values = _samples(dict.fromkeys([*distinct_leaves(first), *distinct_leaves(second)]))
    with np.errstate(all="ignore"):
        a, b = (np.broadcast_to(evaluate(e, values), (_SAMPLES,)) for e in (first, second))
    usable = np.isfinite(a)
    return bool(usable.any() and np.allclose(a[usable], b[usable], rtol=_TOLERANCE, atol=_TOLERANCE))


def scaled(coefficient: Expression, basis: Expression, operator: str) -> Expression:
    """Return coefficient times basis (for a maximum, plus), as SymPy writes it best: ``G / SD``."""
    symbols = Symbols([leaf for part in (basis, coefficient) for leaf in distinct_leaves(part)])
    try:
        c, g = symbols.to_sympy(coefficient), symbols.to_sympy(basis)
        written = symbols.to_expression(c * g if operator == "add" else c + g)
        if _ranks(written) == _ranks(coefficient) | _ranks(basis):
            return written
    except NotExpressible:
        pass
    return product([coefficient, basis]) if operator == "add" else Apply("add", (coefficient, basis))


def total(terms: Iterable[Expression]) -> Expression:
    """Return the sum of some expressions with what they share factored out."""
    import sympy

    first, *rest = parts = list(terms)
    symbols = Symbols(leaf for part in parts for leaf in distinct_leaves(part))
    try:
        written = symbols.to_expression(sympy.factor_terms(sympy.Add(*map(symbols.to_sympy, parts))))
        if _ranks(written) == set().union(*map(_ranks, parts)):
            return written
    except NotExpressible:
        pass
    for part in rest:
        first = Apply("add", (first, part))
    return first


def _ranks(expression: Expression) -> set[str]:
    """The ranks that an expression walks over: what cancels takes its own with it, a count or a result among them."""
    return {rank for leaf in distinct_leaves(expression) for rank in leaf.ranks}

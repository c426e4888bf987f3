"""Expressions of a cascade in SymPy and back, and on numbers.

The tree is walked node by node; no text is ever handed to SymPy. Every tensor access, index and extent becomes a real
symbol of its own. Maxima, minima, the sigmoid, comparisons and choices stay uninterpreted functions, so no law is
assumed of them; an infinity may stand only where such a function takes it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.ir import Access, Apply, Expression, Extent, Index, Leaf, Number, accesses, leaves
from einsum_cascades.operators import COMPARISONS, OPERATORS

if TYPE_CHECKING:
    import sympy

_OPAQUE = frozenset({"max", "min", "sigmoid", "abs", "mod", "floor", "where", *COMPARISONS})
_LARGEST_POWER = 8


class NotExpressible(Exception):
    """An expression that one of the two languages cannot say."""


class Symbols:
    """A symbol for each leaf (access, index, extent), and the leaf of each symbol; some leaves are above 0."""

    def __init__(self, known: Iterable[Leaf] = (), positive: Collection[Leaf] = ()) -> None:
        self._positive = positive
        self._symbols: dict[Leaf | Number, sympy.Symbol] = {}
        self._leaves: dict[sympy.Symbol, Leaf | Number] = {}
        for leaf in known:
            self.symbol(leaf)

    def symbol(self, leaf: Leaf | Number) -> sympy.Symbol:
        """The real symbol that stands for a leaf, or for an infinity."""
        import sympy

        if leaf not in self._symbols:
            name = f"v{len(self._symbols):03d}"
            symbol = sympy.Symbol(name, positive=True) if leaf in self._positive else sympy.Symbol(name, real=True)
            self._symbols[leaf] = symbol
            self._leaves[symbol] = leaf
        return self._symbols[leaf]

    def leaf(self, symbol: sympy.Symbol) -> Leaf | Number:
        """The leaf that a symbol stands for."""
        return self._leaves[symbol]

    def to_sympy(self, expression: Expression) -> sympy.Expr:
        """Return an expression in SymPy.

        Raises:
            NotExpressible: it calculates with an infinite literal.
        """
        import sympy

        if isinstance(expression, Access | Index | Extent):
            return self.symbol(expression)
        if isinstance(expression, Number):
            if not math.isfinite(expression.value):
                raise NotExpressible
            return sympy.Rational(*expression.value.as_integer_ratio())
        if expression.operator in _OPAQUE:
            return sympy.Function(expression.operator)(*map(self._operand, expression.operands))
        operands = [self.to_sympy(operand) for operand in expression.operands]
        return _interpreted(expression.operator, operands)

    def _operand(self, expression: Expression) -> sympy.Expr:
        if isinstance(expression, Number) and math.isinf(expression.value):
            return self.symbol(expression)
        return self.to_sympy(expression)

    def to_expression(self, value: sympy.Expr) -> Expression:
        """Return a SymPy expression as a tree: sums with what is added first, products with divisors last.

        Raises:
            NotExpressible: it needs an operator that the table lacks, such as a power that is no whole number.
        """
        import sympy

        if value.is_Symbol:
            return self.leaf(value)
        if value.is_Rational:
            return _quotient([_number(value.p)], [_number(value.q)] if value.q != 1 else [])
        if value is sympy.E:
            return Apply("exp", (Number(1.0),))
        if value.is_Add:
            return self._sum(value)
        if value.is_Mul or (value.is_Pow and not isinstance(value, sympy.exp)):
            return self._product(value)
        name = "exp" if isinstance(value, sympy.exp) else getattr(value.func, "__name__", "")
        if name not in OPERATORS or len(value.args) != OPERATORS[name].arity:
            raise NotExpressible
        operands = value.args
        if name == "exp":
            operands = (sympy.factor_terms(value.args[0]),)
        return Apply(name, tuple(self.to_expression(operand) for operand in operands))

    def _sum(self, value: sympy.Expr) -> Expression:
        added: list[Expression] = []
        taken: list[Expression] = []
        for term in sorted(value.args, key=_position):
            negative = term.could_extract_minus_sign()
            (taken if negative else added).append(self.to_expression(-term if negative else term))
        result = added[0] if added else Apply("neg", (taken.pop(0),))
        for term in added[1:]:
            result = Apply("add", (result, term))
        for term in taken:
            result = Apply("sub", (result, term))
        return result

    def _product(self, value: sympy.Expr) -> Expression:
        import sympy

        coefficient, rest = value.as_coeff_Mul()
        if not coefficient.is_Rational:
            raise NotExpressible
        above: list[Expression] = []
        below: list[Expression] = []
        for factor in sorted(rest.as_ordered_factors(), key=_position):
            power = factor.is_Pow and not isinstance(factor, sympy.exp)
            base, exponent = factor.as_base_exp() if power else (factor, sympy.Integer(1))
            if not exponent.is_Rational:
                raise NotExpressible
            (below if exponent < 0 else above).extend(self._power(base, abs(exponent)))
        if abs(coefficient.p) != 1:
            above.insert(0, _number(abs(coefficient.p)))
        if coefficient.q != 1:
            below.append(_number(coefficient.q))
        result = _quotient(above or [Number(1.0)], below)
        return Apply("neg", (result,)) if coefficient < 0 else result

    def _power(self, base: sympy.Expr, exponent: Any) -> list[Expression]:
        if exponent > _LARGEST_POWER or exponent.q not in (1, 2, 4, 8):
            raise NotExpressible
        whole, rest = divmod(exponent, 1)
        roots = [Apply("sqrt", (product(self._power(base, 2 * rest)),))] if rest else []
        return [self.to_expression(base)] * int(whole) + roots


def _interpreted(operator: str, operands: list[sympy.Expr]) -> sympy.Expr:
    import sympy

    a = operands[0]
    b = operands[-1]
    if operator == "add":
        return a + b
    if operator == "sub":
        return a - b
    if operator == "mul":
        return a * b
    if operator == "div":
        return a / b
    if operator == "neg":
        return -a
    return getattr(sympy, operator)(a)


def _number(value: int) -> Number:
    try:
        return Number(float(value))
    except OverflowError:
        raise NotExpressible from None


def _position(value: sympy.Expr) -> tuple[str, str]:
    """Where a term stands: by its first symbol."""
    names = sorted(symbol.name for symbol in value.free_symbols)
    return (names[0] if names else "", str(value))


def product(factors: Iterable[Expression]) -> Expression:
    """Return the product of some expressions, from left to right."""
    first, *rest = factors
    for factor in rest:
        first = Apply("mul", (first, factor))
    return first


def _quotient(above: list[Expression], below: list[Expression]) -> Expression:
    result = product(above)
    for divisor in below:
        result = Apply("div", (result, divisor))
    return result


def evaluate(expression: Expression, values: Mapping[Leaf, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the value of an expression, given that of each of its leaves."""
    if isinstance(expression, Number):
        return np.asarray(expression.value)
    if not isinstance(expression, Apply):
        return values[expression]
    operands = [evaluate(operand, values) for operand in expression.operands]
    return np.asarray(OPERATORS[expression.operator].numpy(*operands))


def replace_accesses(expression: Expression, table: Mapping[Access, Expression]) -> Expression:
    """Return an expression with some accesses replaced; what is put in is not searched again."""
    if isinstance(expression, Access):
        return table.get(expression, expression)
    if isinstance(expression, Apply):
        return Apply(expression.operator, tuple(replace_accesses(o, table) for o in expression.operands))
    return expression


def distinct_accesses(expression: Expression) -> tuple[Access, ...]:
    """Return the accesses of an expression, each once, from left to right."""
    return tuple(dict.fromkeys(accesses(expression)))


def distinct_leaves(expression: Expression) -> tuple[Leaf, ...]:
    """Return the accesses, indices and extents of an expression, each once, from left to right."""
    return tuple(dict.fromkeys(leaves(expression)))

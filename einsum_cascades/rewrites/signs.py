"""Which values of a cascade are above 0, or never below it, by what computes them.

An exponential is above 0, and so is a sum of exponentials: log(x / s) is log(x) - log(s) for it, whatever x is. In
floating point an exponential is 0 where its exponent is -inf, so a sum of masked exponentials may be 0; those who
divide by it ask with the `Infinities` at hand. Nothing is known of inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from einsum_cascades.ir import Access, Cascade, Expression, Extent, Index, Leaf, Number
from einsum_cascades.operators import COMPARISONS
from einsum_cascades.rewrites.infinities import Infinities


class Sign(IntEnum):
    """What is known of a value: nothing, that it is at least 0, or that it is above 0."""

    ANY = 0
    NONNEGATIVE = 1
    POSITIVE = 2


class Signs:
    """The sign of each tensor.

    Args:
        cascade: what is judged.
        infinities: where exponents may be -inf, so that exponentials may be 0; nowhere if None.
    """

    def __init__(self, cascade: Cascade, infinities: Infinities | None = None) -> None:
        self.infinities = infinities
        self.of_tensor = {einsum.name: Sign.POSITIVE for einsum in cascade.einsums}
        falls = True
        while falls:
            falls = False
            for einsum in cascade.einsums:
                known = self.of_tensor[einsum.name]
                self.of_tensor[einsum.name] = min(known, self.of(einsum.expression))
                falls |= self.of_tensor[einsum.name] != known

    def positive(self, found: Iterable[Leaf]) -> frozenset[Leaf]:
        """Return the leaves that are above 0."""
        return frozenset(leaf for leaf in found if self.of(leaf) is Sign.POSITIVE)

    def of(self, expression: Expression) -> Sign:
        """The sign of an expression's value."""
        if isinstance(expression, Access):
            return self.of_tensor.get(expression.tensor, Sign.ANY)
        if isinstance(expression, Number):
            return Sign.POSITIVE if expression.value > 0 else Sign.ANY if expression.value < 0 else Sign.NONNEGATIVE
        if isinstance(expression, Index):
            return Sign.NONNEGATIVE
        if isinstance(expression, Extent):
            return Sign.POSITIVE
        return self._applied(expression.operator, expression.operands)

    def _applied(self, operator: str, operands: tuple[Expression, ...]) -> Sign:
        if operator in COMPARISONS:
            return Sign.NONNEGATIVE
        if operator == "exp":
            vanishes = self.infinities is not None and any(s < 0 for s, _ in self.infinities.of(operands[0]))
            return Sign.NONNEGATIVE if vanishes else Sign.POSITIVE
        if operator == "sigmoid":
            return Sign.POSITIVE
        signs = [self.of(operand) for operand in operands]
        if operator == "where":
            return min(signs[1:])
        if operator in ("abs", "sqrt") or (operator == "mul" and operands[0] == operands[1]):
            return max(signs[0], Sign.NONNEGATIVE)
        if operator == "tanh":
            return signs[0]
        if operator == "max":
            return max(signs)
        if operator == "add":
            return max(signs) if min(signs) else Sign.ANY
        return min(signs) if operator in ("mul", "div", "min") else Sign.ANY

"""Which values of a cascade may be infinite: where a mask or an input puts an infinity, and where that gets to.

An infinity is written (``where(c, x, -inf)``, the logarithm of a 0), or it may stand in an input that changes along
the rank, as additive masks and padded scores do. Sums, choices and maxima pass it on by its sign. Inputs that are
multiplied and summed, as queries and keys are, are taken as finite: 0 times an infinity is no number.
"""

from __future__ import annotations

from collections.abc import Collection

from einsum_cascades.ir import Access, Apply, Cascade, Einsum, Expression, Number, accesses, factors, leaves
from einsum_cascades.operators import COMPARISONS

Infinity = tuple[int, bool]
"""The sign of an infinity, and whether it is written: one that only an input may hold is not."""

NONE: frozenset[Infinity] = frozenset()
_BOTH = frozenset({-1, 1})
_FINITE = frozenset({"tanh", "sigmoid", *COMPARISONS})


class Infinities:
    """The infinities that each tensor may hold.

    Args:
        cascade: what is judged.
        rank: the rank, or a family by any of its names, along which inputs change that may hold infinities.
        inputs: the inputs that may; all that change along the rank if None.
    """

    def __init__(self, cascade: Cascade, rank: str, inputs: Collection[str] | None = None) -> None:
        whole = cascade.whole_rank(rank)
        self.family = frozenset({rank, whole, *cascade.family(rank)})
        chosen = cascade.inputs if inputs is None else inputs
        carried = {(sign, False) for sign in _BOTH}
        self.of_tensor: dict[str, frozenset[Infinity]] = {
            t: frozenset(carried) if self.family & set(cascade.ranks_of[t]) else NONE for t in chosen
        }
        grows = True
        while grows:
            grows = False
            for einsum in cascade.einsums:
                known = self.of_tensor.get(einsum.name, NONE)
                found = known | self.result(einsum)
                self.of_tensor[einsum.name] = found
                grows |= found != known

    def result(self, einsum: Einsum) -> frozenset[Infinity]:
        """The infinities that an Einsum may write."""
        found = self.of(einsum.expression)
        operators = {reduction.operator for reduction in einsum.reductions}
        if "add" in operators and sum(any(accesses(f)) for f in factors(einsum.expression)) > 1:
            found = frozenset(infinity for infinity in found if infinity[1])
        return _signed(found, _BOTH) if "mul" in operators else found

    def of(self, expression: Expression) -> frozenset[Infinity]:
        """The infinities that the value of an expression may be."""
        if isinstance(expression, Access):
            return self.of_tensor.get(expression.tensor, NONE)
        if isinstance(expression, Number):
            return (
                frozenset({(1 if expression.value > 0 else -1, True)})
                if abs(expression.value) == float("inf")
                else NONE
            )
        if not isinstance(expression, Apply) or expression.operator in _FINITE:
            return NONE
        operands = [self.of(operand) for operand in expression.operands]
        return self._applied(expression, operands)

    def _applied(self, expression: Apply, operands: list[frozenset[Infinity]]) -> frozenset[Infinity]:
        first, last = operands[0], operands[-1]
        operator = expression.operator
        if operator in ("add", "sub"):
            return first | (last if operator == "add" else _negated(last))
        if operator == "neg":
            return _negated(first)
        if operator in ("mul", "div"):
            return self._scaled(expression, first if operator == "div" else first | last)
        if operator == "where":
            return operands[1] | last
        if operator in ("max", "min"):
            surviving = 1 if operator == "max" else -1
            both = {s for s, _ in first} & {s for s, _ in last}
            return frozenset(i for i in first | last if i[0] == surviving or i[0] in both)
        if operator in ("floor", "mod"):
            return last
        if operator == "abs":
            return _signed(first, frozenset({1}))
        found = frozenset(i for i in first if i[0] > 0)
        if operator == "log" and any(set(leaf.ranks) & self.family for leaf in leaves(expression)):
            found |= {(-1, True)}
        return found

    def _scaled(self, expression: Apply, found: frozenset[Infinity]) -> frozenset[Infinity]:
        numbers = [operand.value for operand in expression.operands if isinstance(operand, Number)]
        if not numbers:
            return _signed(found, _BOTH)
        return found if numbers[0] > 0 else _negated(found)


def _negated(found: frozenset[Infinity]) -> frozenset[Infinity]:
    return frozenset((-sign, written) for sign, written in found)


def _signed(found: frozenset[Infinity], signs: frozenset[int]) -> frozenset[Infinity]:
    return frozenset((sign, written) for _, written in found for sign in signs)

"""Which intermediate of a cascade can overflow for inputs of size R.

Intervals are carried through the Einsums: an input lies in [-R, R], one that is a divisor or stands under a
logarithm or root in [1, R]; a folded sum takes its length times an element. Where an interval forgets that
two values are related, two facts are kept: a maximum is at least each of its elements, so ``x - max(x) <= 0``; and it
is one of them, so a sum of ``exp(x - max(x))`` is at least 1, and its logarithm at least 0. Of a
choice ``where(c, a, b)`` either value may be taken.
An exponential whose argument can pass ln of the largest number is a risk. Source of the arithmetic:
R. Moore, "Interval Analysis", 1966; of the shift by the maximum: P. Blanchard, D. Higham, N. Higham,
"Accurately computing the log-sum-exp and softmax functions", IMA J. Numerical Analysis 41(4), 2021.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from einsum_cascades.ir import (
    Access,
    Apply,
    Cascade,
    Einsum,
    Expression,
    Extent,
    Index,
    Number,
    Size,
    Var,
    check_cascade,
)
from einsum_cascades.operators import COMPARISONS
from einsum_cascades.printer import expression_text, number_text

Interval = tuple[float, float]

LARGEST_EXPONENT = 709.0
"""exp of more than this is no float64; ln(1.797e308) = 709.78."""

_LENGTH = 4096.0
_ANYTHING: Interval = (-math.inf, math.inf)
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Risk:
    """An exponential that can overflow.

    Attributes:
        tensor: the result of the Einsum that has it.
        expression: the exponential, as written.
        bound: the largest argument for inputs of the size that was asked about; may be infinite.
    """

    tensor: str
    expression: str
    bound: float

    def __str__(self) -> str:
        size = "without bound" if math.isinf(self.bound) else f"up to {number_text(self.bound)}"
        return (
            f"{self.tensor} can overflow: the argument of {self.expression} grows {size}, and no maximum is subtracted"
        )


def risks(cascade: Cascade, magnitude: float = 1e3, *, sums: bool = True) -> tuple[Risk, ...]:
    """Return the exponentials that can overflow for inputs of some size, in the order of a run.

    Args:
        cascade: what is judged.
        magnitude: R, the largest absolute value of an input.
        sums: whether to use that a sum of ``exp(x - max(x))`` is at least 1. It is not known of sums that run along
            with their maximum, so cascades with such sums are compared with others without it.

    Raises:
        InputError: this is no cascade.
    """
    check_cascade(cascade)
    return tuple(_Judge(cascade, magnitude, sums).risks())


def positive_inputs(cascade: Cascade) -> frozenset[str]:
    """Return the inputs that are taken to be positive: divided by, or under a logarithm or root."""
    read = {a.tensor for e in cascade.einsums for a in _positive(e.expression)}
    return frozenset(read & set(cascade.inputs))


class _Judge:
    """The interval of each tensor."""

    def __init__(self, cascade: Cascade, magnitude: float, sums: bool) -> None:
        self.cascade = cascade
        self.sums = sums
        self.facts = dict(_facts(cascade))
        self.definitions = {e.output: e.expression for e in cascade.einsums if not e.reductions}
        self.maxima = {e.output: e for e in cascade.einsums if {r.operator for r in e.reductions} == {"max"}}
        positive = positive_inputs(cascade)
        self.bounds: dict[str, Interval] = {
            t: (1.0, magnitude) if t in positive else (-magnitude, magnitude) for t in cascade.inputs
        }
        for round_ in range(_ROUNDS):
            for einsum in cascade.einsums:
                self.note(einsum.name, self.result(einsum), last=round_ == _ROUNDS - 1)

    def note(self, tensor: str, found: Interval, last: bool) -> None:
        """Join a result with what is known; what still grows in the last round has no bound."""
        low, high = self.bounds.get(tensor, found)
        if last:
            low = -math.inf if found[0] < low else low
            high = math.inf if found[1] > high else high
        self.bounds[tensor] = (min(low, found[0]), max(high, found[1]))

    def result(self, einsum: Einsum) -> Interval:
        low, high = self.interval(einsum.expression)
        for reduction in einsum.reductions:
            if reduction.operator == "add":
                low, high = min(low, low * _LENGTH), max(high, high * _LENGTH)
                low = max(low, 1.0) if self.sums and self.holds_one(einsum) else low
            elif reduction.operator == "mul":
                low, high = _ANYTHING
        return low, high

    def holds_one(self, einsum: Einsum) -> bool:
        """Whether an Einsum sums ``exp(x - y)`` over all x that y is the maximum of."""
        exponential = einsum.expression
        while isinstance(exponential, Access) and exponential in self.definitions:
            exponential = self.definitions[exponential]
        shifted = exponential.operands[0] if isinstance(exponential, Apply) and exponential.operator == "exp" else None
        if not isinstance(shifted, Apply) or shifted.operator != "sub":
            return False
        element, largest = shifted.operands
        maximum = self.maxima.get(largest) if isinstance(largest, Access) else None
        same = maximum is not None and set(maximum.reduced_ranks) == set(einsum.reduced_ranks)
        return same and maximum is not None and maximum.expression == element

    def risks(self) -> Iterator[Risk]:
        for einsum in self.cascade.einsums:
            for part in _exponentials(einsum.expression):
                bound = self.interval(part.operands[0])[1]
                if bound > LARGEST_EXPONENT:
                    yield Risk(einsum.name, expression_text(part), bound)

    def interval(self, expression: Expression) -> Interval:
        if isinstance(expression, Access):
            return self.bounds.get(expression.tensor, _ANYTHING)
        if isinstance(expression, Number):
            return expression.value, expression.value
        if isinstance(expression, Index):
            return 0.0, _LENGTH - 1
        if isinstance(expression, Extent):
            return 1.0, _LENGTH
        found = [self.interval(operand) for operand in expression.operands]
        low, high = _apply(expression.operator, found)
        low, high = (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)
        if expression.operator == "sub":
            left, right = expression.operands
            if self.at_most(left, right):
                high = min(high, 0.0)
            if self.at_most(right, left):
                low = max(low, 0.0)
        return low, high

    def at_most(
        self, lower: Expression, upper: Expression, seen: set[tuple[Expression, Expression]] | None = None
    ) -> bool:
        """Whether one value is never more than another, by the maxima and choices that they are or go into."""
        seen = set() if seen is None else seen
        if lower == upper or lower == Number(-math.inf):
            return True
        if (lower, upper) in seen:
            return False
        seen.add((lower, upper))
        if isinstance(lower, Number) and isinstance(upper, Number):
            return lower.value <= upper.value
        return (
            any(self.at_most(fact, upper, seen) for fact in self.facts.get(lower, ()))
            or (upper in self.definitions and self.at_most(lower, self.definitions[upper], seen))
            or any(self.at_most(lower, part, seen) for part in self.not_above(upper))
            or any(all(self.at_most(p, upper, seen) for p in parts) for parts in _alternatives(lower, "max", "min"))
            or any(all(self.at_most(lower, p, seen) for p in parts) for parts in _alternatives(upper, "min", "max"))
        )

    def not_above(self, expression: Expression) -> Iterator[Expression]:
        """The operand of a sum whose other operand is never negative."""
        if isinstance(expression, Apply) and expression.operator == "add":
            for part, other in (expression.operands, expression.operands[::-1]):
                if self.interval(other)[0] >= 0:
                    yield part


def _alternatives(expression: Expression, every: str, one: str) -> list[tuple[Expression, ...]]:
    """Sets of operands of which one has to keep to a bound for the whole to do so.

    All operands of the operator ``every`` have to, one of the operator ``one``, and both values of a choice.
    """
    if not isinstance(expression, Apply) or expression.operator not in (every, one, "where"):
        return []
    if expression.operator == one:
        return [(operand,) for operand in expression.operands]
    if expression.operator == "where" and (kept := _floored(expression, -math.inf if one == "max" else math.inf)):
        return [(kept,)]
    return [expression.operands[-2:]]


def _floored(choice: Apply, least: float) -> Expression | None:
    """The x of ``where(x == -inf, c, x)``, which is never below x; of ``where(x == inf, c, x)``, never above it."""
    condition, _, kept = choice.operands
    compared = condition.operands if isinstance(condition, Apply) and condition.operator == "eq" else ()
    return kept if set(compared) == {kept, Number(least)} else None


def _facts(cascade: Cascade) -> Iterator[tuple[Expression, list[Expression]]]:
    """For each expression, values that are at least as large."""
    above: dict[Expression, list[Expression]] = {}
    for einsum in cascade.einsums:
        for lower, upper in _orders(einsum):
            above.setdefault(lower, []).append(upper)
    return iter(above.items())


def _orders(einsum: Einsum) -> Iterator[tuple[Expression, Expression]]:
    """Pairs (lower, upper) that an Einsum makes so: a maximum and its elements, a minimum and its, equals."""
    for operator in ("max", "min"):
        elements = _elements(einsum, operator)
        results = [einsum.output]
        if any(isinstance(e, Access) and e.tensor == einsum.name for e in elements):
            last = (Size(s.rank) if isinstance(s, Var) and s.shift else s for s in einsum.output.subscripts)
            results.append(Access(einsum.name, tuple(last)))
        for result in results:
            yield from ((e, result) if operator == "max" else (result, e) for e in elements)
    if not einsum.reductions:
        yield einsum.output, einsum.expression
        yield einsum.expression, einsum.output


def _elements(einsum: Einsum, operator: str) -> list[Expression]:
    """The values whose maximum (or minimum) an Einsum takes."""
    if einsum.reductions:
        return [einsum.expression] if all(r.operator == operator for r in einsum.reductions) else []
    return list(_operands(einsum.expression, operator))


def _operands(expression: Expression, operator: str) -> Iterator[Expression]:
    """The values that an expression is at least (or at most) as large as."""
    if isinstance(expression, Apply) and expression.operator == "where":
        kept = _floored(expression, -math.inf if operator == "max" else math.inf)
        if kept is not None:
            yield kept
            yield from _operands(kept, operator)
    if isinstance(expression, Apply) and expression.operator == operator:
        for operand in expression.operands:
            yield operand
            yield from _operands(operand, operator)


def _exponentials(expression: Expression) -> Iterator[Apply]:
    if isinstance(expression, Apply):
        if expression.operator == "exp":
            yield expression
        for operand in expression.operands:
            yield from _exponentials(operand)


def _positive(expression: Expression) -> Iterator[Access]:
    """Accesses that are divided by, or whose logarithm or root is taken."""
    if isinstance(expression, Apply):
        operand = expression.operands[-1]
        if expression.operator in ("div", "mod", "log", "sqrt") and isinstance(operand, Access):
            yield operand
        for part in expression.operands:
            yield from _positive(part)


def _apply(operator: str, operands: list[Interval]) -> Interval:
    (low, high), (low2, high2) = operands[0], operands[-1]
    if operator in COMPARISONS:
        return 0.0, 1.0
    if operator == "where":
        return min(operands[1][0], low2), max(operands[1][1], high2)
    if operator == "abs":
        return max(low, -high, 0.0), max(-low, high)
    if operator == "add":
        return low + low2, high + high2
    if operator == "sub":
        return low - high2, high - low2
    if operator == "mul":
        return _corners([_times(a, b) for a in (low, high) for b in (low2, high2)])
    if operator == "div":
        if low2 < 0 < high2:
            return _ANYTHING
        return _corners([_times(a, _inverse(b, high2 > 0)) for a in (low, high) for b in (low2, high2)])
    if operator == "mod":
        return min(low2, 0.0), max(high2, 0.0)
    if operator == "max":
        return max(low, low2), max(high, high2)
    if operator == "min":
        return min(low, low2), min(high, high2)
    if operator == "neg":
        return -high, -low
    return _monotone(operator, low), _monotone(operator, high)


def _corners(found: list[float]) -> Interval:
    return min(found), max(found)


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _inverse(value: float, positive: bool) -> float:
    if value == 0:
        return math.inf if positive else -math.inf
    return 1 / value


def _monotone(operator: str, value: float) -> float:
    if operator == "exp":
        return math.exp(value) if value < LARGEST_EXPONENT else math.inf
    if operator == "log":
        return -math.inf if value <= 0 else math.log(value)
    if operator == "floor":
        return value if math.isinf(value) else float(math.floor(value))
    if operator == "sqrt":
        return math.sqrt(max(value, 0.0))
    if operator == "tanh":
        return math.tanh(value)
    return 1.0 if value > LARGEST_EXPONENT else 1 / (1 + math.exp(min(-value, LARGEST_EXPONENT)))

"""Choices of the extreme elements: terms of a reduction that vanish unless x is the maximum y of all x.

    F(x, y) = G(x, y) where x == y, and the identity of the fold elsewhere; y = max over x

such as the value at the largest score. When a running maximum grows from y0 to y, no element read so far equals it, so
a result so far is kept where ``y0 == y`` and dropped elsewhere. ``x >= y`` says the same of a maximum, ``x <= y`` of a
minimum. Source: the reset of a running arg max, as in M. Milakov, N. Gimelshein, "Online normalizer calculation for
softmax", 2018, arXiv:1805.02867, section 4 (softmax fused with top-k).
"""

from __future__ import annotations

from collections.abc import Mapping

from einsum_cascades.ir import Access, Apply, Expression, Number
from einsum_cascades.operators import COMPARISONS, OPERATORS

_REACHED = {"max": {"eq": (0, 1), "ge": (0,), "le": (1,)}, "min": {"eq": (0, 1), "le": (0,), "ge": (1,)}}
"""For each fold, the comparisons that say that an element is the extreme, and on which side the element may stand."""


def select(
    expression: Expression, operator: str, extremes: Mapping[Access, tuple[str, Expression]]
) -> tuple[Expression, tuple[Access, ...]]:
    """Return G and the extremes y that its elements must equal; F itself and none where F is no such choice.

    Args:
        expression: F.
        operator: what the reduction folds with.
        extremes: for each y, whether it is a ``max`` or a ``min``, and of what.
    """
    found: dict[Access, None] = {}
    kept = expression
    for y, (fold, element) in extremes.items():
        chosen = _assumed(kept, y, fold, element, 1.0)
        if chosen != kept and _assumed(kept, y, fold, element, 0.0) == Number(OPERATORS[operator].identity or 0.0):
            kept, found[y] = chosen, None
    return kept, tuple(found)


def _assumed(expression: Expression, y: Access, fold: str, element: Expression, value: float) -> Expression:
    """An expression in which the element is (1) or is not (0) the extreme, simplified."""
    if not isinstance(expression, Apply):
        return expression
    for place in _REACHED[fold].get(expression.operator, ()) if expression.operator in COMPARISONS else ():
        if expression.operands[place] == element and expression.operands[1 - place] == y:
            return Number(value)
    return _simplified(
        expression.operator, tuple(_assumed(operand, y, fold, element, value) for operand in expression.operands)
    )


def _simplified(operator: str, operands: tuple[Expression, ...]) -> Expression:
    numbers = [operand.value if isinstance(operand, Number) else None for operand in operands]
    if operator == "where" and numbers[0] is not None:
        return operands[1] if numbers[0] != 0 else operands[2]
    if (operator == "mul" and 0.0 in numbers) or (operator == "div" and numbers[0] == 0.0):
        return Number(0.0)
    if (operator == "neg" and numbers[0] == 0.0) or (operator in ("add", "sub") and numbers == [0.0, 0.0]):
        return Number(0.0)
    if operator == "mul" and 1.0 in numbers:
        return operands[1 - numbers.index(1.0)]
    return Apply(operator, operands)

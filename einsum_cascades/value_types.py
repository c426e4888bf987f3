"""The type in which an expression is evaluated.

Tensors have the type of the inputs. An index or a size is float64 whatever that type is, so that it is exact up to
2**53, and so is all that is computed from it, up to where it is stored in a tensor: such an expression is *wide*. A
literal has the type of what it meets: ``m <= 16777217`` compares float64 values, ``0.1 * A[m]`` has A's type.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from einsum_cascades.nodes import Access, Apply, Expression, Extent, Index, leaves

_NONE: frozenset[str] = frozenset()


def is_wide(expression: Expression, tensors: AbstractSet[str] = _NONE) -> bool:
    """Return whether an expression is float64 whatever the tensors' type.

    It is if an index, a size or one of some wide ``tensors`` is in it as a value, not as what a choice depends on.
    """
    if isinstance(expression, Apply):
        chosen = expression.operands[expression.operator == "where" :]
        return any(is_wide(operand, tensors) for operand in chosen)
    if isinstance(expression, Access):
        return expression.tensor in tensors
    return isinstance(expression, Index | Extent)


def is_literal(expression: Expression) -> bool:
    """Return whether an expression is made of literals alone."""
    return next(leaves(expression), None) is None

"""Whole numbers, or arrays of them with one for each of many points: the few operations that counts are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Number: TypeAlias = Any
else:
    Number = Any
"""An exact integer, or an array of them (64-bit, or Python's own where those would not do)."""


def _plain(a: Number, b: Number) -> bool:
    return isinstance(a, int) and isinstance(b, int)


def least(a: Number, b: Number) -> Number:
    """Return the smaller of two numbers; of arrays, the smaller at each place."""
    if _plain(a, b):
        return min(a, b)
    import numpy as np

    return np.minimum(a, b)


def most(a: Number, b: Number) -> Number:
    """Return the larger of two numbers; of arrays, the larger at each place."""
    if _plain(a, b):
        return max(a, b)
    import numpy as np

    return np.maximum(a, b)


def steps(size: Number, tile: Number) -> Number:
    """Return how many tiles it takes to cover a size; the last one may be smaller."""
    return -(-size // tile)


def everywhere(condition: Any) -> bool:
    """Whether a condition holds, for arrays at every place."""
    return condition if isinstance(condition, bool) else bool(condition.all())


def anywhere(condition: Any) -> bool:
    """Whether a condition holds, for arrays at some place."""
    return condition if isinstance(condition, bool) else bool(condition.any())

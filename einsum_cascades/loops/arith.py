"""Whole numbers, or arrays of them with one for each of many points: the few operations that counts are made of."""

from __future__ import annotations

from collections.abc import Callable
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


def roomy(number: Number) -> Number:
    """Return a number to multiply further: Python's integers have room for that, 64-bit ones become floats."""
    return number if isinstance(number, int) else number.astype(float)


class UnlikeError(Exception):
    """One way does not serve all points: where a condition holds another is needed than where it does not.

    Attributes:
        condition: an array.
        origin: tells conditions apart, where that is known.
    """

    def __init__(self, condition: Any, origin: object = None) -> None:
        super().__init__("points that are to be treated apart")
        self.condition, self.origin = condition, origin


def alike(condition: Any) -> bool:
    """Whether a condition holds at all places, or at none.

    Raises:
        UnlikeError: it holds at some.
    """
    if isinstance(condition, bool):
        return condition
    if condition.all():
        return True
    if condition.any():
        raise UnlikeError(condition)
    return False


def chosen(condition: Any, a: Any, b: Any) -> Any:
    """Return one of two numbers by a condition; of arrays, at each place."""
    if isinstance(condition, bool):
        return a if condition else b
    import numpy as np

    return b if a is b else np.where(condition, a, b)


def perhaps(condition: Any) -> bool:
    """Whether a condition may hold at some place, so that more is to be done, which does no harm where it does not."""
    return hasattr(condition, "kept_whole") or anywhere(condition)


def apart(function: Callable[..., Any], *numbers: Number) -> Any:
    """Return what a function of arrays says that looks into them, where others only do the same at all places."""
    keeper = next((number for number in numbers if hasattr(number, "kept_whole")), None)
    return function(*numbers) if keeper is None else keeper.kept_whole(function, numbers)


def everywhere(condition: Any) -> bool:
    """Whether a condition holds, for arrays at every place."""
    return condition if isinstance(condition, bool) else bool(condition.all())


def anywhere(condition: Any) -> bool:
    """Whether a condition holds, for arrays at some place."""
    return condition if isinstance(condition, bool) else bool(condition.any())

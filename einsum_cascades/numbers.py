"""Numbers that a program gives: whole or finite, within bounds, of Python's types or NumPy's."""

from __future__ import annotations

from math import isfinite
from operator import index
from typing import Any, Final

from einsum_cascades.errors import InputError, quoted

LARGEST: Final = 2**50
"""Of a size: every count stays exact and every figure in SI units finite."""


def whole(name: str, value: Any, minimum: int = 1, maximum: int | None = LARGEST) -> int:
    """Return a whole number.

    Args:
        name: what it is, for the error.

    Raises:
        InputError: it is none, or out of bounds; truth values and floats are no whole numbers.
    """
    if type(value) is int and minimum <= value and (maximum is None or value <= maximum):
        return value
    expected = f"a whole number {_bounds(minimum, maximum)} is expected"
    if _is_truth(value) or not hasattr(value, "__index__"):
        raise InputError(f"{name} is {quoted(value)}", hint=expected)
    try:
        found = index(value)
    except TypeError:  # an array of several
        raise InputError(f"{name} is {quoted(value)}", hint=expected) from None
    if found < minimum or (maximum is not None and found > maximum):
        raise InputError(f"{name} is {quoted(found)}", hint=expected)
    return found


def finite(name: str, value: Any, *, above: float | None = None, most: float | None = None) -> float:
    """Return a finite number, more than ``above``, and not beyond ``most`` on either side of 0.

    Args:
        name: what it is, for the error.

    Raises:
        InputError: it is none, or out of bounds; truth values and text are no numbers.
    """
    bounds = f" above {above:g}" if above is not None else ""
    bounds += f" up to {most:g}" if most is not None else ""
    wrong = InputError(f"{name} is {quoted(value)}", hint=f"a finite number{bounds} is expected")
    if _is_truth(value) or isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise wrong
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if not isfinite(found) or (above is not None and not found > above) or (most is not None and abs(found) > most):
        raise wrong
    return found


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


def _bounds(minimum: int, maximum: int | None) -> str:
    if maximum is None:
        return f"of {minimum} or more"
    power = maximum.bit_length() - 1
    return f"from {minimum} to " + (f"2^{power}" if maximum == 2**power and power >= 20 else f"{maximum:,}")

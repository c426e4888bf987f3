"""Numbers that a program gives: whole or finite, within bounds, of Python's types or NumPy's."""

from __future__ import annotations

from math import isfinite
from operator import index
from typing import Any, Final

from einsum_cascades.errors import InputError

LARGEST: Final = 2**50
"""Of a size: every count stays exact and every figure in SI units finite."""


def whole(name: str, value: Any, minimum: int = 1, maximum: int | None = LARGEST) -> int:
    """Return a whole number.

    Args:
        name: what it is, for the error.

    Raises:
        InputError: it is none, or out of bounds; truth values and floats are no whole numbers.
    """
    expected = f"a whole number {_bounds(minimum, maximum)} is expected"
    if _is_truth(value) or not hasattr(value, "__index__"):
        raise InputError(f"{name} is {shown(value)}", hint=expected)
    try:
        found = index(value)
    except TypeError:  # an array of several
        raise InputError(f"{name} is {shown(value)}", hint=expected) from None
    if found < minimum or (maximum is not None and found > maximum):
        raise InputError(f"{name} is {shown(found)}", hint=expected)
    return found


def finite(name: str, value: Any, *, above: float | None = None, minimum: float | None = None) -> float:
    """Return a finite number, more than ``above`` and at least ``minimum``.

    Args:
        name: what it is, for the error.

    Raises:
        InputError: it is none, or out of bounds; truth values and text are no numbers.
    """
    bound = f" above {above:g}" if above is not None else f" of {minimum:g} or more" if minimum is not None else ""
    expected = f"a finite number{bound} is expected"
    if _is_truth(value) or isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise InputError(f"{name} is {shown(value)}", hint=expected)
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} is {shown(value)}", hint=expected) from None
    if not isfinite(found) or (above is not None and not found > above) or (minimum is not None and found < minimum):
        raise InputError(f"{name} is {shown(value)}", hint=expected)
    return found


def shown(value: Any) -> str:
    """Return a value as an error quotes it, however large it is."""
    if isinstance(value, int) and value.bit_length() >= 200:
        return "a number of over 60 digits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


def _bounds(minimum: int, maximum: int | None) -> str:
    if maximum is None:
        return f"of {minimum} or more"
    return f"from {minimum} to {'2^50' if maximum == LARGEST else f'{maximum:,}'}"

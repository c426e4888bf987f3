"""Some of many points: of every array in a value, the parts at these points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np

_T = TypeVar("_T")


def pick(value: _T, points: Any) -> _T:
    """Return a number, a table or a dataclass with every array in it reduced to some points."""
    return cast(_T, _reduced(value, lambda array: array[points] if array.ndim else array))


def _reduced(value: Any, reduce: Callable[[Any], Any]) -> Any:
    """Replace every array in a value."""
    if isinstance(value, np.ndarray):
        return reduce(value)
    if isinstance(value, tuple):
        return tuple(_reduced(part, reduce) for part in value)
    if isinstance(value, dict):
        return {key: _reduced(part, reduce) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
        changed = {name: new for name, old in parts.items() if (new := _reduced(old, reduce)) is not old}
        return replace(value, **changed) if changed else value
    return value


def single(value: _T, point: int) -> _T:
    """Return a number, a table or a dataclass with every array in it reduced to the plain number of one point."""
    return cast(_T, _reduced(value, lambda array: array[point].item() if array.ndim else array.item()))


def arrays_in(value: Any) -> list[Any]:
    """Return the arrays in a table or a dataclass."""
    found: list[Any] = []

    def note(array: Any) -> Any:
        found.append(array)
        return array

    _reduced(value, note)
    return found

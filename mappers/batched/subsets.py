"""Some of many points: of every array in a value, the parts at these points."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np

_T = TypeVar("_T")


def pick(value: _T, points: Any) -> _T:
    """Return a number, a table or a dataclass with every array in it reduced to some points."""
    return cast(_T, _picked(value, points))


def _picked(value: Any, points: Any) -> Any:
    found = value
    if isinstance(value, np.ndarray):
        found = value[points] if value.ndim else value
    elif isinstance(value, tuple):
        found = tuple(_picked(part, points) for part in value)
    elif isinstance(value, dict):
        found = {key: _picked(part, points) for key, part in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
        changed = {name: new for name, old in parts.items() if (new := _picked(old, points)) is not old}
        found = replace(value, **changed) if changed else value
    return found

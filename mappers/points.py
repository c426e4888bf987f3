"""Problems over many points: some of the points, and decisions that must be the same at all of them.

What a preset builds has one structure. Where that depends on numbers, it asks ``alike``; points that differ there are
told apart (``apart``), and built each by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cmp_to_key
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from einsum_cascades.loops.arith import UnlikeError, alike

_T = TypeVar("_T")
_R = TypeVar("_R")


def by_size(values: Iterable[_T], size: Callable[[_T], Any]) -> list[_T]:
    """Return values by their sizes, the largest first; of equals, the first comes first.

    Raises:
        UnlikeError: the order is not the same at all points.
    """

    def order(a: _T, b: _T) -> int:
        return -1 if alike(size(a) > size(b)) else int(alike(size(b) > size(a)))

    return sorted(values, key=cmp_to_key(order))


def pick(value: _T, points: Any) -> _T:
    """Return a number, a table or a dataclass with every array in it reduced to some points."""
    return cast(_T, _reduced(value, lambda array: array[points] if array.ndim else array))


def single(value: _T, point: int) -> _T:
    """Return a number, a table or a dataclass with every array in it reduced to the plain number of one point."""
    return cast(_T, _reduced(value, lambda array: array[point].item() if array.ndim else array.item()))


def _reduced(value: Any, reduce: Callable[[Any], Any]) -> Any:
    """Replace every array in a value."""
    if isinstance(value, np.ndarray):
        return reduce(value)
    if isinstance(value, tuple):
        parts = tuple(_reduced(part, reduce) for part in value)
        return parts if any(new is not old for new, old in zip(parts, value, strict=True)) else value
    if isinstance(value, dict):
        return {key: _reduced(part, reduce) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        old = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        changed = {name: new for name, part in old.items() if (new := _reduced(part, reduce)) is not part}
        return replace(value, **changed) if changed else value
    return value


def arrays_in(value: Any) -> list[npt.NDArray[Any]]:
    """Return the arrays in a table or a dataclass."""
    if isinstance(value, np.ndarray):
        return [value] if value.ndim else []
    parts: Iterable[Any] = ()
    if isinstance(value, tuple):
        parts = value
    elif isinstance(value, dict):
        parts = value.values()
    elif is_dataclass(value) and not isinstance(value, type):
        parts = (getattr(value, f.name) for f in fields(value) if f.init)
    return [array for part in parts for array in arrays_in(part)]


def same(columns: Iterable[npt.NDArray[Any]], count: int) -> list[npt.NDArray[np.int64]]:
    """Return the points that have the same numbers in all columns, for each of these."""
    code = np.zeros(count, np.int64)
    for column in columns:
        _, own = np.unique(column, return_inverse=True)
        _, code = np.unique(code * (int(own.max()) + 1) + own, return_inverse=True)
    order = np.argsort(code, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(code[order])) + 1)


def apart(
    value: _T,
    count: int,
    build: Callable[[_T, npt.NDArray[np.int64]], _R],
    at: Callable[[_T, npt.NDArray[np.int64]], _T],
) -> Iterator[tuple[npt.NDArray[np.int64], _T, _R]]:
    """Build something at each of many points, together where their structure is the same.

    Args:
        value: what it is built from, over all points.
        build: is given this at some of the points, and which ones these are.
        at: returns it at some of the points that it is over.

    Yields:
        Points, the value there, and what was built.
    """
    waiting = [(np.arange(count), value)]
    while waiting:
        points, some = waiting.pop()
        try:
            built = build(some, points)
        except UnlikeError as mixed:
            there = np.broadcast_to(mixed.condition, points.shape)
            waiting += [(points[c], at(some, np.flatnonzero(c))) for c in (~there, there)]
            continue
        yield points, some, built

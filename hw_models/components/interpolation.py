"""Tables of positive figures over positive sizes, interpolated linearly in log-log space, axis after axis:

    log cost(x, …) = (1 - t) log cost(x0, …) + t log cost(x1, …),   t = (log x - log x0) / (log x1 - log x0)

for the neighbours x0 and x1 of x along the first axis, and so on inwards: exact for power laws, which the costs of
memories nearly are, and monotone wherever the table is. Beyond the ends of an axis its last segment is continued, and
the result says so. The inner axes may reach differently far at each point of an outer one.

Sizes may be numbers or arrays; a number takes the way of an array with one place, so both give the same figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Figures = tuple[float, ...]
Number: TypeAlias = Any
"""A number, or an array with a value per machine."""
Floats: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Curve:
    """One axis: its points, rising, and at each the figures, or an inner axis."""

    points: tuple[float, ...]
    values: tuple[Curve, ...] | tuple[Figures, ...]

    @classmethod
    def of(cls, table: Iterable[tuple[tuple[float, ...], Figures]]) -> Curve:
        """Return the curve of (sizes, figures) rows; the first size is the outermost axis."""
        groups: dict[float, list[tuple[tuple[float, ...], Figures]]] = {}
        for (size, *inner), figures in table:
            groups.setdefault(size, []).append((tuple(inner), figures))
        points = tuple(sorted(groups))
        if groups[points[0]][0][0]:
            return cls(points, tuple(cls.of(groups[size]) for size in points))
        return cls(points, tuple(tuple(groups[size][0][1]) for size in points))

    def at(self, *sizes: Number) -> tuple[tuple[Number, ...], Any]:
        """Return the figures at some sizes, the table's own at its points, and whether the sizes lie outside it."""
        given = np.broadcast_arrays(*(np.asarray(size, float) for size in sizes))
        logs, exact, outside = _interpolated(self, [size.reshape(-1) for size in given])
        figures = np.where(np.isnan(exact), np.exp(logs), exact)
        if all(not isinstance(size, np.ndarray) for size in sizes):
            return tuple(figures[:, 0].tolist()), bool(outside[0])
        return tuple(figure.reshape(given[0].shape) for figure in figures), outside.reshape(given[0].shape)


def _interpolated(table: Curve, sizes: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    """Return the figures' logarithms, one row each, the table's own figures or NaN between its points, and what lies
    outside."""
    x, *inner = sizes
    points = np.asarray(table.points, float)
    if len(points) == 1:
        logs, exact, outside = _value(table, 0, inner, len(x))
        return logs, exact, outside | (x != points[0])
    right = np.clip(np.searchsorted(points, x), 1, len(points) - 1)
    places = np.unique(right)
    if len(places) == 1:
        return _segment(table, points, int(places[0]), x, inner)
    found: list[Floats] = []
    for place in places:
        here = right == place
        part = _segment(table, points, int(place), x[here], [i[here] for i in inner])
        found = found or [np.empty((*p.shape[:-1], len(x)), p.dtype) for p in part]
        for whole, piece in zip(found, part, strict=True):
            whole[..., here] = piece
    return found[0], found[1], found[2]


def _segment(
    table: Curve, points: Floats, right: int, x: Floats, inner: Sequence[Floats]
) -> tuple[Floats, Floats, Floats]:
    """Interpolate along one axis between the points before and at a place."""
    low, low_exact, low_outside = _value(table, right - 1, inner, len(x))
    high, high_exact, high_outside = _value(table, right, inner, len(x))
    start, end = np.log(points[right - 1 : right + 1])
    at_low, at_high = x == points[right - 1], x == points[right]
    weight = np.where(at_low, 0.0, np.where(at_high, 1.0, (np.log(x) - start) / (end - start)))
    exact = np.where(at_low, low_exact, np.where(at_high, high_exact, np.nan))
    beyond = (x < points[0]) | (x > points[-1])
    outside = (low_outside & ~at_high) | (high_outside & ~at_low) | beyond
    return low + weight * (high - low), exact, outside


def _value(table: Curve, place: int, inner: Sequence[Floats], count: int) -> tuple[Floats, Floats, Floats]:
    value = table.values[place]
    if isinstance(value, Curve):
        return _interpolated(value, inner)
    figures = np.repeat(np.asarray(value, float)[:, None], count, axis=1)
    return np.log(figures), figures, np.zeros(count, bool)

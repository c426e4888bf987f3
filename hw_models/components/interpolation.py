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
from functools import cached_property
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

    @cached_property
    def axis(self) -> Floats:
        """The points as an array."""
        return np.asarray(self.points, float)

    @cached_property
    def log_axis(self) -> Floats:
        """Their logarithms."""
        return np.log(self.axis)

    @cached_property
    def figures(self) -> Floats:
        """The figures at the points of the innermost axis, one row each."""
        return np.asarray(self.values, float).T

    @cached_property
    def logs(self) -> Floats:
        """Their logarithms."""
        return np.log(self.figures)

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


Found: TypeAlias = tuple[Floats, Floats, Floats]
"""Logarithms of the figures, one row each; the table's own figures, or NaN between its points; what lies outside."""


def _interpolated(table: Curve, sizes: Sequence[Floats]) -> Found:
    x, *inner = sizes
    points = table.axis
    if len(points) == 1:
        logs, exact, outside = _values(table, np.zeros(len(x), int), inner)
        return logs, exact, outside | (x != points[0])
    right = np.clip(np.searchsorted(points, x), 1, len(points) - 1)
    if not inner:
        return _segments(table, right, x, inner)
    places = np.unique(right)
    if len(places) == 1:
        return _segments(table, right, x, inner)
    found: list[Floats] = []
    for place in places:
        here = np.flatnonzero(right == place)
        part = _segments(table, right[here], x[here], [i[here] for i in inner])
        found = found or [np.empty((*p.shape[:-1], len(x)), p.dtype) for p in part]
        for whole, piece in zip(found, part, strict=True):
            whole[..., here] = piece
    return found[0], found[1], found[2]


def _segments(table: Curve, right: Floats, x: Floats, inner: Sequence[Floats]) -> Found:
    """Interpolate between the points before and at places; along an axis with inner ones, all places are the same."""
    start, end = table.axis[right - 1], table.axis[right]
    low, low_exact, low_outside = _values(table, right - 1, inner)
    high, high_exact, high_outside = _values(table, right, inner)
    at_low, at_high = x == start, x == end
    log_start = table.log_axis[right - 1]
    weight = (np.log(x) - log_start) / (table.log_axis[right] - log_start)
    weight[at_low], weight[at_high] = 0.0, 1.0
    exact = np.where(at_low, low_exact, np.where(at_high, high_exact, np.nan))
    beyond = (x < table.axis[0]) | (x > table.axis[-1])
    outside = (low_outside & ~at_high) | (high_outside & ~at_low) | beyond
    return low + weight * (high - low), exact, outside


def _values(table: Curve, places: Floats, inner: Sequence[Floats]) -> Found:
    if inner:
        value = table.values[int(places[0])]
        assert isinstance(value, Curve)
        return _interpolated(value, inner)
    return table.logs[:, places], table.figures[:, places], np.zeros(len(places), bool)

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

    @cached_property
    def rows(self) -> Rows | None:
        """The curves at its points side by side; None if they are no innermost ones of two points or more."""
        inner = [value for value in self.values if isinstance(value, Curve) and not isinstance(value.values[0], Curve)]
        if not inner or any(len(value.points) < 2 for value in inner):
            return None
        points = np.unique(np.concatenate([value.axis for value in inner]))
        starts = np.cumsum([0, *(len(value.points) for value in inner[:-1])])
        reached = [np.searchsorted(value.axis, np.append(points, np.inf)) for value in inner]
        right = [
            np.clip(place, 1, len(value.points) - 1) + start
            for place, value, start in zip(reached, inner, starts, strict=True)
        ]
        return Rows(
            points,
            np.stack(right),
            np.asarray([[value.points[0] for value in inner], [value.points[-1] for value in inner]]),
            *(np.concatenate(part, -1) for part in zip(*map(_parts, inner), strict=True)),
        )

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


@dataclass(frozen=True)
class Rows:
    """Innermost curves one after another.

    Attributes:
        points: those of all of them, each once.
        right: by curve and place among these points, where the point at the right of it is in the arrays below.
        ends: first and last points by curve.
        axis, log_axis, figures, logs: points and their logarithms, figures and theirs.
    """

    points: Floats
    right: Floats
    ends: Floats
    axis: Floats
    log_axis: Floats
    figures: Floats
    logs: Floats


def _parts(curve: Curve) -> tuple[Floats, Floats, Floats, Floats]:
    return curve.axis, curve.log_axis, curve.figures, curve.logs


Found: TypeAlias = tuple[Floats, Floats, Floats]
"""Logarithms of the figures, one row each; the table's own figures, or NaN between its points; what lies outside."""


def _interpolated(table: Curve, sizes: Sequence[Floats]) -> Found:
    x, *inner = sizes
    points = table.axis
    if len(points) == 1:
        logs, exact, outside = _values(table, np.zeros(len(x), int), inner)
        return logs, exact, outside | (x != points[0])
    right = np.clip(np.searchsorted(points, x), 1, len(points) - 1)
    if len(inner) < 2:
        return _segments(table, right, x, inner)
    if len(x) and x[0] in points and (x == x[0]).all():  # as the segments there give it, and less to do
        return _values(table, np.full(len(x), int(np.searchsorted(points, x[0]))), inner)
    places = np.unique(right)
    found: list[Floats] = []
    for place in places:
        here = np.flatnonzero(right == place)
        part = _segments(table, right[here], x[here], [i[here] for i in inner])
        found = found or [np.empty((*p.shape[:-1], len(x)), p.dtype) for p in part]
        for whole, piece in zip(found, part, strict=True):
            whole[..., here] = piece
    return found[0], found[1], found[2]


def _segments(table: Curve, right: Floats, x: Floats, inner: Sequence[Floats]) -> Found:
    """Interpolate between the points before and at places; along an axis with two inner ones, all are the same."""
    low = _values(table, right - 1, inner)
    high = _values(table, right, inner)
    axis, logs = table.axis, table.log_axis
    beyond = (x < axis[0]) | (x > axis[-1])
    return _between(x, (axis[right - 1], axis[right]), (logs[right - 1], logs[right]), (low, high), beyond)


def _between(
    x: Floats, ends: tuple[Floats, Floats], logs: tuple[Floats, Floats], found: tuple[Found, Found], beyond: Floats
) -> Found:
    """Interpolate between two points of an axis and what is found there."""
    (low, low_exact, low_outside), (high, high_exact, high_outside) = found
    at_low, at_high = x == ends[0], x == ends[1]
    weight = (np.log(x) - logs[0]) / (logs[1] - logs[0])
    weight[at_low] = 0.0
    exact = np.where(at_low, low_exact, np.where(at_high, high_exact, np.nan))
    outside = (low_outside & ~at_high) | (high_outside & ~at_low) | beyond
    return np.where(at_high, high, low + weight * (high - low)), exact, outside


def _values(table: Curve, places: Floats, inner: Sequence[Floats]) -> Found:
    """What is found at places of an axis; with two inner axes, all are the same."""
    if not inner:
        return table.logs[:, places], table.figures[:, places], np.zeros(len(places), bool)
    if len(inner) == 1 and table.rows is not None:
        return _in_rows(table.rows, places, inner[0])
    found: list[Floats] = []
    for place in np.unique(places):
        value, here = table.values[int(place)], np.flatnonzero(places == place)
        assert isinstance(value, Curve)
        part = _interpolated(value, [i[here] for i in inner])
        found = found or [np.empty((*p.shape[:-1], len(places)), p.dtype) for p in part]
        for whole, piece in zip(found, part, strict=True):
            whole[..., here] = piece
    return found[0], found[1], found[2]


def _in_rows(rows: Rows, places: Floats, x: Floats) -> Found:
    """Interpolate along the innermost axis, whose points are other ones at each place of the axis around it."""
    here = rows.right[places, np.searchsorted(rows.points, x)]
    before, inside = here - 1, np.zeros(len(x), bool)
    found = [(rows.logs.take(at, 1), rows.figures.take(at, 1), inside) for at in (before, here)]
    beyond = (x < rows.ends[0][places]) | (x > rows.ends[1][places])
    ends, logs = ((axis.take(before), axis.take(here)) for axis in (rows.axis, rows.log_axis))
    return _between(x, ends, logs, (found[0], found[1]), beyond)

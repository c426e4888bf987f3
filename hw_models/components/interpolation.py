"""Tables of positive figures over positive sizes, interpolated linearly in log-log space, axis after axis:

    log cost(x, …) = (1 - t) log cost(x0, …) + t log cost(x1, …),   t = (log x - log x0) / (log x1 - log x0)

for the neighbours x0 and x1 of x along the first axis, and so on inwards: exact for power laws, which the costs of
memories nearly are, and monotone wherever the table is. Beyond the ends of an axis its last segment is continued, and
the result says so. The inner axes may reach differently far at each point of an outer one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log

Figures = tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """One axis: logarithms of its points, rising, and at each the logarithms of the figures, or an inner axis."""

    points: tuple[float, ...]
    values: tuple[Curve, ...] | tuple[Figures, ...]

    @classmethod
    def of(cls, table: Iterable[tuple[tuple[float, ...], Figures]]) -> Curve:
        """Return the curve of (sizes, figures) rows; the first size is the outermost axis."""
        groups: dict[float, list[tuple[tuple[float, ...], Figures]]] = {}
        for (size, *inner), figures in table:
            groups.setdefault(size, []).append((tuple(inner), figures))
        sizes = sorted(groups)
        points = tuple(log(size) for size in sizes)
        if groups[sizes[0]][0][0]:
            return cls(points, tuple(cls.of(groups[size]) for size in sizes))
        return cls(points, tuple(tuple(log(f) for f in groups[size][0][1]) for size in sizes))

    def at(self, logs: Sequence[float]) -> tuple[Figures, bool]:
        """Return the figures at sizes, given as logarithms, and whether the sizes lie outside the table."""
        found, outside = self._logs_at(logs)
        return tuple(exp(f) for f in found), outside

    def _logs_at(self, logs: Sequence[float]) -> tuple[Figures, bool]:
        x, *inner = logs
        points = self.points
        if x in points or len(points) == 1:
            found, outside = self._value(points.index(x) if x in points else 0, inner)
            return found, outside or x not in points
        right = min(max(bisect_left(points, x), 1), len(points) - 1)
        (low, low_outside), (high, high_outside) = self._value(right - 1, inner), self._value(right, inner)
        weight = (x - points[right - 1]) / (points[right] - points[right - 1])
        between = tuple(a + weight * (b - a) for a, b in zip(low, high, strict=True))
        return between, low_outside or high_outside or not points[0] <= x <= points[-1]

    def _value(self, place: int, inner: Sequence[float]) -> tuple[Figures, bool]:
        value = self.values[place]
        return value._logs_at(inner) if isinstance(value, Curve) else (value, False)

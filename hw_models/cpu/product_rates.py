"""How long one thread takes for a matrix product, from a table of measured rates.

``log(seconds)`` is interpolated linearly in the logarithms of the three sizes between the sizes that were measured:
exact at the table's points, and right for every law ``seconds ∝ rows^a · columns^b · depth^c`` between them. Above
the largest measured size the rate stays what it is there; below the smallest the seconds do, since a library's
kernels pad what is smaller than their registers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import exp, log, prod

Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class ProductRates:
    """Rates of one thread on a grid of sizes, its operands in the nearest cache that holds them.

    Attributes:
        rows, columns, depths: the sizes measured, in rising order.
        flops_per_s: the rate at each, depths running fastest and rows slowest.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    depths: tuple[int, ...]
    flops_per_s: tuple[float, ...]

    @classmethod
    def of(cls, table: Mapping[Sizes, float]) -> ProductRates:
        """Return the rates of a table by (rows, columns, depth).

        Raises:
            ValueError: the table is empty or lacks a point of the grid that its sizes span.
        """
        rows, columns, depths = (tuple(sorted({sizes[axis] for sizes in table})) for axis in range(3))
        points = list(product(rows, columns, depths))
        missing = [point for point in points if point not in table]
        if missing or not table:
            raise ValueError(f"no rate for {' x '.join(map(str, missing[0]))}" if missing else "no rates")
        return cls(rows, columns, depths, tuple(table[point] for point in points))

    @cached_property
    def _log_seconds(self) -> dict[Sizes, float]:
        points = product(self.rows, self.columns, self.depths)
        return {p: log(2 * prod(p) / rate) for p, rate in zip(points, self.flops_per_s, strict=True)}

    def seconds(self, rows: int, columns: int, depth: int) -> float:
        """Return the seconds of one product of a rows×depth by a depth×columns matrix."""
        found, beyond = 0.0, 1.0
        brackets = []
        for size, axis in zip((rows, columns, depth), (self.rows, self.columns, self.depths), strict=True):
            beyond *= max(1.0, size / axis[-1])
            brackets.append(_bracket(size, axis))
        for corner in product(*brackets):
            weight = prod(share for _, share in corner)
            if weight:
                a, b, c = (size for size, _ in corner)
                found += weight * self._log_seconds[a, b, c]
        return exp(found) * beyond


def _bracket(size: int, axis: tuple[int, ...]) -> tuple[tuple[int, float], ...]:
    """The measured sizes on both sides of a size, and the share of each."""
    size = min(max(size, axis[0]), axis[-1])
    at = bisect_right(axis, size) - 1
    if axis[at] == size:
        return ((axis[at], 1.0),)
    share = log(size / axis[at]) / log(axis[at + 1] / axis[at])
    return (axis[at], 1.0 - share), (axis[at + 1], share)

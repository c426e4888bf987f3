"""Totals of many points, put together from tallies of some Einsums at some of the points."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.operators import WorkClass
from hw_models.activity import ArrayName
from hw_models.batched import ARRAYS, MEMORIES, Number, Totals
from mappers.batched.nest import Tally
from mappers.capacity import most

Array: TypeAlias = npt.NDArray[Any]


class Sums:
    """Sums at each of many points, zero at first.

    Args:
        count: number of points.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.reads: dict[str, Array] = {memory: self._zero() for memory in MEMORIES}
        self.writes: dict[str, Array] = {memory: self._zero() for memory in MEMORIES}
        self.operations: dict[tuple[ArrayName, WorkClass], Array] = {}
        self.busy: dict[ArrayName, Array] = {name: self._zero() for name in ARRAYS}
        self.occupied: dict[ArrayName, Array] = {name: self._zero() for name in ARRAYS}
        self.moved: Array = self._zero()

    def _zero(self) -> Array:
        return np.zeros(self._count, np.int64)

    def add(self, tally: Tally, points: Any) -> None:
        """Add a tally's sums at some points."""
        totals = tally.totals((), 0, 0, tiled=False)
        for mine, its in (
            (self.reads, totals.reads),
            (self.writes, totals.writes),
            (self.busy, totals.busy),
            (self.occupied, totals.occupied),
        ):
            for key, number in its.items():
                if isinstance(number, np.ndarray) or number:
                    mine[key][points] += number  # type: ignore[index]
        for work, number in totals.operations.items():
            if work not in self.operations:
                self.operations[work] = self._zero()
            self.operations[work][points] += number
        self.moved[points] += tally.moved(tally.dram_values)

    def totals(self, value_bytes: int, buffer_bytes: Number, passes: int) -> Totals:
        """Return the totals of one phase in which everything overlaps."""
        cycles = most(self.occupied["array_2d"], self.occupied["array_1d"])
        return Totals(
            self.reads,
            self.writes,
            self.operations,
            self.busy,
            self.occupied,
            ((cycles, self.moved * value_bytes),),
            buffer_bytes,
            passes,
            tiled=False,
        )

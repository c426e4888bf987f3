"""Totals of many points, put together from tallies of some Einsums at some of the points."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.operators import WorkClass
from hw_models.activity import ArrayName
from hw_models.batched import ARRAYS, MEMORIES, Number, Totals
from mappers.batched.nest import Tally
from mappers.capacity import most

Array: TypeAlias = npt.NDArray[Any]
PHASE: Final = ("cycles", "moved", "waits_2d", "waits_1d")


class Table:
    """Totals at each of many points, put in mapping by mapping; all mappings have the same phases.

    Args:
        count: number of points.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._columns: dict[Any, Array] = {}
        self._passes, self._tiled, self._phases = 1, False, 0

    def put(self, totals: Totals, points: Array) -> None:
        """Set the totals of some points.

        Raises:
            OverflowError: a count passes 64 bits.
        """
        for name in ("reads", "writes", "operations", "busy", "occupied"):
            for key, number in getattr(totals, name).items():
                self._column((name, key))[points] = number
        for i, phase in enumerate(totals.phases):
            for name, number in zip(PHASE, phase, strict=True):
                self._column((name, i))[points] = number
        self._column(("live", 0))[points] = totals.buffer_bytes
        self._passes, self._tiled, self._phases = totals.passes, totals.tiled, len(totals.phases)

    def _column(self, key: Any) -> Array:
        if key not in self._columns:
            self._columns[key] = np.zeros(self._count, np.int64)
        return self._columns[key]

    def totals(self) -> Totals:
        """Return the totals of all points."""
        parts: dict[str, dict[Any, Any]] = {}
        for (name, key), column in self._columns.items():
            parts.setdefault(name, {})[key] = column
        return Totals(
            parts["reads"],
            parts["writes"],
            parts.get("operations", {}),
            parts["busy"],
            parts["occupied"],
            tuple((p[0], p[1], p[2], p[3]) for p in ([parts[name][i] for name in PHASE] for i in range(self._phases))),
            parts["live"][0],
            self._passes,
            self._tiled,
        )


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
        on_2d, on_1d = self.occupied["array_2d"], self.occupied["array_1d"]
        cycles = most(on_2d, on_1d)
        return Totals(
            self.reads,
            self.writes,
            self.operations,
            self.busy,
            self.occupied,
            ((cycles, self.moved * value_bytes, cycles * (on_2d >= on_1d), cycles * (on_1d >= on_2d)),),
            buffer_bytes,
            passes,
            tiled=False,
        )

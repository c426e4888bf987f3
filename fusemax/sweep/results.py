"""The costs of many points as arrays, filled group by group, and the table that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fusemax.sweep.conditions import Column, Names
from fusemax.sweep.table import OK

if TYPE_CHECKING:
    import pyarrow as pa

Array: TypeAlias = npt.NDArray[Any]

FLOATS: Final = ("latency_s", "energy_j", "area_mm2", "util_2d", "util_1d")
WHOLES: Final = ("dram_bytes", "buffer_bytes", "passes")
TEXTS: Final = ("status", "bound")
ABSENT: Final = -1


class Results:
    """Costs of points; what a point does not have is NaN, or -1 in whole numbers and names."""

    def __init__(self, count: int) -> None:
        self.kept = np.ones(count, bool)
        self.columns: dict[str, Array] = {name: np.full(count, np.nan) for name in FLOATS}
        self.columns |= {name: np.full(count, ABSENT, np.int64) for name in WHOLES}
        self.columns |= {name: np.full(count, ABSENT, np.int32) for name in TEXTS}
        self._texts: dict[str, dict[str, int]] = {"status": {OK: 0}, "bound": {}}

    def code(self, column: str, text: str) -> int:
        """Return the number that stands for a text."""
        known = self._texts[column]
        return known.setdefault(text, len(known))

    def fail(self, where: Array, reason: str) -> None:
        """Say why points have no cost."""
        self.columns["status"][where] = self.code("status", reason)

    def fill(self, where: Array, costs: Mapping[str, Any]) -> None:
        """Set costs of points: numbers, arrays, or names."""
        self.columns["status"][where] = 0
        for name, value in costs.items():
            if isinstance(value, Names):
                codes = np.asarray([self.code(name, text) for text in value.values], np.int32)
                self.columns[name][where] = codes[value.codes]
            elif value is not None:
                self.columns[name][where] = self.code(name, value) if isinstance(value, str) else value

    def lookup(self, name: str) -> Column:
        """Return a column for filters."""
        column = self.columns[name]
        if name in TEXTS:
            return Names(column, (*self._texts[name], ""))  # -1 is the last
        return np.where(column == ABSENT, np.nan, column) if name in WHOLES else column

    def table(self, start: int, columns: Mapping[str, Column], schema: pa.Schema) -> pa.Table:
        """Return the rows kept as a table."""
        import pyarrow as pa

        rows = np.flatnonzero(self.kept)
        whole = len(rows) == len(self.kept)

        def chosen(column: Array) -> Array:
            return column if whole else column[rows]

        arrays: list[Any] = [pa.array(rows.astype(np.int64) + start)]
        for column in columns.values():
            if isinstance(column, Names):
                arrays.append(_names(chosen(column.codes), column.values))
            else:
                arrays.append(pa.array(chosen(column)))
        for field in list(schema)[len(arrays) :]:
            column = chosen(self.columns[field.name])
            if field.name in TEXTS:
                arrays.append(_names(column, self._texts[field.name]))
            else:
                absent = np.isnan(column) if field.name in FLOATS else column == ABSENT
                arrays.append(pa.array(column, mask=absent if absent.any() else None))
        return pa.table(arrays, schema=schema)


def _names(codes: Array, values: Iterable[str]) -> pa.Array:
    import pyarrow as pa

    absent = codes < 0
    found = pa.array(codes.astype(np.int32), pa.int32(), mask=absent if absent.any() else None)
    return pa.DictionaryArray.from_arrays(found, pa.array(list(values), pa.string()))

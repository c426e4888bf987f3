"""Exact Pareto fronts over columns of a table, by moocore.

A row is on the front if no other row is at least as good in every objective and better in one; equal rows
are on it together. moocore's dimension sweep (Kung, Luccio and Preparata, "On Finding the Maxima of a Set
of Vectors", JACM 1975) takes O(n log n) for up to three objectives and O(n log^(d-2) n) for d of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from einsum_cascades.errors import InputError
from einsum_cascades.extras import require
from fusemax.report.columns import HIGHER_IS_BETTER, check_numeric, values

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyarrow import Table

EXACT_INTEGER: Final = 2**53
"""Beyond this size, whole numbers are not all float64 values."""


@dataclass(frozen=True)
class Objective:
    """A column and which way is better."""

    column: str
    maximize: bool = False

    @classmethod
    def natural(cls, column: str) -> Objective:
        """Return the objective that is meant when only a column is named: high for utilisation, low for others."""
        return cls(column, column in HIGHER_IS_BETTER)

    def __str__(self) -> str:
        return f"{self.column} ({'highest' if self.maximize else 'lowest'})"


def front_rows(
    table: Table, objectives: Sequence[Objective], groups: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the numbers of the rows on the Pareto front, in the table's order.

    Rows without a finite value in an objective are not on it.

    Args:
        table: rows of any number of columns.
        objectives: one or more columns of numbers.
        groups: each row's group, from 0, if each group has a front of its own.

    Raises:
        InputError: no objective, a column is unknown or holds no numbers, or moocore is not installed.
    """
    if not objectives:
        raise InputError("a front needs an objective", hint="name one or more columns")
    check_numeric(table, [o.column for o in objectives])
    points = np.column_stack([_comparable(table, o.column) for o in objectives])
    maximize = [o.maximize for o in objectives]
    if groups is None:
        return np.flatnonzero(nondominated(points, maximize))
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return np.sort(np.concatenate([part[nondominated(points[part], maximize)] for part in parts]))


def nondominated(points: NDArray[np.float64], maximize: Sequence[bool]) -> NDArray[np.bool_]:
    """Return which points no other one dominates; points with a value that is not finite never count.

    Args:
        points: (points, objectives).
        maximize: for each objective, whether higher is better.

    Raises:
        InputError: moocore is not installed.
    """
    require("report", "a Pareto front")
    import moocore

    mask: NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=1))
    if mask.any():
        found = moocore.is_nondominated(
            np.ascontiguousarray(points[mask]), maximise=[bool(m) for m in maximize], keep_weakly=True
        )
        mask[mask] = found
    return mask


def ties(
    table: Table, objectives: Sequence[Objective], groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of which no two agree in group and objectives, in the table's order, and how many agree with each.

    Args:
        table: rows, such as those of a front.
        objectives: columns of numbers.
        groups: each row's group.
    """
    keys = np.column_stack([groups.astype(np.float64), *(_comparable(table, o.column) for o in objectives)])
    _, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    return first[order], counts[order]


def missing(table: Table, objectives: Sequence[Objective]) -> dict[str, int]:
    """Return how many rows have no finite value, by objective; those that all rows have are left out."""
    counts = {o.column: int((~np.isfinite(values(table, o.column))).sum()) for o in objectives}
    return {column: n for column, n in counts.items() if n}


def _comparable(table: Table, column: str) -> NDArray[np.float64]:
    """Return float64 values in a column's order: large whole numbers, which would be rounded, by their rank."""
    import pyarrow as pa

    found = values(table, column)
    if not pa.types.is_integer(table.schema.field(column).type) or not (np.abs(found) > EXACT_INTEGER).any():
        return found
    there = ~np.isnan(found)
    whole = table.column(column).drop_null().to_numpy()
    found = found.copy()
    found[there] = np.unique(whole, return_inverse=True)[1]
    return found

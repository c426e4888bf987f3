"""What a report shows when it is not told: the axes and the objectives of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from einsum_cascades.errors import InputError
from fusemax.report.columns import (
    COSTS,
    KEY,
    check_numeric,
    check_there,
    encode,
    is_numeric,
    numeric_columns,
    workload_columns,
)
from fusemax.report.front import Objective

if TYPE_CHECKING:
    from pyarrow import Table

MOST_COLOURS: Final = 6


@dataclass(frozen=True)
class Choice:
    """The two axes, what the front is over, and the columns of which each combination of values has its own."""

    x: Objective
    y: Objective
    objectives: tuple[Objective, ...]
    by: tuple[str, ...] = ()

    @property
    def over_axes(self) -> bool:
        """Whether the front is over the two axes."""
        return set(self.objectives) == {self.x, self.y}


def choose(
    table: Table,
    x: str | None = None,
    y: str | None = None,
    objectives: Sequence[str] = (),
    maximize: Sequence[str] = (),
    by: Sequence[str] | None = None,
) -> Choice:
    """Return axes and objectives, those that are not given chosen.

    The vertical axis is the first objective, or else the first cost of the table; the horizontal axis the next
    one. The objectives are the two axes if none is given. Columns to maximise are objectives too; of the others,
    utilisation is best high, and everything else low.

    Args:
        table: the results.
        x: column of the horizontal axis.
        y: column of the vertical axis.
        objectives: columns.
        maximize: columns of which higher values are better.
        by: columns; each combination of their values has a front of its own. If not given, those that say the
            workload and vary, unless they are objectives.

    Raises:
        InputError: a column is unknown or holds no numbers, both axes are one column, or there are no two columns
            of numbers.
    """
    check_numeric(table, [c for c in (x, y, *objectives, *maximize) if c is not None])
    numeric = numeric_columns(table)
    wanted = [*objectives, *(m for m in maximize if objectives), *(c for c in COSTS if c in numeric), *numeric]
    y = y or next((c for c in wanted if c != x), None)
    x = x or next((c for c in wanted if c != y), None)
    if x is None or y is None:
        raise InputError(
            "a report needs two columns of numbers", hint=f"the table has {', '.join(numeric) if numeric else 'none'}"
        )
    if x == y:
        raise InputError(f"both axes are the column '{x}'", hint="choose two columns")

    def goal(column: str) -> Objective:
        return Objective(column, True) if column in maximize else Objective.natural(column)

    named = dict.fromkeys([*(objectives or (y, x)), *maximize])
    check_there(table, by or ())
    told = [c for c in workload_columns(table) if c not in named] if by is None else by
    return Choice(goal(x), goal(y), tuple(map(goal, named)), tuple(told))


def colour_column(table: Table, by: Sequence[str] = ()) -> str | None:
    """Return the column whose values tell points apart by colour: one with fronts of its own, or of few texts."""
    if by:
        return by[0]
    for column in table.column_names:
        if column != KEY and not is_numeric(table, column) and 1 < encode(table, column)[1] <= MOST_COLOURS:
            return str(column)
    return None

"""The best points of a dataset, found part by part so that a dataset larger than memory is no trouble.

What is asked of a machine is no choice: the best are looked for among the points of one workload each, unless nearly
every point has a workload of its own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fusemax.sweep.names import is_asked
from fusemax.sweep.store import Store
from fusemax.sweep.table import OK

if TYPE_CHECKING:
    import pandas as pd

MOST_WORKLOADS: Final = 256
MOST_STATUSES: Final = 1000
OTHERS: Final = "other reasons"
OBJECTIVES: Final = ("latency_s", "energy_j", "edp_js")


@dataclass
class Best:
    """The best points and how many there are of each kind.

    Attributes:
        rows: number of rows: points that passed the filters.
        status: how many rows have each status; those that come after many others are counted together.
        axes: names of the axes that have more than one value.
        workload_axes: those that say what is computed, not by what; none if that makes too many workloads.
        points: by workload, the values of its axes, and objective: the whole row, with ``edp_js``.
    """

    rows: int = 0
    status: Counter[str] = field(default_factory=Counter)
    axes: tuple[str, ...] = ()
    workload_axes: tuple[str, ...] = ()
    points: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = field(default_factory=dict)


def best(store: Store) -> Best:
    """Return the best points of what a dataset holds, by latency, energy and their product, for each workload.

    Raises:
        InputError: a part is damaged.
    """
    found = Best()
    if not store.done:
        return found
    found.axes = _axes(store)
    found.workload_axes = _workload_axes(store, found.axes)
    workload = list(found.workload_axes)
    kept: dict[str, pd.DataFrame] = {}
    for table in store.tables():
        frame = table.to_pandas(integer_object_nulls=True)
        found.rows += len(frame)
        _count(found.status, frame["status"].astype(str).value_counts().to_dict())
        usable = frame[frame["status"] == OK]
        usable = usable.assign(edp_js=usable["latency_s"] * usable["energy_j"])
        for objective in OBJECTIVES:
            kept[objective] = _least(usable, objective, workload, kept.get(objective))
    for objective, rows in kept.items():
        for row in rows.sort_values("point").to_dict("records"):
            key = tuple(None if row[axis] != row[axis] else row[axis] for axis in workload)
            found.points.setdefault(key, {})[objective] = {str(name): value for name, value in row.items()}
    return found


def _count(status: Counter[str], counts: dict[str, int]) -> None:
    for text, number in counts.items():
        status[text if text == OK or text in status or len(status) < MOST_STATUSES else OTHERS] += number


def _least(frame: pd.DataFrame, objective: str, workload: list[str], before: pd.DataFrame | None) -> pd.DataFrame:
    """Return the row with the least of an objective for each workload; among equals, by the other figures."""
    import pandas as pd

    rows = (frame if before is None else pd.concat([before, frame], ignore_index=True)).dropna(subset=objective)
    groups = [rows[axis] for axis in workload] or [pd.Series(0, index=rows.index)]
    rows = rows[rows[objective] == rows.groupby(groups, dropna=False)[objective].transform("min")]
    rows = rows.sort_values(["edp_js", "area_mm2", "point"])
    return rows.drop_duplicates(workload) if workload else rows.head(1)


def _axes(store: Store) -> tuple[str, ...]:
    """Return the names of the columns between ``point`` and ``status`` that have more than one value."""
    names = store.schema.names
    names = names[names.index("point") + 1 : names.index("status")]
    values: dict[str, set[Any]] = {name: set() for name in names}
    for table in store.tables(names):
        for name in names:
            if len(values[name]) < 2:
                values[name].update(table[name].unique().to_pylist())
    return tuple(name for name in names if len(values[name]) > 1)


def _workload_axes(store: Store, axes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the axes that say what is computed and how it is counted, unless there are too many workloads."""
    import pandas as pd

    names = tuple(filter(is_asked, axes))
    seen = pd.DataFrame()
    for table in store.tables(list(names)) if names else ():
        seen = pd.concat([seen, table.to_pandas()], ignore_index=True).drop_duplicates()
        if len(seen) > MOST_WORKLOADS:
            return ()
    return names

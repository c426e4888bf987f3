"""The costs of a sweep's points.

Points that share all names (cascade, machine, mapper, model, …) form a group, whose numbers are arrays. Filters that
need no cost come first; then the group's mapper is evaluated for all points at once where it can be (``batches.py``),
and point by point by the engine where it cannot. Both give the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from fusemax.sweep.conditions import Column, Names, evaluate
from fusemax.sweep.group import Group
from fusemax.sweep.names import COSTS
from fusemax.sweep.points import point_columns
from fusemax.sweep.results import Results
from fusemax.sweep.space import Sweep

if TYPE_CHECKING:
    import pyarrow as pa

Array: TypeAlias = npt.NDArray[Any]


def evaluate_points(sweep: Sweep, start: int, stop: int) -> pa.Table:
    """Return the costs of the points with ``start <= index < stop``.

    Returns:
        A table with the columns of ``sweep.schema``, a row per point that the filters keep, in order of index.

    Raises:
        ValueError: the sweep has no such points.
    """
    if not 0 <= start <= stop <= sweep.points:
        raise ValueError(f"points {start} to {stop} of a sweep of {sweep.points}")
    columns = point_columns(sweep, start, stop)
    results = Results(stop - start)
    early = [f for f in sweep.filters if not f.names & (COSTS.keys() - {"area_mm2"})]
    late = [f for f in sweep.filters if f not in early]
    known: dict[str, Column] = dict(columns)
    beside = sorted({name for f in late for name in f.names} - known.keys() - COSTS.keys())
    known |= {name: np.full(stop - start, np.nan) for name in beside}
    for names, where in _groups(sweep, columns, stop - start):
        numbers = {k: c[where] for k, c in columns.items() if not isinstance(c, Names) and k not in names}
        try:
            group = Group.of(sweep, names, numbers, len(where))
        except InputError as error:
            results.fail(where, error.message)
            continue
        kept = np.ones(len(where), bool)
        for condition in early:
            kept &= np.asarray(evaluate(condition, group.lookup, sweep.area_of), bool)
        results.kept[where] = kept
        for name in beside:
            known[name][where] = group.lookup(name)  # type: ignore[index]
        group.evaluate(np.flatnonzero(kept), where, results)
    known |= {name: results.lookup(name) for name in COSTS}
    for condition in late:
        results.kept &= np.asarray(evaluate(condition, known.__getitem__, sweep.area_of), bool)
    return results.table(start, columns, sweep.schema)


def _groups(sweep: Sweep, columns: dict[str, Column], count: int) -> Iterator[tuple[dict[str, Any], Array]]:
    """Yield the names and flags that points share, and where these points are."""
    code = np.zeros(count, np.int64)
    shared: list[tuple[str, tuple[Any, ...], int]] = []
    for axis in sweep.axes:
        column = columns[axis.name]
        if axis.kind not in ("name", "flag"):
            continue
        values: tuple[Any, ...] = column.values if isinstance(column, Names) else (False, True)
        codes = column.codes if isinstance(column, Names) else column.astype(np.int64)
        code = code * len(values) + codes
        shared.append((axis.name, values, len(values)))
    if not count:
        return
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    for first, last in zip(starts, [*starts[1:], count], strict=True):
        rest = int(code[order[first]])
        names: dict[str, Any] = {}
        for name, values, size in reversed(shared):
            rest, place = divmod(rest, size)
            names[name] = values[place]
        yield names, order[first:last]

"""The best points of a sweep, or of any table of results, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusemax.report.make import Report


def pareto_front(
    source: str | PathLike[str],
    x: str | None = None,
    y: str | None = None,
    *,
    objectives: Sequence[str] = (),
    maximize: Sequence[str] = (),
    by: Sequence[str] | None = None,
    where: Sequence[str] = (),
) -> Report:
    """Find the Pareto front of results, as ``fusemax report`` does.

    Args:
        source: a sweep's folder, finished or not, or a table of results.
        x, y: columns of the axes; chosen if not given.
        objectives: columns that the front is over, lower being better; the axes if none is given.
        maximize: objectives of which higher is better.
        by: columns whose values have a front each; those of the workload if not given.
        where: conditions that points must hold, such as ``area_mm2 <= 200``.

    Returns:
        The report: its ``best`` is the table of the points on the front, ``results`` that of all.

    Raises:
        InputError: the results cannot be read, a column or a condition is unknown, or moocore is not installed.
    """
    from einsum_cascades.errors import check_type
    from fusemax.report.choose import choose
    from fusemax.report.load import narrow, read_results
    from fusemax.report.make import find_front

    check_type("the results", source, (str, PathLike), "the path of a sweep's folder or of a table is expected")
    results = narrow(read_results(Path(source)), where)
    return find_front(results, choose(results.table, x, y, objectives, maximize, by))

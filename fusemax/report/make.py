"""A whole report: the front found, then written as a table, as figures and as a page."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import fusemax
from fusemax.report import page
from fusemax.report.choose import Choice, colour_column
from fusemax.report.columns import KEY, PREFIXED, common_reasons, group, values
from fusemax.report.front import front_rows, missing, ties
from fusemax.report.load import Results
from fusemax.report.sample import sample_rows
from fusemax.tables import data_frame, format_csv, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from pyarrow import Table

MOST_POINTS: Final = 20_000
MOST_BYTES: Final = 3_000_000
MOST_REASONS: Final = 20


@dataclass(frozen=True)
class Report:
    """What a report found.

    Attributes:
        results: what it is of.
        choice: axes and objectives.
        front: numbers of the rows on the front, group by group, best value of the first objective first.
        groups: the group of each of them, as a number.
    """

    results: Results
    choice: Choice
    front: NDArray[np.int64]
    groups: NDArray[np.int64]

    def __repr__(self) -> str:
        return f"<Report {self.results.name}: {summary(self)}>"

    @property
    def best(self) -> Table:
        """The rows on the front."""
        return self.results.table.take(self.front)

    @property
    def distinct(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places on the front of which no two are equally good in all, the first of each, and how many are as good."""
        return ties(self.best, self.choice.objectives, self.groups)

    def notes(self) -> list[page.Note]:
        """Return what a reader must know of the points that are not there."""
        return list(_notes(self))


def find_front(results: Results, choice: Choice) -> Report:
    """Return the report of some results.

    Raises:
        InputError: moocore is not installed.
    """
    groups = group(results.table, choice.by)
    rows = front_rows(results.table, choice.objectives, groups)
    best = results.table.take(rows)
    keys = [values(best, o.column) * (-1.0 if o.maximize else 1.0) for o in choice.objectives]
    order = np.lexsort([*keys[::-1], groups[rows]])
    return Report(results, choice, rows[order], groups[rows[order]])


def write_report(report: Report, folder: Path, formats: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """Write ``pareto.csv``, ``pareto.png`` and ``.pdf``, and ``report.html``; the same results give the same bytes.

    Args:
        report: what was found.
        folder: where the files go, made if missing.
        formats: of the figure.

    Returns:
        The paths written.

    Raises:
        InputError: the folder cannot be written, or plotly is not installed.
    """
    from fusemax.figures import style

    shown = _shown(report)
    html = _page(report, shown, colour_column(report.results.table, report.choice.by))
    with style.style():
        figure = draw(report, shown)
        paths = [folder / "pareto.csv", *style.save(figure, folder / "pareto", formats), folder / "report.html"]
    write_atomically(paths[0], format_csv(data_frame(report.best)).encode())
    write_atomically(paths[-1], html.encode())
    return paths


def draw(report: Report, shown: NDArray[np.int64] | None = None) -> Figure:
    """Draw the points and the front on the report's axes.

    Args:
        report: what was found.
        shown: numbers of the rows to draw; as many as a page holds if not given.
    """
    from fusemax.figures.front import plot_front

    table, choice = report.results.table, report.choice
    return plot_front(
        table,
        choice.x.column,
        choice.y.column,
        objectives=choice.objectives,
        by=choice.by,
        front=np.sort(report.front),
        shown=_shown(report) if shown is None else shown,
        colour=colour_column(table, choice.by),
    )


def _shown(report: Report) -> NDArray[np.int64]:
    """Return the rows that the page holds: so many that their data stay small."""
    most = MOST_POINTS
    while True:
        rows = sample_rows(report.results.table, report.front, report.choice, most)
        size = len(page.json_text({"columns": page.encode_columns(report.results.table.take(rows))}))
        if size <= MOST_BYTES or len(rows) == 1:
            return rows
        most = max(1, min(len(rows) - 1, int(0.95 * len(rows) * MOST_BYTES / size)))


def _page(report: Report, shown: NDArray[np.int64], colour: str | None) -> str:
    table, choice = report.results.table, report.choice
    data = {
        "columns": page.encode_columns(table.take(shown)),
        "rows": len(shown),
        "allRows": table.num_rows,
        "wholeFront": bool(np.isin(report.front, shown).all()),
        "key": KEY,
        "prefixed": PREFIXED,
        "x": choice.x.column,
        "xHigh": choice.x.maximize,
        "y": choice.y.column,
        "yHigh": choice.y.maximize,
        "objectives": [{"column": o.column, "maximize": o.maximize} for o in choice.objectives],
        "by": choice.by,
        "colour": colour,
    }
    return page.build_page(
        report.results.name,
        data,
        summary=summary(report),
        notes=[*report.notes(), *_sampled(report, shown)],
        provenance=_provenance(report),
        spec=report.results.spec,
    )


def summary(report: Report) -> str:
    """Return one sentence: how many points, and how many are on which front."""
    choice, count = report.choice, report.results.table.num_rows
    goals = ", ".join(map(str, choice.objectives))
    best = f"{len(report.front):,} {'is' if len(report.front) == 1 else 'are'}"
    points = f"{count:,} point{'s' * (count != 1)}, of which {best}"
    found = f"{points} on the front over {goals}"
    if not choice.by:
        return f"{found}."
    return f"{found}: one for each {' and '.join(choice.by)}, {len(np.unique(report.groups)):,} in all."


def _notes(report: Report) -> Iterator[page.Note]:
    results = report.results
    if not results.finished:
        yield f"Unfinished: {results.done:,} of {results.points:,} points are evaluated.", ()
    if results.filtered:
        yield f"{results.filtered:,} points are left out by the sweep's own filters.", ()
    if results.left_out:
        reasons = common_reasons(results.left_out, MOST_REASONS)
        total = sum(number for _, number in results.left_out)
        yield f"{total:,} points have no cost and are left out:", [f"{number:,}: {why}" for why, number in reasons]
    if results.where:
        yield f"{results.elsewhere:,} points are left out by the conditions:", results.where
    for column, number in missing(results.table, report.choice.objectives).items():
        yield f"{number:,} points have no {column} and are not compared.", ()


def _sampled(report: Report, shown: NDArray[np.int64]) -> Iterator[page.Note]:
    total, best = report.results.table.num_rows, len(report.front)
    if len(shown) == total:
        return
    if len(shown) < best:
        yield f"This page shows {len(shown):,} of the {best:,} points on the front; pareto.csv holds them all.", ()
    else:
        yield (
            f"This page shows {len(shown):,} of {total:,} points: the whole front, which was found among all of them, "
            "as far as there is room the fronts over any two of the first costs and within each value of a column of "
            "few values, and a random sample of the others.",
            (),
        )


def _provenance(report: Report) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = [(f"sweep {name}", value) for name, value in report.results.facts]
    programs = ("moocore", "plotly", "pyarrow", "numpy", "matplotlib")
    facts.append(("reported by", f"fusemax {fusemax.__version__}"))
    facts += [(name, version(name)) for name in programs]
    return [*facts, ("Python", platform.python_version())]


def as_dict(report: Report, files: Sequence[Path]) -> dict[str, Any]:
    """Return plain data: the counts, the objectives and every row of the front."""
    results, choice = report.results, report.choice
    return {
        "name": results.name,
        "points": results.points,
        "evaluated": results.done,
        "filtered": results.filtered,
        "left_out": [{"reason": reason, "points": n} for reason, n in common_reasons(results.left_out, MOST_REASONS)],
        "where": list(results.where),
        "elsewhere": results.elsewhere,
        "compared": results.table.num_rows,
        "x": choice.x.column,
        "y": choice.y.column,
        "objectives": [{"column": o.column, "maximize": o.maximize} for o in choice.objectives],
        "by": list(choice.by),
        "front": report.best.to_pylist(),
        "files": [str(path) for path in files],
    }

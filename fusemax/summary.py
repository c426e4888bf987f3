"""What a reproduction says in the terminal: headline figures, largest deviations, failed checks, moved conclusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table


def summary(tables: Mapping[str, DataFrame], headline: DataFrame, accounting: str = "published") -> Table:
    """Return the terminal's summary: headline figures, then each table's largest deviation.

    Args:
        tables: the result tables, as ``fusemax.comparison.compare`` takes them.
        headline: what ``fusemax.comparison.headline`` returned for them.
        accounting: under which they were computed; the published figures are those of ``published``.
    """
    from fusemax.comparison import deviations

    title, note = "Published evaluation, reproduced", None
    if accounting != "published":
        title = f"Published evaluation under the accounting '{accounting}'"
        note = f"The published figures are those of 'published'; the error is the step to '{accounting}'."
    view = _figures_view(title, ("published", "ours", "error"), note)
    for row in headline.to_dict("records"):
        view.add_row(
            _words(row["metric"]),
            _figure(row["published"]),
            _figure(row["ours"]),
            _percent(row["relative_error"]),
        )
    view.add_section()
    for row in deviations(tables).to_dict("records"):
        label = f"{row['table']}.{row['metric']}, largest of {row['rows']}"
        view.add_row(label, "", "", _percent(row["relative_error"]))
    return view


def conclusions_view(conclusions: DataFrame) -> Table:
    """Return a table of headline figures under both accountings.

    Args:
        conclusions: what ``fusemax.conclusions.conclusions`` returned.
    """
    note = "paper: as printed there; published, physical: ours under that accounting."
    view = _figures_view("How the conclusions move", ("paper", "published", "physical", "change"), note)
    for row in conclusions.to_dict("records"):
        figures = (_figure(row[column]) for column in ("paper", "published", "physical"))
        view.add_row(_words(row["metric"]), *figures, _percent(row["change"]))
    return view


def failures_view(failures: DataFrame, most: int = 20) -> Table:
    """Return a table of the published figures that are missed, the first ``most`` of them.

    Args:
        failures: what ``fusemax.checks.failures`` returned.
        most: how many to show.
    """
    more = len(failures) - most
    note = f"and {more} more" if more > 0 else None
    view = _figures_view(missed_text(failures), ("published", "ours", "error", "allowed"), note)
    for row in failures.head(most).to_dict("records"):
        view.add_row(
            " ".join(filter(None, (row["table"], row["row"], row["metric"]))),
            _figure(row["published"]),
            _figure(row["ours"]),
            _percent(row["relative_error"]),
            row["allowed"],
        )
    return view


def missed_text(failures: DataFrame) -> str:
    """Return how many published figures are missed: ``3 published figures missed``."""
    return f"{len(failures)} published figure{'s' * (len(failures) != 1)} missed"


def _figures_view(title: str, columns: Sequence[str], note: str | None) -> Table:
    from fusemax.cli.output import table

    view = table(title)
    view.caption = note
    view.add_column("metric")
    for column in columns:
        view.add_column(column, justify="right")
    return view


def _words(metric: object) -> str:
    return str(metric).replace("_", " ")


def _figure(value: float) -> str:
    return "–" if value != value else f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"


def _percent(value: float) -> str:
    if value != value:
        return "–"
    return "0" if value == 0 else f"{value:+.2%}" if abs(value) >= 5e-5 else f"{value:+.0e}"

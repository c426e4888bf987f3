"""``fusemax reproduce``: the published evaluation as tables, figures and a comparison."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusemax.cli import options
from fusemax.cli.output import show, write, write_json

if TYPE_CHECKING:
    from pandas import DataFrame

FAILED = 1


def reproduce(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files go.")] = Path("results"),
    accounting: options.Accounting = "published",
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw figures 6a to 12.")] = True,
    json: options.Json = False,
) -> None:
    """Run the published evaluation and set the results beside the published ones.

    Five configurations, four models and six lengths; attention alone,
    end to end with the linear layers, and area against latency. Tables are
    written as CSV and Parquet, figures as PNG and PDF. The exit status is 1
    if, under the accounting 'published', a published figure is missed;
    'physical' also shows how the paper's conclusions move.
    """
    from fusemax.comparison import TABLES, compare, deviations, headline
    from fusemax.tables import check_folder, conclusions_view, failures_view, summary, write_table
    from hw_models.accounting import accounting_named

    name = accounting_named(accounting).name
    check_folder(out)
    found, files = _compute(name, out if figures else None)
    tables = found[name]
    compared = {table: tables[table] for table in TABLES}
    headlines = headline(tables)
    written: dict[str, DataFrame] = {**tables, "comparison": compare(compared), "headline": headlines}
    if name != "published":
        from fusemax.conclusions import conclusions

        written["conclusions"] = conclusions(found["published"], tables)
    for table, frame in written.items():
        files += write_table(frame, out / table)
    missed = _missed(name, tables)
    if json:
        report: dict[str, Any] = {
            "accounting": name,
            "headline": headlines.to_dict("records"),
            "deviations": deviations(compared).to_dict("records"),
            "failures": missed.to_dict("records"),
            "files": [str(path) for path in files],
        }
        if "conclusions" in written:
            report["conclusions"] = written["conclusions"].to_dict("records")
        write_json(report)
    else:
        show(summary(compared, headlines, name))
        if "conclusions" in written:
            show(conclusions_view(written["conclusions"]))
        if len(missed):
            show(failures_view(missed))
        write(f"{len(files)} files in {out}")
    if len(missed):
        typer.echo(f"error: {len(missed)} published figures are missed", err=True)
        raise typer.Exit(FAILED)


def _compute(accounting: str, out: Path | None) -> tuple[dict[str, dict[str, DataFrame]], list[Path]]:
    """Return the tables by accounting, and the figures drawn if a folder is given.

    What an accounting changes is seen against ``published``, which is computed too.
    """
    from fusemax.experiments import reproduce, steps
    from fusemax.figures import FIGURES, draw_all
    from fusemax.figures.style import FORMATS

    names = dict.fromkeys(("published", accounting))
    drawn = len(FIGURES) * len(FORMATS) if out else 0
    with _progress(steps() * len(names) + drawn) as step:
        found = {name: reproduce(name, step) for name in names}
        files = draw_all(found[accounting], out / "figures", lambda p: step(p.name)) if out else []
    return found, files


def _missed(accounting: str, tables: dict[str, DataFrame]) -> DataFrame:
    """Return the published figures missed; other accountings are not held to them."""
    from fusemax.checks import failures

    missed = failures(tables)
    return missed if accounting == "published" else missed.head(0)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda label: bar.update(task, advance=1, description=label)

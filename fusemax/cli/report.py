"""``fusemax report``: Pareto fronts of results, as a table, figures and one page that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from einsum_cascades.errors import InputError
from fusemax.cli import options
from fusemax.cli.completion_values import columns
from fusemax.cli.output import quantity, show, write, write_json
from fusemax.cli.signals import kept

if TYPE_CHECKING:
    import pyarrow
    from rich.table import Table

    from fusemax.report.make import Report

SHOWN_ROWS: Final = 12
SHOWN_FRONTS: Final = 6


def report(
    source: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="A sweep's folder, or a table of results.")],
    x: Annotated[
        str | None, typer.Option("--x", metavar="COLUMN", help="The horizontal axis.", autocompletion=columns)
    ] = None,
    y: Annotated[
        str | None, typer.Option("--y", metavar="COLUMN", help="The vertical axis.", autocompletion=columns)
    ] = None,
    objectives: Annotated[
        str,
        typer.Option(
            metavar="COLUMN,...",
            help="What the front is over, lower being better; the two axes by default.",
            autocompletion=columns,
        ),
    ] = "",
    maximize: Annotated[
        str,
        typer.Option(
            metavar="COLUMN,...",
            help="Objectives of which higher is better; util_1d and util_2d are.",
            autocompletion=columns,
        ),
    ] = "",
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN,...|none",
            help="Columns whose values have a front each; the workload's if not given.",
            autocompletion=columns,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="Only points that hold this, such as 'area_mm2 <= 200'.",
            autocompletion=columns,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where the files go; DIR/report or FILE-report by default."),
    ] = None,
    formats: options.Figures = options.USUAL_FIGURES,
    json: options.Json = False,
) -> None:
    """Find the Pareto front of a sweep, and write it as a table, a figure and a page.

    The sweep may be unfinished. Points of different workloads are not
    compared: each workload has a front of its own. report.html needs no
    network: it shows the points with their details, on axes and with
    filters of the reader's choice.
    """
    from fusemax.figures.style import formats_named
    from fusemax.report.choose import choose
    from fusemax.report.load import narrow, read_results
    from fusemax.report.make import as_dict, find_front, write_report
    from fusemax.tables import check_folder

    wanted = formats_named(formats)
    folder = out or (source / "report" if source.is_dir() else source.with_name(f"{source.stem}-report"))
    check_folder(folder)
    results = narrow(read_results(source), where or [])
    apart = None if by is None else [] if by == "none" else _names("--by", by)
    choice = choose(results.table, x, y, _names("--objectives", objectives), _names("--maximize", maximize), apart)
    found = find_front(results, choice)
    with kept(lambda: f"files that are in {folder} are whole; the same command writes them all anew"):
        files = write_report(found, folder, wanted)
    if json:
        write_json(as_dict(found, files))
    else:
        _show(found)
        write(f"{len(files)} files in {folder}: {', '.join(path.name for path in files)}")


def _names(flag: str, text: str) -> list[str]:
    """Return the columns of a list with commas.

    Raises:
        InputError: a name is empty or stands twice.
    """
    names = [name.strip() for name in text.split(",")] if text else []
    if "" in names:
        raise InputError(f"{flag} has an empty name", hint=f"write {flag} latency_s,area_mm2")
    if len(set(names)) < len(names):
        raise InputError(f"{flag} names a column twice", hint="name each once")
    return names


def _show(found: Report) -> None:
    from fusemax.report.make import summary

    for note, lines in found.notes():
        write("\n  ".join([note, *lines]))
    write(summary(found))
    show(_table(found))
    rest = len(found.front) - len(_shown_rows(found))
    if rest > 0:
        write(f"{rest:,} more in pareto.csv")


def _shown_rows(found: Report) -> list[int]:
    """Return places on the first fronts, spread over each, its first and last among them."""
    import numpy as np

    fronts = np.unique(found.groups)[:SHOWN_FRONTS]
    places: list[int] = []
    for front in fronts:
        there = np.flatnonzero(found.groups == front)
        chosen = np.linspace(0, len(there) - 1, min(len(there), SHOWN_ROWS // len(fronts))).round().astype(np.int64)
        places += there[chosen].tolist()
    return places


def _table(found: Report) -> Table:
    """Return points of the front, spread over it, with as much of what tells them apart as there is room for."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    best = found.best.take(_shown_rows(found))
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    kept, others = _columns(found, best)
    shown = {name: [_written(name, value) for value in best.column(name).to_pylist()] for name in [*kept, *others]}
    width = {name: 3 + max(map(len, [name, *texts])) for name, texts in shown.items()}
    room = Console().width - sum(width[name] for name in kept)
    for name in others:
        room -= width[name]
        kept += [name] * (room >= 0)
    for name in kept:
        numeric = isinstance(best.column(name)[0].as_py(), int | float)
        view.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for texts in zip(*(shown[name] for name in kept), strict=True):
        view.add_row(*map(Text, texts))
    return view


def _columns(found: Report, best: pyarrow.Table) -> tuple[list[str], list[str]]:
    """Return the columns that are always shown, and the others that vary on the front, results last."""
    from fusemax.report.columns import COSTS, KEY, encode

    goals = [o.column for o in found.choice.objectives]
    kept = list(dict.fromkeys([*([KEY] if KEY in best.column_names else []), *found.choice.by, *goals]))
    others = [c for c in best.column_names if c not in kept and encode(best, c)[1] > 1]
    return kept, sorted(others, key=lambda c: c in COSTS)


def _written(name: str, value: object) -> str:
    from fusemax.report.columns import unit

    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if unit(name) in ("s", "J", "B", "Hz", "W"):
        return quantity(float(value), unit(name))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"

"""``fusemax reproduce``: the published evaluation as tables, figures and a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusemax.cli import options
from fusemax.cli.output import progress, say, show, write_json
from fusemax.cli.signals import kept

if TYPE_CHECKING:
    from pandas import DataFrame

    Tables = dict[str, DataFrame]

FAILED = 1


def reproduce(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files go.")] = Path("results"),
    accounting: options.Accounting = "published",
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw figures 6a to 12.")] = True,
    formats: options.Figures = options.USUAL_FIGURES,
    json: options.Json = False,
) -> None:
    """Run the published evaluation and set the results beside the published ones.

    Five configurations, four models and six lengths; attention alone,
    end to end with the linear layers, and area against latency. Tables are
    written as CSV and, where pyarrow is installed, Parquet; figures as PNG
    and PDF, or as SVG (--format svg). The exit status is 1 if, under the
    accounting 'published', a published figure is missed; 'physical' also
    shows how the paper's conclusions move.
    """
    from einsum_cascades.extras import installation
    from fusemax.figures.style import formats_named
    from fusemax.summary import missed_text
    from fusemax.tables import FORMATS, check_folder, write_table, written_formats
    from hw_models.accounting import accounting_named

    name = accounting_named(accounting).name
    check_folder(out)
    with kept(lambda: f"files that are in {out} are whole; the same command writes them all anew"):
        found, files = _compute(name, out if figures else None, formats_named(formats))
        tables = found[name] | _comparisons(name, found)
        for table, frame in tables.items():
            files += write_table(frame, out / table)
    missed = _missed(name, tables)
    if json:
        write_json(_report(name, tables, missed, files))
    else:
        _show(name, tables, missed)
        say(f"{len(files)} files in {out}")
        if written_formats() != FORMATS:
            say(f"tables are written as CSV alone; Parquet needs pyarrow: {installation('sweep')}")
    if len(missed):
        typer.echo(f"error: {missed_text(missed)}", err=True)
        raise typer.Exit(FAILED)


def _compute(accounting: str, out: Path | None, formats: Sequence[str]) -> tuple[dict[str, Tables], list[Path]]:
    """Return the tables by accounting, and the figures drawn if a folder is given.

    What an accounting changes is seen against ``published``, which is computed too.
    """
    from fusemax.experiments import reproduce, steps
    from fusemax.figures import FIGURES, draw_all

    names = dict.fromkeys(("published", accounting))
    drawn = len(FIGURES) * len(formats) if out else 0
    with progress(steps() * len(names) + drawn) as step:
        found = {name: reproduce(name, step) for name in names}
        files = draw_all(found[accounting], out / "figures", lambda p: step(p.name), formats) if out else []
    return found, files


def _comparisons(accounting: str, found: Mapping[str, Tables]) -> Tables:
    """Return the tables that set ours beside the published figures, and one accounting beside the other."""
    from fusemax.comparison import compare, headline
    from fusemax.conclusions import conclusions

    tables = found[accounting]
    sides = {"comparison": compare(_published_in(tables)), "headline": headline(tables)}
    if accounting != "published":
        sides["conclusions"] = conclusions(found["published"], tables)
    return sides


def _published_in(tables: Tables) -> Tables:
    """Return the tables that are compared row by row."""
    from fusemax.comparison import TABLES

    return {name: tables[name] for name in TABLES}


def _show(accounting: str, tables: Tables, missed: DataFrame) -> None:
    from fusemax.summary import conclusions_view, failures_view, summary

    show(summary(_published_in(tables), tables["headline"], accounting))
    if "conclusions" in tables:
        show(conclusions_view(tables["conclusions"]))
    if len(missed):
        show(failures_view(missed))


def _report(accounting: str, tables: Tables, missed: DataFrame, files: list[Path]) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    from fusemax.comparison import deviations

    shown = {"headline": tables["headline"], "deviations": deviations(_published_in(tables)), "failures": missed}
    if "conclusions" in tables:
        shown["conclusions"] = tables["conclusions"]
    rows = {name: frame.to_dict("records") for name, frame in shown.items()}
    return {"accounting": accounting, **rows, "files": [str(path) for path in files]}


def _missed(accounting: str, tables: Tables) -> DataFrame:
    """Return the published figures missed; other accountings are not held to them."""
    from fusemax.checks import failures

    missed = failures(tables)
    return missed if accounting == "published" else missed.head(0)

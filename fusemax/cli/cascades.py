"""``fusemax cascades``: list the library, or print one cascade as text, LaTeX, DOT or the kernel compiled from it."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from einsum_cascades.errors import InputError
from fusemax.cli import completion, options
from fusemax.cli.output import show, table, write, write_json

if TYPE_CHECKING:
    from einsum_cascades.ir import Cascade


class Format(StrEnum):
    """How a cascade is written."""

    TEXT = "text"
    LATEX = "latex"
    DOT = "dot"
    NUMBA = "numba"


_REFERENCE = re.compile(
    r"(?:[A-Z]\.[- ]?)+(?P<author>[A-Z][\w'-]+)(?P<more>,)?.*?(?P<venue>(?:[A-Z]\w+ )?\b(?:19|20)\d\d)\b", re.DOTALL
)


def cascades(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]",
            help="Print this cascade; without it, list the library.",
            autocompletion=completion.cascades,
        ),
    ] = None,
    format: Annotated[Format | None, typer.Option("--format", help="How to print it.")] = None,
    json: options.Json = False,
) -> None:
    """List the library of cascades, or print one.

    The text reads back to the same cascade, so it is a start for one of your own.
    """
    from einsum_cascades.load import library_names, load_cascade

    if name is not None:
        cascade = load_cascade(name)
        text = written(cascade, format or Format.TEXT)
        if json:
            write_json({**summary_of(cascade), "format": format or Format.TEXT, "text": text})
        else:
            write(text)
        return
    if format is not None:
        raise InputError("--format is given without a cascade", hint=f"write fusemax cascades NAME --format {format}")
    rows = [summary_of(load_cascade(known)) for known in library_names()]
    if json:
        write_json({"cascades": rows})
    else:
        _show(rows)


def written(cascade: Cascade, format: Format) -> str:
    """Return a cascade in a format."""
    if format is Format.LATEX:
        from einsum_cascades.latex import to_latex

        return to_latex(cascade)
    if format is Format.DOT:
        from einsum_cascades.graph import to_dot

        return to_dot(cascade)
    if format is Format.NUMBA:
        from kernels.compiler.compiled import compile_cascade

        return compile_cascade(cascade).source
    return str(cascade)


def summary_of(cascade: Cascade) -> dict[str, Any]:
    """Return what the list shows of a cascade; ``passes`` are those over ``rank``, which takes the most."""
    from einsum_cascades.passes import analyse_passes
    from mappers.rows import row_rank

    rank = row_rank(cascade)
    return {
        "cascade": cascade.name,
        "title": cascade.title,
        "rank": rank and cascade.whole_rank(rank),
        "passes": analyse_passes(cascade, rank).passes if rank else None,
        "einsums": len(cascade.einsums),
        "citation": cascade.citation,
    }


def short_citation(citation: str) -> str:
    """Return ``Nayak et al., MICRO 2024; Dao, ICLR 2024``, or a text written in another way as it is."""
    found = [
        f"{match['author']}{' et al.' if match['more'] else ''}, {match['venue']}"
        for match in _REFERENCE.finditer(citation)
    ]
    return "; ".join(found) or citation


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.text import Text

    view = table()
    for heading in ("cascade", "passes"):
        view.add_column(heading)
    view.add_column("Einsums", justify="right")
    view.add_column("title and source")
    for row in rows:
        passes = f"{row['passes']} over {row['rank']}" if row["rank"] else "–"
        about = Text(row["title"])
        about.append(f"\n{short_citation(row['citation'])}", style="dim")
        view.add_row(row["cascade"], passes, str(row["einsums"]), about)
    show(view)

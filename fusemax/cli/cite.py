"""``fusemax cite``: BibTeX of what a result rests on."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusemax.cli import completion, options
from fusemax.cli.output import write, write_json

if TYPE_CHECKING:
    from fusemax.citations import Reference


class Format(StrEnum):
    """How a work is written."""

    BIBTEX = "bibtex"
    TEXT = "text"


def cite(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|FILE]...",
            help="Cascades, machines, models, mappers, component tables (accelergy, cacti, hwcomponents, technology); "
            "without any, the paper whose method this is.",
            autocompletion=completion.citable,
        ),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="As BibTeX, or in words.")] = Format.BIBTEX,
    json: options.Json = False,
) -> None:
    """Print what to cite for a cascade, a machine, a model, a mapper or a component table.

    Each work is printed once. A file of your own is cited by the works that its citation names, or by its own words.
    """
    from fusemax import citations

    found: dict[str, Reference] = {}
    cited_for: dict[str, list[str]] = {}
    for name in dict.fromkeys(names or [""]):
        for work in citations.cite(name):
            found[work.key] = work
            cited_for.setdefault(work.key, []).extend([name] if name else [])
    if json:
        write_json({"citations": [_as_dict(work, cited_for[key]) for key, work in found.items()]})
    else:
        write("\n\n".join(work.bibtex if format is Format.BIBTEX else work.text for work in found.values()))


def _as_dict(work: Reference, cited_for: list[str]) -> dict[str, Any]:
    return {
        "key": work.key,
        "type": work.kind,
        "for": cited_for,
        **work.plain,
        "text": work.text,
        "bibtex": work.bibtex,
    }

"""``fusemax schema``: JSON schemas of the files that users write, for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from fusemax.cli import completion
from fusemax.cli.output import show, table, write, write_json


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]", help="Of which kind of file; without it, list them.", autocompletion=completion.schemas
        ),
    ] = None,
) -> None:
    """Print the JSON schema (draft 2020-12) of a kind of file.

    An editor that takes it completes keys and marks mistakes: save it beside the file, and write
    '# yaml-language-server: $schema=machine.schema.json' as the file's first line.
    """
    from fusemax.schemas import json_schema, schema_kinds

    if kind is not None:
        write_json(json_schema(kind))
        return
    view = table()
    view.add_column("kind", no_wrap=True)
    view.add_column("what it describes")
    for name, about in schema_kinds().items():
        view.add_row(name, about)
    show(view)
    write("fusemax schema KIND prints one")

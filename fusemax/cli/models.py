"""``fusemax models``: list the models, or print the sizes of one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fusemax.cli import completion, options
from fusemax.cli.cascades import short_citation
from fusemax.cli.machines import AsFormat, Format, refuse_format
from fusemax.cli.output import show, table, write, write_json

SIZES = ("heads", "head_dim", "model_dim", "ffn_dim", "batch")


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]",
            help="Print this model; a Hugging Face config.json counts. Without it, list all.",
            autocompletion=completion.models,
        ),
    ] = None,
    format: AsFormat = None,
    json: options.Json = False,
) -> None:
    """List the models, or print the sizes of one.

    --format yaml prints a file that reads back to the same model, of a Hugging Face config.json too.
    """
    from einsum_cascades.models import model_names
    from fusemax.catalogue import model_facts, model_text

    if name is None:
        refuse_format(format, "models")
        rows = [model_facts(known) for known in model_names()]
        if json:
            write_json({"models": rows})
        else:
            _list(rows)
        return
    found = model_facts(name)
    if json:
        write_json(found | {"text": model_text(name)})
    elif format is Format.YAML:
        write(model_text(name))
    else:
        _show(found)


def _list(rows: list[dict[str, Any]]) -> None:
    view = table()
    view.add_column("model", no_wrap=True)
    for key in SIZES:
        view.add_column(key, justify="right", no_wrap=True)
    view.add_column("source")
    for row in rows:
        view.add_row(row["model"], *(f"{row[key]:,}" for key in SIZES), short_citation(row["citation"]))
    show(view)


def _show(found: dict[str, Any]) -> None:
    write(found["model"])
    view = table()
    view.add_column("key", no_wrap=True)
    view.add_column("value", justify="right", no_wrap=True)
    view.add_column("what it is")
    for key, about in found["about"].items():
        view.add_row(key, f"{found[key]:,}", about)
    show(view)
    for label in ("note", "citation"):
        if found[label]:
            write(f"{'source' if label == 'citation' else label}: {found[label]}")

"""``fusemax mappers``: list the mappers, or tell what one does."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fusemax.cli import completion, options
from fusemax.cli.output import say, show, table, write, write_json


def mappers(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Tell of this mapper; without it, list all.", autocompletion=completion.mappers
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """List the mappers with the kinds of machines that they map onto, or tell what one does.

    For a spatial array a mapper makes a loop tree, which evaluate --show-mapping prints; for CPUs and GPUs it chooses
    tiles.
    """
    from fusemax.catalogue import mapper_facts
    from hw_models.load import architecture_names, load_machine
    from mappers.strategies import mapper_names

    if name is None:
        rows = [mapper_facts(known) for known in mapper_names()]
        if json:
            write_json({"mappers": rows})
        else:
            _list(rows)
        return
    found = mapper_facts(name)
    fitting = [known for known in architecture_names() if load_machine(known).kind in found["machines"]]
    if json:
        write_json({**found, "fits": fitting})
        return
    say(f"{name}: maps onto {_kinds(found)} ({', '.join(fitting)})")
    write("")
    if found["summary"] not in found["about"]:
        say(f"{found['summary']}\n\n")
    say(found["about"])


def _kinds(found: dict[str, Any]) -> str:
    names = {"spatial-array": "spatial arrays", "cpu": "CPUs", "gpu": "GPUs"}
    return " and ".join(names[kind] for kind in found["machines"])


def _list(rows: list[dict[str, Any]]) -> None:
    view = table()
    view.add_column("mapper", no_wrap=True)
    view.add_column("maps onto", no_wrap=True)
    view.add_column("what it does")
    for row in rows:
        view.add_row(row["mapper"], _kinds(row), row["summary"])
    show(view)

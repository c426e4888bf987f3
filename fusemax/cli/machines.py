"""``fusemax machines``: list the machines, or print one: its values, what they cost, and where they come from."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from einsum_cascades.errors import InputError
from fusemax.cli import completion, options
from fusemax.cli.cascades import short_citation
from fusemax.cli.layout import GLUE
from fusemax.cli.output import quantity, say, show, table, write, write_json
from fusemax.cli.values import shown

if TYPE_CHECKING:
    from rich.table import Table


class Format(StrEnum):
    """How a machine or a model is written."""

    TABLE = "table"
    YAML = "yaml"


AsFormat = Annotated[Format | None, typer.Option("--format", help="As a table, or as the text of its file.")]


def machines(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]",
            help="Print this machine; without it, list all.",
            autocompletion=completion.architectures,
        ),
    ] = None,
    format: AsFormat = None,
    json: options.Json = False,
) -> None:
    """List the machines, or print one: its values with their units, and what it pays for an access and an operation.

    Every value can be changed by --set-arch KEY=VALUE under the key shown. --format yaml prints the file's text, a
    start for one of your own.
    """
    from fusemax.catalogue import machine_facts, machine_text
    from hw_models.load import architecture_names

    if name is None:
        refuse_format(format, "machines")
        rows = [machine_facts(known) for known in architecture_names()]
        if json:
            write_json({"machines": [{key: row[key] for key in _LISTED} for row in rows]})
        else:
            _list(rows)
        return
    found = machine_facts(name)
    if json:
        write_json(found | {"text": machine_text(name)})
    elif format is Format.YAML:
        write(machine_text(name))
    else:
        _show(found)


_LISTED = ("machine", "kind", "title", "measured", "citation", "values", "nodes")


def refuse_format(format: Format | None, command: str) -> None:
    """Refuse ``--format`` without a name.

    Raises:
        InputError: a format is given.
    """
    if format is not None:
        raise InputError("--format is given without a name", hint=f"write fusemax {command} NAME --format {format}")


def _list(rows: list[dict[str, Any]]) -> None:
    from rich.text import Text

    view = table()
    for heading in ("machine", "kind"):
        view.add_column(heading, no_wrap=True)
    view.add_column("main figures")
    view.add_column("title and source")
    for row in rows:
        about = Text(row["title"])
        if source := short_citation(row["citation"] or row["measured"]):
            about.append(f"\n{source}", style="dim")
        view.add_row(row["machine"], row["kind"].replace("-", " "), _main(row), about)
    show(view)


def _main(row: dict[str, Any]) -> str:
    """Return the figures that tell machines of a kind apart."""
    values = row["values"]
    if row["kind"] == "spatial-array":
        nodes = [node for node in row["nodes"] if node["kind"] == "array" or node["bytes"] or node["depth"] == 0]
        said = [f"{node['node']}{GLUE}{_size(node).replace(' ', GLUE)}" for node in nodes]
        return f"{', '.join(said)}; {quantity(row['values']['frequency_hz'], 'Hz')}"
    if row["kind"] == "cpu":
        rate = values["threads"] * values["efficiency"] * values["products.best_flops_per_s"]
        memory = quantity(values["levels.memory.total_bytes_per_s"], "B/s")
        return f"{values['threads']} threads, {quantity(rate, 'flop/s')}, {memory}"
    rate = values.get("tensor.warpgroup_flops_per_s", values["tensor.warp_flops_per_s"])
    memory = f"{quantity(values['hbm.bytes'], 'B')}, {quantity(values['hbm.bytes_per_s'], 'B/s')}"
    return f"{values['sms']} SMs, {quantity(rate, 'flop/s')}, {memory}"


def _show(found: dict[str, Any]) -> None:
    say(f"{found['machine']}: {found['title'] or found['kind']}")
    for label in ("kind", "measured"):
        if found[label]:
            say(f"  {label}: {found[label]}")
    views = [_tree(found["nodes"])] if found["nodes"] else []
    views.append(_values(found["values"], found["about"]))
    if found["costs"]:
        views.append(_costs(found["costs"]))
    show(*views)
    if found["citation"]:
        say(f"source: {found['citation']}")


def _size(node: dict[str, Any]) -> str:
    """Return how large a node is."""
    fan = "×".join(f"{length:,}" for length in node["dimensions"].values() if length > 1)
    if node["kind"] == "array":
        return f"{fan or 1} PEs"
    size = quantity(node["bytes"], "B") if node["bytes"] else ""
    if node["depth"] == 0 and node["bytes_per_s"]:
        size = f"{size} {quantity(node['bytes_per_s'], 'B/s')}".strip()
    return f"{fan}×{size}" if fan and size else fan or size


def _tree(nodes: list[dict[str, Any]]) -> Table:
    """Memories and arrays, each below the memory that it takes values from."""
    view = table()
    view.add_column("node", no_wrap=True)
    view.add_column("", no_wrap=True)
    view.add_column("in all", justify="right", no_wrap=True)
    view.add_column("what it has")
    for node in nodes:
        if node["kind"] == "memory":
            rate = node["bytes_per_s"]
            size = quantity(node["bytes"], "B") if node["bytes"] else "room without limit"
            has = size + (f", {quantity(rate, 'B/s')}" if rate else "")
        else:
            registers = f"{node['registers']:,} registers" if node["registers"] else "registers without limit"
            has = f"{registers}; does {', '.join(node['units'])}"
        fan = " × ".join(f"{name} {length:,}" for name, length in node["dimensions"].items())
        view.add_row("  " * node["depth"] + node["node"], fan, f"{node['instances']:,}", has)
    return view


def _values(values: dict[str, Any], about: dict[str, str]) -> Table:
    view = table()
    view.add_column("key", no_wrap=True)
    view.add_column("value", justify="right", no_wrap=True)
    view.add_column("what it is")
    for key, value in values.items():
        view.add_row(key, shown(key, value), about[key])
    return view


def _costs(costs: dict[str, float]) -> Table:
    view = table()
    view.add_column("a value moved, an operation, an area", no_wrap=True)
    view.add_column("", justify="right", no_wrap=True)
    for key, value in costs.items():
        view.add_row(key, shown(key, value))
    return view

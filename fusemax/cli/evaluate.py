"""``fusemax evaluate``: what one cascade costs on one machine."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fusemax.cli import options
from fusemax.cli.layout import GLUE
from fusemax.cli.output import byte_size, percent, quantity, say, show, table, write, write_json
from fusemax.cli.workload_options import takes_workload

if TYPE_CHECKING:
    from rich.table import Table

BOUNDS = {
    "spatial-array": {
        "memory": "off-chip traffic",
        "2d": "cycles of the 2D array",
        "1d": "cycles of the 1D array",
    },
    "cpu": {
        "products": "matrix products",
        "exp": "exponentials",
        "vector": "other vector operations",
        "memory": "the memory hierarchy",
        "overhead": "overhead and idle threads",
    },
    "gpu": {
        "tensor": "matrix products",
        "exp": "special functions",
        "vector": "other vector operations",
        "shared": "shared memory",
        "memory": "L2 cache and memory",
        "latency": "latencies and idle multiprocessors",
        "launch": "kernel launches",
    },
}
ARRAYS = {"array_2d": "2D array", "array_1d": "1D array"}
UNITS = {"array_2d": "2D", "array_1d": "1D", "products": "products", "vector": "vector"}
PARTS = {
    "products": "matrix products",
    "exp": "exponentials",
    "vector": "other vector operations",
    "tensor": "matrix products",
    "shared": "shared memory",
    "latency": "latencies",
    "waves": "idle multiprocessors",
    "launch": "launches",
}


@takes_workload
def evaluate(
    workload: Any,
    cascade: options.OptionalCascade = None,
    arch: options.OptionalArch = None,
    mapper: options.OptionalMapper = None,
    mapping: options.Mapping = None,
    show_mapping: Annotated[
        bool, typer.Option("--show-mapping", help="Print the mapping instead, as a file that --mapping takes.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the mapping to a file.")] = None,
    causal: options.Causal = False,
    dtype: options.Dtype = None,
    accounting: options.OptionalAccounting = None,
    set_arch: options.SetArch = None,
    json: options.Json = False,
) -> None:
    """Evaluate a cascade on a machine: latency, energy, traffic, utilisation, area.

    The mapping is a mapper's, or your own (--mapping FILE): what --show-mapping
    prints, edited. It must be legal and fit; its counts follow from it alone.

    On a GPU, --set also takes scalars that a mask depends on, such as the width of
    a window; without its value such a mask leaves nothing out.

    Sizes may be written 8K or 2**13, bytes 256KiB; K and KiB, M and MiB, … are
    powers of 1024, kB, MB, … of 1000.
    """
    from fusemax.evaluation import Asked, evaluate_request

    asked = Asked(cascade, arch, mapper, mapping, workload, accounting, set_arch or (), causal, dtype)
    evaluation = evaluate_request(asked.request())
    found = evaluation.as_dict()
    if out is not None:
        from fusemax.tables import write_atomically

        write_atomically(out, asked.mapping_file(evaluation, out).encode())
    if show_mapping:
        text = asked.mapping_file(evaluation)
        if json:
            write_json({**found, "mapping": text})
        else:
            write(text)
        return
    if json:
        write_json(found)
    else:
        show(*views(found))
    if out is not None and not json:
        say(f"written to {out}")


def views(found: dict[str, Any]) -> tuple[Table, ...]:
    """Return the tables that show an evaluation: its figures, their parts, each Einsum."""
    overview, details = _VIEWS[found["kind"]]
    return _overview(found, overview(found)), details(found), _einsums(found)


def _overview(found: dict[str, Any], rows: dict[str, str]) -> Table:
    view = table(f"{found['cascade']} on {found['arch']}", header=False)
    view.add_column(style="dim")
    view.add_column()
    for label, value in rows.items():
        view.add_row(label, value)
    return view


def workload_text(found: dict[str, Any]) -> str:
    """Return the sizes of a workload and the bits of its values."""
    sizes = {"B": found["batch"], "H": found["heads"], **found["sizes"]}
    named = f"{found['model']}: " if found["model"] else ""
    widths = set((found["bits"] or {"": 8 * found["value_bytes"]}).values())
    if len(widths) == 1:
        return named + sizes_text(sizes) + f"; {widths.pop()}-bit values"
    bits = ", ".join(f"{what}{GLUE}{width}" for what, width in found["bits"].items())
    return f"{named}{sizes_text(sizes)}; bits: {bits}"


def _spatial_rows(found: dict[str, Any]) -> dict[str, str]:
    outside = {"extrapolated": "costs of " + ", ".join(found["extrapolated"])} if found["extrapolated"] else {}
    return {
        "mapper": found["mapper"],
        "accounting": found["accounting"],
        "workload": workload_text(found),
        "tiles": sizes_text(found["tiles"]) or "none",
        "latency": quantity(found["latency_s"], "s"),
        "energy": quantity(found["energy_j"], "J"),
        "off-chip traffic": byte_size(found["dram_bytes"]),
        **({} if found["buffer_bytes"] is None else {"peak live in buffer": byte_size(found["buffer_bytes"])}),
        "chip area": f"{found['area_mm2']:,.4g} mm²",
        **outside,
        **{f"{ARRAYS.get(name, name)} used": percent(part) for name, part in found["utilization"].items()},
        "passes": str(found["passes"]),
        "bound by": bound_text(found["bound"], found),
    }


def _cpu_rows(found: dict[str, Any]) -> dict[str, str]:
    return {
        "mapper": found["mapper"],
        "workload": workload_text(found) + ("; causal" if found["causal"] else ""),
        "threads": str(found["threads"]),
        "tiles": sizes_text(found["tiles"]),
        "latency": quantity(found["latency_s"], "s"),
        "energy": "not known",
        "off-chip traffic": byte_size(found["dram_bytes"]) + ", from cold caches",
        "working tiles": byte_size(found["buffer_bytes"]) + ", all threads",
        "passes": str(found["passes"]),
        "bound by": bound_text(found["bound"], found),
    }


def _gpu_rows(found: dict[str, Any]) -> dict[str, str]:
    return {
        "mapper": found["mapper"],
        "workload": workload_text(found)
        + f" ({found['dtype']})"
        + "; causal" * found["causal"]
        + "".join(f"; {name} {value:,}" for name, value in found["scalars"].items()),
        "kernel": found["kernel"],
        "tiles": sizes_text(found["tiles"]),
        "latency": quantity(found["latency_s"], "s"),
        "energy": "not known",
        "off-chip traffic": byte_size(found["dram_bytes"]),
        "working tiles": byte_size(found["buffer_bytes"]) + ", all multiprocessors",
        "passes": str(found["passes"]),
        "bound by": bound_text(found["bound"], found),
    }


def bound_text(bound: str, found: dict[str, Any]) -> str:
    """Return what a bound is called: one of an evaluation, or of a part of it."""
    names = BOUNDS[found["kind"]]
    arrays = found["utilization"] or {}

    def said(resource: str) -> str:
        return names.get(resource) or (f"cycles of {resource}" if resource in arrays else f"traffic of {resource}")

    return " and ".join(map(said, bound.split("+")))


def _parts(found: dict[str, Any]) -> Table:
    view = table()
    view.add_column("latency")
    view.add_column("", justify="right")
    view.add_column("share", justify="right")
    for part, seconds in found["parts_s"].items():
        if seconds:
            waits = part in ("L1", "L2", "L3", "memory", "HBM")
            label = f"waiting for {part}" if waits else PARTS.get(part, part)
            view.add_row(label, quantity(seconds, "s"), percent(seconds / found["latency_s"]))
    return view


def _energy(found: dict[str, Any]) -> Table:
    view = table()
    view.add_column("energy")
    view.add_column("", justify="right")
    view.add_column("share", justify="right")
    for part, joules in found["energy_parts_j"].items():
        if joules:
            name = part_text(part, found["utilization"] or ())
            view.add_row(name, quantity(joules, "J"), percent(joules / found["energy_j"]))
    return view


def part_text(part: str, arrays: Collection[str]) -> str:
    """Return what a part of the energy is called: of arrays it is that of their registers."""
    return f"{ARRAYS.get(part, part)} registers" if part in arrays else part.replace("_", " ")


def _einsums(found: dict[str, Any]) -> Table:
    counts_cycles = found["kind"] == "spatial-array"
    headings = ("cycles", "share of the array") if counts_cycles else ("share of the latency",)
    view = table()
    view.add_column("Einsum")
    view.add_column("array" if counts_cycles else "unit")
    for heading in headings:
        view.add_column(heading, justify="right")
    for row in found["per_einsum"]:
        cycles = [f"{row['cycles']:,}"] if counts_cycles else []
        view.add_row(row["einsum"], UNITS.get(row["array"], row["array"]), *cycles, percent(row["share"]))
    return view


def sizes_text(sizes: dict[str, int]) -> str:
    """Return sizes by rank."""
    return ", ".join(f"{rank}{GLUE}{size:,}" for rank, size in sizes.items())


View = Callable[[dict[str, Any]], Any]
_VIEWS: Final[dict[str, tuple[View, View]]] = {
    "spatial-array": (_spatial_rows, _energy),
    "cpu": (_cpu_rows, _parts),
    "gpu": (_gpu_rows, _parts),
}
"""By kind of machine, what its overview has, and the details below it."""

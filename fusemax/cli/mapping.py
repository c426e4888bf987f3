"""``fusemax mapping``: a mapping of the user's own, checked, counted, and exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusemax.cli import options
from fusemax.cli.output import byte_size, say, show, table, write, write_json
from fusemax.cli.workload_options import takes_workload

if TYPE_CHECKING:
    from rich.table import Table

    from fusemax.evaluated import SpatialEvaluation


@takes_workload
def mapping(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The mapping's file.")],
    workload: Any,
    check: Annotated[bool, typer.Option("--check", help="Check it, and print its counts.")] = False,
    accelforge: Annotated[
        Path | None,
        typer.Option(
            "--accelforge", metavar="DIR", help="Write workload, machine and mapping as AccelForge reads them."
        ),
    ] = None,
    cascade: options.OptionalCascade = None,
    arch: options.OptionalArch = None,
    accounting: options.OptionalAccounting = None,
    set_arch: options.SetArch = None,
    json: options.Json = False,
) -> None:
    """Check a mapping: whether it is legal and fits, and what it makes every memory do.

    Without --check its tree is printed as it is read. A file is what evaluate
    --show-mapping prints; what it does not say (cascade, machine, sizes), options do.
    A mapping that is illegal, or that a memory has no room for, ends with status 2
    and says where.
    """
    from fusemax.evaluation import Asked, evaluate_request

    asked = Asked(cascade, arch, None, file, workload, accounting, set_arch or ())
    if not check and accelforge is None:
        from einsum_cascades.loops.text import to_text

        text = to_text(asked.file.tree)
        if json:
            write_json({"mapping": asked.file.name, "tree": text})
        else:
            write(text)
        return
    found: Any = evaluate_request(asked.request())
    files: list[Path] = []
    left_out: list[str] = []
    if accelforge is not None:
        from fusemax.accelforge import export

        files, left_out = export(found, accelforge)
    if json:
        more = {"files": [str(path) for path in files], "not_carried": left_out} if accelforge else {}
        write_json({**_facts(found), **more})
        return
    if check:
        _show(found)
    for path in files:
        say(f"written to {path}")
    for text in left_out:
        say(f"not carried: {text}")


def _facts(found: SpatialEvaluation) -> dict[str, Any]:
    """Return what a mapping that is legal and fits does."""
    machine = found.architecture
    peaks = []
    for name, bits in found.activity.peak_bits.items():
        room = machine.levels[name].capacity_bits
        peaks.append({"memory": name, "bytes": -(-bits // 8), "capacity_bytes": None if room is None else room // 8})
    row = found.as_dict()
    kept = ("cascade", "arch", "accounting", "sizes", "batch", "heads", "tiles", "dram_bytes", "accesses")
    einsums = [
        {"einsum": task.name, "array": task.array, "points": task.points, "cycles": task.cycles}
        for task in found.activity.tasks.values()
    ]
    return {
        "mapping": found.mapper,
        "legal": True,
        "fits": True,
        **{key: row[key] for key in kept},
        "peaks": peaks,
        "per_einsum": einsums,
    }


def _show(found: SpatialEvaluation) -> None:
    facts = _facts(found)
    say(f"{facts['mapping']}: {facts['cascade']} on {facts['arch']}, legal, fits")
    show(_peaks(facts["peaks"]), _accesses(facts["accesses"]), _einsums(facts["per_einsum"]))


def _peaks(peaks: list[dict[str, Any]]) -> Table:
    view = table()
    view.add_column("memory", no_wrap=True)
    view.add_column("holds at most, of one instance", justify="right")
    view.add_column("has", justify="right")
    for peak in peaks:
        room = peak["capacity_bytes"]
        has = "no limit" if room is None else byte_size(room)
        beyond = room is not None and peak["bytes"] > room
        view.add_row(peak["memory"], byte_size(peak["bytes"]), has + ", not held to it (published)" * beyond)
    return view


def _accesses(accesses: list[dict[str, Any]]) -> Table:
    view = table()
    view.add_column("memory", no_wrap=True)
    view.add_column("tensor", no_wrap=True)
    view.add_column("values read", justify="right")
    view.add_column("values written", justify="right")
    before = ""
    for row in accesses:
        memory = row["memory"] if row["memory"] != before else ""
        before = row["memory"]
        view.add_row(memory, row["tensor"], f"{row['reads']:,}", f"{row['writes']:,}")
    return view


def _einsums(einsums: list[dict[str, Any]]) -> Table:
    view = table()
    view.add_column("Einsum", no_wrap=True)
    view.add_column("array", no_wrap=True)
    view.add_column("points", justify="right")
    view.add_column("cycles", justify="right")
    for row in einsums:
        view.add_row(row["einsum"], row["array"], f"{row['points']:,}", f"{row['cycles']:,}")
    return view

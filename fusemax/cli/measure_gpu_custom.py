"""``fusemax measure gpu --custom``: kernels generated from cascades beside PyTorch's FlexAttention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from einsum_cascades.errors import InputError
from fusemax.cli.measure import report
from fusemax.cli.output import quantity, show, write, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from kernels.measure.table import Measurement


def measured_custom(runs: bool, quick: bool, out: Path | None, against: Path | None, json: bool) -> None:
    """Measure custom attention, or read what was recorded; show both kernels' times and their ratios.

    Raises:
        InputError: nothing runs and nothing was recorded, or a table is damaged.
    """
    from kernels.measure import gpu_custom

    rows = _measured(quick, out) if runs else _recorded(against)
    found = {
        "against_flex": gpu_custom.against_flex(rows),
        "against_plain": gpu_custom.against_plain(rows),
    }
    if json:
        write_json({**found, "rows": _plain(rows)})
        return
    for device in dict.fromkeys(row.device for row in rows):
        write(device)
        show(_table([row for row in rows if row.device == device]))
    for cascade, ratio in found["against_flex"].items():
        write(f"{cascade}: FlexAttention takes {ratio:.3f} times as long (geometric mean)")
    for cascade, ratio in found["against_plain"].items():
        write(f"{cascade}: {ratio:.3f} of the plain kernel's rate for the same products (geometric mean)")


def _measured(quick: bool, out: Path | None) -> tuple[Measurement, ...]:
    from fusemax.tables import write_atomically
    from kernels.measure import gpu_custom
    from kernels.measure.table import format_table

    shapes = gpu_custom.CUSTOM_SHAPES
    shapes = shapes[:: len(gpu_custom.LENGTHS)] if quick else shapes
    try:
        rows = tuple(gpu_custom.measure_custom(shapes, repeats=7 if quick else 20, report=report))
    except ArithmeticError as error:
        write(f"failed: {error}")
        raise typer.Exit(1) from error
    if out is not None:
        write_atomically(out, format_table(rows))
    return rows


def _recorded(against: Path | None) -> tuple[Measurement, ...]:
    from kernels.measure.table import FOLDER, read_table

    tables = sorted(FOLDER.glob("*-custom.csv")) if against is None else [against]
    rows = tuple(row for table in tables for row in read_table(table))
    if not rows:
        raise InputError(
            "no measurements of custom attention are recorded", hint="measure gpu --custom --out FILE records some"
        )
    if not all(row.kernel in ("generated", "flex") for row in rows):
        raise InputError(f"'{against}' is no table of custom attention", hint="give what --custom --out FILE wrote")
    return rows


def _plain(rows: Sequence[Measurement]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [asdict(row) for row in rows]


def _table(rows: Sequence[Measurement]) -> Table:
    """The times of both kernels, a section per shape."""
    from rich import box
    from rich.table import Table

    view = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    view.add_column("shape, cascade", no_wrap=True)
    for heading in ("generated", "FlexAttention", "ratio"):
        view.add_column(heading, justify="right", no_wrap=True)
    times = {(row.shape[:5], row.cascade, row.kernel): row.median_s for row in rows}
    before = None
    for shape, cascade, kernel in times:
        if kernel != "generated":
            continue
        if shape != before:
            if before is not None:
                view.add_section()
            batch, heads, q_len, kv_len, head_dim = before = shape
            view.add_row(f"{batch}x{heads} {q_len}x{kv_len} {head_dim}")
        own, flex = times[shape, cascade, "generated"], times.get((shape, cascade, "flex"))
        other = ("", "") if flex is None else (quantity(flex, "s"), f"{flex / own:.2f}")
        view.add_row(f"  {cascade}", quantity(own, "s"), *other)
    return view

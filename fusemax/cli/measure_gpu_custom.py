"""``fusemax measure gpu --custom``: kernels generated from cascades beside PyTorch's FlexAttention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from einsum_cascades.errors import InputError
from fusemax.cli.measure import kept, report
from fusemax.cli.output import percent, quantity, say, show, table, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from kernels.measure.table import Measurement


def measured_custom(runs: bool, quick: bool, out: Path | None, against: Path | None, json: bool) -> None:
    """Measure custom attention, or read what was recorded; show both kernels' times and their ratios.

    Raises:
        InputError: nothing runs and nothing was recorded, or a table is damaged.
    """
    from fusemax.gpu_comparison import predicted_custom_s
    from kernels.measure import gpu_custom

    rows = _measured(quick, out) if runs else _recorded(against)
    found = {
        "against_flex": gpu_custom.against_flex(rows),
        "against_plain": gpu_custom.against_plain(rows),
    }
    predicted = [predicted_custom_s(row) for row in rows]
    errors = [abs(said / row.median_s - 1) for said, row in zip(predicted, rows, strict=True) if said is not None]
    mean = fmean(errors) if errors else None
    if json:
        write_json({**found, "mean_absolute_error": mean, "rows": _plain(rows, predicted)})
        return
    for device in dict.fromkeys(row.device for row in rows):
        say(device)
        of_device = [(row, said) for row, said in zip(rows, predicted, strict=True) if row.device == device]
        show(_table(of_device))
    for cascade, ratio in found["against_flex"].items():
        say(f"{cascade}: FlexAttention takes {ratio:.3f} times as long (geometric mean)")
    for cascade, ratio in found["against_plain"].items():
        say(f"{cascade}: {ratio:.3f} of the plain kernel's rate for the same products (geometric mean)")
    if mean is not None:
        say(f"mean absolute error of the model: {percent(mean)} over {len(errors)}, largest {percent(max(errors))}")


def _measured(quick: bool, out: Path | None) -> tuple[Measurement, ...]:
    from kernels.measure import gpu_custom

    shapes = gpu_custom.CUSTOM_SHAPES
    shapes = shapes[:: len(gpu_custom.LENGTHS)] if quick else shapes
    return kept(gpu_custom.measure_custom(shapes, repeats=7 if quick else 20, report=report), out)


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


def _plain(rows: Sequence[Measurement], predicted: Sequence[float | None]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [{**asdict(row), "predicted_s": said} for row, said in zip(rows, predicted, strict=True)]


def _table(rows: Sequence[tuple[Measurement, float | None]]) -> Table:
    """The times of both kernels and the model's, a section per shape."""
    view = table()
    view.add_column("shape, cascade")
    for heading in ("generated", "predicted", "FlexAttention", "ratio"):
        view.add_column(heading, justify="right")
    times = {(row.shape[:5], row.cascade, row.kernel): row.median_s for row, _ in rows}
    predicted = {(row.shape[:5], row.cascade): said for row, said in rows if said is not None}
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
        said = predicted.get((shape, cascade))
        view.add_row(f"  {cascade}", quantity(own, "s"), "" if said is None else quantity(said, "s"), *other)
    return view

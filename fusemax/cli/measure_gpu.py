"""``fusemax measure gpu``: attention on a GPU, predicted beside measured; recorded measurements need no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from einsum_cascades.errors import InputError
from einsum_cascades.extras import installation, lacking
from fusemax.cli import completion, options
from fusemax.cli.measure import Against, Compare, Out, check_place, kept, report, warn
from fusemax.cli.measure_gpu_custom import measured_custom
from fusemax.cli.output import percent, quantity, show, write, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from fusemax.measurement import Compared
    from hw_models.gpu.machine import Gpu
    from kernels.measure.table import Measurement


def gpu(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer shapes and rounds.")] = False,
    out: Out = None,
    micro_out: Annotated[
        Path | None,
        typer.Option("--micro-out", metavar="FILE", help="Run the microbenchmarks too, and write their figures."),
    ] = None,
    arch_out: Annotated[
        Path | None,
        typer.Option(
            "--arch-out", metavar="FILE", help="Run them, and write the measured GPU, to be used as --arch FILE."
        ),
    ] = None,
    compare: Compare = False,
    against: Against = None,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            metavar="NAME|FILE",
            help="Compare with this GPU, not with the one of each row.",
            autocompletion=completion.architectures,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw rates against length, into a .png, .pdf or .svg file."),
    ] = None,
    custom: Annotated[
        bool,
        typer.Option("--custom", help="Instead: kernels generated from cascades beside PyTorch's FlexAttention."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Measure attention kernels on this machine's GPU, and set the model beside them.

    Every kernel is checked against float64 first; PyTorch's backends are timed
    in the same run. With --compare alone nothing runs and no GPU is needed:
    the recorded measurements of all GPUs are compared, or those of --against.
    With --custom, kernels generated from the library's cascades are checked
    and timed beside FlexAttention; recorded times need no GPU there either.
    """
    runs = not compare or any(path is not None for path in (out, micro_out, arch_out))
    _check(runs, compare, against, quick)
    for path in (out, micro_out, arch_out):
        check_place(path)
    if plot is not None:
        from fusemax.pictures import checked_place

        checked_place(plot)
    if custom:
        if any(option is not None for option in (micro_out, arch_out, arch, plot)):
            raise InputError(
                "--custom goes with --quick, --out, --compare, --against and --json alone",
                hint="measure the machine without it",
            )
        measured_custom(runs, quick, out, against, json)
        return
    machine = _gpu(arch) if arch else None
    if micro_out is not None or arch_out is not None:
        machine = _microbenchmarks(micro_out, arch_out, machine)
    rows = _measured(quick, out) if runs else _recorded(against)
    from fusemax.gpu_comparison import compare_gpus
    from fusemax.measurement import foreign_rows

    found = compare_gpus(rows, machine)
    warning = foreign_rows(rows, machine.name, machine.device, machine.title, machine.measured) if machine else ""
    warn(warning)
    if plot is not None:
        from fusemax.pictures import draw_rates

        draw_rates(found).save(plot)
    if json:
        write_json(_plain(found) | {"warnings": [warning] if warning else []})
    else:
        _show(found)


def _check(runs: bool, compare: bool, against: Path | None, quick: bool) -> None:
    """Check that the options go together, and that there is a GPU if one is to run.

    Raises:
        InputError: they do not, or there is none.
    """
    if against is not None and not compare:
        raise InputError("--against FILE is given without --compare", hint="add --compare: nothing is run then")
    if against is not None and runs:
        raise InputError(
            "--against FILE is given beside --out, --micro-out or --arch-out", hint="compare a table, or run and write"
        )
    if quick and not runs:
        raise InputError("--quick is given, but --compare alone runs nothing", hint="leave --quick out, or add --out")
    if runs and not _has_gpu():
        hint = "--compare alone needs none: it reads recorded measurements"
        if missing := lacking("gpu"):
            hint += f"; to measure one, install {' and '.join(missing)}: {installation('gpu')}"
        raise InputError("there is no GPU to measure: no CUDA device that PyTorch can use", hint=hint)


def _has_gpu() -> bool:
    import importlib

    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def _gpu(name: str) -> Gpu:
    from hw_models.gpu.machine import Gpu
    from hw_models.load import load_machine

    machine = load_machine(name)
    if not isinstance(machine, Gpu):
        raise InputError(f"'{machine.name}' is a {machine.kind}, not a GPU", hint="GPUs: h200, h100, a100, or a file")
    return machine


def _recorded(against: Path | None) -> tuple[Measurement, ...]:
    from fusemax.gpu_comparison import recorded_gpus
    from kernels.measure.table import read_table

    return recorded_gpus() if against is None else read_table(against)


def _microbenchmarks(micro_out: Path | None, arch_out: Path | None, base: Gpu | None) -> Gpu:
    """Run the microbenchmarks; write their figures, and the GPU that they describe."""
    from fusemax.gpu_comparison import gpu_of_device, named_for
    from fusemax.gpu_figures import gpu_of_figures
    from fusemax.tables import write_atomically
    from hw_models.gpu.file import gpu_text
    from kernels.measure import gpu_micro

    rows = tuple(gpu_micro.measure_gpu(report=report))
    if micro_out is not None:
        write_atomically(micro_out, gpu_micro.format_figures(rows))
    machine = gpu_of_figures(
        {row.name: row.value for row in rows},
        named_for(base or gpu_of_device(rows[0].device), rows[0].device),
        f"fusemax measure gpu, {rows[0].date}: {rows[0].device}, {rows[0].software}",
    )
    if arch_out is not None:
        write_atomically(arch_out, gpu_text(machine).encode())
    return machine


def _measured(quick: bool, out: Path | None) -> tuple[Measurement, ...]:
    from kernels.measure import gpu as kernels

    shapes = kernels.QUICK_GPU_SHAPES if quick else kernels.GPU_SHAPES
    return kept(kernels.measure_attention(shapes, repeats=7 if quick else 20, report=report), out)


def _by_device(found: Sequence[Compared]) -> dict[str, list[Compared]]:
    devices: dict[str, list[Compared]] = {}
    for row in found:
        devices.setdefault(row.measured.device, []).append(row)
    return devices


def _plain(found: Sequence[Compared]) -> dict[str, Any]:
    from fusemax.gpu_comparison import described, summary
    from fusemax.measurement import errors, mean_absolute_error

    known = described(found)
    return {
        "mean_absolute_error": mean_absolute_error(known),
        "errors": errors(found),
        "devices": {device: summary(rows) for device, rows in _by_device(found).items()},
        "rows": [{**row.as_dict(), "described": row in known} for row in found],
    }


LABELS = {"all": "all kernels", "own": "this package's kernels", "others": "PyTorch's backends"}


def _show(found: Sequence[Compared]) -> None:
    from fusemax.gpu_comparison import UNDESCRIBED, summary

    for device, rows in _by_device(found).items():
        write(device)
        show(_table(rows))
        groups = summary(rows)
        for name in (*(n for n in groups if n not in LABELS), *(n for n in LABELS if n in groups)):
            group = groups[name]
            known = ", which its tiles do not describe" * (name in UNDESCRIBED)
            write(
                f"mean absolute error of {LABELS.get(name, name)}{known}: {percent(group['mean_absolute_error'])} "
                f"over {group['rows']}, largest {percent(group['largest_error'])} "
                f"({_shape(group['largest_error_at'])})"
            )
        write("")


def _table(rows: Sequence[Compared]) -> Table:
    """Measured beside predicted, a section per shape."""
    from rich import box
    from rich.table import Table

    view = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    view.add_column("shape, kernel", no_wrap=True)
    for heading in ("measured", "predicted", "ratio", "share"):
        view.add_column(heading, justify="right", no_wrap=True)
    before = None
    for row in rows:
        if row.measured.shape != before:
            if before is not None:
                view.add_section()
            before = row.measured.shape
            view.add_row(_shape(before))
        predicted = ("", "") if row.predicted_s is None else (quantity(row.predicted_s, "s"), f"{row.ratio:.3f}")
        view.add_row(f"  {row.measured.kernel}", quantity(row.measured.median_s, "s"), *predicted, percent(row.share))
    return view


def _shape(shape: tuple[int, int, int, int, int, bool]) -> str:
    batch, heads, q_len, kv_len, head_dim, causal = shape
    return f"{batch}x{heads} {q_len}x{kv_len} {head_dim}" + " causal" * causal

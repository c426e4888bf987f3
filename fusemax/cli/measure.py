"""``fusemax measure``: how fast kernels are here, predicted beside measured."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from einsum_cascades.errors import InputError
from fusemax.cli import completion, options
from fusemax.cli.examples import epilog
from fusemax.cli.output import percent, quantity, show, write, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from fusemax.measurement import Compared
    from hw_models.cpu.machine import Cpu
    from kernels.measure.table import Measurement

measure = typer.Typer(no_args_is_help=True, help="Time the kernels on this machine, predicted beside measured.")

Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the measurements as a CSV table.")]
Compare = Annotated[
    bool,
    typer.Option("--compare", help="Without --out: run nothing, and compare recorded measurements with the model."),
]
Against = Annotated[Path | None, typer.Option("--against", metavar="FILE", help="With --compare: a table of your own.")]


@measure.command(epilog=epilog("measure cpu"))
def cpu(
    threads: Annotated[
        int | None, typer.Option("--threads", parser=options.size, metavar="N", help="Threads; all by default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer shapes, sizes and rounds.")] = False,
    out: Out = None,
    arch_out: Annotated[
        Path | None,
        typer.Option("--arch-out", metavar="FILE", help="Write the measured machine, to be used as --arch FILE."),
    ] = None,
    compare: Compare = False,
    against: Against = None,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            metavar="NAME|FILE",
            help="Compare with this machine, not with the measured one.",
            autocompletion=completion.architectures,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure this machine's CPU, then its attention kernels, and set the model beside them.

    Microbenchmarks of matrix products, vectorised operators, memory levels
    and overheads give every parameter of the model; the kernels are timed on
    shapes that are used for nothing else. With --compare alone nothing runs:
    recorded measurements are compared.
    """
    from fusemax import measurement

    runs = not compare or out is not None or arch_out is not None
    _check(runs, compare, against, threads, quick)
    for path in (out, arch_out):
        check_place(path)
    machine = _cpu(arch or "cpu") if arch or not runs else None
    if runs:
        measured, rows = measurement.measure_cpu(threads, quick=quick, report=report)
        _write(out, arch_out, measured, rows)
        machine = machine or measured
    else:
        rows = measurement.recorded(against, "cpu")
    assert machine is not None
    found = measurement.compare(rows, machine)
    warning = measurement.foreign_rows(rows, machine.name, machine.title, machine.measured)
    warn(warning)
    if json:
        write_json(_plain(found, machine) | {"warnings": [warning] if warning else []})
    else:
        _show(found, machine)


def _check(runs: bool, compare: bool, against: Path | None, threads: int | None, quick: bool) -> None:
    """Check that the options go together.

    Raises:
        InputError: they do not.
    """
    if against is not None and not compare:
        raise InputError("--against FILE is given without --compare", hint="add --compare: nothing is run then")
    if against is not None and runs:
        raise InputError("--against FILE is given beside --out or --arch-out", hint="compare a table, or run and write")
    for flag, given in (("--threads", threads is not None), ("--quick", quick)):
        if given and not runs:
            raise InputError(
                f"{flag} is given, but --compare alone runs nothing", hint=f"leave {flag} out, or add --out"
            )


def check_place(path: Path | None) -> None:
    """Check, before long work, that a file can be written."""
    from fusemax.tables import check_file

    if path is not None:
        check_file(path)


def _cpu(name: str) -> Cpu:
    from hw_models.cpu.machine import Cpu
    from hw_models.load import load_machine

    machine = load_machine(name)
    if not isinstance(machine, Cpu):
        raise InputError(
            f"'{machine.name}' is a {machine.kind}, not a CPU", hint="measure cpu --arch-out FILE writes one"
        )
    return machine


def warn(warning: str) -> None:
    """Say a warning on standard error, if there is one."""
    if warning:
        typer.echo(f"warning: {warning}", err=True)


def report(text: str) -> None:
    """Tell on a terminal what is being timed."""
    if sys.stderr.isatty():
        typer.echo(text, err=True)


def kept(rows: Iterable[Measurement], out: Path | None) -> tuple[Measurement, ...]:
    """Take measurements as they come, and write them if a file is asked for; a wrong kernel ends with status 1."""
    from fusemax.tables import write_atomically
    from kernels.measure.table import format_table

    try:
        found = tuple(rows)
    except ArithmeticError as error:
        write(f"failed: {error}")
        raise typer.Exit(1) from error
    if out is not None:
        write_atomically(out, format_table(found))
    return found


def _write(out: Path | None, arch_out: Path | None, machine: Cpu, rows: Sequence[Any]) -> None:
    from fusemax.tables import write_atomically
    from hw_models.cpu.file import cpu_text
    from kernels.measure.table import format_table

    if out is not None:
        write_atomically(out, format_table(rows))
    if arch_out is not None:
        write_atomically(arch_out, cpu_text(machine).encode())


def _plain(found: Sequence[Compared], machine: Cpu) -> dict[str, Any]:
    from fusemax.measurement import errors, mean_absolute_error, product_flops_per_s

    return {
        "arch": machine.name,
        "measured": machine.measured,
        "threads": machine.threads,
        "product_flops_per_s": product_flops_per_s(machine),
        "mean_absolute_error": mean_absolute_error(found),
        "errors": errors(found),
        "rows": [row.as_dict() for row in found],
    }


def _show(found: Sequence[Compared], machine: Cpu) -> None:
    from fusemax.measurement import errors, mean_absolute_error, product_flops_per_s

    show(table(found))
    write(f"machine: {machine.measured or machine.name}; {machine.threads} threads")
    write(f"matrix products: {quantity(product_flops_per_s(machine), 'flop/s')}, of which each kernel's share")
    for kernel, error in errors(found).items():
        write(f"error of {kernel}: {percent(error)}")
    mean = mean_absolute_error(found)
    if mean is not None:
        largest = max((row for row in found if row.ratio is not None), key=lambda row: abs((row.ratio or 1.0) - 1))
        write(
            f"largest error: {percent(abs((largest.ratio or 1.0) - 1))}, {largest.measured.kernel}, {_shape(largest)}"
        )
        write(f"mean absolute error: {percent(mean)}")


def table(found: Sequence[Compared]) -> Table:
    """Return measured beside predicted, shape by shape."""
    from rich import box
    from rich.table import Table

    view = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    view.add_column("shape", no_wrap=True)
    view.add_column("kernel", no_wrap=True)
    for heading in ("measured", "predicted", "ratio", "share"):
        view.add_column(heading, justify="right", no_wrap=True)
    before = None
    for row in found:
        if before is not None and before != row.measured.shape:
            view.add_section()
        shown = "" if row.measured.shape == before else _shape(row)
        before = row.measured.shape
        predicted = ("", "") if row.predicted_s is None else (quantity(row.predicted_s, "s"), f"{row.ratio:.3f}")
        view.add_row(shown, row.measured.kernel, quantity(row.measured.median_s, "s"), *predicted, percent(row.share))
    return view


def _shape(row: Compared) -> str:
    batch, heads, q_len, kv_len, head_dim, causal = row.measured.shape
    return f"{batch}x{heads} {q_len}x{kv_len} {head_dim}" + " causal" * causal

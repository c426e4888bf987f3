"""The models of CPUs and GPUs held against measurements: recorded ones, or a user's own table."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final

from einsum_cascades.errors import InputError, check_name
from fusemax.gpu_comparison import compare_gpus, recorded_gpus
from fusemax.measurement import Compared, accuracy_of, compare, recorded
from hw_models.cpu.machine import Cpu
from hw_models.gpu.machine import Gpu
from hw_models.load import load_machine
from kernels.measure.table import read_table

if TYPE_CHECKING:
    from pandas import DataFrame

Name = str | PathLike[str]
KINDS: Final = ("cpu", "gpu")


def predict_measured(kind: str, *, table: Name | None = None, arch: Name | None = None) -> tuple[Compared, ...]:
    """Set what the model says beside what was measured; nothing is run.

    Args:
        kind: ``cpu`` or ``gpu``.
        table: a file that ``fusemax measure --out`` wrote; if None the measurements that come with the package.
        arch: the machine; if None the one that comes with the package: ``cpu``, or the GPU that each row names.

    Raises:
        InputError: another kind, a table that cannot be read, or a machine of another kind.
    """
    check_name("kind of machine", kind, KINDS)
    path = None if table is None else Path(table)
    machine = load_machine(str(arch)) if arch is not None else None
    if kind == "cpu":
        cpu = load_machine("cpu") if machine is None else machine
        if not isinstance(cpu, Cpu):
            raise _other(cpu.name, cpu.kind, "CPU")
        return compare(recorded(path, "cpu"), cpu)
    if machine is not None and not isinstance(machine, Gpu):
        raise _other(machine.name, machine.kind, "GPU")
    return compare_gpus(recorded_gpus() if path is None else read_table(path), machine)


def _other(name: str, kind: str, wanted: str) -> InputError:
    return InputError(f"'{name}' is a {kind}, not a {wanted}", hint=f"leave it out, or name a {wanted}")


def accuracy(compared: Iterable[Compared]) -> DataFrame:
    """Sum up predictions, kernel by kernel on each device.

    Returns:
        Columns device, kernel, rows, mean_absolute_error and largest_error (of predicted over measured, less 1),
        mean_ratio, and where the largest error is: batch, heads, q_len, kv_len, head_dim, causal.
    """
    import pandas as pd

    groups: dict[tuple[str, str], list[Compared]] = {}
    for row in compared:
        if row.ratio is not None:
            groups.setdefault((row.measured.device, row.measured.kernel), []).append(row)
    shape = ("batch", "heads", "q_len", "kv_len", "head_dim", "causal")
    found = []
    for (device, kernel), rows in groups.items():
        figures = accuracy_of(rows)
        worst = dict(zip(shape, figures.pop("largest_error_at"), strict=True))
        found.append({"device": device, "kernel": kernel, **figures, **worst})
    return pd.DataFrame(found)

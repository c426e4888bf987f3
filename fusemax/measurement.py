"""Predicted beside measured: what a machine's model says of kernels that were timed.

    ratio = predicted / measured        error = |ratio - 1|

of the medians; the mean absolute error is over the kernels of this package, not over those of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.extras import require
from einsum_cascades.load import library_names, load_cascade
from einsum_cascades.workload import Workload
from fusemax.evaluation import evaluate_on_cpu
from hw_models.cpu.machine import Cpu
from kernels.measure.table import FOLDER, Measurement, read_table

if TYPE_CHECKING:
    from pathlib import Path

CPU_MAPPER: Final = "cpu-tiles"
ROUNDS: Final = 7
QUICK_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Compared:
    """A measurement and what the model says of it.

    Attributes:
        measured: the measurement.
        predicted_s: seconds; None for a kernel that runs no cascade of the library.
        share: rate of the kernel's matrix products over its whole time, as a share of the machine's.
    """

    measured: Measurement
    predicted_s: float | None
    share: float

    @property
    def ratio(self) -> float | None:
        """Predicted over measured."""
        return None if self.predicted_s is None else self.predicted_s / self.measured.median_s

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        row = {name: getattr(self.measured, name) for name in self.measured.__slots__}
        return {**row, "predicted_s": self.predicted_s, "ratio": self.ratio, "product_share": self.share}


def recorded(path: Path | None, kind: str) -> tuple[Measurement, ...]:
    """Return a table of measurements: a user's own, or the one that comes with the package.

    Raises:
        InputError: the file cannot be read or is damaged, or no table of that kind comes with the package.
    """
    if path is not None:
        return read_table(path)
    table = FOLDER / f"{kind}.csv"
    if not table.exists():
        raise InputError(f"no measurements of a {kind} are recorded", hint="measure --out FILE records some")
    return read_table(table)


def foreign_rows(rows: Iterable[Measurement], name: str, *said: str) -> str:
    """Return a warning if measurements were made on another processor than a machine is, else nothing.

    Args:
        rows: the measurements.
        name: the machine's name.
        said: what its file says of the processor; where it says nothing, there is nothing to compare.
    """
    from kernels.measure.environment import same_device

    told = [text for text in said if text]
    devices = dict.fromkeys(row.device for row in rows)
    others = [device for device in devices if told and not any(same_device(device, text) for text in told)]
    if not others:
        return ""
    return (
        f"measured on {', '.join(others)}, predicted for {name} ({told[0]}): two processors, so ratios and errors "
        "are not the model's; --arch NAME|FILE chooses the machine, --arch-out FILE writes the one at hand"
    )


def product_flops_per_s(cpu: Cpu) -> float:
    """The machine's rate of matrix products: the best of one thread at any size, on all threads."""
    return cpu.threads * cpu.scaling(cpu.threads) * max(cpu.products.flops_per_s)


def compare(rows: Iterable[Measurement], cpu: Cpu) -> tuple[Compared, ...]:
    """Set the model of a CPU beside measurements.

    Raises:
        InputError: a row names a cascade that the library does not have, or another type than float32.
    """
    from kernels.measure.shapes import Shape

    peak = product_flops_per_s(cpu)
    found = []
    for row in rows:
        shape = Shape(*row.shape)
        found.append(Compared(row, _predicted(row, cpu), shape.flops / row.median_s / peak))
    return tuple(found)


def _predicted(row: Measurement, cpu: Cpu) -> float | None:
    if not row.cascade:
        return None
    if row.cascade not in library_names():
        raise unknown("cascade of the table", row.cascade, library_names())
    if row.dtype != "float32":
        raise InputError(f"a row has values of type '{row.dtype[:40]}'", hint="the model of a CPU knows float32")
    return predicted_s(row.cascade, row.shape, cpu)


@lru_cache(maxsize=1024)
def predicted_s(cascade: str, shape: tuple[int, int, int, int, int, bool], cpu: Cpu) -> float:
    """Return the seconds that the model of a CPU says of a cascade on (B, H, P, M, E, causal)."""
    batch, heads, q_len, kv_len, head_dim, causal = shape
    workload = Workload.attention(
        batch=batch, heads=heads, head_dim=head_dim, seq_len=q_len, kv_len=kv_len, value_bytes=cpu.value_bytes
    )
    return evaluate_on_cpu(load_cascade(cascade), cpu, CPU_MAPPER, workload, causal=causal).cost.latency_s


def errors(rows: Sequence[Compared]) -> dict[str, float]:
    """Return the mean absolute error of each kernel that is predicted."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.ratio is not None:
            found.setdefault(row.measured.kernel, []).append(abs(row.ratio - 1))
    return {kernel: fmean(values) for kernel, values in found.items()}


def mean_absolute_error(rows: Sequence[Compared]) -> float | None:
    """Return the mean of |predicted / measured - 1| over all that is predicted; None if nothing is."""
    found = [abs(row.ratio - 1) for row in rows if row.ratio is not None]
    return fmean(found) if found else None


def accuracy_of(rows: Sequence[Compared]) -> dict[str, Any]:
    """Return the mean and the largest error of predictions, and the shape at which it is largest.

    Args:
        rows: at least one, all of them predicted.
    """
    off = [abs((row.ratio or 0.0) - 1.0) for row in rows]
    worst = max(range(len(rows)), key=lambda number: off[number])
    return {
        "rows": len(rows),
        "mean_absolute_error": fmean(off),
        "mean_ratio": fmean([row.ratio or 0.0 for row in rows]),
        "largest_error": off[worst],
        "largest_error_at": rows[worst].measured.shape,
    }


def measure_cpu(
    threads: int | None, *, quick: bool = False, report: Callable[[str], None] = lambda text: None
) -> tuple[Cpu, tuple[Measurement, ...]]:
    """Run microbenchmarks and kernels on this machine.

    The microbenchmarks run before, between and after the kernels, and the medians of their figures are taken: the
    speed of a machine that others use too drifts.

    Args:
        threads: threads to use; as many as this process may run on if None.
        quick: fewer shapes, sizes and rounds.
        report: told what runs.

    Raises:
        InputError: a number of threads that this process cannot have, or the extra ``kernels`` is not installed.
    """
    require("kernels", "a measurement of this CPU")
    from kernels.measure.attention import time_kernels
    from kernels.measure.machine import measure_cpu as measure
    from kernels.measure.machine import median_of
    from kernels.measure.shapes import QUICK_SHAPES, SHAPES
    from kernels.measure.threads import cpus

    most = cpus()
    threads = most if threads is None else threads
    if not 1 <= threads <= most:
        raise InputError(f"threads is {threads}", hint=f"this process may use 1 to {most}")
    shapes = QUICK_SHAPES if quick else SHAPES
    middle = len(shapes) // 2
    machines, rows = [], list[Measurement]()
    for part in (shapes[:middle], shapes[middle:], ()):
        report("microbenchmarks")
        machines.append(measure(threads, quick=quick))
        rows += time_kernels(part, threads, repeats=QUICK_ROUNDS if quick else ROUNDS, report=report)
    return median_of(machines), tuple(rows)

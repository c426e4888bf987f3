"""Predicted beside measured on GPUs: what the model says of this package's kernels and of PyTorch's backends.

A row with a cascade is a kernel of this package, which runs it; one without is PyTorch's, by its backend's name. The
machine of a row is the one whose file says which device it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.load import library_names, load_cascade
from einsum_cascades.workload import Workload
from fusemax.measurement import Compared, accuracy_of
from hw_models.gpu.cost import gpu_latency_s
from hw_models.gpu.machine import Gpu
from hw_models.load import architecture_names, load_machine
from kernels.measure.environment import short_name
from kernels.measure.gpu_custom import VARIANTS
from kernels.measure.shapes import Shape
from kernels.measure.table import FOLDER, Measurement, read_table
from mappers.gpu_kernels import GpuKernel, cudnn, efficient, filling_splits, flash, flash_splits
from mappers.gpu_mapping import GpuMapping
from mappers.gpu_tiles import gpu_tiles
from mappers.gpu_unfused import gpu_unfused

FUSED: Final = "attention-1-pass"
"""The cascade that PyTorch's fused backends run."""
UNPREDICTED: Final = ("flex",)
"""Kernels that tables may have and that no tile and overlap parameters are known of."""
UNDESCRIBED: Final = ("efficient",)
"""Kernels whose tiles are known, but not what they spend beside them: predicted too fast, left out of mean errors."""
DTYPES: Final = ("bfloat16", "float16")


def recorded_gpus() -> tuple[Measurement, ...]:
    """Return the measurements of all GPUs that come with the package.

    Raises:
        InputError: there are none, or one is damaged.
    """
    tables = [FOLDER / f"{gpu.name}.csv" for gpu in known_gpus()]
    found = [row for table in tables if table.exists() for row in read_table(table)]
    if not found:
        raise InputError("no measurements of a GPU are recorded", hint="measure gpu --out FILE records some")
    return tuple(found)


@lru_cache(maxsize=1)
def known_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that come with the package."""
    machines = (load_machine(name) for name in architecture_names())
    return tuple(machine for machine in machines if isinstance(machine, Gpu))


def gpu_of_device(device: str) -> Gpu:
    """Return the GPU whose file names a device.

    Raises:
        InputError: none does.
    """
    words = device.upper().replace("-", " ").split()
    for gpu in known_gpus():
        if gpu.device and gpu.device.upper() in words:
            return gpu
    raise unknown("device of the table", device[:60], [gpu.device for gpu in known_gpus() if gpu.device])


def named_for(gpu: Gpu, device: str) -> Gpu:
    """Return a GPU under the name of a device that was measured, unless it is that device's already."""
    words = device.upper().replace("-", " ").split()
    if gpu.device and gpu.device.upper() in words:
        return gpu
    own = next((word for word in words if any(c.isdigit() for c in word)), "")
    return replace(gpu, name=short_name(device), device=own, title=device, citation="")


def compare_gpus(rows: Iterable[Measurement], gpu: Gpu | None = None) -> tuple[Compared, ...]:
    """Set the model beside measurements.

    Args:
        rows: the measurements.
        gpu: the machine; if None the one that each row's device names.

    Raises:
        InputError: a row names a kernel, a cascade, a device or a type that is not known.
    """
    found = []
    for row in rows:
        machine = gpu_of_device(row.device) if gpu is None else gpu
        peak = machine.flops_per_s("warpgroup")
        share = Shape(*row.shape).flops / row.median_s / peak
        found.append(Compared(row, predicted_s(_checked(row), row.shape, machine), share))
    return tuple(found)


def _checked(row: Measurement) -> str:
    """The kernel or cascade of a row, after a look at its names."""
    if row.dtype not in DTYPES:
        raise InputError(
            f"a row has values of type '{row.dtype[:40]}'", hint="the model of a GPU knows " + " and ".join(DTYPES)
        )
    if row.cascade:
        if row.cascade not in library_names():
            raise unknown("cascade of the table", row.cascade[:60], library_names())
        return row.cascade
    if row.kernel not in (*BACKENDS, *UNPREDICTED):
        raise unknown("kernel of the table", row.kernel[:60], (*BACKENDS, *UNPREDICTED))
    return row.kernel


@lru_cache(maxsize=4096)
def predicted_s(kernel: str, shape: tuple[int, int, int, int, int, bool], gpu: Gpu) -> float | None:
    """Return the seconds that the model says of a kernel on (B, H, P, M, E, causal).

    Args:
        kernel: a cascade of the library, or one of PyTorch's backends.
        shape: the sizes.
        gpu: the machine.
    """
    if kernel in UNPREDICTED:
        return None
    *sizes, causal = shape
    batch, heads, q_len, kv_len, head_dim = sizes
    workload = Workload.attention(batch=batch, heads=heads, head_dim=head_dim, seq_len=q_len, kv_len=kv_len)
    if kernel in BACKENDS:
        mapping = BACKENDS[kernel](workload, gpu, causal)
    else:
        mapping = gpu_tiles(load_cascade(kernel), workload, gpu, causal=causal)
    return gpu_latency_s(mapping.activity, gpu)


def predicted_custom_s(row: Measurement) -> float | None:
    """Return the seconds that the model says of a row of custom attention, or None.

    None is for kernels that are not ours, and for devices and cascades that are not known.
    """
    if row.kernel != "generated" or row.cascade not in library_names():
        return None
    try:
        gpu = gpu_of_device(row.device)
    except InputError:
        return None
    scalars = next((variant.scalars for variant in VARIANTS if variant.cascade == row.cascade), {})
    workload = Workload.attention(
        batch=row.batch, heads=row.heads, head_dim=row.head_dim, seq_len=row.q_len, kv_len=row.kv_len
    )
    mapping = gpu_tiles(load_cascade(row.cascade), workload, gpu, causal=row.causal, scalars=scalars)
    return gpu_latency_s(mapping.activity, gpu)


def _fused(kernel: Callable[[Workload, Gpu], GpuKernel]) -> Callable[[Workload, Gpu, bool], GpuMapping]:
    def mapped(workload: Workload, gpu: Gpu, causal: bool) -> GpuMapping:
        return gpu_tiles(load_cascade(FUSED), workload, gpu, causal=causal, kernel=kernel(workload, gpu))

    return mapped


def _flash(workload: Workload, gpu: Gpu) -> GpuKernel:
    head_dim = workload.size("E")
    splits = flash_splits(workload.instances, workload.size("P"), workload.size("M"), head_dim, gpu.sms)
    return flash(head_dim, splits=splits)


def _cudnn(workload: Workload, gpu: Gpu) -> GpuKernel:
    splits = filling_splits(workload.instances, workload.size("P"), workload.size("M"), gpu.sms)
    return cudnn(workload.size("E"), splits=splits)


BACKENDS: Final[dict[str, Callable[[Workload, Gpu, bool], GpuMapping]]] = {
    "flash": _fused(_flash),
    "cudnn": _fused(_cudnn),
    "efficient": _fused(lambda workload, gpu: efficient(workload.size("E"))),
    "math": lambda workload, gpu, causal: gpu_unfused(workload, gpu, causal=causal),
}
"""PyTorch's backends, mapped."""


def described(rows: Iterable[Compared]) -> list[Compared]:
    """Return the rows of kernels that the model's tiles and overlap describe."""
    return [row for row in rows if row.measured.cascade or row.measured.kernel not in UNDESCRIBED]


def summary(rows: Sequence[Compared]) -> dict[str, Any]:
    """Return the mean absolute error and the largest one: of all, of this package's kernels, of PyTorch's, of each.

    Kernels that the model does not describe count for themselves only.
    """
    predicted = [row for row in rows if row.ratio is not None]
    known = described(predicted)
    groups = {
        "all": known,
        "own": [row for row in known if row.measured.cascade],
        "others": [row for row in known if not row.measured.cascade],
    }
    for row in predicted:
        groups.setdefault(row.measured.kernel, []).append(row)
    return {name: accuracy_of(group) for name, group in groups.items() if group}

"""One evaluation: a cascade, an architecture, a mapper and a workload in, one cost out."""

from __future__ import annotations

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Final

from einsum_cascades.errors import InputError, check_name, quoted
from einsum_cascades.ir import Cascade
from einsum_cascades.load import load_cascade
from einsum_cascades.not_a_rank import scalar_inputs
from einsum_cascades.numbers import LARGEST
from einsum_cascades.sizes import as_size
from einsum_cascades.workload import Workload
from fusemax.evaluated import CpuEvaluation, Evaluation, GpuEvaluation, SpatialEvaluation
from fusemax.workloads import Count, workload_of
from hw_models.accounting import Accounting, accounting_named
from hw_models.architecture import Architecture
from hw_models.cost import cost
from hw_models.cpu.cost import cpu_cost
from hw_models.cpu.machine import Cpu
from hw_models.gpu.cost import gpu_cost
from hw_models.gpu.machine import Gpu
from hw_models.load import Machine, load_machine
from mappers.activity import activity_of
from mappers.strategies import cpu_strategy_named, gpu_strategy_named, strategy_named

__all__ = [
    "DTYPE_BITS",
    "CpuEvaluation",
    "Evaluation",
    "GpuEvaluation",
    "SpatialEvaluation",
    "evaluate",
    "evaluate_on",
    "evaluate_on_cpu",
    "evaluate_on_gpu",
]

Name = str | PathLike[str]

DTYPE_BITS: Final = {
    "bfloat16": 16,
    "float16": 16,
    "int16": 16,
    "float8": 8,
    "int8": 8,
    "float32": 32,
    "float64": 64,
}
"""Types of values by name, and their width."""
GPU_DTYPES: Final = ("bfloat16", "float16")
"""Types that the tensor units of the GPU model multiply."""


def evaluate_on(
    cascade: Cascade, architecture: Architecture, mapper: str, workload: Workload, accounting: Accounting
) -> SpatialEvaluation:
    """Map a cascade onto a spatial array and return what it costs: the one path from a cascade to a cost.

    Raises:
        InputError: no such mapper, or no mapping for this cascade, machine and workload.
    """
    _check_width(workload, architecture)
    mapping = strategy_named(mapper)(cascade, workload, architecture, accounting)
    found = cost(activity_of(mapping, accounting), architecture, accounting)
    return SpatialEvaluation(cascade, architecture, mapper, workload, mapping, found, accounting)


def evaluate_on_cpu(
    cascade: Cascade, cpu: Cpu, mapper: str, workload: Workload, *, causal: bool = False
) -> CpuEvaluation:
    """Map a cascade onto a CPU and return what it costs.

    Raises:
        InputError: no such mapper, or no mapping for this cascade and workload.
    """
    _check_width(workload, cpu)
    mapping = cpu_strategy_named(mapper)(cascade, workload, cpu, causal=causal)
    return CpuEvaluation(cascade, cpu, mapper, workload, mapping, cpu_cost(mapping.activity, cpu), causal)


def evaluate_on_gpu(
    cascade: Cascade,
    gpu: Gpu,
    mapper: str,
    workload: Workload,
    *,
    causal: bool = False,
    dtype: str = "bfloat16",
    scalars: Table[str, int] | None = None,
) -> GpuEvaluation:
    """Map a cascade onto a GPU and return what it costs.

    Args:
        scalars: values of scalar inputs that masks depend on, such as the width of a window, where they are known.

    Raises:
        InputError: no such mapper, or no mapping for this cascade and workload.
    """
    _check_width(workload, gpu)
    known = dict(scalars or {})
    mapping = gpu_strategy_named(mapper)(cascade, workload, gpu, causal=causal, scalars=known)
    found = gpu_cost(mapping.activity, gpu)
    return GpuEvaluation(cascade, gpu, mapper, workload, mapping, found, causal, dtype, tuple(known.items()))


def _check_width(workload: Workload, architecture: Machine) -> None:
    if workload.value_bytes != architecture.value_bytes:
        raise InputError(
            f"the workload has {workload.value_bytes}-byte values, {architecture.name} works on "
            f"{architecture.value_bytes}-byte values",
            hint="give both the same width",
        )


def evaluate(
    cascade: Name | Cascade,
    arch: Name | Machine,
    mapper: str,
    *,
    model: Name | None = None,
    hf_config: Name | None = None,
    seq_len: Count | None = None,
    kv_len: Count | None = None,
    batch: Count | None = None,
    heads: Count | None = None,
    head_dim: Count | None = None,
    value_dim: Count | None = None,
    sizes: Table[str, Count] | None = None,
    workload: Workload | None = None,
    accounting: str | Accounting = "published",
    set_arch: Sequence[str] = (),
    causal: bool = False,
    dtype: str | None = None,
) -> Evaluation:
    """Evaluate any cascade on any machine.

    The workload is given in one of four ways: ``model`` (a published model's name or a YAML file) or ``hf_config`` (a
    Hugging Face ``config.json``) with ``seq_len``; the sizes of an attention layer; ``sizes`` by rank for other
    cascades; or a ready ``workload``.

    Args:
        cascade: library name, file, or a cascade.
        arch: architecture name, file, or an architecture: a spatial array, a CPU or a GPU.
        mapper: name of a strategy.
        seq_len, kv_len: queries P and keys M; keys default to queries.
        batch, heads, head_dim, value_dim: B, H, E and F; F defaults to E. Any size may be text, such as ``64K``.
        sizes: further rank sizes, which also replace a model's; on a GPU also values of scalar inputs that masks
            depend on, such as the width of a window, which otherwise bounds nothing.
        accounting: ``published`` or ``physical``; for spatial arrays.
        set_arch: what-ifs such as ``array_2d.rows=128``.
        causal: whether queries see only the keys up to their own; for attention on a CPU or a GPU.
        dtype: type of the values, whose width must be the machine's.

    Raises:
        InputError: anything unusable, with what would be right.
    """
    found_cascade = cascade if isinstance(cascade, Cascade) else load_cascade(str(cascade))
    machine = _machine(arch, set_arch)
    counted = accounting if isinstance(accounting, Accounting) else accounting_named(accounting)
    if causal and isinstance(machine, Architecture):
        raise InputError(
            f"cascade '{found_cascade.name}' has no causal mask on {machine.name}",
            hint="leave --causal out: every key counts",
        )
    if dtype is not None:
        check_dtype(dtype, machine)
    if sizes is not None and not isinstance(sizes, Table):
        raise InputError(f"sizes is {quoted(sizes)}", hint="a mapping such as {'M': 4096} is expected")
    scalars = _scalars(found_cascade, sizes) if isinstance(machine, Gpu) else {}
    if sizes is not None and scalars:
        sizes = {rank: size for rank, size in sizes.items() if rank not in scalars} or None
    described: dict[str, Any] = {
        "model": model,
        "hf_config": hf_config,
        "seq_len": seq_len,
        "kv_len": kv_len,
        "batch": batch,
        "heads": heads,
        "head_dim": head_dim,
        "value_dim": value_dim,
        "sizes": sizes,
    }
    if workload is None:
        workload = replace(workload_of(found_cascade, **described), value_bytes=machine.value_bytes)
    elif beside := [key for key, value in described.items() if value is not None]:
        raise InputError(f"{beside[0]} is given beside a ready workload", hint="give one of them")
    if isinstance(machine, Cpu):
        return evaluate_on_cpu(found_cascade, machine, mapper, workload, causal=causal)
    if isinstance(machine, Gpu):
        kind = dtype or GPU_DTYPES[0]
        return evaluate_on_gpu(found_cascade, machine, mapper, workload, causal=causal, dtype=kind, scalars=scalars)
    return evaluate_on(found_cascade, machine, mapper, workload, counted)


def _scalars(cascade: Cascade, sizes: Table[str, Count] | None) -> dict[str, int]:
    """Those of some sizes that are values of scalar inputs."""
    scalars = scalar_inputs(cascade)
    return {n: as_size(v, n, minimum=-LARGEST) for n, v in (sizes or {}).items() if n in scalars}


def _machine(arch: Name | Machine, set_arch: Sequence[str]) -> Machine:
    if not isinstance(arch, Architecture | Cpu | Gpu):
        return load_machine(str(arch), set_arch)
    if set_arch:
        kind = "an Architecture" if isinstance(arch, Architecture) else f"a {type(arch).__name__}"
        raise InputError(f"set_arch changes an architecture file, not {kind} object")
    return arch


def check_dtype(dtype: str, machine: Machine) -> None:
    """Check that a type's values are as wide as those that a machine works on.

    Raises:
        InputError: they are not, or no type has that name.
    """
    check_name("dtype", dtype, DTYPE_BITS)
    if isinstance(machine, Gpu) and dtype not in GPU_DTYPES:
        raise InputError(
            f"the model of {machine.name} knows no '{dtype}'", hint="it has rates for " + " and ".join(GPU_DTYPES)
        )
    bits = 8 * machine.value_bytes
    if DTYPE_BITS[dtype] != bits:
        fitting = ", ".join(name for name, width in DTYPE_BITS.items() if width == bits)
        raise InputError(
            f"'{dtype}' has {DTYPE_BITS[dtype]} bits, {machine.name} works on {bits}-bit values",
            hint=f"of {bits} bits: {fitting}",
        )

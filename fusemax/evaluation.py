"""One evaluation: a cascade, an architecture, a mapper and a workload in, one cost out."""

from __future__ import annotations

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Final

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.ir import Cascade
from einsum_cascades.load import load_cascade
from einsum_cascades.workload import Workload
from fusemax.workloads import workload_of
from hw_models.accounting import Accounting, accounting_named
from hw_models.architecture import Architecture
from hw_models.cost import Cost, cost
from hw_models.load import load_architecture
from mappers.activity import activity_of
from mappers.mapping import Mapping
from mappers.strategies import strategy_named

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


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation, with what it was computed from.

    Attributes:
        mapping: what the mapper chose.
        cost: latency, energy, traffic, utilisation and area.
    """

    cascade: Cascade
    architecture: Architecture
    mapper: str
    accounting: Accounting
    workload: Workload
    mapping: Mapping
    cost: Cost

    def as_dict(self) -> dict[str, Any]:
        """Return plain data with the column names of the result tables."""
        found = self.cost
        return {
            "cascade": self.cascade.name,
            "arch": self.architecture.name,
            "mapper": self.mapper,
            "accounting": self.accounting.name,
            "model": self.workload.name,
            "batch": self.workload.batch,
            "heads": self.workload.heads,
            "sizes": dict(self.workload.sizes),
            "value_bytes": self.workload.value_bytes,
            "tiles": dict(self.mapping.tiles),
            "dram_bytes": found.dram_bytes,
            "buffer_bytes": found.buffer_bytes,
            "latency_s": found.latency_s,
            "energy_j": found.energy_j,
            "energy_parts_j": found.energy_parts.by_part(),
            "area_mm2": found.area_mm2,
            "latency_technology_nm": self.accounting.clock_technology_nm or self.architecture.technology_nm,
            "energy_technology_nm": self.architecture.technology_nm,
            "util_2d": found.util_2d,
            "util_1d": found.util_1d,
            "passes": found.passes,
            "bound": found.bound,
            "per_einsum": [
                {"einsum": e.name, "array": e.array, "cycles": e.cycles, "share": e.share} for e in found.per_einsum
            ],
        }


def evaluate_on(
    cascade: Cascade, architecture: Architecture, mapper: str, workload: Workload, accounting: Accounting
) -> Evaluation:
    """Map a cascade and return what it costs: the one path from a cascade to a cost.

    Raises:
        InputError: no such mapper, or no mapping for this cascade, machine and workload.
    """
    if workload.value_bytes != architecture.value_bytes:
        raise InputError(
            f"the workload has {workload.value_bytes}-byte values, {architecture.name} works on "
            f"{architecture.value_bytes}-byte values",
            hint="give both the same width",
        )
    mapping = strategy_named(mapper)(cascade, workload, architecture, accounting)
    found = cost(activity_of(mapping, accounting), architecture, accounting)
    return Evaluation(cascade, architecture, mapper, accounting, workload, mapping, found)


def evaluate(
    cascade: Name | Cascade,
    arch: Name | Architecture,
    mapper: str,
    *,
    model: Name | None = None,
    hf_config: Name | None = None,
    seq_len: int | None = None,
    kv_len: int | None = None,
    batch: int | None = None,
    heads: int | None = None,
    head_dim: int | None = None,
    value_dim: int | None = None,
    sizes: Table[str, int] | None = None,
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
        arch: architecture name, file, or an architecture.
        mapper: name of a strategy.
        seq_len, kv_len: queries P and keys M; keys default to queries.
        batch, heads, head_dim, value_dim: B, H, E and F; F defaults to E.
        sizes: further rank sizes, which also replace a model's.
        accounting: ``published`` or ``physical``.
        set_arch: what-ifs such as ``array_2d.rows=128``.
        causal: whether queries see only the keys before them; no cascade here knows such a mask yet.
        dtype: type of the values, whose width must be the machine's.

    Raises:
        InputError: anything unusable, with what would be right.
    """
    found_cascade = cascade if isinstance(cascade, Cascade) else load_cascade(str(cascade))
    if isinstance(arch, Architecture):
        if set_arch:
            raise InputError("set_arch changes an architecture file, not an Architecture object")
        machine = arch
    else:
        machine = load_architecture(str(arch), set_arch)
    counted = accounting if isinstance(accounting, Accounting) else accounting_named(accounting)
    if causal:
        raise InputError(
            f"cascade '{found_cascade.name}' has no causal mask", hint="leave --causal out: every key counts"
        )
    if dtype is not None:
        check_dtype(dtype, machine)
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
        workload = workload_of(found_cascade, **described)
    elif beside := [key for key, value in described.items() if value is not None]:
        raise InputError(f"{beside[0]} is given beside a ready workload", hint="give one of them")
    return evaluate_on(found_cascade, machine, mapper, workload, counted)


def check_dtype(dtype: str, machine: Architecture) -> None:
    """Check that a type's values are as wide as those that a machine works on.

    Raises:
        InputError: they are not, or no type has that name.
    """
    if dtype not in DTYPE_BITS:
        raise unknown("dtype", dtype, DTYPE_BITS)
    bits = 8 * machine.value_bytes
    if DTYPE_BITS[dtype] != bits:
        fitting = ", ".join(name for name, width in DTYPE_BITS.items() if width == bits)
        raise InputError(
            f"'{dtype}' has {DTYPE_BITS[dtype]} bits, {machine.name} works on {bits}-bit values",
            hint=f"of {bits} bits: {fitting}",
        )

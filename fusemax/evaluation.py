"""One evaluation: a cascade, an architecture, a mapper and a workload in, one cost out."""

from __future__ import annotations

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.load import load_cascade
from einsum_cascades.models import load_model, model_from_hf_config
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting, accounting_named
from hw_models.architecture import Architecture
from hw_models.cost import Cost, cost
from hw_models.load import load_architecture
from mappers.activity import activity_of
from mappers.mapping import Mapping
from mappers.strategies import strategy_named

Name = str | PathLike[str]


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
        sizes: further rank sizes, which also replace those of the same name.
        accounting: ``published`` or ``physical``.
        set_arch: what-ifs such as ``array_2d.rows=128``.

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
    work = workload or workload_of(
        model=model,
        hf_config=hf_config,
        seq_len=seq_len,
        kv_len=kv_len,
        batch=batch,
        heads=heads,
        head_dim=head_dim,
        value_dim=value_dim,
        sizes=sizes,
    )
    return evaluate_on(found_cascade, machine, mapper, work, counted)


def workload_of(
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
) -> Workload:
    """Return the workload that the arguments of ``evaluate`` describe.

    Raises:
        InputError: sizes are missing, contradict each other or are not whole numbers of 1 or more.
    """
    if model is not None and hf_config is not None:
        raise InputError("both a model and a Hugging Face config are given", hint="give one of them")
    if model is not None or hf_config is not None:
        given = {"heads": heads, "head_dim": head_dim, "value_dim": value_dim}
        clash = [k for k, v in given.items() if v is not None]
        if clash:
            raise InputError(f"{clash[0]} is given beside a model, which has its own", hint="give one of them")
        if seq_len is None:
            raise InputError("the sequence length is missing", hint="give seq_len (--seq-len N)")
        found = model_from_hf_config(str(hf_config)) if model is None else load_model(str(model))
        base = found.attention(seq_len, kv_len=kv_len, batch=batch)
    else:
        needed = {"heads": heads, "head_dim": head_dim, "seq_len": seq_len}
        missing = [k for k, v in needed.items() if v is None]
        if sizes and len(missing) == 3 and value_dim is None and kv_len is None:
            return Workload(tuple(sizes.items()), batch=1 if batch is None else batch)
        if missing:
            flags = ", ".join("--" + k.replace("_", "-") for k in missing)
            raise InputError(
                f"the workload lacks {', '.join(missing)}", hint=f"give {flags}, or --model NAME --seq-len N"
            )
        base = Workload.attention(
            batch=1 if batch is None else batch,
            heads=heads or 0,
            head_dim=head_dim or 0,
            seq_len=seq_len or 0,
            value_dim=value_dim,
            kv_len=kv_len,
        )
    if sizes:
        merged = {**base.as_dict(), **sizes}
        return Workload(tuple(merged.items()), base.batch, base.heads, base.value_bytes, base.name)
    return base

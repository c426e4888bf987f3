"""The workload that a user describes: by a model, by an attention layer's sizes, or rank by rank.

Sizes go up to 2^50, so that every count stays exact and every figure in SI units finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.models import Model, load_model, model_from_hf_config
from einsum_cascades.not_a_rank import not_a_rank
from einsum_cascades.sizes import as_size, as_sizes
from einsum_cascades.workload import Workload
from fusemax.workload_spec import WorkloadSpec

RANK_OF: Final = {"head_dim": "E", "value_dim": "F", "kv_len": "M", "seq_len": "P"}
"""The rank of an attention cascade that each argument sizes."""

_SIZES: Final = ("batch", "heads", "head_dim", "value_dim", "seq_len", "kv_len")


def workload_from(spec: WorkloadSpec, cascade: Cascade) -> Workload:
    """Return the workload that a user describes, for a cascade.

    Raises:
        InputError: sizes are missing, contradict each other, or are not whole numbers from 1 to 2^50.
    """
    stated = {key: value for key, value in spec.given.items() if key in _SIZES}
    given = {k: as_size(v, f"the size {_flag(k)}") for k, v in stated.items()}
    extra = _checked_sizes(given, spec.sizes, cascade)
    if spec.model is not None and spec.hf_config is not None:
        raise InputError("both a model and a Hugging Face config are given", hint="give one of them")
    if spec.model is not None or spec.hf_config is not None:
        base = _of_model(spec, given, cascade)
    elif extra and not given.keys() & RANK_OF.keys():
        base = Workload((), given.get("batch", 1), given.get("heads", 1))
    else:
        base = _attention(given)
    return Workload(tuple({**base.as_dict(), **extra}.items()), base.batch, base.heads, base.value_bytes, base.name)


def _of_model(spec: WorkloadSpec, given: Mapping[str, int], cascade: Cascade) -> Workload:
    for key in (k for k in ("heads", "head_dim", "value_dim") if k in given):
        raise InputError(
            f"{_flag(key)} is given beside a model, which has its own",
            hint=f"leave it out, or leave the model out{_set_hint(key)}",
        )
    if spec.seq_len is None:
        raise InputError("the sequence length is missing", hint=f"give {_flag('seq_len')} N")
    model = model_from_hf_config(str(spec.hf_config)) if spec.model is None else spec.model
    found = model if isinstance(model, Model) else load_model(str(model))
    return _layer(found, cascade, given["seq_len"], given.get("kv_len"), given.get("batch"))


def workload_of(cascade: Cascade, **described: Any) -> Workload:
    """Return the workload that the fields of a ``WorkloadSpec`` describe.

    Raises:
        InputError: as ``workload_from``.
    """
    return workload_from(WorkloadSpec(**described), cascade)


def settable_ranks(cascade: Cascade) -> tuple[str, ...]:
    """Return the ranks whose size a workload gives; the parts of a split rank follow from it.

    Of a rank split into three or more parts, those between the first and the last are given as well.
    """
    parts = {part for p in cascade.partitions for part in (p.parts[0], p.parts[-1])}
    ranks = [r for d in cascade.declarations for r in d.ranks] + [p.rank for p in cascade.partitions]
    return tuple(dict.fromkeys(r for r in ranks if r not in parts))


def _checked_sizes(given: Mapping[str, int], sizes: object, cascade: Cascade) -> dict[str, int]:
    """Return the sizes of further ranks, none of which is given already."""
    settable = settable_ranks(cascade)
    for rank in sizes if isinstance(sizes, Mapping) else ():
        if rank not in settable:
            raise not_a_rank(cascade, rank, settable, sized=True)
    extra = as_sizes("sizes", sizes)
    for key, rank in RANK_OF.items():
        if key in given and rank in extra:
            raise InputError(
                f"the size of {rank} is given twice: {_flag(key)} {given[key]} and --set {rank}={extra[rank]}",
                hint="give one of them",
            )
    return extra


def _layer(model: Model, cascade: Cascade, seq_len: int, kv_len: int | None, batch: int | None) -> Workload:
    """Return the first of a model's layers, attention and linear, that sizes all ranks of the cascade."""
    attention = model.attention(seq_len, kv_len=kv_len, batch=batch)
    needed = set(settable_ranks(cascade))
    if kv_len is None and not needed <= attention.as_dict().keys():
        linear = model.linear_layers(seq_len, batch=batch)
        if needed <= linear.as_dict().keys():
            return linear
    return attention


def _attention(given: Mapping[str, int]) -> Workload:
    missing = [key for key in ("heads", "head_dim", "seq_len") if key not in given]
    if missing:
        flags = ", ".join(map(_flag, missing))
        raise InputError(
            f"the workload lacks {flags}",
            hint=f"give {_flag('model')} NAME {_flag('seq_len')} N, or an attention layer's sizes, "
            "or the size of each rank with --set RANK=SIZE",
        )
    return Workload.attention(
        batch=given.get("batch", 1),
        heads=given["heads"],
        head_dim=given["head_dim"],
        seq_len=given["seq_len"],
        value_dim=given.get("value_dim"),
        kv_len=given.get("kv_len"),
    )


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


def _set_hint(key: str) -> str:
    return f", or change it with --set {RANK_OF[key]}=SIZE" if key in RANK_OF else ""

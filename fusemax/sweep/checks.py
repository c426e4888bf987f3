"""What a specification must be right in before any point is evaluated: names, machines' values, workloads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Final

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.models import Model
from einsum_cascades.not_a_rank import scalar_inputs
from einsum_cascades.yaml_source import Node
from fusemax.evaluation import DTYPE_BITS, check_dtype
from fusemax.sweep.axes import Axis
from fusemax.sweep.names import CHOICES, SPATIAL, WORKLOAD, kind_of, machine_keys
from fusemax.sweep.space import Sweep
from fusemax.workloads import settable_ranks, workload_of
from hw_models.accounting import ACCOUNTINGS
from hw_models.load import AnyMachine, machine_of
from hw_models.machine_file import read_spatial
from mappers.presets.named import preset_names
from mappers.strategies import CPU_STRATEGIES, GPU_STRATEGIES

_TABLES: Final[dict[str, Iterable[str]]] = {
    "spatial-array": preset_names(),
    "cpu": CPU_STRATEGIES,
    "gpu": GPU_STRATEGIES,
}


def check_combinations(sweep: Sweep, nodes: dict[str, Node], axes: Node) -> None:
    """Check all that can be seen without evaluating a point.

    Args:
        nodes: the axes as written.

    Raises:
        InputError: a name is unknown, a machine cannot have a value, or the workload is not described.
    """
    by_name = {axis.name: axis for axis in sweep.axes}
    known: dict[str, Iterable[str]] = {
        "mapper": [m for t in _TABLES.values() for m in t],
        "accounting": ACCOUNTINGS,
        "dtype": DTYPE_BITS,
    }
    for name, table in known.items():
        for value in by_name[name].extremes if name in by_name else ():
            if str(value) not in table:
                raise unknown(name, str(value), table, location=nodes[name].location)
    for name, file in sweep.resources.machines.items():
        _check_machine(name, file, sweep.axes, nodes)
    machines = {name: machine_of(file) for name, file in sweep.resources.machines.items()}
    fitting = {m for machine in machines.values() for m in _TABLES[machine.kind]}
    for mapper in by_name["mapper"].extremes:
        if mapper not in fitting:
            raise nodes["mapper"].error(
                f"mapper '{mapper}' fits none of the machines: {', '.join(machines)}",
                "mappers that fit: " + ", ".join(sorted(fitting)),
            )
    if "dtype" in by_name:
        for value in by_name["dtype"].extremes:
            _check_dtype(str(value), machines, nodes["dtype"])
    _check_workloads(sweep, by_name, axes)


def _check_machine(name: str, file: Node, axes: tuple[Axis, ...], nodes: dict[str, Node]) -> None:
    """Check that a machine has the keys that axes vary, and can have their values."""
    keys = machine_keys(file)
    by_name = {axis.name: axis for axis in axes}
    spatial = kind_of(file) == SPATIAL
    for axis in axes:
        if axis.name in CHOICES or axis.name in WORKLOAD or ("." not in axis.name and axis.name not in keys):
            continue
        if axis.name not in keys:
            raise unknown(f"key of {name}", axis.name, keys, location=nodes[axis.name].location)
        ends = axis.extremes if axis.kind in ("name", "flag") else axis.ends
        tables = by_name["global_buffer.table"].extremes if "global_buffer.table" in by_name and spatial else ()
        for value, table in product(dict.fromkeys(ends), tables or (None,)):
            named = {"global_buffer.table": str(table)} if table is not None else {}
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            try:
                read_machine(file, named | {axis.name: shown})
            except InputError as error:
                raise InputError(error.message, location=nodes[axis.name].location, hint=error.hint) from None


def read_machine(file: Node, overrides: dict[str, str]) -> None:
    """Check that a machine can have some values; whether a row fits its memory is seen point by point."""
    if kind_of(file) == SPATIAL:
        read_spatial(file, overrides, whole_rows=False)
    else:
        machine_of(file, overrides)


def _check_dtype(dtype: str, machines: dict[str, AnyMachine], node: Node) -> None:
    refused: InputError | None = None
    for machine in machines.values():
        try:
            return check_dtype(dtype, machine)
        except InputError as error:
            refused = error.at(node.location)
    assert refused is not None
    raise refused


def _check_workloads(sweep: Sweep, by_name: dict[str, Axis], axes: Node) -> None:
    """Check that the axes describe a workload for every cascade and model."""
    models: list[Model | None] = [*sweep.resources.models.values()] or [None]
    whole = {a.name: int(a.ends[0]) for a in sweep.axes if a.kind == "whole" and "." not in a.name}
    keys = {key for file in sweep.resources.machines.values() for key in machine_keys(file)}
    given = {key: size for key, size in whole.items() if key in WORKLOAD}
    ranks = {rank: size for rank, size in whole.items() if rank not in WORKLOAD and rank not in keys}
    on_gpu = any(kind_of(file) == "gpu" for file in sweep.resources.machines.values())
    for cascade in sweep.resources.cascades.values():
        scalars = scalar_inputs(cascade) if on_gpu else ()
        sizes = {rank: size for rank, size in ranks.items() if rank not in scalars}
        for model in models:
            try:
                found = workload_of(cascade, model=model, sizes=sizes, **given)
                for rank in sorted({r for e in cascade.body for r in e.ranks} & set(settable_ranks(cascade))):
                    found.size(rank)
            except InputError as error:
                hint, message = _as_axis(error.hint), _as_axis(error.message)
                place = next((k.location for name, k in axes.keys.items() if f"'{name}'" in message), axes.location)
                raise InputError(message, location=place, hint=hint) from None


def _as_axis(message: str) -> str:
    """Say an error of ``evaluate``'s options, or its hint, in terms of axes."""
    for key in WORKLOAD:
        flag = "--" + key.replace("_", "-")
        for value in (" NAME", " N", ""):
            message = message.replace(flag + value, f"'{key}'")
    message = message.replace("' '", "' and '")
    return message.replace("--set RANK=SIZE", "an axis of its name").replace("--set ", "the axis ").replace("=SIZE", "")

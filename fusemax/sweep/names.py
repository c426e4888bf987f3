"""The names that a sweep's axes and filters may use, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from einsum_cascades.ir import Cascade
from einsum_cascades.models import Model
from einsum_cascades.not_a_rank import scalar_inputs
from einsum_cascades.schema import Section, leaves
from einsum_cascades.yaml_source import Node
from fusemax.sweep.axes import AxisKind
from fusemax.sweep.conditions import Kind
from fusemax.workloads import settable_ranks
from hw_models.cpu.file import CpuSpec
from hw_models.gpu.file import GpuSpec
from hw_models.machine_file import machine_keys as spatial_keys

CHOICES: Final[dict[str, AxisKind]] = {
    "cascade": "name",
    "arch": "name",
    "mapper": "name",
    "accounting": "name",
    "dtype": "name",
    "causal": "flag",
}
WORKLOAD: Final[dict[str, AxisKind]] = {
    "model": "name",
    "hf_config": "name",
    "batch": "whole",
    "heads": "whole",
    "head_dim": "whole",
    "value_dim": "whole",
    "seq_len": "whole",
    "kv_len": "whole",
}
COSTS: Final[dict[str, Kind]] = {
    "status": "text",
    "latency_s": "number",
    "energy_j": "number",
    "dram_bytes": "number",
    "buffer_bytes": "number",
    "area_mm2": "number",
    "util_2d": "number",
    "util_1d": "number",
    "passes": "number",
    "bound": "text",
}
"""The columns that an evaluation fills, in the order of the table."""
_ASKED: Final = ("causal", "dtype", "accounting")
SPATIAL: Final = "spatial-array"
_SPECS: Final[dict[str, type[Section]]] = {"cpu": CpuSpec, "gpu": GpuSpec}
DESCRIPTIONS: Final = ("kind", "name", "title", "device", "measured", "citation", "products", "value_bits")
_KINDS: Final[dict[type, AxisKind]] = {int: "whole", float: "number", bool: "flag", str: "name"}


@dataclass(frozen=True)
class Resources:
    """What a sweep's names stand for, read once so that a sweep needs no files where its points are evaluated.

    Attributes:
        models: by the name or file that the axis ``model`` or ``hf_config`` has.
    """

    cascades: dict[str, Cascade]
    machines: dict[str, Node]
    models: dict[str, Model]


def is_asked(name: str) -> bool:
    """Whether an axis says what is computed or how it is counted: no choice, so its points are not to be compared."""
    return name in WORKLOAD or name in _ASKED or name[:1].isupper()


def kind_of(machine: Node) -> str:
    """Return the kind of machine that a file describes."""
    stated = machine.value.get("kind") if isinstance(machine.value, dict) else None
    return str(stated.value) if stated else SPATIAL


def machine_keys(machine: Node) -> dict[str, AxisKind]:
    """Return the dotted keys of a machine that an axis may vary."""
    spec = _SPECS.get(kind_of(machine))
    keys = leaves(spec) if spec is not None else spatial_keys(machine)
    return {key: _KINDS[kind] for key, kind in keys.items() if key not in DESCRIPTIONS}


def axis_kinds(resources: Resources) -> dict[str, AxisKind]:
    """Return the names that axes may have with these cascades and machines: as ``evaluate`` has options and ranks."""
    found = {**CHOICES, **WORKLOAD}
    for cascade in resources.cascades.values():
        found |= dict.fromkeys((*scalar_inputs(cascade), *settable_ranks(cascade)), "whole")
    for machine in resources.machines.values():
        found |= machine_keys(machine)
    return found


def filter_kinds(axes: Iterable[tuple[str, AxisKind]], resources: Resources) -> dict[str, Kind]:
    """Return the names that filters may use: axes, numbers of spatial arrays, area, costs."""
    kinds: dict[AxisKind, Kind] = {"name": "text", "flag": "truth", "whole": "number", "number": "number"}
    found: dict[str, Kind] = {name: kinds[kind] for name, kind in axes}
    for machine in resources.machines.values():
        keys = machine_keys(machine).items() if kind_of(machine) == SPATIAL else ()
        found |= {key: "number" for key, kind in keys if kind in ("whole", "number") and key not in found}
    return found | COSTS

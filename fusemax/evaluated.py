"""Outcomes of evaluations: one class per kind of machine, all with the same face and the same columns."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from einsum_cascades.ir import Cascade
from einsum_cascades.shown import Facts, Shown
from einsum_cascades.workload import Workload
from fusemax.units import quantity
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from hw_models.components import extrapolated
from hw_models.cost import Cost
from hw_models.cpu.cost import CpuCost
from hw_models.cpu.machine import Cpu
from hw_models.gpu.cost import GpuCost
from hw_models.gpu.machine import Gpu
from mappers.cpu_mapping import CpuMapping
from mappers.gpu_mapping import GpuMapping
from mappers.mapping import Mapping


class AnyCost(Protocol):
    """What the cost models of all machines tell; None is what one does not know."""

    @property
    def latency_s(self) -> float: ...

    @property
    def dram_bytes(self) -> int: ...

    @property
    def energy_j(self) -> float | None: ...

    @property
    def passes(self) -> int: ...

    @property
    def bound(self) -> str: ...


class AnyMapping(Protocol):
    """What the mappings for all machines tell."""

    @property
    def tiles(self) -> tuple[tuple[str, int], ...]: ...


class AnyMachine(Protocol):
    """What all machines tell."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, repr=False)
class Evaluation(Shown):
    """The outcome of an evaluation, with what it was computed from.

    Attributes:
        mapping: what the mapper chose.
        cost: latency, traffic and, where the machine's model knows them, energy, utilisation and area.
    """

    cascade: Cascade
    architecture: AnyMachine
    mapper: str
    workload: Workload
    mapping: AnyMapping
    cost: AnyCost

    def shown(self) -> tuple[str, Facts]:
        """Return the figures that the machine's model knows."""
        row = self.as_dict()
        sizes = {"B": row["batch"], "H": row["heads"], **row["sizes"]}
        known = {
            "latency": quantity(row["latency_s"], "s"),
            "energy": None if row["energy_j"] is None else quantity(row["energy_j"], "J"),
            "off-chip traffic": quantity(row["dram_bytes"], "B"),
            "bound by": row["bound"].replace("+", " and "),
            "chip area": None if row["area_mm2"] is None else f"{row['area_mm2']:,.4g} mm²",
            "passes": str(row["passes"]),
            "mapper": self.mapper,
            "workload": ", ".join(f"{name} {size:,}" for name, size in sizes.items()),
        }
        title = f"{self.cascade.name} on {self.architecture.name}"
        return title, [(name, fact) for name, fact in known.items() if fact is not None]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data with the column names of the result tables; None is what is not known."""
        return {
            "cascade": self.cascade.name,
            "arch": self.architecture.name,
            "kind": self.architecture.kind,
            "mapper": self.mapper,
            "accounting": None,
            "model": self.workload.name,
            "batch": self.workload.batch,
            "heads": self.workload.heads,
            "sizes": dict(self.workload.sizes),
            "value_bytes": self.workload.value_bytes,
            "tiles": dict(self.mapping.tiles),
            "dram_bytes": self.cost.dram_bytes,
            "buffer_bytes": None,
            "latency_s": self.cost.latency_s,
            "energy_j": self.cost.energy_j,
            "energy_parts_j": None,
            "area_mm2": None,
            "extrapolated": None,
            "latency_technology_nm": None,
            "energy_technology_nm": None,
            "util_2d": None,
            "util_1d": None,
            "passes": self.cost.passes,
            "bound": self.cost.bound,
        } | self._own()

    @abstractmethod
    def _own(self) -> dict[str, Any]:
        """Return the columns that this kind of machine fills."""


@dataclass(frozen=True, repr=False)
class SpatialEvaluation(Evaluation):
    """An evaluation on a spatial array."""

    architecture: Architecture
    mapping: Mapping
    cost: Cost
    accounting: Accounting

    def _own(self) -> dict[str, Any]:
        found = self.cost
        return {
            "accounting": self.accounting.name,
            "buffer_bytes": found.buffer_bytes,
            "energy_parts_j": found.energy_parts.by_part(),
            "area_mm2": found.area_mm2,
            "extrapolated": list(extrapolated(self.architecture)),
            "latency_technology_nm": self.accounting.clock_technology_nm or self.architecture.technology_nm,
            "energy_technology_nm": self.architecture.technology_nm,
            "util_2d": found.util_2d,
            "util_1d": found.util_1d,
            "per_einsum": [
                {"einsum": e.name, "array": e.array, "cycles": e.cycles, "share": e.share} for e in found.per_einsum
            ],
        }


@dataclass(frozen=True, repr=False)
class CpuEvaluation(Evaluation):
    """An evaluation on a CPU.

    Attributes:
        causal: whether queries see only the keys up to their own.
    """

    architecture: Cpu
    mapping: CpuMapping
    cost: CpuCost
    causal: bool = False

    def _own(self) -> dict[str, Any]:
        found = self.cost
        return {
            "causal": self.causal,
            "dtype": "float32",
            "threads": self.mapping.activity.threads,
            "buffer_bytes": found.live_bytes,
            "parts_s": dict(found.parts_s),
            "per_einsum": [
                {"einsum": e.name, "array": e.unit, "cycles": None, "share": e.share} for e in found.per_einsum
            ],
        }


@dataclass(frozen=True, repr=False)
class GpuEvaluation(Evaluation):
    """An evaluation on a GPU.

    Attributes:
        causal: whether queries see only the keys up to their own.
        dtype: type of the values.
        scalars: values of scalar inputs that masks depend on.
    """

    architecture: Gpu
    mapping: GpuMapping
    cost: GpuCost
    causal: bool = False
    dtype: str = "bfloat16"
    scalars: tuple[tuple[str, int], ...] = ()

    def _own(self) -> dict[str, Any]:
        found = self.cost
        return {
            "causal": self.causal,
            "dtype": self.dtype,
            "scalars": dict(self.scalars),
            "kernel": self.mapping.kernel,
            "buffer_bytes": found.live_bytes,
            "parts_s": dict(found.parts_s),
            "per_einsum": [
                {"einsum": e.name, "array": e.unit, "cycles": None, "share": e.share} for e in found.per_einsum
            ],
        }

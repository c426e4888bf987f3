"""Outcomes of evaluations: one class per kind of machine, all with the same face and the same columns."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from einsum_cascades.graph import node_names
from einsum_cascades.ir import Cascade
from einsum_cascades.loops.tree import LoopTree
from einsum_cascades.shown import Facts, Shown
from einsum_cascades.workload import Workload
from fusemax.units import quantity
from hw_models.accounting import Accounting
from hw_models.cpu.cost import CpuCost
from hw_models.cpu.machine import Cpu
from hw_models.gpu.cost import GpuCost
from hw_models.gpu.machine import Gpu
from hw_models.machine import Machine
from hw_models.prices import node_prices
from hw_models.spatial.activity import Activity
from hw_models.spatial.cost import Cost, TaskCost
from mappers.cpu_mapping import CpuMapping
from mappers.gpu_mapping import GpuMapping


class AnyCost(Protocol):
    """What the cost models of all machines tell; None is what one does not know."""

    @property
    def latency_s(self) -> float: ...

    @property
    def dram_bytes(self) -> int: ...

    @property
    def energy_j(self) -> float | None: ...

    @property
    def bound(self) -> str: ...


class NamedMachine(Protocol):
    """What all machines tell."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, repr=False)
class Evaluation(Shown):
    """The outcome of an evaluation, with what it was computed from.

    Attributes:
        mapper: who made the mapping: a mapper's name, or the user's file.
        mapping: what the mapper chose; for a spatial array a loop tree.
        cost: latency, traffic and, where the machine's model knows them, energy, utilisation and area.
    """

    cascade: Cascade
    architecture: NamedMachine
    mapper: str
    workload: Workload
    mapping: object
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
            "bits": None,
            "tiles": {},
            "dram_bytes": self.cost.dram_bytes,
            "buffer_bytes": None,
            "peak_bytes": None,
            "latency_s": self.cost.latency_s,
            "energy_j": self.cost.energy_j,
            "energy_parts_j": None,
            "area_mm2": None,
            "extrapolated": None,
            "latency_technology_nm": None,
            "energy_technology_nm": None,
            "util_2d": None,
            "util_1d": None,
            "utilization": None,
            "passes": None,
            "bound": self.cost.bound,
            "accesses": None,
        } | self._own()

    @abstractmethod
    def _own(self) -> dict[str, Any]:
        """Return the columns that this kind of machine fills."""


@dataclass(frozen=True, repr=False)
class SpatialEvaluation(Evaluation):
    """An evaluation on a spatial array.

    Attributes:
        mapping: the loop tree.
        activity: what the tree makes the machine do.
        tiles: of each rank the tile that the mapping chooses, for people.
        passes: passes that the cascade makes over its rows.
        buffer: the memory that tiles are cut for; empty if there is none.
    """

    architecture: Machine
    mapping: LoopTree
    cost: Cost
    accounting: Accounting
    activity: Activity
    tiles: tuple[tuple[str, int], ...]
    passes: int
    buffer: str

    @property
    def per_einsum(self) -> tuple[TaskCost, ...]:
        """Each Einsum's part on each array, in the cascade's order; one that is computed again has one part."""
        found: dict[tuple[str, str], TaskCost] = {}
        for task in self.cost.tasks:
            seen = found.get((task.name, task.array), TaskCost(task.name, task.array, 0, 0.0))
            summed = TaskCost(task.name, task.array, seen.cycles + task.cycles, seen.share + task.share)
            found[task.name, task.array] = summed
        order = {name: place for place, name in enumerate(node_names(self.cascade))}
        return tuple(sorted(found.values(), key=lambda task: order[task.name]))

    def accesses(self) -> list[dict[str, Any]]:
        """Return the values that leave and enter each memory and array's registers, by tensor."""
        found: dict[tuple[str, str], dict[str, int]] = {}
        for row in self.activity.rows:
            if row.action in ("read", "drain", "fill", "update") and row.count:
                counts = found.setdefault((row.node, row.tensor), {"reads": 0, "writes": 0})
                counts["reads" if row.action in ("read", "drain") else "writes"] += row.count
        order = {node.name: place for place, node in enumerate(self.architecture.nodes)}
        names = sorted(found, key=lambda key: order[key[0]])
        return [{"memory": memory, "tensor": tensor, **found[memory, tensor]} for memory, tensor in names]

    def _own(self) -> dict[str, Any]:
        found, machine = self.cost, self.architecture
        prices = node_prices(machine)
        return {
            "accounting": self.accounting.name,
            "bits": dict(machine.bits),
            "tiles": dict(self.tiles),
            "buffer_bytes": found.peak_bytes.get(self.buffer, 0) if self.buffer else None,
            "peak_bytes": dict(found.peak_bytes),
            "energy_parts_j": dict(found.energy.parts_j),
            "area_mm2": float(prices.area_mm2),
            "extrapolated": list(prices.extrapolated),
            "latency_technology_nm": self.accounting.clock_technology_nm or machine.technology_nm,
            "energy_technology_nm": machine.technology_nm,
            "util_2d": found.utilization.get("array_2d"),
            "util_1d": found.utilization.get("array_1d"),
            "utilization": dict(found.utilization),
            "passes": self.passes,
            "per_einsum": [
                {"einsum": e.name, "array": e.array, "cycles": e.cycles, "share": e.share} for e in self.per_einsum
            ],
            "accesses": self.accesses(),
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
            "tiles": dict(self.mapping.tiles),
            "buffer_bytes": found.live_bytes,
            "passes": found.passes,
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
            "tiles": dict(self.mapping.tiles),
            "buffer_bytes": found.live_bytes,
            "passes": found.passes,
            "parts_s": dict(found.parts_s),
            "per_einsum": [
                {"einsum": e.name, "array": e.unit, "cycles": None, "share": e.share} for e in found.per_einsum
            ],
        }

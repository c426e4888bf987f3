"""The tables of mappers, one per kind of machine.

For a spatial array a mapper is a preset (``mappers.presets.named``): a function from a ``Problem`` to a ``LoopTree``.
For CPUs and GPUs it is a function from a cascade on a machine to a mapping.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from typing import Final, Protocol, TypeVar

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from hw_models.cpu.machine import Cpu
from hw_models.gpu.machine import Gpu
from mappers.cpu_mapping import CpuMapping
from mappers.cpu_tiles import cpu_tiles
from mappers.gpu_mapping import GpuMapping
from mappers.gpu_tiles import gpu_tiles
from mappers.presets.named import NAMED, offered


class CpuStrategy(Protocol):
    """What the file of a strategy for CPUs offers."""

    def __call__(self, cascade: Cascade, workload: Workload, cpu: Cpu, *, causal: bool = False) -> CpuMapping:
        """Return the mapping, or raise InputError if there is none."""
        ...


class GpuStrategy(Protocol):
    """What the file of a strategy for GPUs offers."""

    def __call__(
        self,
        cascade: Cascade,
        workload: Workload,
        gpu: Gpu,
        *,
        causal: bool = False,
        scalars: Table[str, float] | None = None,
    ) -> GpuMapping:
        """Return the mapping, or raise InputError if there is none."""
        ...


CPU_STRATEGIES: dict[str, CpuStrategy] = {"cpu-tiles": cpu_tiles}
GPU_STRATEGIES: dict[str, GpuStrategy] = {"gpu-tiles": gpu_tiles}

_S = TypeVar("_S")


_TITLES: Final = {"spatial-array": "spatial array", "cpu": "CPU", "gpu": "GPU"}


def tables() -> dict[str, Table[str, object]]:
    """Return the mappers by kind of machine and name; of those of other packages, where they come from."""
    return {"spatial-array": {**NAMED, **offered()}, "cpu": CPU_STRATEGIES, "gpu": GPU_STRATEGIES}


def mapper_names() -> tuple[str, ...]:
    """Return the names of all strategies, for machines of any kind."""
    return tuple(name for strategies in tables().values() for name in strategies)


def check_spatial(name: str) -> None:
    """Check that a mapper for spatial arrays has a name.

    Raises:
        InputError: none has, or it maps onto another kind of machine.
    """
    _named(name, tables()["spatial-array"], "spatial-array")


def cpu_strategy_named(name: str) -> CpuStrategy:
    """Return a strategy for CPUs by name.

    Raises:
        InputError: no strategy has that name, or it maps onto another kind of machine.
    """
    return _named(name, CPU_STRATEGIES, "cpu")


def gpu_strategy_named(name: str) -> GpuStrategy:
    """Return a strategy for GPUs by name.

    Raises:
        InputError: no strategy has that name, or it maps onto another kind of machine.
    """
    return _named(name, GPU_STRATEGIES, "gpu")


def _named(name: str, table: Table[str, _S], kind: str) -> _S:
    if not isinstance(name, str):
        raise unknown("mapper", name, mapper_names())
    if name in table:
        return table[name]
    for other, strategies in tables().items():
        if name in strategies:
            raise InputError(
                f"mapper '{name}' maps onto a {_TITLES[other]}, and the machine is a {_TITLES[kind]}",
                hint=f"mappers that fit a {_TITLES[kind]}: " + ", ".join(table),
            )
    raise unknown("mapper", name, mapper_names())

"""The cost of an activity on a GPU: its kernels one after another (``timing.py``), and which unit bounds them.

``bound`` is what the latency depends on most (``needs.py``).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from hw_models.bound import slowest
from hw_models.gpu.activity import GpuActivity
from hw_models.gpu.machine import Gpu
from hw_models.gpu.needs import ROUNDING, needs_s
from hw_models.gpu.timing import EinsumUnit, KernelTiming

PARTS: Final = ("tensor", "exp", "vector", "shared", "L2", "HBM", "latency", "waves", "launch")


class GpuEinsum(NamedTuple):
    """One Einsum's part: its seconds on the unit that works on it, as a share of the latency."""

    name: str
    unit: Literal["products", "vector"]
    share: float


@dataclass(frozen=True, slots=True)
class GpuCost:
    """The cost of an activity on a GPU.

    Attributes:
        latency_s: seconds.
        parts_s: seconds of ``PARTS``; they add up to the latency.
        bound: which of ``needs.RESOURCES`` the latency depends on most, or several joined by ``+``.
        dram_bytes: traffic to and from the memory.
        live_bytes: shared memory of the blocks that run at a time, and what lies between kernels.
        passes: passes over the row rank.
        per_einsum: arithmetic of each Einsum.
    """

    latency_s: float
    parts_s: tuple[tuple[str, float], ...]
    bound: str
    dram_bytes: int
    live_bytes: int
    passes: int
    per_einsum: tuple[GpuEinsum, ...]

    energy_j: None = None


def gpu_latency_s(activity: GpuActivity, gpu: Gpu) -> float:
    """Return the latency of an activity alone, in less than half the time that its whole cost takes."""
    parts: defaultdict[str, float] = defaultdict(float)
    for kernel in activity.kernels:
        for part, seconds in KernelTiming.of(kernel, gpu).parts().items():
            parts[part] += seconds
    return sum(parts.values())


def gpu_cost(activity: GpuActivity, gpu: Gpu) -> GpuCost:
    """Return the cost of an activity."""
    parts: defaultdict[str, float] = defaultdict(float)
    einsums: defaultdict[EinsumUnit, float] = defaultdict(float)
    needs: defaultdict[str, float] = defaultdict(float)
    for kernel in activity.kernels:
        timing = KernelTiming.of(kernel, gpu)
        spent = timing.parts()
        for part, seconds in spent.items():
            parts[part] += seconds
        for resource, seconds in needs_s(timing, spent).items():
            needs[resource] += seconds
        for einsum, seconds in timing.einsums().items():
            einsums[einsum] += seconds
    latency = sum(parts.values())
    return GpuCost(
        latency_s=latency,
        parts_s=tuple((name, parts[name]) for name in PARTS),
        bound=slowest(needs, ROUNDING),
        dram_bytes=activity.dram_bytes,
        live_bytes=activity.live_bytes,
        passes=activity.passes,
        per_einsum=tuple(GpuEinsum(*key, seconds / (latency or 1.0)) for key, seconds in einsums.items()),
    )

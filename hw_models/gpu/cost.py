"""The cost of an activity on a GPU: its kernels one after another (``timing.py``), and which unit bounds them.

``bound`` is the largest of the parts of the latency: those of L2 and HBM together count as ``memory``, and what
multiprocessors wait at the end of a kernel (``waves``) as ``latency``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from hw_models.gpu.activity import GpuActivity
from hw_models.gpu.machine import Gpu
from hw_models.gpu.timing import EinsumUnit, KernelTiming

GpuBound = Literal["tensor", "exp", "vector", "shared", "memory", "latency", "launch"]
_GROUPS: Final[dict[str, GpuBound]] = {
    "tensor": "tensor",
    "exp": "exp",
    "vector": "vector",
    "shared": "shared",
    "L2": "memory",
    "HBM": "memory",
    "latency": "latency",
    "waves": "latency",
    "launch": "launch",
}
PARTS: Final = tuple(_GROUPS)


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
        bound: the largest of them, L2 and HBM together and waves counted as latency.
        dram_bytes: traffic to and from the memory.
        live_bytes: shared memory of the blocks that run at a time, and what lies between kernels.
        passes: passes over the row rank.
        per_einsum: arithmetic of each Einsum.
    """

    latency_s: float
    parts_s: tuple[tuple[str, float], ...]
    bound: GpuBound
    dram_bytes: int
    live_bytes: int
    passes: int
    per_einsum: tuple[GpuEinsum, ...]

    energy_j: None = None


def gpu_cost(activity: GpuActivity, gpu: Gpu) -> GpuCost:
    """Return the cost of an activity."""
    parts: defaultdict[str, float] = defaultdict(float)
    einsums: defaultdict[EinsumUnit, float] = defaultdict(float)
    for kernel in activity.kernels:
        timing = KernelTiming.of(kernel, gpu)
        for part, seconds in timing.parts().items():
            parts[part] += seconds
        for einsum, seconds in timing.einsums().items():
            einsums[einsum] += seconds
    latency = sum(parts.values())
    groups: defaultdict[GpuBound, float] = defaultdict(float)
    for part in PARTS:
        groups[_GROUPS[part]] += parts[part]
    return GpuCost(
        latency_s=latency,
        parts_s=tuple((name, parts[name]) for name in PARTS),
        bound=max(groups, key=lambda name: groups[name]),
        dram_bytes=activity.dram_bytes,
        live_bytes=activity.live_bytes,
        passes=activity.passes,
        per_einsum=tuple(GpuEinsum(*key, seconds / (latency or 1.0)) for key, seconds in einsums.items()),
    )

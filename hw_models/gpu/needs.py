"""What a kernel's time on a GPU depends on: each resource made a little slower, and how much longer the blocks take.

    seconds that depend on a resource = (time with the resource slower by ε - time) / ε

of the blocks with every multiprocessor (SM) busy (``timing.py``); what SMs wait at the end of a kernel counts as
``latency``. A kernel that takes what its traffic takes depends on the memory alone, and on its latency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hw_models.gpu.machine import Gpu
from hw_models.gpu.timing import KernelTiming

RESOURCES: Final = ("tensor", "exp", "vector", "shared", "memory", "latency", "launch")
"""Matrix products, special functions, the other vector pipes, shared memory, L2 and HBM, latencies, launches."""

EPSILON: Final = 2.0**-16
ROUNDING: Final = 1e-6
"""Relative difference below which two dependences are equal: rounding, divided by ``EPSILON``."""


def needs_s(timing: KernelTiming, parts: Mapping[str, float]) -> dict[str, float]:
    """Return for how many seconds a kernel depends on each of ``RESOURCES``.

    Args:
        timing: of the kernel.
        parts: its seconds by part.
    """
    found = dict.fromkeys(RESOURCES, 0.0) | {"launch": parts["launch"]}
    if "HBM" in parts and "waves" not in parts:
        waits = timing.gpu.hbm.latency_s
        return found | {"memory": parts["HBM"] - waits, "latency": waits}
    now = timing.steady_s() + timing.fill_s()
    for resource in RESOURCES[:-1]:
        gpu = slower(timing.gpu, resource, 1.0 + EPSILON)
        then = KernelTiming(timing.kernel, gpu, timing.resident)
        found[resource] = max(0.0, (then.steady_s() + then.fill_s() - now) / EPSILON)
    found["latency"] += parts["waves"]
    return found


def slower(gpu: Gpu, resource: str, factor: float) -> Gpu:
    """Return a GPU of which one of ``RESOURCES`` takes longer by a factor."""
    tensor, vector, l2, hbm = gpu.tensor, gpu.vector, gpu.l2, gpu.hbm
    match resource:
        case "tensor":
            groups = tensor.warpgroup_flops_per_s and tensor.warpgroup_flops_per_s / factor
            return replace(
                gpu,
                tensor=replace(tensor, warpgroup_flops_per_s=groups, warp_flops_per_s=tensor.warp_flops_per_s / factor),
                vector=replace(vector, product_flops_per_s=vector.product_flops_per_s / factor),
            )
        case "exp":
            return replace(gpu, vector=replace(vector, special_per_s=vector.special_per_s / factor))
        case "vector":
            rates = {"fma_per_s": vector.fma_per_s / factor, "alu_per_s": vector.alu_per_s / factor}
            return replace(gpu, vector=replace(vector, **rates))
        case "shared":
            return replace(gpu, shared_bytes_per_s=gpu.shared_bytes_per_s / factor)
        case "memory":
            return replace(
                gpu,
                l2=replace(l2, bytes_per_s=l2.bytes_per_s / factor),
                hbm=replace(hbm, bytes_per_s=hbm.bytes_per_s / factor),
            )
        case "latency":
            return replace(
                gpu,
                tensor=replace(tensor, latency_s=tensor.latency_s * factor),
                vector=replace(vector, latency_s=vector.latency_s * factor),
                l2=replace(l2, latency_s=l2.latency_s * factor),
                hbm=replace(hbm, latency_s=hbm.latency_s * factor),
                block_s=gpu.block_s * factor,
            )
        case _:
            return replace(gpu, launch_s=gpu.launch_s * factor)

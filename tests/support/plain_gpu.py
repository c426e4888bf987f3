"""A GPU of round figures, on which costs can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hw_models.gpu.machine import Gpu, Store, Tensor, Vector


def plain_gpu(**changes: Any) -> Gpu:
    """Four multiprocessors, 1e9 flops per second of each and 1e9 operations per lane's pipe; changes by field name."""
    gpu = Gpu(
        name="plain",
        sms=4,
        tensor=Tensor(warpgroup_flops_per_s=4e12, warp_flops_per_s=2e12, latency_s=0.0),
        vector=Vector(special_per_s=4e9, fma_per_s=16e9, alu_per_s=8e9, product_flops_per_s=1e12, latency_s=0.0),
        registers=2**16,
        threads=2048,
        blocks=32,
        shared_bytes=232_448,
        shared_bytes_per_s=1e18,
        l2=Store("L2", 2**24, 1e18, 0.0),
        hbm=Store("HBM", 2**36, 1e18, 0.0),
        launch_s=0.0,
        block_s=0.0,
    )
    return replace(gpu, **changes)

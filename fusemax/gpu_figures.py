"""A GPU from its microbenchmarks: which figure gives which field of its file.

    clock                = special functions per second / (16 per multiprocessor and cycle), without tensor units' load
    tensor, warp groups  = rate of a large matrix product / share of its last wave that is used
    clock under load     = that rate / (4096 flops per multiprocessor and cycle) / clock
    tensor, latency      = a product of 64×128×64 that waits for the one before - its time at the full rate
    shared memory        = 128 bytes per multiprocessor and cycle

What no figure gives comes from the GPU's file as it is. Sources of the numbers per cycle: NVIDIA, "CUDA C++ Programming
Guide", throughput of native instructions; "NVIDIA H100 Tensor Core GPU Architecture", 2022.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from math import ceil, isfinite
from pathlib import Path
from typing import Final

from einsum_cascades.errors import InputError, Location
from einsum_cascades.files import MAX_TABLE_BYTES, read_text
from hw_models.gpu.file import VECTOR_RATES
from hw_models.gpu.machine import Gpu, Vector

SPECIAL_PER_CYCLE: Final = 16
FLOPS_PER_CYCLE: Final = 4096
SHARED_PER_CYCLE: Final = 128
RESERVED_BYTES: Final = 1024
"""Shared memory of a block that the system takes."""
MATMUL: Final = 8192
MATMUL_TILE: Final = (128, 256)
STEP: Final = (64, 128, 64)


def read_figures(path: Path) -> dict[str, float]:
    """Read the figures that ``fusemax measure gpu --micro-out`` wrote.

    Raises:
        InputError: the file cannot be read or is damaged.
    """
    text = read_text(path, MAX_TABLE_BYTES)
    found: dict[str, float] = {}
    reader = csv.DictReader(io.StringIO(text))
    try:
        for row in reader:
            name, value = row["name"], float(row["value"])
            if not name or not isfinite(value) or value <= 0:
                raise ValueError
            found[name] = value
    except (KeyError, TypeError, ValueError, csv.Error):
        raise InputError("a row has no name or no value", location=Location(str(path), reader.line_num)) from None
    if not found:
        raise InputError("the table has no rows", location=Location(str(path), 1))
    return found


def gpu_of_figures(figures: Mapping[str, float], base: Gpu, measured: str) -> Gpu:
    """Return a GPU with the rates that were measured.

    Args:
        figures: by name.
        base: what gives the rest.
        measured: where the figures come from, for people.
    """
    sms = round(figures.get("multiprocessors", base.sms))
    special = figures.get("special_per_s", base.vector.special_per_s)
    clock_hz = special / (SPECIAL_PER_CYCLE * sms)
    tensor = base.tensor
    if "mma_8_flops_per_s" in figures:
        tensor = replace(tensor, warp_flops_per_s=figures["mma_8_flops_per_s"])
    if "matmul_flops_per_s" in figures and tensor.warpgroup_flops_per_s is not None:
        rate = figures["matmul_flops_per_s"] / _last_wave(sms)
        tensor = replace(tensor, warpgroup_flops_per_s=rate, clock=min(1.0, rate / (FLOPS_PER_CYCLE * sms) / clock_hz))
    if "wgmma_64_step_s" in figures:
        rows, columns, depth = STEP
        busy = 2 * rows * columns * depth / (FLOPS_PER_CYCLE * clock_hz)
        tensor = replace(tensor, latency_s=max(0.0, figures["wgmma_64_step_s"] - busy))
    l2 = [value for name, value in figures.items() if name.startswith("l2_") and name.endswith("_bytes_per_s")]
    return replace(
        base,
        sms=sms,
        tensor=tensor,
        vector=_vector(figures, base.vector),
        registers=round(figures.get("registers", base.registers)),
        threads=round(figures.get("threads", base.threads)),
        shared_bytes=round(figures.get("shared_bytes", base.shared_bytes + RESERVED_BYTES)) - RESERVED_BYTES,
        shared_bytes_per_s=SHARED_PER_CYCLE * sms * clock_hz,
        l2=replace(
            base.l2,
            bytes=round(figures.get("l2_bytes", base.l2.bytes)),
            bytes_per_s=max(l2, default=base.l2.bytes_per_s),
            latency_s=figures.get("l2_latency_s", base.l2.latency_s),
        ),
        hbm=replace(
            base.hbm,
            bytes=round(figures.get("hbm_bytes", base.hbm.bytes)),
            bytes_per_s=figures.get("hbm_read_bytes_per_s", base.hbm.bytes_per_s),
            latency_s=figures.get("hbm_latency_s", base.hbm.latency_s),
        ),
        launch_s=figures.get("launch_s", base.launch_s),
        block_s=figures.get("block_s", base.block_s),
        measured=measured,
    )


def _vector(figures: Mapping[str, float], base: Vector) -> Vector:
    rates = {name: figures.get(name, getattr(base, name)) for name in VECTOR_RATES}
    return replace(base, **rates, latency_s=figures.get("reduce_latency_s", base.latency_s))


def _last_wave(sms: int) -> float:
    """Share of the waves of the large matrix product's tiles that is used."""
    rows, columns = MATMUL_TILE
    tiles = ceil(MATMUL / rows) * ceil(MATMUL / columns)
    return tiles / (sms * ceil(tiles / sms))

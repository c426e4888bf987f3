"""Kernels as the GPU model sees them: tiles, warps, buffers, and what runs under what.

PyTorch's backends are described from their sources: *flash* is FlashAttention-2 (Dao, 2023), whose warps multiply one
by one from registers; *efficient* is CUTLASS's fused multi-head attention in xFormers' version, whose warps meet at a
barrier after every product; *cudnn* works as FlashAttention-3 (Shah et al., 2024), with groups of four warps that take
turns. *math* is not fused (``gpu_unfused.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hw_models.gpu.activity import Dispatch, Sharing
from hw_models.gpu.machine import Gpu, ProductUnit
from kernels.gpu import configurations
from kernels.gpu.configurations import MOST_HEAD_DIM

WARP: Final = 32


@dataclass(frozen=True, slots=True)
class GpuKernel:
    """A fused kernel.

    Attributes:
        name: what it is called.
        queries, keys: of a tile.
        workers: groups of warps of a block that each have queries of their own.
        warps: of a worker.
        loaders: warps of a block that do nothing but load.
        registers: of a thread, at most; loading warps have few, so that these count for the others alone.
        stages: tiles of keys that are in shared memory at a time; 0 if they are loaded when they are needed.
        columns: warps side by side in a tile; if several, what a loop makes reaches the next product through shared
            memory, and queries are loaded for every tile of keys.
        unit: what multiplies tiles.
        sharing: how workers share the units of a multiprocessor.
        pipelined: whether the second product runs under the vector loops of the next trip.
        dispatch: who takes the next block.
        persistent: whether there is one block per place on a multiprocessor, which goes through many tiles.
        longest_first: whether tiles of queries that see more keys start earlier.
        heads_together: bytes of keys and values whose heads' tiles start together, longest first; 0 for one head.
        powers_of_two: whether head sizes are padded to powers of two, instead of to whole product instructions.
        launches: of the kernel and of those that clear what it counts in.
        splits: among how many blocks the keys of one tile of queries are shared.
    """

    name: str
    queries: int
    keys: int
    workers: int
    registers: int
    stages: int
    unit: ProductUnit
    sharing: Sharing
    warps: int = 4
    columns: int = 1
    loaders: int = 0
    pipelined: bool = False
    dispatch: Dispatch = "dynamic"
    persistent: bool = False
    longest_first: bool = False
    heads_together: int = 0
    powers_of_two: bool = False
    launches: int = 1
    splits: int = 1

    @property
    def threads(self) -> int:
        """Threads of a block that compute."""
        return WARP * self.warps * self.workers


def flash(head_dim: int, *, splits: int = 1) -> GpuKernel:
    """FlashAttention-2's forward kernel as PyTorch builds it for A100 and later; another one where it splits keys."""
    wide = head_dim > 64
    queries, keys = (128, 64 if wide else 128) if splits == 1 else (64, 128 if wide else 256)
    return GpuKernel("flash", queries, keys, 1, 255, 1, "warp", "blocks", splits=splits)


def flash_splits(instances: int, queries: int, keys: int, head_dim: int, sms: int) -> int:
    """Return among how many blocks FlashAttention-2 shares the keys: its ``num_splits_heuristic``.

    The fewest that use the machine's waves to at least 85 % of what any number of them does.
    """
    blocks = instances * -(-queries // 64)
    places = 2 * sms
    tiles = -(-keys // (256 if head_dim <= 64 else 128))
    if blocks >= 0.8 * places:
        return 1
    eligible = [n for n in range(1, min(128, places, tiles) + 1) if n == 1 or -(-tiles // n) != -(-tiles // (n - 1))]
    used = {n: n * blocks / places / -(-n * blocks // places) for n in eligible}
    best = max(used.values())
    return next(n for n in eligible if used[n] >= 0.85 * best)


def efficient(head_dim: int) -> GpuKernel:
    """CUTLASS's kernel for 16-bit values on A100 and later: warps have 32×32 of a tile each, two of them its rows."""
    keys = 64 if head_dim <= 64 else 128
    return GpuKernel("efficient", 64, keys, 1, 128, 0, "warp", "blocks", warps=keys // 16, columns=keys // 32)


def cudnn(head_dim: int, *, splits: int = 1) -> GpuKernel:
    """CuDNN's fused kernel on Hopper."""
    stages = 3 if head_dim <= 64 else 2
    return GpuKernel(
        *("cudnn", 128, 128, 2, 240, stages, "warpgroup", "free"),
        loaders=1,
        pipelined=True,
        persistent=True,
        longest_first=True,
        splits=splits,
    )


def filling_splits(instances: int, queries: int, keys: int, sms: int) -> int:
    """Return among how many blocks of 128 queries the keys are shared so that a block is left for every SM."""
    return max(1, min(sms // (instances * -(-queries // 128)), -(-keys // 128)))


def own(
    cascade: str, instances: int, sizes: tuple[int, int, int, int], gpu: Gpu, *, causal: bool, streams: int = 1
) -> GpuKernel:
    """Return the kernel of this package that runs a cascade on (P, M, E, F), as ``kernels.gpu`` chooses it."""
    has_groups = gpu.tensor.warpgroup_flops_per_s is not None
    queries, keys, head_dim, value_dim = sizes
    shape = configurations.Shape(
        1, instances, queries, keys, min(head_dim, MOST_HEAD_DIM), min(value_dim, MOST_HEAD_DIM), causal
    )
    machine = configurations.Gpu(90 if has_groups else 80, gpu.sms, gpu.shared_bytes, gpu.l2.bytes, has_groups)
    chosen = configurations.choose(cascade, shape, machine, streams=streams)
    if chosen.kernel == "one_pass_hopper":
        return GpuKernel(
            *("one_pass_hopper", chosen.queries, chosen.keys, chosen.queries // 64, 240, chosen.stages),
            *("warpgroup", "free"),
            loaders=1,
            pipelined=True,
            persistent=True,
            longest_first=True,
            heads_together=gpu.l2.bytes // 2,
            powers_of_two=True,
            launches=2,
        )
    workers, warps = (chosen.warps // 4, 4) if chosen.warps >= 4 else (1, chosen.warps)
    unit: ProductUnit = "warpgroup" if has_groups and warps == 4 and chosen.queries >= 64 else "warp"
    return GpuKernel(
        *(chosen.kernel, chosen.queries, chosen.keys, workers, 255, chosen.stages, unit, "blocks", warps),
        longest_first=True,
        powers_of_two=True,
        launches=1,
        splits=chosen.splits,
    )

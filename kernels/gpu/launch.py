"""Launches of the kernels on checked tensors [batch, heads, length, size]."""

from __future__ import annotations

import importlib
import math
from contextlib import nullcontext
from typing import Any

from kernels.gpu.configurations import Configuration, Gpu, Shape, width

LOG2_E = math.log2(math.e)
ROW_VALUES = 16
"""Rows start at multiples of so many values: then Triton, which knows strides as multiples of 16 or not at all, loads
16 bytes at a time, and bulk copies can read them. Where rows start at odd values, kernels that Triton 3.6 compiles for
Hopper read shared memory outside of what it allocated (compute-sanitizer, sizes 33 and 17): such rows are copied."""


def run(configuration: Configuration, shape: Shape, gpu: Gpu, tensors: tuple[Any, ...], scale: float) -> None:
    """Attend as a configuration says.

    Args:
        configuration: kernel and tiles.
        shape: the sizes that the tensors have.
        gpu: where the tensors are.
        tensors: q, k, v and out, [batch, heads, length, size]; ``out`` is written.
        scale: factor of the scores, above zero.
    """
    module = importlib.import_module(f"kernels.gpu.{configuration.kernel}")
    torch: Any = importlib.import_module("torch")
    q = tensors[0]
    with torch.cuda.device(q.device) if q.device.type == "cuda" else nullcontext():
        _LAUNCHES.get(configuration.kernel, _plain)(torch, module, configuration, shape, gpu, tensors, scale * LOG2_E)


def is_aligned(x: Any) -> bool:
    """Return whether every row of a tensor starts at a multiple of ``ROW_VALUES`` values."""
    strides = [stride for stride, size in zip(x.stride()[:2], x.shape[:2], strict=True) if size > 1]
    unaligned = any(stride % ROW_VALUES for stride in (*strides, x.stride()[2]))
    return not unaligned and x.data_ptr() % (ROW_VALUES * x.element_size()) == 0


def is_dense(x: Any) -> bool:
    """Return whether no row of a tensor lies on another, as bulk copies need."""
    return all(stride > 0 for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1)


def _sizes(configuration: Configuration, shape: Shape) -> tuple[dict[str, Any], int]:
    """What all portable kernels are compiled for, and the tiles of queries of a head."""
    constants = {
        "E": shape.head_dim,
        "F": shape.value_dim,
        "WIDTH_E": width(shape.head_dim),
        "WIDTH_F": width(shape.value_dim),
        "BLOCK_M": configuration.queries,
        "BLOCK_N": configuration.keys,
        "CAUSAL": shape.causal,
        "num_warps": configuration.warps,
        "num_stages": configuration.stages,
    }
    return constants, -(-shape.q_len // configuration.queries)


def _strides(*tensors: Any) -> list[int]:
    return [stride for x in tensors for stride in x.stride()[:3]]


def _plain(
    torch: Any, module: Any, configuration: Configuration, shape: Shape, gpu: Gpu, tensors: tuple[Any, ...], c: float
) -> None:
    """One block for each tile of queries."""
    constants, blocks = _sizes(configuration, shape)
    score = importlib.import_module("kernels.gpu.tile_operations").plain
    sizes = (shape.heads, shape.q_len, shape.kv_len, blocks)
    module.kernel[(blocks * shape.all_heads,)](*tensors, c, *sizes, *_strides(*tensors), SCORE=score, **constants)


def _split_keys(
    torch: Any, module: Any, configuration: Configuration, shape: Shape, gpu: Gpu, tensors: tuple[Any, ...], c: float
) -> None:
    """One block for each tile of queries and part of the keys, then one for each row."""
    constants, blocks = _sizes(configuration, shape)
    score = importlib.import_module("kernels.gpu.tile_operations").plain
    key_tiles = -(-shape.kv_len // configuration.keys)
    part = -(-key_tiles // configuration.splits)
    splits = -(-key_tiles // part)
    q, k, v, out = tensors
    rows = shape.all_heads * shape.q_len
    parts = torch.empty(rows * splits * (constants["WIDTH_F"] + 2), dtype=torch.float32, device=q.device)
    sizes = (shape.heads, shape.q_len, shape.kv_len, blocks)
    grid = (blocks * splits * shape.all_heads,)
    places = (splits, part * configuration.keys)
    module.kernel[grid](q, k, v, parts, c, *sizes, *_strides(q, k, v), *places, SCORE=score, **constants)
    widths = {"F": shape.value_dim, "WIDTH_F": constants["WIDTH_F"], "SPLITS": 1 << (splits - 1).bit_length()}
    module.combine[(rows,)](parts, out, c, shape.heads, shape.q_len, *_strides(out), splits, **widths, num_warps=4)


def _hopper(
    torch: Any, module: Any, configuration: Configuration, shape: Shape, gpu: Gpu, tensors: tuple[Any, ...], c: float
) -> None:
    """One block for each multiprocessor, which takes tile after tile."""
    size = 64 if max(shape.head_dim, shape.value_dim) <= 64 else 128
    rows = int(module.ROWS.value)
    consumers = configuration.queries // rows
    lengths = (rows, configuration.keys, configuration.keys, rows)
    descriptors = [module.descriptor(x, length, size) for x, length in zip(tensors, lengths, strict=True)]
    blocks = -(-shape.q_len // configuration.queries)
    tiles = blocks * shape.all_heads
    head_bytes = 2 * shape.kv_len * (shape.head_dim + shape.value_dim)
    group = max(1, min(shape.all_heads, gpu.l2_bytes // 2 // head_bytes)) if shape.causal else 1
    module.kernel[(min(gpu.multiprocessors, tiles),)](
        *descriptors,
        torch.zeros(1, dtype=torch.int32, device=tensors[0].device),
        c,
        shape.heads,
        shape.all_heads,
        group,
        blocks,
        tiles,
        shape.q_len,
        shape.kv_len,
        CONSUMERS=consumers,
        BLOCK_N=configuration.keys,
        D=size,
        STAGES=configuration.stages,
        CAUSAL=shape.causal,
        SCORE=module.plain,
        num_warps=configuration.warps,
    )


_LAUNCHES = {"split_keys": _split_keys, "one_pass_hopper": _hopper}

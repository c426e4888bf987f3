"""Launches of the kernels on checked tensors [batch, heads, length, size]."""

from __future__ import annotations

import importlib
import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from einsum_cascades.extras import require
from kernels.gpu.configurations import Configuration, Gpu, Shape, width

LOG2_E = math.log2(math.e)
ROW_VALUES = 16
"""Rows start at multiples of so many values: then Triton, which knows strides as multiples of 16 or not at all, loads
16 bytes at a time, and bulk copies can read them. Where rows start at odd values, kernels that Triton 3.6 compiles for
Hopper read shared memory outside of what it allocated (compute-sanitizer, sizes 33 and 17): such rows are copied."""


@dataclass(frozen=True)
class Work:
    """What a kernel attends with.

    Attributes:
        q, k, v: tensors [batch, heads, length, size].
        out: such a tensor, written.
        factor: factor of the scores, above zero, in powers of two.
        code: what completes a skeleton of the 1-pass cascade (`kernels.gpu.code.Code`); None for the other kernels.
        args: what that reads.
        second: queries and keys of a second stream.
    """

    q: Any
    k: Any
    v: Any
    out: Any
    factor: float
    code: Any = None
    args: tuple[Any, ...] = ()
    second: tuple[Any, Any] | None = None

    def completed(self, code: Any, args: tuple[Any, ...]) -> Work:
        """Return the work with what completes its kernel."""
        return replace(self, code=code, args=args)

    @property
    def tensors(self) -> tuple[Any, Any, Any, Any]:
        """Queries, keys, values and result."""
        return self.q, self.k, self.v, self.out

    @property
    def others(self) -> tuple[Any, Any]:
        """Queries and keys of the second stream; of the first, which nothing reads, where there is none."""
        return self.second or (self.q, self.k)


def run(configuration: Configuration, shape: Shape, gpu: Gpu, work: Work) -> None:
    """Attend as a configuration says, on tensors of a shape."""
    require("gpu", "a GPU kernel")
    module = importlib.import_module(f"{__package__}.{configuration.kernel}")
    torch: Any = importlib.import_module("torch")
    with torch.cuda.device(work.q.device) if work.q.device.type == "cuda" else nullcontext():
        _LAUNCHES.get(configuration.kernel, _plain)(torch, module, configuration, shape, gpu, work)


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
        "num_warps": configuration.warps,
        "num_stages": configuration.stages,
    }
    return constants, -(-shape.q_len // configuration.queries)


def _strides(*tensors: Any) -> list[int]:
    return [stride for x in tensors for stride in x.stride()[:3]]


def _plain(torch: Any, module: Any, configuration: Configuration, shape: Shape, gpu: Gpu, work: Work) -> None:
    """One block for each tile of queries."""
    constants, blocks = _sizes(configuration, shape)
    score = importlib.import_module(f"{__package__}.tile_operations").plain
    sizes = (shape.heads, shape.q_len, shape.kv_len, blocks)
    grid = (blocks * shape.all_heads,)
    strides = _strides(*work.tensors)
    module.kernel[grid](*work.tensors, work.factor, *sizes, *strides, SCORE=score, CAUSAL=shape.causal, **constants)


def _one_pass(torch: Any, module: Any, configuration: Configuration, shape: Shape, gpu: Gpu, work: Work) -> None:
    """One block for each tile of queries."""
    constants, blocks = _sizes(configuration, shape)
    sizes = (shape.heads, shape.q_len, shape.kv_len, blocks)
    grid = (blocks * shape.all_heads,)
    strides = _strides(*work.tensors, *work.others)
    module.kernel[grid](
        *work.tensors, *work.others, work.factor, work.args, *sizes, *strides, CODE=work.code, **constants
    )


def _split_keys(torch: Any, module: Any, configuration: Configuration, shape: Shape, gpu: Gpu, work: Work) -> None:
    """One block for each tile of queries and part of the keys, then one for each row."""
    constants, blocks = _sizes(configuration, shape)
    stream = work.code.only
    splits = min(configuration.splits, -(-shape.kv_len // configuration.keys))
    q, k, v, out = work.tensors
    rows = shape.all_heads * shape.q_len
    parts = torch.empty(rows * splits * (constants["WIDTH_F"] + 2), dtype=torch.float32, device=q.device)
    sizes = (shape.heads, shape.q_len, shape.kv_len, blocks)
    grid = (blocks * splits * shape.all_heads,)
    strides = _strides(q, k, v)
    module.kernel[grid](q, k, v, parts, work.factor, work.args, *sizes, *strides, splits, STREAM=stream, **constants)
    widths = {"F": shape.value_dim, "WIDTH_F": constants["WIDTH_F"], "SPLITS": 1 << (splits - 1).bit_length()}
    module.combine[(rows,)](
        parts, out, work.factor, work.args, shape.heads, shape.q_len, shape.kv_len, *_strides(out), splits,
        STREAM=stream, BLOCK_M=configuration.queries, num_warps=4, **widths,
    )  # fmt: skip


def _hopper(torch: Any, module: Any, configuration: Configuration, shape: Shape, gpu: Gpu, work: Work) -> None:
    """One block for each multiprocessor, which takes tile after tile."""
    size = 64 if max(shape.head_dim, shape.value_dim) <= 64 else 128
    rows = int(module.ROWS.value)
    lengths = (rows, configuration.keys, configuration.keys, rows)
    pairs = zip(work.tensors, lengths, strict=True)
    q, k, v, out = (module.descriptor(x, length, size) for x, length in pairs)
    second = (q, k)
    if work.second is not None:
        second = tuple(module.descriptor(x, n, size) for x, n in zip(work.second, lengths[:2], strict=True))
    blocks = -(-shape.q_len // configuration.queries)
    tiles = blocks * shape.all_heads
    programs = min(gpu.multiprocessors, tiles)
    counter = torch.zeros(1, dtype=torch.int32, device=work.q.device)
    kept = counter.view(torch.float32)
    if work.second is not None:
        kept = torch.empty(programs * configuration.queries * size, dtype=torch.float32, device=work.q.device)
    head_bytes = 2 * shape.kv_len * (shape.head_dim + shape.value_dim)
    group = max(1, min(shape.all_heads, gpu.l2_bytes // 2 // head_bytes)) if work.code.longest_last else 1
    sizes = (shape.heads, shape.all_heads, group, blocks, tiles, shape.q_len, shape.kv_len)
    module.kernel[(programs,)](
        q, k, *second, v, out, kept, counter, work.factor, work.args, *sizes,
        CONSUMERS=configuration.queries // rows,
        BLOCK_N=configuration.keys,
        D=size,
        STAGES=configuration.stages,
        CODE=work.code,
        num_warps=configuration.warps,
    )  # fmt: skip


_LAUNCHES = {"one_pass": _one_pass, "split_keys": _split_keys, "one_pass_hopper": _hopper}

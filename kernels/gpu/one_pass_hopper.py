"""attention-1-pass on Hopper: a warp-specialised kernel with asynchronous matrix products and bulk copies.

The cascade is that of `kernels.gpu.one_pass`; this file says who does what and when. A thread block works on tiles of
``64 * CONSUMERS`` queries of one head after another. One warp (the producer) copies tiles of Q, K and V into shared
memory, ahead of their use; every group of four warps (a consumer) attends with 64 queries. Barriers in shared memory
say which slots are full and which are empty. A consumer keeps the matrix unit busy while it exponentiates:

    BQK of tile n and RNV += SLN * BV of tile n - 1 are started, in this order;
    when BQK is there, RM, PRM, SLN, SLD of tile n are computed while the second product runs;
    when that is there, RNV is corrected by PRM.

Consumers drift apart by themselves, so that one's exponentials run beside another's products. Which tile a block takes
next is decided by a counter in memory (blocks take tiles as they become free), from the longest tile to the shortest
within a group of heads whose keys and values fit in the L2 cache.

Source: J. Shah, G. Bikshandi, Y. Zhang, V. Thakkar, P. Ramani, T. Dao, "FlashAttention-3: Fast and Accurate Attention
with Asynchrony and Low-precision", NeurIPS 2024, algorithms 1 and 2; Nayak et al., "FuseMax", MICRO 2024, cascade 5.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

from typing import Any

from triton.experimental import gluon  # type: ignore[import-not-found, import-untyped, unused-ignore]
from triton.experimental.gluon import language as gl  # type: ignore[import-not-found, import-untyped, unused-ignore]
from triton.experimental.gluon.language.nvidia.hopper import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor  # type: ignore[import-not-found, import-untyped, unused-ignore]

ROWS: gl.constexpr = gl.constexpr(64)
"""Queries of one consumer: the rows of one matrix instruction of four warps."""
FLOOR: gl.constexpr = gl.constexpr(-1.0e30)
"""The least running maximum: finite, so that a masked score minus it is minus infinity and not NaN."""


def descriptor(x: Any, length: int, size: int) -> Any:
    """Return the descriptor by which boxes of ``length`` rows, padded to ``size`` values, of a tensor are copied.

    Args:
        x: tensor [batch, heads, length, size] whose strides but the last are multiples of 16 bytes.
        length: rows of a box.
        size: 64 or 128.
    """
    row = -(-x.shape[-1] // 8) * 8
    strides = [stride if n > 1 else row for stride, n in zip(x.stride()[:-1], x.shape[:-1], strict=True)]
    layout = gl.NVMMASharedLayout(128, 16, rank=4)
    return TensorDescriptor(x, list(x.shape), [*strides, 1], [1, 1, length, size], layout)


@gluon.jit
def plain(scores, queries, keys, head):
    """Return scores as they are: the place where elementwise code on a tile of scores is put.

    Args:
        scores: products of queries and keys, unscaled, [ROWS, BLOCK_N].
        queries: their positions, [ROWS].
        keys: their positions, [BLOCK_N].
        head: number of the batch entry and head.
    """
    return scores


@gluon.jit
def _place(tile, sizes, CAUSAL: gl.constexpr):
    """Return the query block, the batch entry and the head of a tile: the longest first within a group of heads."""
    heads, all_heads, group, query_blocks = sizes[0], sizes[1], sizes[2], sizes[3]
    section = tile // (group * query_blocks)
    within = tile % (group * query_blocks)
    members = gl.minimum(group, all_heads - section * group)
    block = within // members
    if CAUSAL:
        block = query_blocks - 1 - block
    head = section * group + within % members
    return block, head // heads, head % heads


@gluon.jit
def _key_tiles(block, sizes, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr, CAUSAL: gl.constexpr):
    """Return how many tiles of keys a query block sees, at least one."""
    q_len, kv_len = sizes[5], sizes[6]
    count = gl.cdiv(kv_len, BLOCK_N)
    if CAUSAL:
        seen = (block + 1) * BLOCK_M + kv_len - q_len
        count = gl.maximum(gl.minimum(count, gl.cdiv(seen, BLOCK_N)), 1)
    return count


@gluon.jit
def _copy(descriptor, place, slot, barrier, LENGTH: gl.constexpr, D: gl.constexpr):
    """Start to copy ``LENGTH`` rows of a head, zeros past its end, to shared memory."""
    mbarrier.expect(barrier, LENGTH * D * 2)
    box = slot._reinterpret(slot.dtype, [1, 1, LENGTH, D], descriptor.layout)
    tma.async_copy_global_to_shared(descriptor, place, barrier, box)


@gluon.jit
def _produce(
    inputs,
    buffers,
    barriers,
    schedule,
    sizes,
    CONSUMERS: gl.constexpr,
    BLOCK_N: gl.constexpr,
    D: gl.constexpr,
    STAGES: gl.constexpr,
    CAUSAL: gl.constexpr,
):
    """Copy queries, keys and values of tile after tile, and tell the consumers which tile comes next."""
    q_desc, k_desc, v_desc = inputs
    q_slots, k_slots, v_slots = buffers[0], buffers[1], buffers[2]
    q_full, q_empty, k_full, k_empty, v_full, v_empty = barriers
    counter, next_slots, next_full, next_empty = schedule
    tiles = sizes[4]
    blocks = gl.num_programs(0)
    one: gl.constexpr = gl.BlockedLayout([1], [32], [gl.num_warps()], [0])
    tile = gl.program_id(0)
    turn = 0
    count = 0
    while tile < tiles:
        next_tile = blocks + gl.atomic_add(counter, 1)
        mbarrier.wait(next_empty.index(turn % 2), ((turn // 2) & 1) ^ 1)
        next_slots.index(turn % 2).store(gl.full([1], 0, gl.int32, one) + next_tile)
        mbarrier.arrive(next_full.index(turn % 2), count=1)
        block, batch, head = _place(tile, sizes, CAUSAL)
        for n in range(_key_tiles(block, sizes, CONSUMERS * ROWS, BLOCK_N, CAUSAL)):
            slot = count % STAGES
            phase = ((count // STAGES) & 1) ^ 1
            mbarrier.wait(k_empty.index(slot), phase)
            _copy(k_desc, [batch, head, n * BLOCK_N, 0], k_slots.index(slot), k_full.index(slot), BLOCK_N, D)
            if n == 0:
                for w in gl.static_range(CONSUMERS):
                    row = (block * CONSUMERS + w) * ROWS
                    mbarrier.wait(q_empty.index(w), (turn & 1) ^ 1)
                    _copy(q_desc, [batch, head, row, 0], q_slots.index(w), q_full.index(w), ROWS, D)
            mbarrier.wait(v_empty.index(slot), phase)
            _copy(v_desc, [batch, head, n * BLOCK_N, 0], v_slots.index(slot), v_full.index(slot), BLOCK_N, D)
            count += 1
        tile = next_tile
        turn += 1


@gluon.jit
def _mask(scores, queries, keys, sizes, CAUSAL: gl.constexpr):
    """Put minus infinity where a key is past the end or, if causal, not seen."""
    q_len, kv_len = sizes[5], sizes[6]
    keep = (keys < kv_len)[None, :]
    if CAUSAL:
        keep = keep & (keys[None, :] <= queries[:, None] + (kv_len - q_len))
    return gl.where(keep, scores, -float("inf"))


@gluon.jit
def _sweep(
    first,
    last,
    count,
    q,
    running,
    buffers,
    barriers,
    queries,
    head,
    c,
    sizes,
    SCORE: gl.constexpr,
    MASK: gl.constexpr,
    CAUSAL: gl.constexpr,
    BLOCK_N: gl.constexpr,
    STAGES: gl.constexpr,
    S: gl.constexpr,
    A: gl.constexpr,
):
    """Run key tiles ``first <= n < last`` with one consumer; SLN of the tile before is in ``running``."""
    k_slots, v_slots = buffers[1], buffers[2]
    k_full, k_empty, v_full, v_empty = barriers[2], barriers[3], barriers[4], barriers[5]
    sln, rm, rd, rnv = running
    for n in range(first, last):
        slot = (count + n) % STAGES
        phase = ((count + n) // STAGES) & 1
        before = (count + n - 1) % STAGES
        mbarrier.wait(k_full.index(slot), phase)
        zero = gl.zeros([ROWS, BLOCK_N], gl.float32, S)
        bqk_token = warpgroup_mma(q, k_slots.index(slot).permute((1, 0)), zero, use_acc=False, is_async=True)
        rnv_token = warpgroup_mma(sln, v_slots.index(before), rnv, is_async=True)
        bqk = warpgroup_mma_wait(1, deps=[bqk_token])
        mbarrier.arrive(k_empty.index(slot), count=1)
        keys = n * BLOCK_N + gl.arange(0, BLOCK_N, gl.SliceLayout(0, S))
        bqk = SCORE(bqk, queries, keys, head)
        if MASK:
            bqk = _mask(bqk, queries, keys, sizes, CAUSAL)
        rm_next = gl.maximum(rm, gl.max(bqk, 1))
        prm = gl.exp2((rm - rm_next) * c)
        sln32 = gl.exp2(bqk * c - (rm_next * c)[:, None])
        rd = rd * prm + gl.sum(sln32, 1)
        rm = rm_next
        # This wait ends a basic block: without it the compiler moves the exponentials behind the second product.
        mbarrier.wait(v_full.index(slot), phase)
        rnv, read, sln32 = warpgroup_mma_wait(0, deps=[rnv_token, sln, sln32])
        mbarrier.arrive(v_empty.index(before), count=1)
        rnv = rnv * gl.convert_layout(prm, gl.SliceLayout(1, rnv.type.layout))[:, None]
        sln = gl.convert_layout(sln32.to(q.dtype), A)
    return sln, rm, rd, rnv


@gluon.jit
def _consume(
    w,
    out_desc,
    buffers,
    barriers,
    schedule,
    sizes,
    c,
    CONSUMERS: gl.constexpr,
    BLOCK_N: gl.constexpr,
    D: gl.constexpr,
    STAGES: gl.constexpr,
    CAUSAL: gl.constexpr,
    SCORE: gl.constexpr,
):
    """Attend with the 64 queries of consumer ``w`` of tile after tile."""
    q_slots, k_slots, v_slots, out_slots = buffers
    q_full, q_empty, k_full, k_empty, v_full, v_empty = barriers
    next_slots, next_full, next_empty = schedule[1], schedule[2], schedule[3]
    heads, tiles, q_len, kv_len = sizes[0], sizes[4], sizes[5], sizes[6]
    S: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    O: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    A: gl.constexpr = gl.DotOperandLayout(0, O, 2)
    one: gl.constexpr = gl.BlockedLayout([1], [32], [4], [0])
    q = q_slots.index(w)
    tile = gl.program_id(0)
    turn = 0
    count = 0
    while tile < tiles:
        block, batch, head = _place(tile, sizes, CAUSAL)
        n_tiles = _key_tiles(block, sizes, CONSUMERS * ROWS, BLOCK_N, CAUSAL)
        row = (block * CONSUMERS + w) * ROWS
        full = kv_len // BLOCK_N
        if CAUSAL:
            full = gl.minimum(full, gl.maximum(row + kv_len - q_len + 1, 0) // BLOCK_N)
        queries = row + gl.arange(0, ROWS, gl.SliceLayout(1, S))
        keys = gl.arange(0, BLOCK_N, gl.SliceLayout(0, S))
        number = batch * heads + head

        mbarrier.wait(q_full.index(w), turn & 1)
        slot = count % STAGES
        phase = (count // STAGES) & 1
        mbarrier.wait(k_full.index(slot), phase)
        zero = gl.zeros([ROWS, BLOCK_N], gl.float32, S)
        token = warpgroup_mma(q, k_slots.index(slot).permute((1, 0)), zero, use_acc=False, is_async=True)
        bqk = warpgroup_mma_wait(0, deps=[token])
        mbarrier.arrive(k_empty.index(slot), count=1)
        bqk = SCORE(bqk, queries, keys, number)
        if full < 1:
            bqk = _mask(bqk, queries, keys, sizes, CAUSAL)
        rm = gl.maximum(gl.max(bqk, 1), FLOOR)
        sln32 = gl.exp2(bqk * c - (rm * c)[:, None])
        rd = gl.sum(sln32, 1)
        sln = gl.convert_layout(sln32.to(q.dtype), A)
        rnv = gl.zeros([ROWS, D], gl.float32, O)
        mbarrier.wait(v_full.index(slot), phase)

        full = gl.maximum(gl.minimum(full, n_tiles), 1)
        running = (sln, rm, rd, rnv)
        running = _sweep(
            1, full, count, q, running, buffers, barriers, queries, number, c, sizes,
            SCORE, False, CAUSAL, BLOCK_N, STAGES, S, A,
        )  # fmt: skip
        running = _sweep(
            full, n_tiles, count, q, running, buffers, barriers, queries, number, c, sizes,
            SCORE, True, CAUSAL, BLOCK_N, STAGES, S, A,
        )  # fmt: skip
        sln, rm, rd, rnv = running

        mbarrier.arrive(q_empty.index(w), count=1)
        count += n_tiles
        slot = (count - 1) % STAGES
        token = warpgroup_mma(sln, v_slots.index(slot), rnv, is_async=True)
        factor = gl.where(rd > 0.0, 1.0 / rd, 0.0)
        rnv, read = warpgroup_mma_wait(0, deps=[token, sln])
        mbarrier.arrive(v_empty.index(slot), count=1)
        av = rnv * gl.convert_layout(factor, gl.SliceLayout(1, O))[:, None]
        tma.store_wait(0)
        out_slots.index(w).store(av.to(q.dtype))
        fence_async_shared()
        box = out_slots.index(w)._reinterpret(q.dtype, [1, 1, ROWS, D], out_desc.layout)
        tma.async_copy_shared_to_global(out_desc, [batch, head, row, 0], box)

        mbarrier.wait(next_full.index(turn % 2), (turn // 2) & 1)
        tile = gl.max(next_slots.index(turn % 2).load(one), 0)
        mbarrier.arrive(next_empty.index(turn % 2), count=1)
        turn += 1
    tma.store_wait(0)


@gluon.jit
def _consume_0(out_desc, buffers, barriers, schedule, sizes, c, CONSUMERS: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr, STAGES: gl.constexpr, CAUSAL: gl.constexpr, SCORE: gl.constexpr):  # fmt: skip
    _consume(0, out_desc, buffers, barriers, schedule, sizes, c, CONSUMERS, BLOCK_N, D, STAGES, CAUSAL, SCORE)


@gluon.jit
def _consume_1(out_desc, buffers, barriers, schedule, sizes, c, CONSUMERS: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr, STAGES: gl.constexpr, CAUSAL: gl.constexpr, SCORE: gl.constexpr):  # fmt: skip
    _consume(1, out_desc, buffers, barriers, schedule, sizes, c, CONSUMERS, BLOCK_N, D, STAGES, CAUSAL, SCORE)


@gluon.jit
def _barriers(NUMBER: gl.constexpr, COUNT: gl.constexpr):
    """Return barriers in shared memory, each complete after ``COUNT`` arrivals."""
    barriers = gl.allocate_shared_memory(gl.int64, [NUMBER, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(NUMBER):
        mbarrier.init(barriers.index(i), count=COUNT)
    return barriers


@gluon.jit
def kernel(
    q_desc,
    k_desc,
    v_desc,
    out_desc,
    counter,
    c,
    heads,
    all_heads,
    group,
    query_blocks,
    tiles,
    q_len,
    kv_len,
    CONSUMERS: gl.constexpr,
    BLOCK_N: gl.constexpr,
    D: gl.constexpr,
    STAGES: gl.constexpr,
    CAUSAL: gl.constexpr,
    SCORE: gl.constexpr,
    num_warps: gl.constexpr,
):
    """Attend with all heads.

    Args:
        q_desc, k_desc, v_desc, out_desc: descriptors of [batch, heads, length, size] tensors, boxes [1, 1, 64 or BLOCK_N, D].
        counter: int32 zero: how many tiles were taken beyond the first of each block.
        c: factor of the scores times log2(e), above zero.
        heads, all_heads: H and B * H.
        group: heads whose tiles are taken side by side.
        query_blocks, tiles: tiles of queries of a head, and of all.
        q_len, kv_len: P and M.
        SCORE: elementwise function of a tile of scores, such as `plain`.
    """
    dtype: gl.constexpr = q_desc.dtype
    layout: gl.constexpr = gl.NVMMASharedLayout(128, 16, rank=2)
    q_slots = gl.allocate_shared_memory(dtype, [CONSUMERS, ROWS, D], layout)
    out_slots = gl.allocate_shared_memory(dtype, [CONSUMERS, ROWS, D], layout)
    k_slots = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_N, D], layout)
    v_slots = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_N, D], layout)
    next_slots = gl.allocate_shared_memory(gl.int32, [2, 1], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    buffers = (q_slots, k_slots, v_slots, out_slots)
    barriers = (
        _barriers(CONSUMERS, 1),
        _barriers(CONSUMERS, 1),
        _barriers(STAGES, 1),
        _barriers(STAGES, CONSUMERS),
        _barriers(STAGES, 1),
        _barriers(STAGES, CONSUMERS),
    )
    schedule = (counter, next_slots, _barriers(2, 1), _barriers(2, CONSUMERS))
    sizes = (heads, all_heads, group, query_blocks, tiles, q_len, kv_len)
    inputs = (q_desc, k_desc, v_desc)
    gl.warp_specialize(
        [
            (
                _consume_0,
                (out_desc, buffers, barriers, schedule, sizes, c, CONSUMERS, BLOCK_N, D, STAGES, CAUSAL, SCORE),
            ),
            (
                _consume_1,
                (out_desc, buffers, barriers, schedule, sizes, c, CONSUMERS, BLOCK_N, D, STAGES, CAUSAL, SCORE),
            ),
            (_produce, (inputs, buffers, barriers, schedule, sizes, CONSUMERS, BLOCK_N, D, STAGES, CAUSAL)),
        ],
        [4, 1],
        [240, 24],
    )

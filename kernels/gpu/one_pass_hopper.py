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
_BOX = gl.NVMMASharedLayout(128, 16, rank=4)


def descriptor(x: Any, length: int, size: int) -> Any:
    """Return the descriptor by which boxes of ``length`` rows, padded to ``size`` values, of a tensor are copied.

    Args:
        x: tensor [batch, heads, length, size] whose strides but the last are multiples of 16 bytes.
        length: rows of a box.
        size: 64 or 128.
    """
    row = -(-x.shape[-1] // 8) * 8
    strides = [stride if n > 1 else row for stride, n in zip(x.stride()[:-1], x.shape[:-1], strict=True)]
    return TensorDescriptor(x, list(x.shape), [*strides, 1], [1, 1, length, size], _BOX)


@gluon.jit
def _place(tile, sizes, CODE: gl.constexpr):
    """Return the query block, the batch entry and the head of a tile: the longest first within a group of heads."""
    heads, all_heads, group, query_blocks = sizes[0], sizes[1], sizes[2], sizes[3]
    section = tile // (group * query_blocks)
    within = tile % (group * query_blocks)
    members = gl.minimum(group, all_heads - section * group)
    block = within // members
    if CODE.longest_last:
        block = query_blocks - 1 - block
    head = section * group + within % members
    return block, head // heads, head % heads


@gluon.jit
def _key_tiles(block, sizes, args, STREAM: gl.constexpr, BLOCK_M: gl.constexpr, BLOCK_N: gl.constexpr):
    """Return the first tile of keys that a query block sees and how many there are from it on, at least one."""
    low, high, every_low, every_high = STREAM.span(block * BLOCK_M, (block + 1) * BLOCK_M - 1, sizes[5], sizes[6], args)
    first = low // BLOCK_N
    return first, gl.maximum(gl.cdiv(high, BLOCK_N) - first, 1)


@gluon.jit
def _copy(descriptor, place, slot, barrier, LENGTH: gl.constexpr, D: gl.constexpr):
    """Start to copy ``LENGTH`` rows of a head, zeros past its end, to shared memory."""
    mbarrier.expect(barrier, LENGTH * D * 2)
    box = slot._reinterpret(slot.dtype, [1, 1, LENGTH, D], descriptor.layout)
    tma.async_copy_global_to_shared(descriptor, place, barrier, box)


@gluon.jit
def _produce(
    inputs, buffers, barriers, schedule, sizes, args, CONSUMERS: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr,
    STAGES: gl.constexpr, CODE: gl.constexpr,
):  # fmt: skip
    """Copy queries, keys and values of tile after tile, and tell the consumers which tile comes next."""
    q_descs, k_descs, v_desc = inputs
    q_slots, k_slots, v_slots = buffers[0], buffers[1], buffers[2]
    q_full, q_empty, k_full, k_empty, v_full, v_empty = barriers
    counter, next_slots, next_full, next_empty = schedule
    COUNT: gl.constexpr = CODE.count
    tiles = sizes[4]
    blocks = gl.num_programs(0)
    one: gl.constexpr = gl.BlockedLayout([1], [32], [gl.num_warps()], [0])
    tile = gl.program_id(0)
    turn = 0
    q_turn = 0
    count = 0
    while tile < tiles:
        next_tile = blocks + gl.atomic_add(counter, 1)
        mbarrier.wait(next_empty.index(turn % 2), ((turn // 2) & 1) ^ 1)
        next_slots.index(turn % 2).store(gl.full([1], 0, gl.int32, one) + next_tile)
        mbarrier.arrive(next_full.index(turn % 2), count=1)
        block, batch, head = _place(tile, sizes, CODE)
        for stream in gl.static_range(COUNT):
            first, n_tiles = _key_tiles(block, sizes, args, CODE.streams[stream], CONSUMERS * ROWS, BLOCK_N)
            for n in range(first, first + n_tiles):
                slot = count % STAGES
                phase = ((count // STAGES) & 1) ^ 1
                mbarrier.wait(k_empty.index(slot), phase)
                key_place = [batch, head, n * BLOCK_N, 0]
                _copy(k_descs[stream], key_place, k_slots.index(slot), k_full.index(slot), BLOCK_N, D)
                if n == first:
                    for w in gl.static_range(CONSUMERS):
                        row = (block * CONSUMERS + w) * ROWS
                        mbarrier.wait(q_empty.index(w), (q_turn & 1) ^ 1)
                        _copy(q_descs[stream], [batch, head, row, 0], q_slots.index(w), q_full.index(w), ROWS, D)
                mbarrier.wait(v_empty.index(slot), phase)
                _copy(v_desc, key_place, v_slots.index(slot), v_full.index(slot), BLOCK_N, D)
                count += 1
            q_turn += 1
        tile = next_tile
        turn += 1


@gluon.jit
def _scored(
    products, queries, n, values, sizes,
    STREAM: gl.constexpr, MASK: gl.constexpr, BLOCK_N: gl.constexpr, S: gl.constexpr,
):  # fmt: skip
    """Return the scores of tile ``n``, or its weights; with ``MASK`` those of keys past the end or not seen are none."""
    start = n * BLOCK_N
    offsets = gl.arange(0, BLOCK_N, gl.SliceLayout(0, S))
    scores = STREAM.score(products, queries, start, offsets, values, sizes[6])
    if MASK:
        keep = (start + offsets < sizes[6])[None, :]
        if STREAM.hides:
            keep = keep & STREAM.visible(queries, start, offsets, values, sizes[6])
        hidden: gl.constexpr = -float("inf") if STREAM.softmax else 0.0
        scores = gl.where(keep, scores, hidden)
    return scores


@gluon.jit
def _weights(scores, rm, rd, c, STREAM: gl.constexpr):
    """Return SLN of a tile, the new RM and RD, and the factor PRM that corrects what came before."""
    prm = rd
    weights = scores
    if STREAM.softmax:
        rm_next = gl.maximum(rm, gl.max(scores, 1))
        prm = gl.exp2((rm - rm_next) * c)
        weights = gl.exp2(scores * c - (rm_next * c)[:, None])
        rd = rd * prm + gl.sum(weights, 1)
        rm = rm_next
    elif STREAM.divides:
        rd = rd + gl.sum(weights, 1)
    return weights, rm, rd, prm


@gluon.jit
def _sweep(
    first, last, count, q, running, buffers, barriers, queries, values, c, sizes, STREAM: gl.constexpr,
    MASK: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr, S: gl.constexpr, A: gl.constexpr,
):  # fmt: skip
    """Run key tiles ``first <= n < last`` with one consumer; SLN of the tile before is in ``running``.

    Tile n lies in slot ``(count + n) % STAGES``.
    """
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
        bqk = _scored(bqk, queries, n, values, sizes, STREAM, MASK, BLOCK_N, S)
        sln32, rm, rd, prm = _weights(bqk, rm, rd, c, STREAM)
        # This wait ends a basic block: without it the compiler moves the exponentials behind the second product.
        mbarrier.wait(v_full.index(slot), phase)
        rnv, read, sln32 = warpgroup_mma_wait(0, deps=[rnv_token, sln, sln32])
        mbarrier.arrive(v_empty.index(before), count=1)
        if STREAM.softmax:
            rnv = rnv * gl.convert_layout(prm, gl.SliceLayout(1, rnv.type.layout))[:, None]
        sln = gl.convert_layout(sln32.to(q.dtype), A)
    return sln, rm, rd, rnv


@gluon.jit
def _attend(
    w, row, tiles_of, count, q_turn, values, buffers, barriers, sizes, args, c, BLOCK_N: gl.constexpr,
    D: gl.constexpr, STAGES: gl.constexpr, STREAM: gl.constexpr, S: gl.constexpr, O: gl.constexpr, A: gl.constexpr,
):  # fmt: skip
    """Return AV of the 64 queries from ``row`` on, computed with one stream of keys; the next K slot is ``count``."""
    q_slots, k_slots, v_slots = buffers[0], buffers[1], buffers[2]
    q_full, q_empty, k_full, k_empty, v_full, v_empty = barriers
    first, n_tiles = tiles_of
    end = first + n_tiles
    low, high, every_low, every_high = STREAM.span(row, row + ROWS - 1, sizes[5], sizes[6], args)
    full = every_high // BLOCK_N
    queries = row + gl.arange(0, ROWS, gl.SliceLayout(1, S))
    q = q_slots.index(w)

    mbarrier.wait(q_full.index(w), q_turn & 1)
    slot = count % STAGES
    phase = (count // STAGES) & 1
    mbarrier.wait(k_full.index(slot), phase)
    zero = gl.zeros([ROWS, BLOCK_N], gl.float32, S)
    token = warpgroup_mma(q, k_slots.index(slot).permute((1, 0)), zero, use_acc=False, is_async=True)
    bqk = warpgroup_mma_wait(0, deps=[token])
    mbarrier.arrive(k_empty.index(slot), count=1)
    masked = full < first + 1
    if STREAM.lower:
        masked = masked | (every_low > first * BLOCK_N)
    if masked:
        bqk = _scored(bqk, queries, first, values, sizes, STREAM, True, BLOCK_N, S)
    else:
        bqk = _scored(bqk, queries, first, values, sizes, STREAM, False, BLOCK_N, S)
    rm = gl.full([ROWS], FLOOR, gl.float32, gl.SliceLayout(1, S))
    rd = gl.full([ROWS], 0.0, gl.float32, gl.SliceLayout(1, S))
    if STREAM.softmax:
        rm = gl.maximum(gl.max(bqk, 1), FLOOR)
        bqk = gl.exp2(bqk * c - (rm * c)[:, None])
    if STREAM.divides:
        rd = gl.sum(bqk, 1)
    sln = gl.convert_layout(bqk.to(q.dtype), A)
    rnv = gl.zeros([ROWS, D], gl.float32, O)
    mbarrier.wait(v_full.index(slot), phase)

    running = (sln, rm, rd, rnv)
    begin = first + 1
    if STREAM.lower:
        begin = gl.maximum(gl.minimum(gl.cdiv(every_low, BLOCK_N), end), first + 1)
        running = _sweep(
            first + 1, begin, count - first, q, running, buffers, barriers, queries, values, c, sizes,
            STREAM, True, BLOCK_N, STAGES, S, A,
        )  # fmt: skip
    full = gl.maximum(gl.minimum(full, end), begin)
    running = _sweep(
        begin, full, count - first, q, running, buffers, barriers, queries, values, c, sizes,
        STREAM, False, BLOCK_N, STAGES, S, A,
    )  # fmt: skip
    running = _sweep(
        full, end, count - first, q, running, buffers, barriers, queries, values, c, sizes,
        STREAM, True, BLOCK_N, STAGES, S, A,
    )  # fmt: skip
    sln, rm, rd, rnv = running

    mbarrier.arrive(q_empty.index(w), count=1)
    slot = (count + n_tiles - 1) % STAGES
    token = warpgroup_mma(sln, v_slots.index(slot), rnv, is_async=True)
    factor = STREAM.factor(rm * c, rd, queries, values, sizes[6])
    rnv, read = warpgroup_mma_wait(0, deps=[token, sln])
    mbarrier.arrive(v_empty.index(slot), count=1)
    return rnv * gl.convert_layout(factor, gl.SliceLayout(1, O))[:, None]


@gluon.jit
def _consume(
    w, out_desc, kept, buffers, barriers, schedule, sizes, args, c, CONSUMERS: gl.constexpr, BLOCK_N: gl.constexpr,
    D: gl.constexpr, STAGES: gl.constexpr, CODE: gl.constexpr,
):  # fmt: skip
    """Attend with the 64 queries of consumer ``w`` of tile after tile, with one stream of keys after another.

    What the first stream gives is kept in memory, where the same threads read it back.
    """
    out_slots = buffers[3]
    next_slots, next_full, next_empty = schedule[1], schedule[2], schedule[3]
    COUNT: gl.constexpr = CODE.count
    dtype: gl.constexpr = out_slots.dtype
    tiles = sizes[4]
    S: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    O: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    A: gl.constexpr = gl.DotOperandLayout(0, O, 2)
    one: gl.constexpr = gl.BlockedLayout([1], [32], [4], [0])
    place = (gl.program_id(0) * CONSUMERS + w) * ROWS + gl.arange(0, ROWS, gl.SliceLayout(1, O))
    places = kept + place[:, None] * D + gl.arange(0, D, gl.SliceLayout(0, O))[None, :]
    tile = gl.program_id(0)
    turn = 0
    q_turn = 0
    count = 0
    while tile < tiles:
        block, batch, head = _place(tile, sizes, CODE)
        row = (block * CONSUMERS + w) * ROWS
        for stream in gl.static_range(COUNT):
            tiles_of = _key_tiles(block, sizes, args, CODE.streams[stream], CONSUMERS * ROWS, BLOCK_N)
            values = CODE.streams[stream].prepare(args, batch, head, row)
            av = _attend(
                w, row, tiles_of, count, q_turn, values, buffers, barriers, sizes, args, c,
                BLOCK_N, D, STAGES, CODE.streams[stream], S, O, A,
            )  # fmt: skip
            count += tiles_of[1]
            q_turn += 1
            if stream > 0:
                av += gl.load(places)
            if stream + 1 < COUNT:
                gl.store(places, av)
            else:
                tma.store_wait(0)
                out_slots.index(w).store(av.to(dtype))
                fence_async_shared()
                box = out_slots.index(w)._reinterpret(dtype, [1, 1, ROWS, D], out_desc.layout)
                tma.async_copy_shared_to_global(out_desc, [batch, head, row, 0], box)

        mbarrier.wait(next_full.index(turn % 2), (turn // 2) & 1)
        tile = gl.max(next_slots.index(turn % 2).load(one), 0)
        mbarrier.arrive(next_empty.index(turn % 2), count=1)
        turn += 1
    tma.store_wait(0)


@gluon.jit
def _consume_0(out_desc, kept, buffers, barriers, schedule, sizes, args, c, CONSUMERS: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr, STAGES: gl.constexpr, CODE: gl.constexpr):  # fmt: skip
    _consume(0, out_desc, kept, buffers, barriers, schedule, sizes, args, c, CONSUMERS, BLOCK_N, D, STAGES, CODE)


@gluon.jit
def _consume_1(out_desc, kept, buffers, barriers, schedule, sizes, args, c, CONSUMERS: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr, STAGES: gl.constexpr, CODE: gl.constexpr):  # fmt: skip
    _consume(1, out_desc, kept, buffers, barriers, schedule, sizes, args, c, CONSUMERS, BLOCK_N, D, STAGES, CODE)


@gluon.jit
def _barriers(NUMBER: gl.constexpr, COUNT: gl.constexpr):
    """Return barriers in shared memory, each complete after ``COUNT`` arrivals."""
    barriers = gl.allocate_shared_memory(gl.int64, [NUMBER, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(NUMBER):
        mbarrier.init(barriers.index(i), count=COUNT)
    return barriers


@gluon.jit
def kernel(
    q_desc, k_desc, second_q_desc, second_k_desc, v_desc, out_desc, kept, counter, c, args, heads, all_heads, group,
    query_blocks, tiles, q_len, kv_len, CONSUMERS: gl.constexpr, BLOCK_N: gl.constexpr, D: gl.constexpr,
    STAGES: gl.constexpr, CODE: gl.constexpr, num_warps: gl.constexpr,
):  # fmt: skip
    """Attend with all heads.

    Args:
        q_desc, k_desc, v_desc, out_desc: descriptors of [batch, heads, length, size] tensors, boxes [1, 1, 64 or BLOCK_N, D].
        second_q_desc, second_k_desc: those of a second stream, or the first again.
        kept: float32 [programs, CONSUMERS, 64, D], for what the first of two streams gives.
        counter: int32 zero: how many tiles were taken beyond the first of each block.
        c: factor of the scores times log2(e), above zero.
        args: what ``CODE`` reads.
        heads, all_heads: H and B * H.
        group: heads whose tiles are taken side by side.
        query_blocks, tiles: tiles of queries of a head, and of all.
        q_len, kv_len: P and M.
        CODE: what is done to a tile of scores (`kernels.gpu.code.Code`).
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
    inputs = ((q_desc, second_q_desc), (k_desc, second_k_desc), v_desc)
    gl.warp_specialize(
        [
            (
                _consume_0,
                (out_desc, kept, buffers, barriers, schedule, sizes, args, c, CONSUMERS, BLOCK_N, D, STAGES, CODE),
            ),
            (
                _consume_1,
                (out_desc, kept, buffers, barriers, schedule, sizes, args, c, CONSUMERS, BLOCK_N, D, STAGES, CODE),
            ),
            (_produce, (inputs, buffers, barriers, schedule, sizes, args, CONSUMERS, BLOCK_N, D, STAGES, CODE)),
        ],
        [4, 1],
        [240, 24],
    )

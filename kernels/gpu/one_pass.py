"""attention-1-pass: running maximum, denominator and numerator, in one pass over the keys; for any GPU.

Per tile of keys: BQK, LM, RM, PRM, SLN and SLD, then the running RD and RNV are corrected by PRM and added to. Nothing
is kept that grows with the number of keys. Exponentials are powers of two of scores times ``c = scale * log2(e)``.

Source: T. Dao, "FlashAttention-2", ICLR 2024, algorithm 1; Nayak et al., "FuseMax", MICRO 2024, cascade 5.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

from kernels.gpu.tile_operations import FLOOR, key_tiles, load, scored, start_of, store


@triton.jit
def sweep(
    first, last, running, q, k, v, k_row, v_row, queries, values, c, kv_len,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr, BLOCK_N: tl.constexpr,
    STREAM: tl.constexpr, MASK: tl.constexpr,
):  # fmt: skip
    """Run the key tiles that start at ``first`` to below ``last``; return RM, RD and RNV."""
    rm, rd, rnv = running
    for start in tl.range(first, last, BLOCK_N):
        bk = load(k, k_row, start, kv_len, E, WIDTH_E, BLOCK_N, MASK)
        sln = scored(q, bk, queries, start, values, kv_len, STREAM, MASK, BLOCK_N)
        if STREAM.softmax:
            rm_next = tl.maximum(rm, tl.max(sln, 1))
            prm = tl.exp2((rm - rm_next) * c)
            sln = tl.exp2(sln * c - (rm_next * c)[:, None])
            rd = rd * prm + tl.sum(sln, 1)
            rnv = rnv * prm[:, None]
            rm = rm_next
        elif STREAM.divides:
            rd += tl.sum(sln, 1)
        bv = load(v, v_row, start, kv_len, F, WIDTH_F, BLOCK_N, MASK)
        rnv = tl.dot(sln.to(bv.dtype), bv, rnv)
    return rm, rd, rnv


@triton.jit
def sweeps(
    begin, full, full_end, end, q, k, v, k_row, v_row, queries, values, c, kv_len,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, STREAM: tl.constexpr,
):  # fmt: skip
    """Run the key tiles from ``begin`` to below ``end``, masked where not from ``full`` to below ``full_end``."""
    rm = tl.full([BLOCK_M], FLOOR, tl.float32)
    rd = tl.zeros([BLOCK_M], tl.float32)
    rnv = tl.zeros([BLOCK_M, WIDTH_F], tl.float32)
    running = (rm, rd, rnv)
    if STREAM.lower:
        running = sweep(
            begin, full, running, q, k, v, k_row, v_row, queries, values, c, kv_len,
            E, F, WIDTH_E, WIDTH_F, BLOCK_N, STREAM, True,
        )  # fmt: skip
        begin = full
    running = sweep(
        begin, full_end, running, q, k, v, k_row, v_row, queries, values, c, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_N, STREAM, False,
    )  # fmt: skip
    return sweep(
        full_end, end, running, q, k, v, k_row, v_row, queries, values, c, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_N, STREAM, True,
    )  # fmt: skip


@triton.jit
def _attend(
    q, k, v, q_row, k_row, v_row, block, values, c, q_len, kv_len, args,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, STREAM: tl.constexpr,
):  # fmt: skip
    """Return AV of a block of queries, computed with one stream of keys."""
    queries = block * BLOCK_M + tl.arange(0, BLOCK_M)
    tile_q = load(q, q_row, block * BLOCK_M, q_len, E, WIDTH_E, BLOCK_M, True)
    begin, full, full_end, end = key_tiles(block, q_len, kv_len, args, STREAM, BLOCK_M, BLOCK_N)
    rm, rd, rnv = sweeps(
        begin, full, full_end, end, tile_q, k, v, k_row, v_row, queries, values, c, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_M, BLOCK_N, STREAM,
    )  # fmt: skip
    return rnv * STREAM.factor(rm * c, rd, queries, values, kv_len)[:, None]


@triton.jit
def kernel(
    q, k, v, out, second_q, second_k, c, args, heads, q_len, kv_len, query_blocks,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, out_batch, out_head, out_row,
    second_q_batch, second_q_head, second_q_row, second_k_batch, second_k_head, second_k_row,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, CODE: tl.constexpr,
):  # fmt: skip
    """Attend with one tile of queries of one head, the longest first; strides are in values, of [batch, head, row].

    The second queries and keys are read where ``CODE`` (`kernels.gpu.code.Code`, which reads ``args``) has two streams.
    """
    COUNT: tl.constexpr = CODE.count
    tile = tl.program_id(0)
    block = query_blocks - 1 - tile % query_blocks
    head = tile // query_blocks
    q += start_of(head, heads, q_batch, q_head)
    k += start_of(head, heads, k_batch, k_head)
    v += start_of(head, heads, v_batch, v_head)
    out += start_of(head, heads, out_batch, out_head)
    values = CODE.streams[0].prepare(args, head // heads, head % heads, block * BLOCK_M)
    av = _attend(
        q, k, v, q_row, k_row, v_row, block, values, c, q_len, kv_len, args,
        E, F, WIDTH_E, WIDTH_F, BLOCK_M, BLOCK_N, CODE.streams[0],
    )  # fmt: skip
    if COUNT > 1:
        second_q += start_of(head, heads, second_q_batch, second_q_head)
        second_k += start_of(head, heads, second_k_batch, second_k_head)
        values = CODE.streams[COUNT - 1].prepare(args, head // heads, head % heads, block * BLOCK_M)
        av += _attend(
            second_q, second_k, v, second_q_row, second_k_row, v_row, block, values, c, q_len, kv_len, args,
            E, F, WIDTH_E, WIDTH_F, BLOCK_M, BLOCK_N, CODE.streams[COUNT - 1],
        )  # fmt: skip
    store(out, out_row, block * BLOCK_M, q_len, av, F, WIDTH_F, BLOCK_M)

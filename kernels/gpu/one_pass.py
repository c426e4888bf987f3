"""attention-1-pass: running maximum, denominator and numerator, in one pass over the keys; for any GPU.

Per tile of keys: BQK, LM, RM, PRM, SLN and SLD, then the running RD and RNV are corrected by PRM and added to. Nothing
is kept that grows with the number of keys. Exponentials are powers of two of scores times ``c = scale * log2(e)``.

Source: T. Dao, "FlashAttention-2", ICLR 2024, algorithm 1; Nayak et al., "FuseMax", MICRO 2024, cascade 5.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

from kernels.gpu.tile_operations import FLOOR, load, score, seen, start_of, store


@triton.jit
def sweep(
    first, last, running, q, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr, BLOCK_N: tl.constexpr,
    SCORE: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Run the key tiles that start at ``first`` to below ``last``; return RM, RD and RNV."""
    rm, rd, rnv = running
    for start in tl.range(first, last, BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        bk = load(k, k_row, start, kv_len, E, WIDTH_E, BLOCK_N, MASK)
        bqk = score(q, bk, queries, keys, head, q_len, kv_len, SCORE, MASK, CAUSAL)
        rm_next = tl.maximum(rm, tl.max(bqk, 1))
        prm = tl.exp2((rm - rm_next) * c)
        sln = tl.exp2(bqk * c - (rm_next * c)[:, None])
        rd = rd * prm + tl.sum(sln, 1)
        bv = load(v, v_row, start, kv_len, F, WIDTH_F, BLOCK_N, MASK)
        rnv = tl.dot(sln.to(bv.dtype), bv, rnv * prm[:, None])
        rm = rm_next
    return rm, rd, rnv


@triton.jit
def kernel(
    q, k, v, out, c, heads, q_len, kv_len, query_blocks,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, out_batch, out_head, out_row,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SCORE: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Attend with one tile of queries of one head, the longest first; strides are in values, of [batch, head, row]."""
    tile = tl.program_id(0)
    block = query_blocks - 1 - tile % query_blocks
    head = tile // query_blocks
    q += start_of(head, heads, q_batch, q_head)
    k += start_of(head, heads, k_batch, k_head)
    v += start_of(head, heads, v_batch, v_head)
    out += start_of(head, heads, out_batch, out_head)
    queries = block * BLOCK_M + tl.arange(0, BLOCK_M)
    tile_q = load(q, q_row, block * BLOCK_M, q_len, E, WIDTH_E, BLOCK_M, True)
    full, last = seen(block, q_len, kv_len, BLOCK_M, BLOCK_N, CAUSAL)
    rm = tl.full([BLOCK_M], FLOOR, tl.float32)
    rd = tl.zeros([BLOCK_M], tl.float32)
    rnv = tl.zeros([BLOCK_M, WIDTH_F], tl.float32)
    running = sweep(
        0, full, (rm, rd, rnv), tile_q, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_N, SCORE, False, CAUSAL,
    )  # fmt: skip
    rm, rd, rnv = sweep(
        full, last, running, tile_q, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_N, SCORE, True, CAUSAL,
    )  # fmt: skip
    av = rnv * tl.where(rd > 0.0, 1.0 / rd, 0.0)[:, None]
    store(out, out_row, block * BLOCK_M, q_len, av, F, WIDTH_F, BLOCK_M)

"""attention-3-pass: the maximum, the denominator, then the normalised weights times the values.

Three passes over the keys. A GPU computes matrix products faster than it reads their results back, so no pass keeps
its scores: each computes QK again from Q and K, which is read three times.

    pass 1: GM = max(QK)      pass 2: SD = sum(exp(QK - GM))      pass 3: AV = (exp(QK - GM) / SD) * V

The division of a weight is a multiplication by the reciprocal of its row's SD.

Source: Nayak et al., "FuseMax", MICRO 2024, cascade 3; Kao et al., "FLAT", ASPLOS 2023.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

from kernels.gpu.tile_operations import FLOOR, load, score, seen, start_of, store


@triton.jit
def maxima(
    first, last, gm, q, k, k_row, queries, head, q_len, kv_len,
    E: tl.constexpr, WIDTH_E: tl.constexpr, BLOCK_N: tl.constexpr,
    SCORE: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Pass 1 over the keys from ``first`` to below ``last``: GM."""
    for start in tl.range(first, last, BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        tile = load(k, k_row, start, kv_len, E, WIDTH_E, BLOCK_N, MASK)
        qk = score(q, tile, queries, keys, head, q_len, kv_len, SCORE, MASK, CAUSAL)
        gm = tl.maximum(gm, tl.max(qk, 1))
    return gm


@triton.jit
def _denominators(
    first, last, sd, gm, q, k, k_row, queries, head, c, q_len, kv_len,
    E: tl.constexpr, WIDTH_E: tl.constexpr, BLOCK_N: tl.constexpr,
    SCORE: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Pass 2 over the keys from ``first`` to below ``last``: SN and SD."""
    for start in tl.range(first, last, BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        tile = load(k, k_row, start, kv_len, E, WIDTH_E, BLOCK_N, MASK)
        qk = score(q, tile, queries, keys, head, q_len, kv_len, SCORE, MASK, CAUSAL)
        sn = tl.exp2(qk * c - (gm * c)[:, None])
        sd += tl.sum(sn, 1)
    return sd


@triton.jit
def weigh(
    first, last, av, gm, factor, q, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr, BLOCK_N: tl.constexpr,
    SCORE: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Pass 3 over the keys from ``first`` to below ``last``: SN, A and AV; ``factor`` is 1 / SD."""
    for start in tl.range(first, last, BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        tile = load(k, k_row, start, kv_len, E, WIDTH_E, BLOCK_N, MASK)
        qk = score(q, tile, queries, keys, head, q_len, kv_len, SCORE, MASK, CAUSAL)
        a = tl.exp2(qk * c - (gm * c)[:, None]) * factor[:, None]
        values = load(v, v_row, start, kv_len, F, WIDTH_F, BLOCK_N, MASK)
        av = tl.dot(a.to(values.dtype), values, av)
    return av


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
    tq = load(q, q_row, block * BLOCK_M, q_len, E, WIDTH_E, BLOCK_M, True)
    full, last = seen(block, q_len, kv_len, BLOCK_M, BLOCK_N, CAUSAL)
    gm = tl.full([BLOCK_M], FLOOR, tl.float32)
    gm = maxima(0, full, gm, tq, k, k_row, queries, head, q_len, kv_len, E, WIDTH_E, BLOCK_N, SCORE, False, CAUSAL)
    gm = maxima(full, last, gm, tq, k, k_row, queries, head, q_len, kv_len, E, WIDTH_E, BLOCK_N, SCORE, True, CAUSAL)
    sd = tl.zeros([BLOCK_M], tl.float32)
    sd = _denominators(
        0, full, sd, gm, tq, k, k_row, queries, head, c, q_len, kv_len, E, WIDTH_E, BLOCK_N, SCORE, False, CAUSAL
    )
    sd = _denominators(
        full, last, sd, gm, tq, k, k_row, queries, head, c, q_len, kv_len, E, WIDTH_E, BLOCK_N, SCORE, True, CAUSAL
    )
    factor = tl.where(sd > 0.0, 1.0 / sd, 0.0)
    av = tl.zeros([BLOCK_M, WIDTH_F], tl.float32)
    av = weigh(
        0, full, av, gm, factor, tq, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_N, SCORE, False, CAUSAL,
    )  # fmt: skip
    av = weigh(
        full, last, av, gm, factor, tq, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_N, SCORE, True, CAUSAL,
    )  # fmt: skip
    store(out, out_row, block * BLOCK_M, q_len, av, F, WIDTH_F, BLOCK_M)

"""attention-2-pass: maxima and sums of every tile of keys, then weights that are right at once times the values.

Two passes over the keys. SLN would be as large as the scores: a GPU computes it again faster than it reads it back, and
then its correction is free, since

    SN = SLN * PLM = exp(BQK - LM) * exp(LM - GM) = exp(BQK - GM),

so that LM and PLM are not needed in the second pass. GM and SD are reductions over the tiles: they are folded as tiles
come, SD relative to the greatest LM so far, and two values per query are all that is kept between the passes.

    pass 1: LM, SLD of each tile, into GM and SD      pass 2: AV = (exp(BQK - GM) / SD) * BV

Source: Nayak et al., "FuseMax", MICRO 2024, cascade 4; Zheng et al., "TileFlow", MICRO 2023; the folded sum is that of
M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

from kernels.gpu.three_pass import weigh
from kernels.gpu.tile_operations import FLOOR, load, score, seen, start_of, store


@triton.jit
def _denominators(
    first, last, gm, sd, q, k, k_row, queries, head, c, q_len, kv_len,
    E: tl.constexpr, WIDTH_E: tl.constexpr, BLOCK_N: tl.constexpr,
    SCORE: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Pass 1 over the keys from ``first`` to below ``last``: LM and SLD of each tile, folded into GM and SD."""
    for start in tl.range(first, last, BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        bk = load(k, k_row, start, kv_len, E, WIDTH_E, BLOCK_N, MASK)
        bqk = score(q, bk, queries, keys, head, q_len, kv_len, SCORE, MASK, CAUSAL)
        gm_next = tl.maximum(gm, tl.max(bqk, 1))
        sld = tl.sum(tl.exp2(bqk * c - (gm_next * c)[:, None]), 1)
        sd = sd * tl.exp2((gm - gm_next) * c) + sld
        gm = gm_next
    return gm, sd


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
    sd = tl.zeros([BLOCK_M], tl.float32)
    gm, sd = _denominators(
        0, full, gm, sd, tq, k, k_row, queries, head, c, q_len, kv_len, E, WIDTH_E, BLOCK_N, SCORE, False, CAUSAL
    )
    gm, sd = _denominators(
        full, last, gm, sd, tq, k, k_row, queries, head, c, q_len, kv_len, E, WIDTH_E, BLOCK_N, SCORE, True, CAUSAL
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

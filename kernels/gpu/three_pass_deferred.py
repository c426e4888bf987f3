"""attention-3-pass-deferred: the maximum, then numerators and denominators together; one division per output.

The division is deferred to the output, so SD need not be known when SN is weighted: QK is computed twice.

    pass 1: GM = max(QK)      pass 2: SD = sum(SN), SNV = SN * V with SN = exp(QK - GM)      AV = SNV / SD

Source: Nayak et al., "FuseMax", MICRO 2024, cascade 3 and the division's deferral, equation 23.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

from kernels.gpu.three_pass import maxima
from kernels.gpu.tile_operations import FLOOR, load, score, seen, start_of, store


@triton.jit
def _weigh(
    first, last, sd, snv, gm, q, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr, BLOCK_N: tl.constexpr,
    SCORE: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Pass 2 over the keys from ``first`` to below ``last``: SN, SD and SNV."""
    for start in tl.range(first, last, BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        tile = load(k, k_row, start, kv_len, E, WIDTH_E, BLOCK_N, MASK)
        qk = score(q, tile, queries, keys, head, q_len, kv_len, SCORE, MASK, CAUSAL)
        sn = tl.exp2(qk * c - (gm * c)[:, None])
        sd += tl.sum(sn, 1)
        values = load(v, v_row, start, kv_len, F, WIDTH_F, BLOCK_N, MASK)
        snv = tl.dot(sn.to(values.dtype), values, snv)
    return sd, snv


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
    snv = tl.zeros([BLOCK_M, WIDTH_F], tl.float32)
    sd, snv = _weigh(
        0, full, sd, snv, gm, tq, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_N, SCORE, False, CAUSAL,
    )  # fmt: skip
    sd, snv = _weigh(
        full, last, sd, snv, gm, tq, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_N, SCORE, True, CAUSAL,
    )  # fmt: skip
    av = snv * tl.where(sd > 0.0, 1.0 / sd, 0.0)[:, None]
    store(out, out_row, block * BLOCK_M, q_len, av, F, WIDTH_F, BLOCK_M)

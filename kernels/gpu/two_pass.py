"""attention-2-pass: local maxima and sums of every tile of keys, then one correction of each numerator.

Two passes over the keys. What the cascade keeps of every tile between them, LM and SLD, is two values per tile and
query: it is kept in memory, one workspace per thread block, so that it stays in the L2 cache whatever the number of
queries. SLN would be as large as the scores: the second pass computes it again from Q, K and LM.

    pass 1: LM, SLD of each tile      then GM = max(LM), PLM = exp(LM - GM), SD = sum(SLD * PLM)
    pass 2: A = SLN * (PLM / SD), AV = A * BV

Source: Nayak et al., "FuseMax", MICRO 2024, cascade 4; Zheng et al., "TileFlow", MICRO 2023.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

from kernels.gpu.tile_operations import FLOOR, load, score, seen, start_of, store

TILES_AT_ONCE: tl.constexpr = tl.constexpr(16)
"""Key tiles whose LM and SLD are read together."""


@triton.jit
def _local(
    first, last, lms, slds, q, k, k_row, queries, head, c, q_len, kv_len,
    E: tl.constexpr, WIDTH_E: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    SCORE: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Pass 1 over the keys from ``first`` to below ``last``: LM and SLD of each tile, to memory."""
    row = tl.arange(0, BLOCK_M)
    for start in tl.range(first, last, BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        bk = load(k, k_row, keys, kv_len, E, WIDTH_E, MASK)
        bqk = score(q, bk, queries, keys, head, q_len, kv_len, SCORE, MASK, CAUSAL)
        lm = tl.maximum(tl.max(bqk, 1), FLOOR)
        sld = tl.sum(tl.exp2(bqk * c - (lm * c)[:, None]), 1)
        place = start // BLOCK_N * BLOCK_M + row
        tl.store(lms + place, lm)
        tl.store(slds + place, sld)


@triton.jit
def _global(lms, slds, tiles, c, BLOCK_M: tl.constexpr):
    """Return GM and SD, from LM and SLD of all tiles of keys."""
    row = tl.arange(0, BLOCK_M)[None, :]
    gm = tl.full([BLOCK_M], FLOOR, tl.float32)
    for first in range(0, tiles, TILES_AT_ONCE):
        tile = (first + tl.arange(0, TILES_AT_ONCE))[:, None]
        gm = tl.maximum(gm, tl.max(tl.load(lms + tile * BLOCK_M + row, mask=tile < tiles, other=FLOOR), 0))
    sd = tl.zeros([BLOCK_M], tl.float32)
    for first in range(0, tiles, TILES_AT_ONCE):
        tile = (first + tl.arange(0, TILES_AT_ONCE))[:, None]
        lm = tl.load(lms + tile * BLOCK_M + row, mask=tile < tiles, other=FLOOR)
        sld = tl.load(slds + tile * BLOCK_M + row, mask=tile < tiles, other=0.0)
        sd += tl.sum(sld * tl.exp2((lm - gm[None, :]) * c), 0)
    return gm, sd


@triton.jit
def _weigh(
    first, last, av, gm, factor, lms, q, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SCORE: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Pass 2 over the keys from ``first`` to below ``last``: SLN, A and AV; ``factor`` is 1 / SD.

    The LM of a tile is read while the tile before is worked on; the workspace has room for one tile more.
    """
    row = tl.arange(0, BLOCK_M)
    lm_next = tl.load(lms + first // BLOCK_N * BLOCK_M + row)
    for start in tl.range(first, last, BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        bk = load(k, k_row, keys, kv_len, E, WIDTH_E, MASK)
        bqk = score(q, bk, queries, keys, head, q_len, kv_len, SCORE, MASK, CAUSAL)
        lm = lm_next
        lm_next = tl.load(lms + (start // BLOCK_N + 1) * BLOCK_M + row)
        plm = tl.exp2((lm - gm) * c)
        a = tl.exp2(bqk * c - (lm * c)[:, None]) * (plm * factor)[:, None]
        bv = load(v, v_row, keys, kv_len, F, WIDTH_F, MASK)
        av = tl.dot(a.to(bv.dtype), bv, av)
    return av


@triton.jit
def kernel(
    q, k, v, out, c, heads, q_len, kv_len, query_blocks,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, out_batch, out_head, out_row,
    workspace, counter, tiles, key_tiles,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SCORE: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Attend with tiles of queries as blocks become free, the longest of a head first.

    Args beyond those of `kernels.gpu.one_pass.kernel`:
        workspace: float32, [programs, 2, key_tiles, BLOCK_M].
        counter: int32 zero: how many tiles were taken beyond the first of each program.
        tiles: tiles of queries of all heads.
        key_tiles: tiles of keys of a head, and one more.
    """
    lms = workspace + tl.program_id(0).to(tl.int64) * 2 * key_tiles * BLOCK_M
    slds = lms + key_tiles * BLOCK_M
    tile = tl.program_id(0)
    while tile < tiles:
        block = query_blocks - 1 - tile % query_blocks
        head = tile // query_blocks
        q_base = q + start_of(head, heads, q_batch, q_head)
        k_base = k + start_of(head, heads, k_batch, k_head)
        v_base = v + start_of(head, heads, v_batch, v_head)
        queries = block * BLOCK_M + tl.arange(0, BLOCK_M)
        tq = load(q_base, q_row, queries, q_len, E, WIDTH_E, True)
        full, last = seen(block, q_len, kv_len, BLOCK_M, BLOCK_N, CAUSAL)
        _local(
            0, full, lms, slds, tq, k_base, k_row, queries, head, c, q_len, kv_len,
            E, WIDTH_E, BLOCK_M, BLOCK_N, SCORE, False, CAUSAL,
        )  # fmt: skip
        _local(
            full, last, lms, slds, tq, k_base, k_row, queries, head, c, q_len, kv_len,
            E, WIDTH_E, BLOCK_M, BLOCK_N, SCORE, True, CAUSAL,
        )  # fmt: skip
        tl.debug_barrier()
        gm, sd = _global(lms, slds, tl.cdiv(last, BLOCK_N), c, BLOCK_M)
        factor = tl.where(sd > 0.0, 1.0 / sd, 0.0)
        av = tl.zeros([BLOCK_M, WIDTH_F], tl.float32)
        av = _weigh(
            0, full, av, gm, factor, lms, tq, k_base, v_base, k_row, v_row, queries, head, c, q_len, kv_len,
            E, F, WIDTH_E, WIDTH_F, BLOCK_M, BLOCK_N, SCORE, False, CAUSAL,
        )  # fmt: skip
        av = _weigh(
            full, last, av, gm, factor, lms, tq, k_base, v_base, k_row, v_row, queries, head, c, q_len, kv_len,
            E, F, WIDTH_E, WIDTH_F, BLOCK_M, BLOCK_N, SCORE, True, CAUSAL,
        )  # fmt: skip
        store(out + start_of(head, heads, out_batch, out_head), out_row, queries, q_len, av, F, WIDTH_F)
        tl.debug_barrier()
        tile = tl.num_programs(0) + tl.atomic_add(counter, 1)

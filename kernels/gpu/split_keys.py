"""attention-1-pass with the keys split over thread blocks: for few queries and many keys, as in decoding.

Each block runs the cascade on one part of the keys and stores RM, RD and RNV; a second kernel combines the parts of a
row as the cascade combines tiles, with the greatest RM of them all:

    AV = sum(RNV_s * exp(RM_s - GM)) / sum(RD_s * exp(RM_s - GM)),  GM = max(RM_s)

Source: T. Dao, D. Haziza, F. Massa, G. Sizov, "Flash-Decoding for long-context inference", 2023; the cascade is that of
`kernels.gpu.one_pass`.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

from kernels.gpu.one_pass import sweep
from kernels.gpu.tile_operations import FLOOR, load, seen, start_of, store


@triton.jit
def kernel(
    q, k, v, parts, c, heads, q_len, kv_len, query_blocks,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, splits, part_keys,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SCORE: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """Attend with one tile of queries to one part of the keys.

    Args beyond those of `kernels.gpu.one_pass.kernel`:
        parts: float32, [heads, splits, q_len, WIDTH_F + 2]: RNV, RM and RD of each row.
        splits: parts of the keys.
        part_keys: keys of each but the last, a multiple of BLOCK_N.
    """
    block = tl.program_id(0) % query_blocks
    split = tl.program_id(0) // query_blocks % splits
    head = tl.program_id(0) // query_blocks // splits
    q += start_of(head, heads, q_batch, q_head)
    k += start_of(head, heads, k_batch, k_head)
    v += start_of(head, heads, v_batch, v_head)
    queries = block * BLOCK_M + tl.arange(0, BLOCK_M)
    tile_q = load(q, q_row, block * BLOCK_M, q_len, E, WIDTH_E, BLOCK_M, True)
    full, last = seen(block, q_len, kv_len, BLOCK_M, BLOCK_N, CAUSAL)
    first = split * part_keys
    last = tl.minimum(last, first + part_keys)
    full = tl.maximum(tl.minimum(full, last // BLOCK_N * BLOCK_N), first)
    rm = tl.full([BLOCK_M], FLOOR, tl.float32)
    rd = tl.zeros([BLOCK_M], tl.float32)
    rnv = tl.zeros([BLOCK_M, WIDTH_F], tl.float32)
    running = sweep(
        first, full, (rm, rd, rnv), tile_q, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_N, SCORE, False, CAUSAL,
    )  # fmt: skip
    rm, rd, rnv = sweep(
        full, last, running, tile_q, k, v, k_row, v_row, queries, head, c, q_len, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_N, SCORE, True, CAUSAL,
    )  # fmt: skip
    parts += (head * splits + split).to(tl.int64) * q_len * (WIDTH_F + 2)
    store(parts, WIDTH_F + 2, block * BLOCK_M, q_len, rnv, WIDTH_F, WIDTH_F, BLOCK_M)
    tl.store(parts + queries * (WIDTH_F + 2) + WIDTH_F, rm, mask=queries < q_len)
    tl.store(parts + queries * (WIDTH_F + 2) + WIDTH_F + 1, rd, mask=queries < q_len)


@triton.jit
def combine(
    parts, out, c, heads, q_len, out_batch, out_head, out_row, splits,
    F: tl.constexpr, WIDTH_F: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    """Combine the parts of one row; ``SPLITS`` is ``splits`` rounded up to a power of two."""
    query = tl.program_id(0) % q_len
    head = tl.program_id(0) // q_len
    split = tl.arange(0, SPLITS)
    column = tl.arange(0, WIDTH_F)
    rows = parts + ((head * splits + split).to(tl.int64) * q_len + query) * (WIDTH_F + 2)
    rm = tl.load(rows + WIDTH_F, mask=split < splits, other=FLOOR)
    rd = tl.load(rows + WIDTH_F + 1, mask=split < splits, other=0.0)
    rnv = tl.load(rows[:, None] + column[None, :], mask=(split < splits)[:, None], other=0.0)
    prm = tl.exp2((rm - tl.max(rm, 0)) * c)
    sd = tl.sum(rd * prm, 0)
    av = tl.sum(rnv * prm[:, None], 0) * tl.where(sd > 0.0, 1.0 / sd, 0.0)
    out += start_of(head, heads, out_batch, out_head) + query.to(tl.int64) * out_row
    tl.store(out + column, av.to(out.dtype.element_ty), mask=column < F)

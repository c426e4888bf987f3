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

from kernels.gpu.one_pass import sweeps
from kernels.gpu.tile_operations import FLOOR, key_tiles, load, start_of, store


@triton.jit
def kernel(
    q, k, v, parts, c, args, heads, q_len, kv_len, query_blocks,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, splits,
    E: tl.constexpr, F: tl.constexpr, WIDTH_E: tl.constexpr, WIDTH_F: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, STREAM: tl.constexpr,
):  # fmt: skip
    """Attend with one tile of queries to one part of the keys that it sees.

    Args beyond those of `kernels.gpu.one_pass.kernel`:
        parts: float32, [heads, splits, q_len, WIDTH_F + 2]: RNV, RM and RD of each row.
        splits: parts of the keys.
    """
    block = tl.program_id(0) % query_blocks
    split = tl.program_id(0) // query_blocks % splits
    head = tl.program_id(0) // query_blocks // splits
    q += start_of(head, heads, q_batch, q_head)
    k += start_of(head, heads, k_batch, k_head)
    v += start_of(head, heads, v_batch, v_head)
    queries = block * BLOCK_M + tl.arange(0, BLOCK_M)
    tile_q = load(q, q_row, block * BLOCK_M, q_len, E, WIDTH_E, BLOCK_M, True)
    begin, full, full_end, end = key_tiles(block, q_len, kv_len, args, STREAM, BLOCK_M, BLOCK_N)
    part_keys = tl.cdiv(tl.cdiv(end - begin, BLOCK_N), splits) * BLOCK_N
    begin += split * part_keys
    end = tl.minimum(end, begin + part_keys)
    full = tl.maximum(tl.minimum(full, end), begin)
    full_end = tl.maximum(tl.minimum(full_end, end // BLOCK_N * BLOCK_N), full)
    values = STREAM.prepare(args, head // heads, head % heads, block * BLOCK_M)
    rm, rd, rnv = sweeps(
        begin, full, full_end, end, tile_q, k, v, k_row, v_row, queries, values, c, kv_len,
        E, F, WIDTH_E, WIDTH_F, BLOCK_M, BLOCK_N, STREAM,
    )  # fmt: skip
    parts += (head * splits + split).to(tl.int64) * q_len * (WIDTH_F + 2)
    store(parts, WIDTH_F + 2, block * BLOCK_M, q_len, rnv, WIDTH_F, WIDTH_F, BLOCK_M)
    tl.store(parts + queries * (WIDTH_F + 2) + WIDTH_F, rm, mask=queries < q_len)
    tl.store(parts + queries * (WIDTH_F + 2) + WIDTH_F + 1, rd, mask=queries < q_len)


@triton.jit
def combine(
    parts, out, c, args, heads, q_len, kv_len, out_batch, out_head, out_row, splits,
    F: tl.constexpr, WIDTH_F: tl.constexpr, SPLITS: tl.constexpr, BLOCK_M: tl.constexpr, STREAM: tl.constexpr,
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
    gm = tl.max(rm, 0)
    if STREAM.softmax:
        prm = tl.exp2((rm - gm) * c)
        rd = rd * prm
        rnv = rnv * prm[:, None]
    values = STREAM.prepare(args, head // heads, head % heads, query // BLOCK_M * BLOCK_M)
    av = tl.sum(rnv, 0) * STREAM.factor(gm * c, tl.sum(rd, 0), query, values, kv_len)
    out += start_of(head, heads, out_batch, out_head) + query.to(tl.int64) * out_row
    tl.store(out + column, av.to(out.dtype.element_ty), mask=column < F)

"""What the portable kernels do with a tile: load it, score it, and find the keys that it sees.

A tile of queries is [BLOCK_M, E], one of keys [BLOCK_N, E], one of values [BLOCK_N, F]. Positions past the end of a
head are loaded as zeros and, among keys, masked with minus infinity. E and F are padded to powers of two.
"""
# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False

from __future__ import annotations

import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

FLOOR: tl.constexpr = tl.constexpr(-1.0e30)
"""The least maximum of scores: finite, so that a masked score minus it is minus infinity and not NaN."""


@triton.jit
def plain(scores, queries, keys, head):
    """Return scores as they are: the place where elementwise code on a tile of scores is put.

    Args:
        scores: products of queries and keys, unscaled, [BLOCK_M, BLOCK_N].
        queries: their positions, [BLOCK_M].
        keys: their positions, [BLOCK_N].
        head: number of the batch entry and head.
    """
    return scores


@triton.jit
def start_of(head, heads, batch_stride, head_stride):
    """Return where the values of a head start, in 64 bits."""
    return (head // heads).to(tl.int64) * batch_stride + (head % heads).to(tl.int64) * head_stride


@triton.jit
def load(base, stride, start, length, SIZE: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, MASK: tl.constexpr):
    """Load rows from ``start`` on, ``SIZE`` values each, as [BLOCK, WIDTH]; with ``MASK`` those past ``length`` as 0.

    Only the start of a tile is computed in 64 bits, so that offsets inside tiles stay the same from tile to tile.
    """
    row = tl.arange(0, BLOCK)
    column = tl.arange(0, WIDTH)
    places = base + tl.cast(start, tl.int64) * stride + (row[:, None] * stride + column[None, :])
    if MASK:
        return tl.load(places, mask=(start + row < length)[:, None] & (column < SIZE)[None, :], other=0.0)
    if SIZE < WIDTH:
        return tl.load(places, mask=(column < SIZE)[None, :], other=0.0)
    return tl.load(places)


@triton.jit
def store(base, stride, start, length, values, SIZE: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Store [BLOCK, WIDTH] values as rows of ``SIZE`` from ``start`` on, none past ``length``."""
    row = tl.arange(0, BLOCK)
    column = tl.arange(0, WIDTH)
    places = base + tl.cast(start, tl.int64) * stride + (row[:, None] * stride + column[None, :])
    mask = (start + row < length)[:, None] & (column < SIZE)[None, :]
    tl.store(places, values.to(base.dtype.element_ty), mask=mask)


@triton.jit
def score(q, k, queries, keys, head, q_len, kv_len, SCORE: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr):
    """Return QK of a tile, [BLOCK_M, BLOCK_N], minus infinity where a key is past the end or not seen."""
    scores = SCORE(tl.dot(q, tl.trans(k)), queries, keys, head)
    if MASK:
        keep = (keys < kv_len)[None, :]
        if CAUSAL:
            keep = keep & (keys[None, :] <= queries[:, None] + (kv_len - q_len))
        scores = tl.where(keep, scores, -float("inf"))
    return scores


@triton.jit
def seen(block, q_len, kv_len, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, CAUSAL: tl.constexpr):
    """Return how many keys, in whole tiles, all queries of a block see, and how many any of them sees."""
    every = kv_len
    last = kv_len
    if CAUSAL:
        every = tl.minimum(kv_len, tl.maximum(block * BLOCK_M + kv_len - q_len + 1, 0))
        last = tl.minimum(kv_len, tl.maximum((block + 1) * BLOCK_M + kv_len - q_len, 0))
    return every // BLOCK_N * BLOCK_N, last


@triton.jit
def scored(q, k, queries, start, values, kv_len, STREAM: tl.constexpr, MASK: tl.constexpr, BLOCK_N: tl.constexpr):
    """Return a tile's scores or weights; with ``MASK`` keys past the end or not seen have none."""
    offsets = tl.arange(0, BLOCK_N)
    scores = STREAM.score(tl.dot(q, tl.trans(k)), queries, start, offsets, values, kv_len)
    if MASK:
        keep = (start + offsets < kv_len)[None, :]
        if STREAM.hides:
            keep = keep & STREAM.visible(queries, start, offsets, values, kv_len)
        hidden: tl.constexpr = -float("inf") if STREAM.softmax else 0.0
        scores = tl.where(keep, scores, hidden)
    return scores


@triton.jit
def key_tiles(block, q_len, kv_len, args, STREAM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Return where keys, in whole tiles, begin and end that any query of a block sees, and that all of them see.

    The four, in order along the keys: any from, all from, all below, any below.
    """
    first = block * BLOCK_M
    low, high, every_low, every_high = STREAM.span(first, first + BLOCK_M - 1, q_len, kv_len, args)
    begin = low // BLOCK_N * BLOCK_N
    end = tl.maximum(high, begin)
    full_end = tl.maximum(tl.minimum(every_high // BLOCK_N * BLOCK_N, end), begin)
    full = tl.minimum(tl.cdiv(every_low, BLOCK_N) * BLOCK_N, full_end)
    return begin, tl.maximum(full, begin), full_end, end

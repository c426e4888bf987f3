"""attention-1-pass: running maximum, denominator and numerator, in one pass over the keys.

Per tile of keys: BQK, LM, RM, PRM, SLN and SLD, then the running RD and RNV are corrected by PRM and added to. The
correction is left out for a tile that raises no maximum of its queries: all PRM are 1. Nothing kept is longer
than a tile, so the working memory does not depend on the number of keys.

Source: T. Dao, "FlashAttention-2", ICLR 2024, algorithm 1; Nayak et al., "FuseMax", MICRO 2024, cascade 5.
"""

from __future__ import annotations

from kernels.cpu.compilation import compiled, next_task
from kernels.cpu.query_ranges import query_range, tasks
from kernels.cpu.tile_operations import (
    LOWEST,
    add,
    divide,
    exponentials,
    fill,
    gather,
    load_queries,
    mask,
    multiply,
    put,
    rows_of,
    running_maximum,
    score,
    tile_maximum,
    weigh_values,
)


@compiled
def workspace_rows(head_dim, value_dim, keys, tile_keys, group):  # type: ignore[no-untyped-def]
    """Rows that a query tile works in: RM, RD, Q, BQK, RNV, LM, PRM, SLD."""
    return rows_of(head_dim, group) + rows_of(tile_keys, group) + rows_of(value_dim, group) + 5


@compiled
def query_tile(q, k, v, out, scale, seen, tile_keys, block, group, w):  # type: ignore[no-untyped-def]
    """Attend with one tile of queries.

    Args:
        q, k, v, out: [p, E], [M, E], [M, F], [p, F] of one head; ``out`` is written.
        scale: factor of the scores.
        seen: query p of the tile sees the first ``seen + p`` keys.
        tile_keys: keys per tile, a multiple of ``group`` if there are more.
        block: keys per matrix product.
        group: keys of a row of a tile (`tile_operations`).
        w: workspace, [workspace_rows, at least p]; RM and RD are left in its first two rows.
    """
    e, f, n = rows_of(k.shape[1], group), rows_of(v.shape[1], group), rows_of(tile_keys, group)
    rm, rd, w = w[0:1], w[1:2], w[2:]
    qt, w = w[:e], w[e:]
    bqk, w = w[:n], w[n:]
    rnv, w = w[:f], w[f:]
    lm, prm, sld = w[0:1], w[1:2], w[2:3]
    load_queries(q, scale, qt, group)
    fill(rm, LOWEST)
    fill(rd, 0.0)
    keys = min(k.shape[0], seen + q.shape[0] - 1)
    if keys < 1:
        fill(out, 0.0)
        return
    for start in range(0, keys, tile_keys):
        end = min(start + tile_keys, keys)
        tile = bqk[: rows_of(end - start, group)]
        score(k[start:end], qt, tile, block, group)
        if end > seen:
            mask(tile, start, seen, group)
        tile_maximum(tile, lm, group)
        if running_maximum(lm, rm, prm) and start > 0:
            multiply(rd, prm)
            multiply(rnv, prm)
        exponentials(tile, rm, sld)
        add(sld, rd)
        weigh_values(tile, v[start:end], rnv, block, start == 0, group)
    gather(rd, group)
    divide(rnv, rd)
    put(rnv, out, seen, group)


@compiled
def kernel(q, k, v, out, scale, causal, tile_queries, tile_keys, block, group, counter, workspace):  # type: ignore[no-untyped-def]
    """Attend with tile after tile of queries until ``counter`` has shared out all; one thread's part.

    Args:
        q, k, v, out: [heads, P, E], [heads, M, E], [heads, M, F], [heads, P, F]; ``out`` is written.
        scale: factor of the scores.
        causal: whether query p sees only the keys m <= p + (M - P).
        tile_queries, tile_keys, block, group: the `Tiles`.
        counter: one int64, the tasks taken so far by all threads.
        workspace: float32 values, workspace_rows times the width of a row.
    """
    rows = workspace_rows(q.shape[2], v.shape[2], k.shape[1], tile_keys, group)
    task = next_task(counter)
    while task < tasks(q, tile_queries):
        h, start, end, seen, width = query_range(task, q, k, causal, tile_queries, group)
        w = workspace[: rows * width].reshape(rows, width)
        query_tile(q[h, start:end], k[h], v[h], out[h, start:end], scale, seen, tile_keys, block, group, w)
        task = next_task(counter)

"""attention-3-pass-deferred: maxima, then exponentials, their sum and the product with V; the division comes last.

The second pass may multiply by V at once, since it does not need the sum: two passes over the fiber of scores of a
query tile, ``[M, P0]``, which stays in the workspace.

Source: Nayak et al., "FuseMax", MICRO 2024, section 3 (deferring the division).
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
    put,
    raise_maximum,
    rows_of,
    score,
    tile_maximum,
    weigh_values,
)


@compiled
def workspace_rows(head_dim, value_dim, keys, tile_keys, group):  # type: ignore[no-untyped-def]
    """Rows that a query tile works in: Q, QK, SNV, LM, GM, a tile's part of SD, SD."""
    return rows_of(head_dim, group) + rows_of(keys, group) + rows_of(value_dim, group) + 4


@compiled
def query_tile(q, k, v, out, scale, seen, tile_keys, block, group, w):  # type: ignore[no-untyped-def]
    """Attend with one tile of queries; arguments as `one_pass.query_tile`."""
    e, f, n = rows_of(k.shape[1], group), rows_of(v.shape[1], group), rows_of(k.shape[0], group)
    qt, w = w[:e], w[e:]
    qk, w = w[:n], w[n:]
    snv, w = w[:f], w[f:]
    lm, gm, part, sd = w[0:1], w[1:2], w[2:3], w[3:4]
    load_queries(q, scale, qt, group)
    fill(gm, LOWEST)
    fill(sd, 0.0)
    keys = min(k.shape[0], seen + q.shape[0] - 1)
    if keys < 1:
        fill(out, 0.0)
        return
    for start in range(0, keys, tile_keys):
        end = min(start + tile_keys, keys)
        tile = qk[start // group : rows_of(end, group)]
        score(k[start:end], qt, tile, block, group)
        if end > seen:
            mask(tile, start, seen, group)
        tile_maximum(tile, lm, group)
        raise_maximum(lm, gm)
    for start in range(0, keys, tile_keys):
        end = min(start + tile_keys, keys)
        tile = qk[start // group : rows_of(end, group)]
        exponentials(tile, gm, part)
        add(part, sd)
        weigh_values(tile, v[start:end], snv, block, start == 0, group)
    gather(sd, group)
    divide(snv, sd)
    put(snv, out, seen, group)


@compiled
def kernel(q, k, v, out, scale, causal, tile_queries, tile_keys, block, group, counter, workspace):  # type: ignore[no-untyped-def]
    """Attend with tile after tile of queries; arguments as `one_pass.kernel`."""
    rows = workspace_rows(q.shape[2], v.shape[2], k.shape[1], tile_keys, group)
    task = next_task(counter)
    while task < tasks(q, tile_queries):
        h, start, end, seen, width = query_range(task, q, k, causal, tile_queries, group)
        w = workspace[: rows * width].reshape(rows, width)
        query_tile(q[h, start:end], k[h], v[h], out[h, start:end], scale, seen, tile_keys, block, group, w)
        task = next_task(counter)

"""attention-2-pass: maxima, numerators and denominators local to each tile of keys, then one correction.

The first pass leaves the local numerators SLN of all keys, ``[M, P0]``, and LM and SLD of each tile; then the global
maximum GM, the corrections PLM and the denominator SD follow from these; the second pass corrects, divides and
multiplies by V.

Source: Nayak et al., "FuseMax", MICRO 2024, cascade 4; Zheng et al., "TileFlow", MICRO 2023.
"""

from __future__ import annotations

from kernels.cpu.compilation import compiled, next_task
from kernels.cpu.query_ranges import query_range, tasks
from kernels.cpu.tile_operations import (
    LOWEST,
    add_product,
    correction,
    divide,
    exponentials,
    fill,
    gather,
    load_queries,
    mask,
    multiply,
    put,
    raise_maximum,
    rows_of,
    score,
    tile_maximum,
    weigh_values,
)


@compiled
def workspace_rows(head_dim, value_dim, keys, tile_keys, group):  # type: ignore[no-untyped-def]
    """Rows that a query tile works in: Q, SLN, AV, LM and PLM, SLD, GM, SD."""
    tiles = rows_of(keys, tile_keys)
    return rows_of(head_dim, group) + rows_of(keys, group) + rows_of(value_dim, group) + 2 * tiles + 2


@compiled
def query_tile(q, k, v, out, scale, seen, tile_keys, block, group, w):  # type: ignore[no-untyped-def]
    """Attend with one tile of queries; arguments as `one_pass.query_tile`."""
    e, f, n = rows_of(k.shape[1], group), rows_of(v.shape[1], group), rows_of(k.shape[0], group)
    tiles = rows_of(k.shape[0], tile_keys)
    qt, w = w[:e], w[e:]
    sln, w = w[:n], w[n:]
    av, w = w[:f], w[f:]
    lm, w = w[:tiles], w[tiles:]
    sld, w = w[:tiles], w[tiles:]
    gm, sd = w[0:1], w[1:2]
    load_queries(q, scale, qt, group)
    fill(gm, LOWEST)
    fill(sd, 0.0)
    keys = min(k.shape[0], seen + q.shape[0] - 1)
    if keys < 1:
        fill(out, 0.0)
        return
    for start in range(0, keys, tile_keys):
        end, m1 = min(start + tile_keys, keys), start // tile_keys
        tile, lm1 = sln[start // group : rows_of(end, group)], lm[m1 : m1 + 1]
        score(k[start:end], qt, tile, block, group)
        if end > seen:
            mask(tile, start, seen, group)
        tile_maximum(tile, lm1, group)
        raise_maximum(lm1, gm)
        exponentials(tile, lm1, sld[m1 : m1 + 1])
    for start in range(0, keys, tile_keys):
        m1 = start // tile_keys
        correction(lm[m1 : m1 + 1], gm, lm[m1 : m1 + 1])
        add_product(sld[m1 : m1 + 1], lm[m1 : m1 + 1], sd)
    gather(sd, group)
    for start in range(0, keys, tile_keys):
        end, m1 = min(start + tile_keys, keys), start // tile_keys
        tile = sln[start // group : rows_of(end, group)]
        multiply(tile, lm[m1 : m1 + 1])
        divide(tile, sd)
        weigh_values(tile, v[start:end], av, block, start == 0, group)
    put(av, out, seen, group)


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

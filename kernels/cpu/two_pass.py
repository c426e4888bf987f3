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
    load_queries,
    mask,
    multiply,
    raise_maximum,
    score,
    store,
    tile_maximum,
    weigh_values,
)


@compiled
def workspace_rows(head_dim, value_dim, keys, tile_keys):  # type: ignore[no-untyped-def]
    """Rows, one value per query each, that a query tile works in: Q, SLN, AV, LM and PLM, SLD, GM, SD."""
    return head_dim + keys + value_dim + 2 * ((keys + tile_keys - 1) // tile_keys) + 2


@compiled
def query_tile(q, k, v, out, scale, seen, tile_keys, block, w):  # type: ignore[no-untyped-def]
    """Attend with one tile of queries; arguments as `one_pass.query_tile`."""
    e, f, m = k.shape[1], v.shape[1], k.shape[0]
    tiles = (m + tile_keys - 1) // tile_keys
    qt, w = w[:e], w[e:]
    sln, w = w[:m], w[m:]
    av, w = w[:f], w[f:]
    lm, w = w[:tiles], w[tiles:]
    sld, w = w[:tiles], w[tiles:]
    gm, sd = w[0:1], w[1:2]
    load_queries(q, scale, qt)
    fill(gm, LOWEST)
    fill(sd, 0.0)
    keys = min(m, seen + q.shape[0] - 1)
    if keys < 1:
        fill(out, 0.0)
        return
    for start in range(0, keys, tile_keys):
        end, m1 = min(start + tile_keys, keys), start // tile_keys
        score(k[start:end], qt, sln[start:end], block)
        if end > seen:
            mask(sln[start:end], start, seen)
        tile_maximum(sln[start:end], lm[m1 : m1 + 1])
        raise_maximum(lm[m1 : m1 + 1], gm)
        exponentials(sln[start:end], lm[m1 : m1 + 1], sld[m1 : m1 + 1])
    for start in range(0, keys, tile_keys):
        m1 = start // tile_keys
        correction(lm[m1 : m1 + 1], gm, lm[m1 : m1 + 1])
        add_product(sld[m1 : m1 + 1], lm[m1 : m1 + 1], sd)
    for start in range(0, keys, tile_keys):
        end, m1 = min(start + tile_keys, keys), start // tile_keys
        multiply(sln[start:end], lm[m1 : m1 + 1])
        divide(sln[start:end], sd)
        weigh_values(sln[start:end], v[start:end], av, block, start == 0)
    store(av, out)


@compiled
def kernel(q, k, v, out, scale, causal, tile_queries, tile_keys, block, counter, workspace):  # type: ignore[no-untyped-def]
    """Attend with tile after tile of queries; arguments as `one_pass.kernel`."""
    rows = workspace_rows(q.shape[2], v.shape[2], k.shape[1], tile_keys)
    task = next_task(counter)
    while task < tasks(q, tile_queries):
        h, start, end, seen, width = query_range(task, q, k, causal, tile_queries)
        w = workspace[: rows * width].reshape(rows, width)
        query_tile(q[h, start:end], k[h], v[h], out[h, start:end], scale, seen, tile_keys, block, w)
        task = next_task(counter)

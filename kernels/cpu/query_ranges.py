"""Which queries a task attends with: task t is one tile of queries of one head.

The tiles of a head follow each other, so that threads share its K and V in their caches; the last queries come first,
since under a causal mask they see the most keys and short tasks should end the work.
"""

from __future__ import annotations

from kernels.cpu.compilation import compiled
from kernels.cpu.tiles import LANES


@compiled
def tasks(q, tile_queries):  # type: ignore[no-untyped-def]
    """Number of tasks for ``q`` of shape [heads, P, E]."""
    return q.shape[0] * ((q.shape[1] + tile_queries - 1) // tile_queries)


@compiled
def query_range(task, q, k, causal, tile_queries, group):  # type: ignore[no-untyped-def]
    """Return the head, the range of queries, the number of keys that its first query sees, and the width of a row.

    Under a causal mask, aligned to the end, query p sees the keys m <= p + (M - P).
    """
    queries, keys = q.shape[1], k.shape[1]
    tiles = (queries + tile_queries - 1) // tile_queries
    head = task // tiles
    start = (tiles - 1 - task % tiles) * tile_queries
    end = min(start + tile_queries, queries)
    seen = start + keys - queries + 1 if causal else keys
    width = (end - start) * LANES if group > 1 else (end - start + LANES - 1) // LANES * LANES
    return head, start, end, seen, width

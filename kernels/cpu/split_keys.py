"""attention-1-pass with the keys split into parts: for fewer queries than keep the threads busy, as in decoding.

Each task runs the cascade on one part of the keys, and its result is kept with RM and RD. The parts of a query are
combined as the cascade combines tiles, with the greatest RM of them all:

    AV = sum(AV_s * W_s) / sum(W_s),  W_s = RD_s * exp(RM_s - GM),  GM = max(RM_s)

Source: T. Dao, D. Haziza, F. Massa, G. Sizov, "Flash-Decoding for long-context inference", 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.cpu.compilation import compiled, next_task
from kernels.cpu.one_pass import query_tile, workspace_rows
from kernels.cpu.query_ranges import query_range, tasks
from kernels.cpu.threads import run_in_threads

Floats = NDArray[np.float32]


def attend_in_parts(
    q: Floats, k: Floats, v: Floats, out: Floats, settings: Sequence[Any], parts: int, workspace: list[Floats]
) -> None:
    """Run the kernel, then combine the parts.

    Args:
        q, k, v, out: [heads, P, E], [heads, M, E], [heads, M, F], [heads, P, F]; ``out`` is written.
        settings: arguments of the kernel from the scale to the counter.
        parts: parts of the keys.
        workspace: float32 values for each thread.
    """
    heads, queries, size = out.shape
    results = np.empty((parts, heads, queries, size), np.float32)
    maxima, sums = (np.empty((parts, heads, queries), np.float32) for _ in range(2))
    run_in_threads(lambda words: kernel(q, k, v, results, maxima, sums, *settings, words), workspace)
    with np.errstate(all="ignore"):
        weights = sums * np.exp((maxima - maxima.max(axis=0)).astype(np.float64))
        results[weights == 0] = 0
        np.divide(
            (weights[..., None] * results).sum(axis=0), weights.sum(axis=0)[..., None], out=out, casting="same_kind"
        )
    if settings[1]:
        out[:, : max(queries - k.shape[1], 0)] = 0


@compiled
def part_of(keys, parts, part):  # type: ignore[no-untyped-def]
    """Return the first key of a part, and that behind its last."""
    return keys * part // parts, keys * (part + 1) // parts


@compiled
def kernel(q, k, v, results, maxima, sums, scale, causal, tile_queries, tile_keys, block, group, counter, workspace):  # type: ignore[no-untyped-def]
    """Attend with tile after tile of queries to part after part of the keys; one thread's part.

    Args:
        results, maxima, sums: [parts, heads, P, F], and [parts, heads, P] twice: the result, RM and RD, written.

    The others are those of `one_pass.kernel`.
    """
    rows, parts = workspace_rows(q.shape[2], v.shape[2], k.shape[1], tile_keys, group), results.shape[0]
    task = next_task(counter)
    while task < tasks(q, tile_queries) * parts:
        h, start, end, seen, width = query_range(task // parts, q, k, causal, tile_queries, group)
        part = task % parts
        low, high = part_of(k.shape[1], parts, part)
        w = workspace[: rows * width].reshape(rows, width)
        found = results[part, h, start:end]
        query_tile(
            q[h, start:end], k[h, low:high], v[h, low:high], found, scale, seen - low, tile_keys, block, group, w
        )
        for p in range(end - start):
            maxima[part, h, start + p] = w[0, p * group]
            sums[part, h, start + p] = w[1, p * group]
        task = next_task(counter)

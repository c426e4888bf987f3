"""Where a visit stands in the tables, and what is written down of a run."""

from __future__ import annotations

from typing import Any

from numba import njit

from hw_models.simulator.timed import layout as lay


@njit
def visit_number(p: Any, s: Any, row: int, table: int) -> Any:
    """The number of a visit, from the classes of the loops around it."""
    found = p[p[lay.TABLE_BASE] + table]
    for k in range(p[p[lay.KEY_FROM] + table], p[p[lay.KEY_FROM] + table + 1]):
        found += s[s[lay.CONTEXT] + row * s[lay.WIDTH] + (p[p[lay.KEY_LOOP] + k]) * 5 + 2] * p[p[lay.KEY_STRIDE] + k]
    return found


@njit
def copy(s: Any, into: int, row: int) -> None:
    width = s[lay.WIDTH]
    to, of = s[lay.CONTEXT] + into * width, s[lay.CONTEXT] + row * width
    for k in range(width):
        s[to + k] = s[of + k]


@njit
def record(s: Any, e: Any, track: int, name: int, begin: int, end: int, epoch: int = -1) -> None:
    n = s[s[lay.CLOCK] + 1]
    if n < s[lay.ROOM_LEFT]:
        e[5 * n], e[5 * n + 1], e[5 * n + 2], e[5 * n + 3], e[5 * n + 4] = track, name, begin, end, epoch
        s[s[lay.CLOCK] + 1] = n + 1


@njit
def changed(s: Any, e: Any, memory: int) -> None:
    record(s, e, -1 - memory, 0, s[s[lay.CLOCK]], s[s[lay.USED] + memory * 4 + 2])


@njit
def count(p: Any, s: Any, th: int, hold: int, row: int) -> None:
    """Count an entry of a hold."""
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ENTRIES] + hold] = s[s[lay.ENTERED] + hold]
    s[s[lay.ENTERED] + hold] += 1
    s[s[lay.VISITS] + visit_number(p, s, row, p[p[lay.HOLD_TABLE] + hold])] += 1

"""Holds are entered and left, and take and free their room."""

from __future__ import annotations

from typing import Any

from numba import njit

from hw_models.simulator.timed import layout as lay
from hw_models.simulator.timed.codes import RING
from hw_models.simulator.timed.kernel.access import changed, count, visit_number


@njit
def epoch(p: Any, s: Any, e: Any, th: int, pipe: int, what: int) -> None:
    """Enter (1) or leave (2) the holds around a pipeline that the iterations in its epoch do."""
    x = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + pipe]
    for k in range(p[p[lay.AROUND_FROM] + pipe], p[p[lay.AROUND_FROM] + pipe + 1]):
        hold = p[p[lay.AROUND_HOLD] + k]
        y = x - p[p[lay.AROUND_LATE] + k * 2 + what - 1]
        if y < s[s[lay.PIPES] + pipe * 4 + 1] or y > s[s[lay.PIPES] + pipe * 4 + 2]:
            continue
        row = p[p[lay.RING_ROW] + pipe] + (y & (RING - 1))
        if s[s[lay.AROUND] + row * s[lay.N_HOLDS] + hold] & what:
            if what == 1:
                _occupy(p, s, e, hold, row)
            else:
                leave(p, s, e, th, hold, row)


@njit
def enter(p: Any, s: Any, e: Any, th: int, hold: int, row: int) -> None:
    """Enter a hold."""
    count(p, s, th, hold, row)
    if p[p[lay.HOLD_PIPE] + hold] < 0:
        _occupy(p, s, e, hold, row)


@njit
def _occupy(p: Any, s: Any, e: Any, hold: int, row: int) -> None:
    memory = p[p[lay.HOLD_MEMORY] + hold]
    if memory >= 0:
        bits = p[p[lay.ROOM] + visit_number(p, s, row, p[p[lay.HOLD_TABLE] + hold])]
        s[s[lay.USED] + memory * 4 + 0] += bits * p[p[lay.DOUBLED] + hold]
        s[s[lay.USED] + memory * 4 + 1] = max(s[s[lay.USED] + memory * 4 + 1], s[s[lay.USED] + memory * 4 + 0])
        if not p[p[lay.FETCHES] + hold]:
            take(p, s, e, memory, bits)


@njit
def take(p: Any, s: Any, e: Any, memory: int, bits: int) -> None:
    s[s[lay.USED] + memory * 4 + 2] += bits
    s[s[lay.USED] + memory * 4 + 3] = max(s[s[lay.USED] + memory * 4 + 3], s[s[lay.USED] + memory * 4 + 2])
    changed(s, e, memory)


@njit
def leave(p: Any, s: Any, e: Any, th: int, hold: int, row: int) -> None:
    at = s[s[lay.TIME] + th]
    for k in range(p[p[lay.HOLD_TASK_FROM] + hold], p[p[lay.HOLD_TASK_FROM] + hold + 1]):
        at = max(at, s[s[lay.OUT] + (p[p[lay.HOLD_TASK] + k]) * 3 + 0])
    s[s[lay.LEFT_AT] + hold * RING + (s[s[lay.LEFT] + hold] & (RING - 1))] = at
    number = visit_number(p, s, row, p[p[lay.HOLD_TABLE] + hold])
    s[s[lay.LEFT_NUMBER] + hold * RING + (s[s[lay.LEFT] + hold] & (RING - 1))] = number
    s[s[lay.LEFT] + hold] += 1
    memory = p[p[lay.HOLD_MEMORY] + hold]
    if memory >= 0:
        s[s[lay.USED] + memory * 4 + 0] -= p[p[lay.ROOM] + number] * p[p[lay.DOUBLED] + hold]
        if not p[p[lay.WRITES] + hold]:
            take(p, s, e, memory, -p[p[lay.ROOM] + number])

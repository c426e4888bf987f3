"""When a thread's next task or transfer can start: once all that it waits for has happened."""

from __future__ import annotations

from typing import Any

from numba import njit

from hw_models.simulator.timed import layout as lay
from hw_models.simulator.timed.codes import (
    DEPENDENCE,
    DRAIN,
    ENTER,
    FETCH,
    IDLE,
    ITERATION,
    MADE,
    NEVER,
    OPERANDS,
    PORT,
    READY,
    RING,
    SPACE,
    TASK,
    TICKS,
    WRITE,
)
from hw_models.simulator.timed.kernel.access import visit_number


@njit
def candidate(p: Any, s: Any, th: int) -> Any:
    pc = s[s[lay.PC] + th]
    op, a = p[p[lay.CODE] + pc * 3 + 0], p[p[lay.CODE] + pc * 3 + 1]
    if op == TASK:
        return _task_start(p, s, th, a)
    if op == FETCH:
        return _fetch_start(p, s, th, a)
    if op == WRITE:
        if s[s[lay.LEFT] + a] <= s[s[lay.WRITTEN] + a]:
            return NEVER
        return max(s[s[lay.TIME] + th], s[s[lay.LEFT_AT] + a * RING + (s[s[lay.WRITTEN] + a] & (RING - 1))])
    if op == ENTER:
        return _room(p, s, s[s[lay.TIME] + th], p[p[lay.GROUP_FROM] + a], p[p[lay.GROUP_FROM] + a + 1])
    return s[s[lay.TIME] + th]


@njit
def _room(p: Any, s: Any, at: int, begin: int, end: int) -> Any:
    """When there is room for what holds make that are entered."""
    for k in range(begin, end):
        hold = p[p[lay.GROUP_HOLD] + k]
        if p[p[lay.WRITES] + hold] and not p[p[lay.FETCHES] + hold] and p[p[lay.HOLD_PIPE] + hold] < 0:
            behind = s[s[lay.ENTERED] + hold] - p[p[lay.COPIES] + hold]
            if behind >= 0:
                if s[s[lay.WRITTEN] + hold] <= behind:
                    return NEVER
                at = max(at, s[s[lay.WRITTEN_AT] + hold * RING + (behind & (RING - 1))])
    return at


@njit
def _fetch_start(p: Any, s: Any, th: int, hold: int) -> Any:
    entry = s[s[lay.FETCHED] + hold]
    at = s[s[lay.TIME] + th]
    s[s[lay.CAUSE] + th] = OPERANDS
    behind = entry - p[p[lay.COPIES] + hold]
    if behind >= 0:
        if (s[s[lay.WRITTEN] + hold] if p[p[lay.WRITES] + hold] else s[s[lay.LEFT] + hold]) <= behind:
            s[s[lay.CAUSE] + th] = SPACE
            return NEVER
        freed = (
            s[s[lay.WRITTEN_AT] + hold * RING + (behind & (RING - 1))]
            if p[p[lay.WRITES] + hold]
            else s[s[lay.LEFT_AT] + hold * RING + (behind & (RING - 1))]
        )
        if freed > at:
            at = freed
            s[s[lay.CAUSE] + th] = SPACE
    for k in range(p[p[lay.OUTER_FROM] + hold], p[p[lay.OUTER_FROM] + hold + 1]):
        outer, mark = p[p[lay.OUTER_HOLD] + k], p[p[lay.OUTER_MARK] + k]
        number = s[s[lay.MARKS] + th * s[lay.N_MARKS] + mark] - 1
        if s[s[lay.FETCHED] + outer] <= number:
            return NEVER
        at = max(at, s[s[lay.FETCHED_AT] + outer * RING + (number & (RING - 1))])
    for k in range(p[p[lay.SOURCE_FROM] + hold], p[p[lay.SOURCE_FROM] + hold + 1]):
        signal, number = (
            p[p[lay.SOURCE_SIGNAL] + k],
            s[s[lay.MARKS] + th * s[lay.N_MARKS] + p[p[lay.SOURCE_MARK] + k]] - 1,
        )
        if s[s[lay.DONE] + signal] <= number:
            return NEVER
        made = s[s[lay.DONE_AT] + signal * RING + (number & (RING - 1))]
        for j in range(p[p[lay.LANDED_FROM] + k], p[p[lay.LANDED_FROM] + k + 1]):
            other = p[p[lay.LANDED_HOLD] + j]
            if s[s[lay.WRITTEN] + other] < s[s[lay.LEFT] + other]:
                return NEVER
            if s[s[lay.WRITTEN] + other]:
                made = max(made, s[s[lay.WRITTEN_AT] + other * RING + ((s[s[lay.WRITTEN] + other] - 1) & (RING - 1))])
        if made > at:
            at = made
            s[s[lay.CAUSE] + th] = DEPENDENCE
    again = p[p[lay.AGAIN] + hold]
    if again > 0 and entry >= again:
        if s[s[lay.WRITTEN] + hold] <= entry - again:
            return NEVER
        at = max(at, s[s[lay.WRITTEN_AT] + hold * RING + ((entry - again) & (RING - 1))])
    return at


@njit
def _task_start(p: Any, s: Any, th: int, task: int) -> Any:
    at, cause, split = s[s[lay.TIME] + th], DEPENDENCE, 0
    held = 0
    for k in range(p[p[lay.WAIT_FROM] + task], p[p[lay.WAIT_FROM] + task + 1]):
        kind, index = p[p[lay.WAIT_KIND] + k], p[p[lay.WAIT_INDEX] + k]
        when, why, leaving = 0, DEPENDENCE, 0
        if kind == READY:
            number = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ENTRIES] + index]
            if s[s[lay.FETCHED] + index] <= number:
                return NEVER
            when = s[s[lay.FETCHED_AT] + index * RING + (number & (RING - 1))]
            why = s[s[lay.FETCH_CAUSE] + index * RING + (number & (RING - 1))]
        elif kind == MADE:
            when = s[s[lay.OUT] + index * 3 + 0] if p[p[lay.WAIT_CROSSES] + k] else s[s[lay.OUT] + index * 3 + 1]
            leaving = s[s[lay.OUT] + index * 3 + 2]
        elif kind == ITERATION:
            pipe = p[p[lay.WAIT_PIPE] + k]
            x = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + pipe] - p[p[lay.WAIT_BEFORE] + k]
            if x < s[s[lay.PIPES] + pipe * 4 + 1]:
                continue
            slot = x & (RING - 1)
            if s[s[lay.MADE_TAG] + index * RING + slot] != x:
                if p[p[lay.WAIT_BEFORE] + k] > 0:
                    continue
                return NEVER
            when = (
                s[s[lay.MADE_AT] + (index * RING + slot) * 3 + 0]
                if p[p[lay.WAIT_CROSSES] + k]
                else s[s[lay.MADE_AT] + (index * RING + slot) * 3 + 1]
            )
            leaving = s[s[lay.MADE_AT] + (index * RING + slot) * 3 + 2]
        else:
            fork = p[p[lay.WAIT_PIPE] + k]
            if s[s[lay.FOLLOW] + index * 6 + 0] != s[s[lay.FORKED] + fork]:
                if s[s[lay.STATE] + p[p[lay.TASK_THREAD] + index]] == IDLE:
                    continue
                return NEVER
            mine = s[s[lay.FOLLOW] + task * 6 + 1] if s[s[lay.FOLLOW] + task * 6 + 0] == s[s[lay.FORKED] + fork] else 0
            need = ((mine + 1) * p[p[lay.WAIT_THEIRS] + k] + p[p[lay.WAIT_MINE] + k] - 1) // p[p[lay.WAIT_MINE] + k]
            if (
                s[s[lay.FOLLOW] + index * 6 + 1] < min(need, p[p[lay.WAIT_THEIRS] + k])
                and s[s[lay.STATE] + p[p[lay.TASK_THREAD] + index]] != IDLE
            ):
                return NEVER
            when = s[s[lay.FOLLOW] + index * 6 + 2] if p[p[lay.WAIT_CROSSES] + k] else s[s[lay.FOLLOW] + index * 6 + 3]
            leaving = s[s[lay.FOLLOW] + index * 6 + 4]
        held = max(held, when)
        if when > at:
            at, cause = when, why
            split = leaving if why == DEPENDENCE and leaving < when else 0
    array = p[p[lay.TASK_ARRAY] + task]
    fill = p[p[lay.TASK_FILL] + task]
    if p[p[lay.TASK_LOADS] + task]:
        filled = max(held, s[s[lay.ARRAY] + array * 4 + 1]) + fill
        fill = 0
        if filled > at:
            at, cause, split = filled, OPERANDS, 0
    streams = p[p[lay.TASK_PORT_FROM] + 2 * task + 1] < p[p[lay.TASK_PORT_FROM] + 2 * task + 2]
    if p[p[lay.TASK_UNLOADS] + task] or streams:
        steps = p[p[lay.STEPS] + visit_number(p, s, th, task)]
        if s[s[lay.ARRAY] + array * 4 + 3] - steps - fill > at:
            at, cause, split = (
                s[s[lay.ARRAY] + array * 4 + 3] - steps - fill,
                DRAIN if p[p[lay.TASK_UNLOADS] + task] else PORT,
                0,
            )
    if s[s[lay.ARRAY] + array * 4 + 0] > at:
        at = s[s[lay.ARRAY] + array * 4 + 0]
    s[s[lay.CAUSE] + th] = cause
    s[s[lay.SPLIT] + th] = split
    return ((at + TICKS - 1) // TICKS) * TICKS

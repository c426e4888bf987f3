"""What a turn does: a task runs on its array, a transfer moves, a hold is entered or left."""

from __future__ import annotations

from typing import Any

from numba import njit

from hw_models.simulator.timed import layout as lay
from hw_models.simulator.timed.codes import (
    BEGIN,
    CAUSES,
    DRAIN,
    ENTER,
    FETCH,
    FOLLOWS,
    LEAVE,
    NEVER,
    PORT,
    RING,
    RUNNING,
    TASK,
    TICKS,
    WAITING,
    WRITE,
)
from hw_models.simulator.timed.kernel.access import record, visit_number
from hw_models.simulator.timed.kernel.memories import enter, epoch, leave
from hw_models.simulator.timed.kernel.transfers import fetch, serve, write


@njit
def turn(p: Any, s: Any, e: Any, th: int, start: int) -> None:
    pc = s[s[lay.PC] + th]
    op, a = p[p[lay.CODE] + pc * 3 + 0], p[p[lay.CODE] + pc * 3 + 1]
    s[s[lay.CLOCK]] = start
    s[s[lay.PC] + th] = pc + 1
    s[s[lay.STATE] + th] = RUNNING
    s[s[lay.STACK] + s[s[lay.RUNNING]]] = th
    s[s[lay.RUNNING]] += 1
    array, ports = -1, False
    if op == TASK:
        array = p[p[lay.TASK_ARRAY] + a]
        ports = p[p[lay.TASK_PORT_FROM] + 2 * a] < p[p[lay.TASK_PORT_FROM] + 2 * a + 2]
        _task(p, s, e, th, a, start)
    elif op == FETCH:
        ports = True
        fetch(p, s, e, th, a, start)
    elif op == WRITE:
        ports = True
        write(p, s, e, th, a, start)
    elif op == ENTER:
        for k in range(p[p[lay.GROUP_FROM] + a], p[p[lay.GROUP_FROM] + a + 1]):
            enter(p, s, e, th, p[p[lay.GROUP_HOLD] + k], th)
    elif op == LEAVE:
        for k in range(p[p[lay.GROUP_FROM] + a], p[p[lay.GROUP_FROM] + a + 1]):
            hold = p[p[lay.GROUP_HOLD] + k]
            if p[p[lay.HOLD_PIPE] + hold] < 0:
                leave(p, s, e, th, hold, th)
    elif op == BEGIN:
        epoch(p, s, e, th, a, 1)
    else:
        epoch(p, s, e, th, a, 2)
    for other in range(p[p[lay.THREADS]]):
        if s[s[lay.STATE] + other] == WAITING and not s[s[lay.STALE] + other]:
            what = p[p[lay.CODE] + (s[s[lay.PC] + other]) * 3 + 0]
            if what == TASK:
                mine = p[p[lay.TASK_ARRAY] + p[p[lay.CODE] + (s[s[lay.PC] + other]) * 3 + 1]]
                s[s[lay.STALE] + other] = op != TASK or mine == array or s[s[lay.START] + other] == NEVER
            elif what in (FETCH, WRITE):
                s[s[lay.STALE] + other] = op != TASK or ports
            else:
                s[s[lay.STALE] + other] = op in (WRITE, FETCH)


@njit
def _passed(p: Any, s: Any, task: int, left: int) -> int:
    """When results are on their way to where they go: all there, or taken by the off-chip memory's bus."""
    for k in range(p[p[lay.TASK_PORT_FROM] + 2 * task + 1], p[p[lay.TASK_PORT_FROM] + 2 * task + 2]):
        if p[p[lay.RUNS_FROM] + k] < p[p[lay.RUNS_FROM] + k + 1]:
            left = min(left, s[s[lay.FREE] + p[p[lay.PORT] + k]])
    return left


@njit
def _stream(p: Any, s: Any, e: Any, task: int, number: int, way: int, start: int, asked: int) -> int:
    """Move a task's operands, or its results, as it works; return when that is done."""
    end = start
    for k in range(p[p[lay.TASK_PORT_FROM] + way], p[p[lay.TASK_PORT_FROM] + way + 1]):
        visit = number - p[p[lay.TABLE_BASE] + task]
        end = max(end, serve(p, s, e, k, visit, p[p[lay.TASK_STREAM] + task], start, asked))
    return end


@njit
def _task(p: Any, s: Any, e: Any, th: int, task: int, start: int) -> None:
    array = p[p[lay.TASK_ARRAY] + task]
    number = visit_number(p, s, th, task)
    steps = p[p[lay.STEPS] + number]
    s[s[lay.VISITS] + number] += 1
    unloads = p[p[lay.TASK_UNLOADS] + task]
    end = max(start + steps, _stream(p, s, e, task, number, 2 * task, start, s[s[lay.ARRAY] + array * 4 + 2]))
    for k in range(p[p[lay.WAIT_FROM] + task], p[p[lay.WAIT_FROM] + task + 1]):
        if p[p[lay.WAIT_KIND] + k] == FOLLOWS:
            end = max(
                end,
                s[s[lay.FOLLOW] + (p[p[lay.WAIT_INDEX] + k]) * 6 + 5]
                if p[p[lay.WAIT_CROSSES] + k]
                else s[s[lay.FOLLOW] + (p[p[lay.WAIT_INDEX] + k]) * 6 + 3],
            )
    end = ((end + TICKS - 1) // TICKS) * TICKS
    idle = start - s[s[lay.ARRAY] + array * 4 + 0]
    if idle > 0:
        leaving = min(idle, start - s[s[lay.SPLIT] + th]) if s[s[lay.SPLIT] + th] > 0 else 0
        s[s[lay.STALLED] + array * len(CAUSES) + DRAIN] += leaving
        s[s[lay.STALLED] + array * len(CAUSES) + s[s[lay.CAUSE] + th]] += idle - leaving
    s[s[lay.STALLED] + array * len(CAUSES) + PORT] += end - start - steps
    s[s[lay.BUSY] + task] += steps
    fill = p[p[lay.TASK_FILL] + task]
    if p[p[lay.TASK_LOADS] + task]:
        s[s[lay.ARRAY] + array * 4 + 1] = start
        fill = 0
    s[s[lay.ARRAY] + array * 4 + 2] = start
    s[s[lay.ARRAY] + array * 4 + 0] = end
    made = end + p[p[lay.TASK_DEPTH] + task]
    if unloads:
        begin = max(made + fill, s[s[lay.ARRAY] + array * 4 + 3])
        out = begin + p[p[lay.TASK_DRAIN] + task]
        out = max(out, _stream(p, s, e, task, number, 2 * task + 1, begin, begin))
        s[s[lay.ARRAY] + array * 4 + 3] = out
        first = begin + TICKS
    else:
        out = made + fill + p[p[lay.TASK_DRAIN] + task]
        first = min(
            start + p[p[lay.TASK_POINT] + task] + p[p[lay.TASK_DEPTH] + task] + fill + p[p[lay.TASK_DRAIN] + task], out
        )
        left = _stream(p, s, e, task, number, 2 * task + 1, start, start)
        if left > start:
            s[s[lay.ARRAY] + array * 4 + 3] = max(s[s[lay.ARRAY] + array * 4 + 3], _passed(p, s, task, left))
            out = max(out, left)
    _made(p, s, th, task, made, out, first, end)
    s[s[lay.TIME] + th] = end
    s[s[lay.CLOCK] + 2] = max(s[s[lay.CLOCK] + 2], out)
    pipe = p[p[lay.TASK_PIPE] + task]
    epoch = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + pipe] if pipe >= 0 else -1
    record(s, e, array, p[p[lay.TASK_NAME] + task], start, end, epoch)


@njit
def _made(p: Any, s: Any, th: int, task: int, made: int, out: int, first: int, end: int) -> None:
    s[s[lay.OUT] + task * 3 + 0], s[s[lay.OUT] + task * 3 + 1], s[s[lay.OUT] + task * 3 + 2] = out, made, end
    for row in range(p[p[lay.MADE_FROM] + task], p[p[lay.MADE_FROM] + task + 1]):
        x = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + p[p[lay.MADE_PIPE] + row]]
        place = row * RING + (x & (RING - 1))
        s[s[lay.MADE_TAG] + place] = x
        s[s[lay.MADE_AT] + place * 3 + 0] = out
        s[s[lay.MADE_AT] + place * 3 + 1] = made
        s[s[lay.MADE_AT] + place * 3 + 2] = end
    fork = p[p[lay.TASK_FORK] + task]
    if fork >= 0:
        if s[s[lay.FOLLOW] + task * 6 + 0] != s[s[lay.FORKED] + fork]:
            s[s[lay.FOLLOW] + task * 6 + 0], s[s[lay.FOLLOW] + task * 6 + 1] = s[s[lay.FORKED] + fork], 0
        s[s[lay.FOLLOW] + task * 6 + 1] += 1
        s[s[lay.FOLLOW] + task * 6 + 2], s[s[lay.FOLLOW] + task * 6 + 3] = first, made
        s[s[lay.FOLLOW] + task * 6 + 4], s[s[lay.FOLLOW] + task * 6 + 5] = end, out

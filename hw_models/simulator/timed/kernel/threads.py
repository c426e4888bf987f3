"""Threads take the instructions between their tasks and transfers: loops, forks, stages of pipelines."""

from __future__ import annotations

from typing import Any

from numba import njit

from hw_models.simulator.timed import layout as lay
from hw_models.simulator.timed.codes import (
    BEGIN,
    CLOSE,
    COUNT,
    DONE,
    EMPTY,
    ENTER,
    FETCH,
    FORK,
    IDLE,
    JOINING,
    LAST,
    LEAVE,
    LOOP,
    NEXT,
    PASS,
    PUSH,
    RING,
    RUNNING,
    SEEN,
    TASK,
    WAITING,
    WRITE,
)
from hw_models.simulator.timed.kernel.access import copy, count


@njit
def advance(p: Any, s: Any) -> None:
    """Let a thread that runs take instructions until it waits, forks or ends."""
    s[s[lay.RUNNING]] -= 1
    th = s[s[lay.STACK] + s[s[lay.RUNNING]]]
    while True:
        pc = s[s[lay.PC] + th]
        op, a, b = p[p[lay.CODE] + pc * 3 + 0], p[p[lay.CODE] + pc * 3 + 1], p[p[lay.CODE] + pc * 3 + 2]
        if op in (TASK, FETCH, WRITE, ENTER, LEAVE, BEGIN, CLOSE):
            s[s[lay.STATE] + th] = WAITING
            s[s[lay.STALE] + th] = 1
            return
        s[s[lay.PC] + th] = pc + 1
        if op == LOOP:
            _enter_loop(p, s, th, a)
        elif op == NEXT:
            if s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (a) * 5 + 3] == 0:
                _turn_loop(p, s, th, a)
                if th == 0 and s[s[lay.WATCH] + a] > 0:
                    s[s[lay.WATCH] + a] -= 1
                    s[lay.STOPPED] = a + 1
                s[s[lay.PC] + th] = b
        elif op == FORK:
            if _fork(p, s, th, a):
                return
        elif op == LAST:
            if s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (a) * 5 + 3] == 0:
                s[s[lay.PC] + th] = b
        elif op == PUSH:
            _push(p, s, th, a)
        elif op == EMPTY:
            _empty(p, s, th, a, b)
        elif op == SEEN:
            s[s[lay.MARKS] + th * s[lay.N_MARKS] + a] += 1
        elif op == DONE:
            _done(p, s, th, a)
        elif op == COUNT:
            for k in range(p[p[lay.GROUP_FROM] + a], p[p[lay.GROUP_FROM] + a + 1]):
                count(p, s, th, p[p[lay.GROUP_HOLD] + k], th)
        elif op == PASS:
            pass
        else:
            _end(p, s, th)
            return


@njit
def _enter_loop(p: Any, s: Any, th: int, loop: int) -> None:
    outer = p[p[lay.LOOP_OUTER] + loop]
    row = p[p[lay.LOOP_ROW] + loop] + (s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (outer) * 5 + 2] if outer >= 0 else 0)
    run = p[p[lay.RUN_FROM] + row]
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 0] = 0
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 1] = run
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 2] = p[p[lay.RUN_CLASS] + run]
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 3] = (
        1 if p[p[lay.RUN_UPTO] + p[p[lay.RUN_FROM] + row + 1] - 1] == 1 else 0
    )
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 4] = row


@njit
def _turn_loop(p: Any, s: Any, th: int, loop: int) -> None:
    i = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 0] + 1
    run = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 1]
    if i == p[p[lay.RUN_UPTO] + run]:
        run += 1
        s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 1] = run
        s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 2] = p[p[lay.RUN_CLASS] + run]
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 0] = i
    if (
        i + 1
        == p[p[lay.RUN_UPTO] + p[p[lay.RUN_FROM] + s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 4] + 1] - 1]
    ):
        s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 3] = 1


@njit
def _fork(p: Any, s: Any, th: int, fork: int) -> bool:
    """Start the threads of a fork; return whether there are any to wait for."""
    pipe = p[p[lay.FORK_PIPE] + fork]
    s[s[lay.FORKED] + fork] += 1
    count = 0
    for k in range(p[p[lay.PART_FROM] + fork], p[p[lay.PART_FROM] + fork + 1]):
        child, late = p[p[lay.PART_THREAD] + k], p[p[lay.PART_LATE] + k]
        row = th
        if pipe >= 0:
            x = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + pipe] - late
            if x < s[s[lay.PIPES] + pipe * 4 + 1] or x > s[s[lay.PIPES] + pipe * 4 + 2]:
                continue
            row = p[p[lay.RING_ROW] + pipe] + (x & (RING - 1))
        copy(s, child, row)
        s[s[lay.TIME] + child] = s[s[lay.TIME] + th]
        s[s[lay.PC] + child] = p[p[lay.ENTRY] + child]
        s[s[lay.STATE] + child] = RUNNING
        s[s[lay.STACK] + s[s[lay.RUNNING]]] = child
        s[s[lay.RUNNING]] += 1
        count += 1
    if count == 0:
        return False
    s[s[lay.STATE] + th] = JOINING
    s[s[lay.JOIN] + th * 2 + 0] = count
    s[s[lay.JOIN] + th * 2 + 1] = s[s[lay.TIME] + th]
    return True


@njit
def _end(p: Any, s: Any, th: int) -> None:
    s[s[lay.STATE] + th] = IDLE
    up = p[p[lay.PARENT] + th]
    if up >= 0:
        s[s[lay.JOIN] + up * 2 + 0] -= 1
        s[s[lay.JOIN] + up * 2 + 1] = max(s[s[lay.JOIN] + up * 2 + 1], s[s[lay.TIME] + th])
        if s[s[lay.JOIN] + up * 2 + 0] == 0:
            s[s[lay.TIME] + up] = s[s[lay.JOIN] + up * 2 + 1]
            s[s[lay.STATE] + up] = RUNNING
            s[s[lay.STACK] + s[s[lay.RUNNING]]] = up
            s[s[lay.RUNNING]] += 1


@njit
def _push(p: Any, s: Any, th: int, pipe: int) -> None:
    """Begin an epoch with a new iteration."""
    x = s[s[lay.PIPES] + pipe * 4 + 0] + 1
    s[s[lay.PIPES] + pipe * 4 + 0] = x
    if s[s[lay.PIPES] + pipe * 4 + 3] == 0:
        s[s[lay.PIPES] + pipe * 4 + 1] = x
        s[s[lay.PIPES] + pipe * 4 + 3] = 1
    s[s[lay.PIPES] + pipe * 4 + 2] = x
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + pipe] = x
    row = p[p[lay.RING_ROW] + pipe] + (x & (RING - 1))
    copy(s, row, th)
    for k in range(p[p[lay.AROUND_FROM] + pipe], p[p[lay.AROUND_FROM] + pipe + 1]):
        hold = p[p[lay.AROUND_HOLD] + k]
        begins = ends = 1
        for j in range(p[p[lay.WITHIN_FROM] + k], p[p[lay.WITHIN_FROM] + k + 1]):
            begins &= 1 if s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (p[p[lay.WITHIN_LOOP] + j]) * 5 + 0] == 0 else 0
            ends &= s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (p[p[lay.WITHIN_LOOP] + j]) * 5 + 3]
        s[s[lay.AROUND] + row * s[lay.N_HOLDS] + hold] = begins + 2 * ends


@njit
def _empty(p: Any, s: Any, th: int, pipe: int, start: int) -> None:
    """After the last iteration: epochs of late stages alone, until none is under way."""
    x = s[s[lay.PIPES] + pipe * 4 + 0] + 1
    if x - s[s[lay.PIPES] + pipe * 4 + 2] <= p[p[lay.LATEST] + pipe]:
        s[s[lay.PIPES] + pipe * 4 + 0] = x
        s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + pipe] = x
        s[s[lay.PC] + th] = start
    else:
        s[s[lay.PIPES] + pipe * 4 + 3] = 0


@njit
def _done(p: Any, s: Any, th: int, signal: int) -> None:
    at = s[s[lay.TIME] + th]
    for k in range(p[p[lay.SIGNAL_FROM] + signal], p[p[lay.SIGNAL_FROM] + signal + 1]):
        at = max(at, s[s[lay.OUT] + (p[p[lay.SIGNAL_TASK] + k]) * 3 + 0])
    s[s[lay.DONE_AT] + signal * RING + (s[s[lay.DONE] + signal] & (RING - 1))] = at
    s[s[lay.DONE] + signal] += 1

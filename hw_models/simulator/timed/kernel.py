"""The timed run itself: threads that take the next instruction in the order of time.

Times are in sixteenths of a cycle: what arrays do starts on whole cycles, bandwidths need not divide them. At each turn
the thread goes on whose next task or transfer can start first; of equals, the first. It can start once all that it waits
for has happened, its array is free, and its place in memory is. So a turn never starts before one that is done.
"""

from __future__ import annotations

from typing import Any, Final

from numba import carray, njit, types
from numba.extending import intrinsic

from hw_models.simulator import dram
from hw_models.simulator.timed import layout as lay
from hw_models.simulator.timed.lowering import Op

TICKS: Final = 16
"""Parts of a cycle in which times are counted."""
RING: Final = 16
"""How many of the latest entries and iterations are remembered."""
NEVER: Final = 1 << 62
MARGIN: Final = 256
"""More than a turn records."""

TRANSFER: Final = dram.compiled()
IDLE, RUNNING, WAITING, JOINING = 0, 1, 2, 3
READY, MADE, ITERATION, FOLLOWS = 0, 1, 2, 3
OPERANDS, SPACE, PORT, DEPENDENCE, DRAIN = 0, 1, 2, 3, 4
CAUSES: Final = ("operands", "space", "port", "dependence", "drain")

END, LOOP, NEXT, TASK, FORK, LAST, ENTER, LEAVE = (
    int(op) for op in (Op.END, Op.LOOP, Op.NEXT, Op.TASK, Op.FORK, Op.LAST, Op.ENTER, Op.LEAVE)
)
PUSH, BEGIN, CLOSE, EMPTY, SEEN, DONE, FETCH, WRITE = (
    int(op) for op in (Op.PUSH, Op.BEGIN, Op.CLOSE, Op.EMPTY, Op.SEEN, Op.DONE, Op.FETCH, Op.WRITE)
)


@intrinsic  # type: ignore[untyped-decorator]
def pointer(_: Any, array: Any) -> Any:
    """Return where an array of integers begins: functions take it faster than the array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, value=arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


@njit(cache=True)
def run(program: Any, state: Any, events: Any, limit: int) -> int:
    """Take turns until all threads have ended, so many have been taken, a loop that is watched turns, or the record is
    full; return how many were taken, -1 if no thread can go on."""
    p, s, e = pointer(program), pointer(state), pointer(events)
    s[lay.ROOM_LEFT] = events.shape[0]
    s[lay.STOPPED] = 0
    taken = 0
    while True:
        while s[s[lay.RUNNING]] > 0:
            _advance(p, s)
        if taken >= limit or s[lay.STOPPED] or (s[lay.ROOM_LEFT] and s[s[lay.CLOCK] + 1] + MARGIN > s[lay.ROOM_LEFT]):
            return taken
        thread, start = _next(p, s)
        if thread < 0:
            return taken
        if start == NEVER:
            return -1
        _turn(p, s, e, thread, start)
        taken += 1


@njit(cache=True)
def _number(p: Any, s: Any, row: int, table: int) -> int:
    """The number of a visit, from the classes of the loops around it."""
    found = p[p[lay.TABLE_BASE] + table]
    for k in range(p[p[lay.KEY_FROM] + table], p[p[lay.KEY_FROM] + table + 1]):
        found += s[s[lay.CONTEXT] + row * s[lay.WIDTH] + (p[p[lay.KEY_LOOP] + k]) * 5 + 2] * p[p[lay.KEY_STRIDE] + k]
    return found


@njit(cache=True)
def _advance(p: Any, s: Any) -> None:
    """Let a thread that runs take instructions until it waits, forks or ends."""
    s[s[lay.RUNNING]] -= 1
    th = s[s[lay.STACK] + s[s[lay.RUNNING]]]
    while True:
        pc = s[s[lay.PC] + th]
        op, a, b = p[p[lay.CODE] + pc * 3 + 0], p[p[lay.CODE] + pc * 3 + 1], p[p[lay.CODE] + pc * 3 + 2]
        if op == TASK or op == FETCH or op == WRITE or op == ENTER or op == LEAVE or op == BEGIN or op == CLOSE:
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
        else:
            _end(p, s, th)
            return


@njit(cache=True)
def _enter_loop(p: Any, s: Any, th: int, loop: int) -> None:
    outer = p[p[lay.LOOP_OUTER] + loop]
    row = p[p[lay.LOOP_ROW] + loop] + (s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (outer) * 5 + 2] if outer >= 0 else 0)
    run = p[p[lay.RUN_FROM] + row]
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 0] = 0
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 1] = run
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 2] = p[p[lay.RUN_CLASS] + run]
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 3] = 1 if p[p[lay.RUN_UPTO] + p[p[lay.RUN_FROM] + row + 1] - 1] == 1 else 0
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 4] = row


@njit(cache=True)
def _turn_loop(p: Any, s: Any, th: int, loop: int) -> None:
    i = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 0] + 1
    run = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 1]
    if i == p[p[lay.RUN_UPTO] + run]:
        run += 1
        s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 1] = run
        s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 2] = p[p[lay.RUN_CLASS] + run]
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 0] = i
    if i + 1 == p[p[lay.RUN_UPTO] + p[p[lay.RUN_FROM] + s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 4] + 1] - 1]:
        s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (loop) * 5 + 3] = 1


@njit(cache=True)
def _copy(s: Any, into: int, row: int) -> None:
    width = s[lay.WIDTH]
    to, of = s[lay.CONTEXT] + into * width, s[lay.CONTEXT] + row * width
    for k in range(width):
        s[to + k] = s[of + k]


@njit(cache=True)
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
            row = p[p[lay.RING_ROW] + pipe] + ((x & (RING - 1)))
        _copy(s, child, row)
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


@njit(cache=True)
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


@njit(cache=True)
def _push(p: Any, s: Any, th: int, pipe: int) -> None:
    """Begin an epoch with a new iteration."""
    x = s[s[lay.PIPES] + pipe * 4 + 0] + 1
    s[s[lay.PIPES] + pipe * 4 + 0] = x
    if s[s[lay.PIPES] + pipe * 4 + 3] == 0:
        s[s[lay.PIPES] + pipe * 4 + 1] = x
        s[s[lay.PIPES] + pipe * 4 + 3] = 1
    s[s[lay.PIPES] + pipe * 4 + 2] = x
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + pipe] = x
    row = p[p[lay.RING_ROW] + pipe] + ((x & (RING - 1)))
    _copy(s, row, th)
    for k in range(p[p[lay.AROUND_FROM] + pipe], p[p[lay.AROUND_FROM] + pipe + 1]):
        hold = p[p[lay.AROUND_HOLD] + k]
        begins = ends = 1
        for j in range(p[p[lay.WITHIN_FROM] + k], p[p[lay.WITHIN_FROM] + k + 1]):
            begins &= 1 if s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (p[p[lay.WITHIN_LOOP] + j]) * 5 + 0] == 0 else 0
            ends &= s[s[lay.CONTEXT] + th * s[lay.WIDTH] + (p[p[lay.WITHIN_LOOP] + j]) * 5 + 3]
        s[s[lay.AROUND] + row * s[lay.N_HOLDS] + hold] = begins + 2 * ends


@njit(cache=True)
def _empty(p: Any, s: Any, th: int, pipe: int, start: int) -> None:
    """After the last iteration: epochs of late stages alone, until none is under way."""
    x = s[s[lay.PIPES] + pipe * 4 + 0] + 1
    if x - s[s[lay.PIPES] + pipe * 4 + 2] <= p[p[lay.LATEST] + pipe]:
        s[s[lay.PIPES] + pipe * 4 + 0] = x
        s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + pipe] = x
        s[s[lay.PC] + th] = start
    else:
        s[s[lay.PIPES] + pipe * 4 + 3] = 0


@njit(cache=True)
def _done(p: Any, s: Any, th: int, signal: int) -> None:
    at = s[s[lay.TIME] + th]
    for k in range(p[p[lay.SIGNAL_FROM] + signal], p[p[lay.SIGNAL_FROM] + signal + 1]):
        at = max(at, s[s[lay.OUT] + (p[p[lay.SIGNAL_TASK] + k]) * 3 + 0])
    s[s[lay.DONE_AT] + signal * RING + (s[s[lay.DONE] + signal] & (RING - 1))] = at
    s[s[lay.DONE] + signal] += 1


# Which thread is next.


@njit(cache=True)
def _next(p: Any, s: Any) -> tuple[int, int]:
    best, found = -1, NEVER
    for th in range(p[p[lay.THREADS]]):
        if s[s[lay.STATE] + th] == WAITING:
            if s[s[lay.STALE] + th]:
                s[s[lay.START] + th] = _candidate(p, s, th)
                s[s[lay.STALE] + th] = 0
            if s[s[lay.START] + th] < found:
                best, found = th, s[s[lay.START] + th]
            elif best < 0:
                best = th
    if best < 0:
        return -1, 0
    return best, found


@njit(cache=True)
def _candidate(p: Any, s: Any, th: int) -> int:
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


@njit(cache=True)
def _room(p: Any, s: Any, at: int, begin: int, end: int) -> int:
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


@njit(cache=True)
def _fetch_start(p: Any, s: Any, th: int, hold: int) -> int:
    entry = s[s[lay.FETCHED] + hold]
    at = s[s[lay.TIME] + th]
    s[s[lay.CAUSE] + th] = OPERANDS
    behind = entry - p[p[lay.COPIES] + hold]
    if behind >= 0:
        if (s[s[lay.WRITTEN] + hold] if p[p[lay.WRITES] + hold] else s[s[lay.LEFT] + hold]) <= behind:
            s[s[lay.CAUSE] + th] = SPACE
            return NEVER
        freed = s[s[lay.WRITTEN_AT] + hold * RING + (behind & (RING - 1))] if p[p[lay.WRITES] + hold] else s[s[lay.LEFT_AT] + hold * RING + (behind & (RING - 1))]
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
        signal, number = p[p[lay.SOURCE_SIGNAL] + k], s[s[lay.MARKS] + th * s[lay.N_MARKS] + p[p[lay.SOURCE_MARK] + k]] - 1
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


@njit(cache=True)
def _task_start(p: Any, s: Any, th: int, task: int) -> int:
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
            when = s[s[lay.MADE_AT] + (index * RING + slot) * 3 + 0] if p[p[lay.WAIT_CROSSES] + k] else s[s[lay.MADE_AT] + (index * RING + slot) * 3 + 1]
            leaving = s[s[lay.MADE_AT] + (index * RING + slot) * 3 + 2]
        else:
            fork = p[p[lay.WAIT_PIPE] + k]
            if s[s[lay.FOLLOW] + index * 6 + 0] != s[s[lay.FORKED] + fork]:
                if s[s[lay.STATE] + p[p[lay.TASK_THREAD] + index]] == IDLE:
                    continue
                return NEVER
            mine = s[s[lay.FOLLOW] + task * 6 + 1] if s[s[lay.FOLLOW] + task * 6 + 0] == s[s[lay.FORKED] + fork] else 0
            need = ((mine + 1) * p[p[lay.WAIT_THEIRS] + k] + p[p[lay.WAIT_MINE] + k] - 1) // p[p[lay.WAIT_MINE] + k]
            if s[s[lay.FOLLOW] + index * 6 + 1] < min(need, p[p[lay.WAIT_THEIRS] + k]) and s[s[lay.STATE] + p[p[lay.TASK_THREAD] + index]] != IDLE:
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
        steps = p[p[lay.STEPS] + _number(p, s, th, task)]
        if s[s[lay.ARRAY] + array * 4 + 3] - steps - fill > at:
            at, cause, split = s[s[lay.ARRAY] + array * 4 + 3] - steps - fill, DRAIN, 0
    if s[s[lay.ARRAY] + array * 4 + 0] > at:
        at = s[s[lay.ARRAY] + array * 4 + 0]
    s[s[lay.CAUSE] + th] = cause
    s[s[lay.SPLIT] + th] = split
    return ((at + TICKS - 1) // TICKS) * TICKS


# What a turn does.


@njit(cache=True)
def _turn(p: Any, s: Any, e: Any, th: int, start: int) -> None:
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
        _fetch(p, s, e, th, a, start)
    elif op == WRITE:
        ports = True
        _write(p, s, e, th, a, start)
    elif op == ENTER:
        for k in range(p[p[lay.GROUP_FROM] + a], p[p[lay.GROUP_FROM] + a + 1]):
            _enter(p, s, e, th, p[p[lay.GROUP_HOLD] + k], th)
    elif op == LEAVE:
        for k in range(p[p[lay.GROUP_FROM] + a], p[p[lay.GROUP_FROM] + a + 1]):
            hold = p[p[lay.GROUP_HOLD] + k]
            if p[p[lay.HOLD_PIPE] + hold] < 0:
                _leave(p, s, e, th, hold, th)
    elif op == BEGIN:
        _epoch(p, s, e, th, a, 1)
    else:
        _epoch(p, s, e, th, a, 2)
    for other in range(p[p[lay.THREADS]]):
        if s[s[lay.STATE] + other] == WAITING and not s[s[lay.STALE] + other]:
            what = p[p[lay.CODE] + (s[s[lay.PC] + other]) * 3 + 0]
            if what == TASK:
                mine = p[p[lay.TASK_ARRAY] + p[p[lay.CODE] + (s[s[lay.PC] + other]) * 3 + 1]]
                s[s[lay.STALE] + other] = op != TASK or mine == array or s[s[lay.START] + other] == NEVER
            elif what == FETCH or what == WRITE:
                s[s[lay.STALE] + other] = op != TASK or ports
            else:
                s[s[lay.STALE] + other] = op == WRITE or op == FETCH


@njit(cache=True)
def _epoch(p: Any, s: Any, e: Any, th: int, pipe: int, what: int) -> None:
    """Enter (1) or leave (2) the holds around a pipeline that the iterations in its epoch do."""
    x = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + pipe]
    for k in range(p[p[lay.AROUND_FROM] + pipe], p[p[lay.AROUND_FROM] + pipe + 1]):
        hold = p[p[lay.AROUND_HOLD] + k]
        y = x - p[p[lay.AROUND_LATE] + k * 2 + what - 1]
        if y < s[s[lay.PIPES] + pipe * 4 + 1] or y > s[s[lay.PIPES] + pipe * 4 + 2]:
            continue
        row = p[p[lay.RING_ROW] + pipe] + ((y & (RING - 1)))
        if s[s[lay.AROUND] + row * s[lay.N_HOLDS] + hold] & what:
            if what == 1:
                _occupy(p, s, e, hold, row)
            else:
                _leave(p, s, e, th, hold, row)


@njit(cache=True)
def _enter(p: Any, s: Any, e: Any, th: int, hold: int, row: int) -> None:
    s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ENTRIES] + hold] = s[s[lay.ENTERED] + hold]
    s[s[lay.ENTERED] + hold] += 1
    s[s[lay.VISITS] + _number(p, s, row, p[p[lay.HOLD_TABLE] + hold])] += 1
    if p[p[lay.HOLD_PIPE] + hold] < 0:
        _occupy(p, s, e, hold, row)


@njit(cache=True)
def _occupy(p: Any, s: Any, e: Any, hold: int, row: int) -> None:
    memory = p[p[lay.HOLD_MEMORY] + hold]
    if memory >= 0:
        bits = p[p[lay.ROOM] + _number(p, s, row, p[p[lay.HOLD_TABLE] + hold])]
        s[s[lay.USED] + memory * 4 + 0] += bits * p[p[lay.DOUBLED] + hold]
        s[s[lay.USED] + memory * 4 + 1] = max(s[s[lay.USED] + memory * 4 + 1], s[s[lay.USED] + memory * 4 + 0])
        if not p[p[lay.FETCHES] + hold]:
            _take(p, s, e, memory, bits)


@njit(cache=True)
def _take(p: Any, s: Any, e: Any, memory: int, bits: int) -> None:
    s[s[lay.USED] + memory * 4 + 2] += bits
    s[s[lay.USED] + memory * 4 + 3] = max(s[s[lay.USED] + memory * 4 + 3], s[s[lay.USED] + memory * 4 + 2])
    _changed(s, e, memory)


@njit(cache=True)
def _leave(p: Any, s: Any, e: Any, th: int, hold: int, row: int) -> None:
    at = s[s[lay.TIME] + th]
    for k in range(p[p[lay.HOLD_TASK_FROM] + hold], p[p[lay.HOLD_TASK_FROM] + hold + 1]):
        at = max(at, s[s[lay.OUT] + (p[p[lay.HOLD_TASK] + k]) * 3 + 0])
    s[s[lay.LEFT_AT] + hold * RING + (s[s[lay.LEFT] + hold] & (RING - 1))] = at
    number = _number(p, s, row, p[p[lay.HOLD_TABLE] + hold])
    s[s[lay.LEFT_NUMBER] + hold * RING + (s[s[lay.LEFT] + hold] & (RING - 1))] = number
    s[s[lay.LEFT] + hold] += 1
    memory = p[p[lay.HOLD_MEMORY] + hold]
    if memory >= 0:
        s[s[lay.USED] + memory * 4 + 0] -= p[p[lay.ROOM] + number] * p[p[lay.DOUBLED] + hold]
        if not p[p[lay.WRITES] + hold]:
            _take(p, s, e, memory, -p[p[lay.ROOM] + number])


@njit(cache=True)
def _serve(p: Any, s: Any, e: Any, row: int, visit: int, name: int, at: int, asked: int) -> int:
    """Let a port work, and return when it is done: after those before it, or sooner by its share of the bandwidth.

    Banks and rows of an off-chip memory have been asked for what comes as soon as ``asked``.
    """
    port, ticks = p[p[lay.PORT] + row], p[p[lay.DEMAND] + p[p[lay.PORT_DEMAND] + row] + visit]
    if ticks == 0:
        return at
    begin = max(at, s[s[lay.FREE] + port])
    end = begin + ticks
    s[s[lay.SERVED] + port] += ticks
    if p[p[lay.RUNS_FROM] + row] < p[p[lay.RUNS_FROM] + row + 1]:
        end = max(end, _off_chip(p, s, row, visit, asked))
        s[s[lay.FREE] + port] = begin + ticks
        _record(s, e, p[p[lay.PORT_TRACK] + port], name, begin, begin + ticks)
        return end
    s[s[lay.FREE] + port] = end
    _record(s, e, p[p[lay.PORT_TRACK] + port], name, begin, end)
    return min(end, at + ticks * p[p[lay.PORT_USERS] + port])


@njit(cache=True)
def _off_chip(p: Any, s: Any, row: int, visit: int, at: int) -> int:
    """Transfer tensors to or from an off-chip memory of banks and rows; return when it is done."""
    state = carray(s, (s[lay.LENGTH],))[s[lay.BANKS] :]
    params = carray(p, (p[lay.DRAM] + dram.PARAMS,))[p[lay.DRAM] :]
    start, end = -(-at // TICKS), 0
    for k in range(p[p[lay.RUNS_FROM] + row], p[p[lay.RUNS_FROM] + row + 1]):
        place = p[p[lay.RUNS_TABLE] + k] + 3 * visit
        runs, size, stride = p[p[lay.RUNS] + place], p[p[lay.RUNS] + place + 1], p[p[lay.RUNS] + place + 2]
        if runs > 0:
            tensor = p[p[lay.RUNS_TENSOR] + k]
            address = p[p[lay.RUNS_BASE] + k] + s[s[lay.CURSOR] + tensor]
            s[s[lay.CURSOR] + tensor] = (s[s[lay.CURSOR] + tensor] + runs * size) % p[p[lay.RUNS_SIZE] + k]
            write = p[p[lay.RUNS_WRITE] + k] > 0
            end = max(end, TRANSFER(state, params, start, address, runs, size, stride, write))
    return end * TICKS


@njit(cache=True)
def _fetch(p: Any, s: Any, e: Any, th: int, hold: int, start: int) -> None:
    number = _number(p, s, th, p[p[lay.HOLD_TABLE] + hold])
    end = alone = start
    for k in range(p[p[lay.FETCH_PORT_FROM] + hold], p[p[lay.FETCH_PORT_FROM] + hold + 1]):
        visit = number - p[p[lay.TABLE_BASE] + p[p[lay.HOLD_TABLE] + hold]]
        end = max(end, _serve(p, s, e, k, visit, p[p[lay.FETCH_NAME] + hold], start, start))
        alone = max(alone, start + p[p[lay.DEMAND] + p[p[lay.PORT_DEMAND] + k] + visit])
    entry = s[s[lay.FETCHED] + hold] & (RING - 1)
    s[s[lay.FETCHED_AT] + hold * RING + entry] = end + (p[p[lay.LATENCY] + hold] if end > start else 0)
    s[s[lay.FETCH_CAUSE] + hold * RING + entry] = PORT if end > alone else s[s[lay.CAUSE] + th]
    s[s[lay.FETCHED] + hold] += 1
    s[s[lay.TIME] + th] = start
    if p[p[lay.HOLD_MEMORY] + hold] >= 0:
        _take(p, s, e, p[p[lay.HOLD_MEMORY] + hold], p[p[lay.ROOM] + number])


@njit(cache=True)
def _write(p: Any, s: Any, e: Any, th: int, hold: int, start: int) -> None:
    entry = s[s[lay.WRITTEN] + hold] & (RING - 1)
    number = s[s[lay.LEFT_NUMBER] + hold * RING + entry]
    end = start
    for k in range(p[p[lay.WRITE_PORT_FROM] + hold], p[p[lay.WRITE_PORT_FROM] + hold + 1]):
        visit = number - p[p[lay.TABLE_BASE] + p[p[lay.HOLD_TABLE] + hold]]
        end = max(end, _serve(p, s, e, k, visit, p[p[lay.WRITE_NAME] + hold], start, start))
    s[s[lay.WRITTEN_AT] + hold * RING + entry] = end + (p[p[lay.LATENCY] + hold] if end > start else 0)
    s[s[lay.WRITTEN] + hold] += 1
    s[s[lay.TIME] + th] = start
    s[s[lay.CLOCK] + 2] = max(s[s[lay.CLOCK] + 2], s[s[lay.WRITTEN_AT] + hold * RING + entry])
    if p[p[lay.HOLD_MEMORY] + hold] >= 0:
        _take(p, s, e, p[p[lay.HOLD_MEMORY] + hold], -p[p[lay.ROOM] + number])


@njit(cache=True)
def _task(p: Any, s: Any, e: Any, th: int, task: int, start: int) -> None:
    array = p[p[lay.TASK_ARRAY] + task]
    number = _number(p, s, th, task)
    steps = p[p[lay.STEPS] + number]
    s[s[lay.VISITS] + number] += 1
    unloads = p[p[lay.TASK_UNLOADS] + task]
    end = max(start + steps, _stream(p, s, e, task, number, 2 * task, start, s[s[lay.ARRAY] + array * 4 + 2]))
    for k in range(p[p[lay.WAIT_FROM] + task], p[p[lay.WAIT_FROM] + task + 1]):
        if p[p[lay.WAIT_KIND] + k] == FOLLOWS:
            end = max(end, s[s[lay.FOLLOW] + (p[p[lay.WAIT_INDEX] + k]) * 6 + 5] if p[p[lay.WAIT_CROSSES] + k] else s[s[lay.FOLLOW] + (p[p[lay.WAIT_INDEX] + k]) * 6 + 3])
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
    _record(s, e, array, p[p[lay.TASK_NAME] + task], start, end, epoch)


@njit(cache=True)
def _passed(p: Any, s: Any, task: int, left: int) -> int:
    """When results are on their way to where they go: all there, or taken by the off-chip memory's bus."""
    for k in range(p[p[lay.TASK_PORT_FROM] + 2 * task + 1], p[p[lay.TASK_PORT_FROM] + 2 * task + 2]):
        if p[p[lay.RUNS_FROM] + k] < p[p[lay.RUNS_FROM] + k + 1]:
            left = min(left, s[s[lay.FREE] + p[p[lay.PORT] + k]])
    return left


@njit(cache=True)
def _stream(p: Any, s: Any, e: Any, task: int, number: int, way: int, start: int, asked: int) -> int:
    """Move a task's operands, or its results, as it works; return when that is done."""
    end = start
    for k in range(p[p[lay.TASK_PORT_FROM] + way], p[p[lay.TASK_PORT_FROM] + way + 1]):
        visit = number - p[p[lay.TABLE_BASE] + task]
        end = max(end, _serve(p, s, e, k, visit, p[p[lay.TASK_STREAM] + task], start, asked))
    return end


@njit(cache=True)
def _made(p: Any, s: Any, th: int, task: int, made: int, out: int, first: int, end: int) -> None:
    s[s[lay.OUT] + task * 3 + 0], s[s[lay.OUT] + task * 3 + 1], s[s[lay.OUT] + task * 3 + 2] = out, made, end
    pipe = p[p[lay.TASK_PIPE] + task]
    if pipe >= 0:
        x = s[s[lay.CONTEXT] + th * s[lay.WIDTH] + s[lay.ITERATION] + pipe]
        slot = x & (RING - 1)
        s[s[lay.MADE_TAG] + task * RING + slot] = x
        s[s[lay.MADE_AT] + (task * RING + slot) * 3 + 0], s[s[lay.MADE_AT] + (task * RING + slot) * 3 + 1], s[s[lay.MADE_AT] + (task * RING + slot) * 3 + 2] = out, made, end
    fork = p[p[lay.TASK_FORK] + task]
    if fork >= 0:
        if s[s[lay.FOLLOW] + task * 6 + 0] != s[s[lay.FORKED] + fork]:
            s[s[lay.FOLLOW] + task * 6 + 0], s[s[lay.FOLLOW] + task * 6 + 1] = s[s[lay.FORKED] + fork], 0
        s[s[lay.FOLLOW] + task * 6 + 1] += 1
        s[s[lay.FOLLOW] + task * 6 + 2], s[s[lay.FOLLOW] + task * 6 + 3] = first, made
        s[s[lay.FOLLOW] + task * 6 + 4], s[s[lay.FOLLOW] + task * 6 + 5] = end, out


@njit(cache=True)
def _record(s: Any, e: Any, track: int, name: int, begin: int, end: int, epoch: int = -1) -> None:
    n = s[s[lay.CLOCK] + 1]
    if n < s[lay.ROOM_LEFT]:
        e[5 * n], e[5 * n + 1], e[5 * n + 2], e[5 * n + 3], e[5 * n + 4] = track, name, begin, end, epoch
        s[s[lay.CLOCK] + 1] = n + 1


@njit(cache=True)
def _changed(s: Any, e: Any, memory: int) -> None:
    _record(s, e, -1 - memory, 0, s[s[lay.CLOCK]], s[s[lay.USED] + memory * 4 + 2])

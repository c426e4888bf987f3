"""The timed run itself: threads that take the next instruction in the order of time.

Times are in sixteenths of a cycle: what arrays do starts on whole cycles, bandwidths need not divide them. At each turn
the thread goes on whose next task or transfer can start first; of equals, the first. It can start once all that it
waits for has happened, its array is free, and its place in memory is. So a turn never starts before one that is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numba import njit, types
from numba.extending import intrinsic

from einsum_cascades.code_cache import kept
from hw_models.simulator import dram
from hw_models.simulator.timed import layout as lay
from hw_models.simulator.timed.codes import MARGIN, NEVER, WAITING
from hw_models.simulator.timed.kernel.starts import candidate
from hw_models.simulator.timed.kernel.threads import advance
from hw_models.simulator.timed.kernel.turns import turn


@intrinsic
def pointer(_: Any, array: Any) -> Any:
    """Return where an array of integers begins: functions take it faster than the array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, value=arguments[0]).data

    return types.CPointer(array.dtype)(array), generate  # type: ignore[no-untyped-call]


@njit
def _next(p: Any, s: Any) -> tuple[int, int]:
    best, found = -1, NEVER
    for th in range(p[p[lay.THREADS]]):
        if s[s[lay.STATE] + th] == WAITING:
            if s[s[lay.STALE] + th]:
                s[s[lay.START] + th] = candidate(p, s, th)
                s[s[lay.STALE] + th] = 0
            if s[s[lay.START] + th] < found:
                best, found = th, s[s[lay.START] + th]
            elif best < 0:
                best = th
    if best < 0:
        return -1, 0
    return best, found


def take_turns(program: Any, state: Any, events: Any, limit: int) -> int:
    """Take turns until all threads have ended, so many have been taken, a loop that is watched turns, or the record is
    full; return how many were taken, -1 if no thread can go on."""
    p: Any = pointer(program)  # type: ignore[call-arg]
    s: Any = pointer(state)
    e: Any = pointer(events)
    s[lay.ROOM_LEFT] = events.shape[0]
    s[lay.STOPPED] = 0
    taken = 0
    while True:
        while s[s[lay.RUNNING]] > 0:
            advance(p, s)
        if taken >= limit or s[lay.STOPPED] or (s[lay.ROOM_LEFT] and s[s[lay.CLOCK] + 1] + MARGIN > s[lay.ROOM_LEFT]):
            return taken
        thread, start = _next(p, s)
        if thread < 0:
            return taken
        if start == NEVER:
            return -1
        turn(p, s, e, thread, start)
        taken += 1


_FOLDER = Path(__file__).parent
_SOURCES = [
    *sorted(_FOLDER.glob("*.py")),
    _FOLDER.parent / "layout.py",
    _FOLDER.parent / "codes.py",
    Path(dram.__file__),
]
compiled = kept(njit(take_turns), b"".join(path.read_bytes() for path in _SOURCES))
"""``take_turns``, compiled, and kept on disk until any of its sources changes."""

"""Numbers that stand for things in a timed run: parts of a cycle, states of threads, waits, causes, instructions."""

from __future__ import annotations

from typing import Final

from hw_models.simulator.timed.instructions import Op

TICKS: Final = 16
"""Parts of a cycle in which times are counted."""
RING: Final = 16
"""How many of the latest entries and iterations are remembered."""
NEVER: Final = 1 << 62
MARGIN: Final = 256
"""More than a turn records."""

IDLE, RUNNING, WAITING, JOINING = 0, 1, 2, 3
READY, MADE, ITERATION, FOLLOWS = 0, 1, 2, 3
OPERANDS, SPACE, PORT, DEPENDENCE, DRAIN = 0, 1, 2, 3, 4
CAUSES: Final = ("operands", "space", "port", "dependence", "drain")

END, LOOP, NEXT, TASK, FORK, LAST, ENTER, LEAVE = (
    int(op) for op in (Op.END, Op.LOOP, Op.NEXT, Op.TASK, Op.FORK, Op.LAST, Op.ENTER, Op.LEAVE)
)
PUSH, BEGIN, CLOSE, EMPTY, SEEN, DONE, FETCH, WRITE, COUNT, PASS = (
    int(op)
    for op in (
        Op.PUSH,
        Op.BEGIN,
        Op.CLOSE,
        Op.EMPTY,
        Op.SEEN,
        Op.DONE,
        Op.FETCH,
        Op.WRITE,
        Op.COUNT,
        Op.PASS,
    )
)

"""Ctrl-C and SIGTERM: the first ends a command with what is kept, a second ends the process at once.

The first is an exception, and one that arrives where Python runs a destructor or a callback of a weak reference is
dropped there. So it is raised once more after a while, and a process that still does not end is ended, not without
saying so.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
PATIENCE_S = 10.0
"""How long a command may take to end after a signal, before it is told again, and after that, before it is ended."""
_under_way: list[Callable[[], str]] = []
_told: list[str] = []


class TerminatedError(KeyboardInterrupt):
    """Raised where SIGTERM arrives, and handled as Ctrl-C is."""


def catch_signals() -> None:
    """Let SIGTERM end the command in order, as Ctrl-C does, and the second of either end it at once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, _: Any) -> None:
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_DFL)
    told = TerminatedError if number == signal.SIGTERM else KeyboardInterrupt
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda *_: _insist(told))
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)  # past this, an alarm would be nobody's
    raise told


def _insist(told: type[KeyboardInterrupt]) -> None:
    """Tell a command once more, and end the process next time."""
    signal.signal(signal.SIGALRM, lambda *_: _end(told))
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    raise told


def _end(told: type[KeyboardInterrupt]) -> None:
    try:
        with suppress(Exception):  # it may be in use, or gone
            sys.stdout.flush()
        if not _told:
            error = told()
            for say in reversed(_under_way):
                error.add_note(say())
            os.write(2, f"{farewell(error)[0]}\n".encode())
    finally:
        os._exit(_status(told))


@contextmanager
def kept(say: Callable[[], str]) -> Iterator[None]:
    """Around work that a signal may end: ``say`` tells what is kept of it and how to go on."""
    _under_way.append(say)
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(say())
        raise
    finally:
        _under_way.remove(say)


def farewell(error: KeyboardInterrupt) -> tuple[str, int]:
    """Return what is said at the end, and the exit status."""
    said = "; ".join(getattr(error, "__notes__", ())) or "nothing is kept; the same command starts anew"
    _told.append(said)
    return f"stopped: {said}", _status(type(error))


def _status(told: type[KeyboardInterrupt]) -> int:
    return TERMINATED if issubclass(told, TerminatedError) else INTERRUPTED

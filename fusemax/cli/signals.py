"""Ctrl-C and SIGTERM: the first ends a command with what is kept, a second ends the process at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class TerminatedError(KeyboardInterrupt):
    """Raised where SIGTERM arrives, and handled as Ctrl-C is."""


def catch_signals() -> None:
    """Let SIGTERM end the command in order, as Ctrl-C does, and the second of either end it at once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, _: Any) -> None:
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_DFL)
    raise TerminatedError if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def kept(say: Callable[[], str]) -> Iterator[None]:
    """Around work that a signal may end: ``say`` tells what is kept of it and how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(say())
        raise


def farewell(error: KeyboardInterrupt) -> tuple[str, int]:
    """Return what is said at the end, and the exit status."""
    said = "; ".join(getattr(error, "__notes__", ())) or "nothing is kept; the same command starts anew"
    return f"stopped: {said}", TERMINATED if isinstance(error, TerminatedError) else INTERRUPTED

"""Processes of this machine that evaluate batches, and end when this process does, however it ends.

Each process holds the reading end of a pipe whose writing end only this process has. When that end closes, at the end
of the work or because this process was killed, the reading ends see it and the processes leave at once: none is left
behind, and Ctrl-C does not wait for batches that nobody wants any more.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

_T = TypeVar("_T")
_AHEAD = 2


@dataclass(frozen=True)
class Crew:
    """What runs a sweep's batches.

    Attributes:
        executor: takes them.
        workers: how many it evaluates at the same time.
        in_flight: how many are handed to it before the first is written: what bounds the memory.
    """

    executor: Executor
    workers: int
    in_flight: int


def crew(executor: Executor, workers: int) -> Crew:
    """Return a crew that always has enough to do, and holds few results at a time."""
    return Crew(executor, workers, (1 + _AHEAD) * workers)


@contextmanager
def processes(workers: int) -> Iterator[Crew]:
    """Start worker processes; they are ended on leaving, at once if by an exception.

    They are started afresh ('spawn'), not forked: Arrow and BLAS have threads that do not survive a fork.

    Args:
        workers: number of processes.
    """
    context = multiprocessing.get_context("spawn")
    reader, leash = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_take_leash, initargs=(reader,))
    try:
        with undisturbed():
            _start(pool, workers)
        yield crew(pool, workers)
        pool.shutdown()
    except BaseException:
        leash.close()
        _expect_no_more(pool)
        pool.shutdown()  # cancels nothing: a pool that breaks stumbles over what is cancelled (Python 3.11)
        raise
    finally:
        leash.close()
        reader.close()


def hand_over(
    executor: Executor, done: Callable[[Future[_T]], object], work: Callable[..., _T], *arguments: Any
) -> Future[_T]:
    """Give an executor work; return its future, which ``done`` is given when it is done.

    Ctrl-C takes effect after that. An exception amid it, or in ``Future.result`` and ``wait`` before the work is done,
    may leave a lock held that the executor's own thread waits for, for ever.
    """
    with undisturbed():
        future = executor.submit(work, *arguments)
        future.add_done_callback(done)
    return future


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM until the end of something short, if this thread is the one that hears them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in found.items() if handler not in (None, signal.SIG_IGN)}
    try:
        for number in before:
            signal.signal(number, lambda heard, _: came.append(heard))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _start(pool: Executor, workers: int) -> None:
    """Start the processes with Ctrl-C blocked, which they inherit: it must not end one that is still importing."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(workers):
            pool.submit(int)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _expect_no_more(pool: ProcessPoolExecutor) -> None:
    """Close this process's writing end of the pipe of results, which only its workers need.

    A worker that is ended while it writes leaves half a result there. The pool would wait for the other half, for ever
    if anyone could still write it.
    """
    if (results := getattr(pool, "_result_queue", None)) is not None:
        results._writer.close()


def _take_leash(leash: Connection) -> None:
    """Run first in a worker: leave Ctrl-C to the process that started it, and end when that one lets go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(leash,), daemon=True).start()


def _end_with(leash: Connection) -> None:
    try:
        leash.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)

"""Threads that wait between calls: a thread started anew would begin on the core of the one that started it.

The kernels release Python's global lock, so Python's own threads run them side by side. No threading layer of the
compiler is involved, which would add to its run time, end the process where two threads call it at once, and end
children that a process forks after it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from typing import Any, TypeVar

Part = TypeVar("Part")
_MOST_THREADS = 1024


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    """The waiting threads; one is started whenever none is idle."""
    return ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="kernels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def free_in_children(lock: Any) -> None:
    """Let children that this process forks find a lock free: a fork waits until no other thread holds it.

    Args:
        lock: one that the thread which holds it may acquire again.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def run_in_threads(work: Callable[[Part], None], parts: Sequence[Part]) -> None:
    """Call ``work`` with every part, side by side: in this thread, and in as many others as can be had."""
    left = deque(parts)

    def take() -> None:
        while left:
            try:
                part = left.popleft()
            except IndexError:  # another thread was faster
                return
            work(part)

    others: list[Future[None]] = []
    try:
        for _ in parts[1:]:
            others.append(_pool().submit(take))
    except RuntimeError:  # at a limit of the system, or while Python ends, there are no more threads
        pass
    try:
        take()
    finally:
        running = [other for other in others if not other.cancel()]
        wait(running)
    for other in running:
        other.result()


def cpus() -> int:
    """Return how many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

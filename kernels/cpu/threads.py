"""Threads that wait between calls: a thread started anew would begin on the core of the one that started it.

The kernels release Python's global lock, so Python's own threads run them side by side; each takes tasks from one
atomic counter until none is left. No threading layer of the compiler is involved, which would add to its run time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

Part = TypeVar("Part")
_MOST_THREADS = 1024


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    """The waiting threads; one is started whenever none is idle."""
    return ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="kernels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def run_in_threads(work: Callable[[Part], None], parts: Sequence[Part]) -> None:
    """Call ``work`` with every part at once: the first in this thread, each other in one of its own."""
    others = [_pool().submit(work, part) for part in parts[1:]]
    try:
        work(parts[0])
    finally:
        wait(others)
    for other in others:
        other.result()


def cpus() -> int:
    """Return how many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

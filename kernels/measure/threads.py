"""Work on several threads, started as the kernels start theirs: the caller's thread takes part."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


def cpus() -> int:
    """Return how many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def together(works: Sequence[Callable[[], object]]) -> None:
    """Run each work on a thread of its own and wait for all; works that release the GIL run side by side."""
    if len(works) == 1:
        works[0]()
        return
    with ThreadPoolExecutor(len(works) - 1) as pool:
        others = [pool.submit(work) for work in works[1:]]
        works[0]()
    for other in others:
        other.result()

"""When the last of some threads is done with a row of tasks, each of which goes to the thread that is free first.

List scheduling (Graham, "Bounds on Multiprocessing Timing Anomalies", SIAM J. Appl. Math. 17, 1969). Of very many tasks
only the last ones are followed one by one: those before keep all threads equally busy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapreplace
from itertools import islice
from typing import Final

FOLLOWED: Final = 20_000
"""Tasks that are followed one by one."""


def makespan(durations: Sequence[tuple[float, int]], instances: int, threads: int) -> float:
    """Return the seconds until all tasks are done.

    Args:
        durations: (seconds, how many in a row) of one instance's tasks, in order.
        instances: how often the row is repeated.
        threads: threads that share all of it.
    """
    total = instances * sum(seconds * count for seconds, count in durations)
    if threads == 1:
        return total
    last = list(islice(_backwards(durations, instances), FOLLOWED))
    free = [max(0.0, total - sum(last)) / threads] * threads
    for seconds in reversed(last):
        heapreplace(free, free[0] + seconds)
    return max(free)


def _backwards(durations: Sequence[tuple[float, int]], instances: int) -> Iterator[float]:
    for _ in range(instances):
        for seconds, count in reversed(durations):
            for _ in range(count):
                yield seconds

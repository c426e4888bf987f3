"""When the last block of a grid is done: blocks on multiprocessors, each of which works on several at a time.

``dynamic``: a multiprocessor (SM) that has room takes the next block; at the start blocks go around the SMs. While n
blocks share an SM, each advances at the speed of n (``speed(n)``, of one alone 1), so that the last, ragged wave
runs with fewer blocks on an SM and each of them faster. ``snake``: block i of a row goes to SM i of it, the next row
the other way round; every SM does its own, one after another.

Of very many blocks only the last are followed one by one; those before keep all SMs equally busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heapreplace
from itertools import chain, islice
from typing import Final

FOLLOWED: Final = 8192
"""Blocks that are followed one by one."""
TICK: Final = 1e-9
"""Ends of blocks that are nearer than this share of the longest block are at the same time: rounding decides no tie."""


def grid_s(
    durations: Sequence[tuple[float, int]],
    instances: int,
    sms: int,
    resident: int,
    speed: Callable[[int], float],
    *,
    last: Sequence[tuple[float, int]] = (),
    snake: bool = False,
) -> float:
    """Return the seconds until all blocks are done.

    Args:
        durations: (seconds of a block alone on an SM, how many in a row) of one instance, in order.
        instances: how often the row is repeated.
        sms: multiprocessors.
        resident: blocks that one works on at a time, at most.
        speed: of each of n blocks that share an SM, relative to one alone.
        last: (seconds, how many in a row) of what follows all of them.
        snake: whether SMs take blocks in turn, there and back, instead of as they have room.
    """
    number = instances * sum(count for _, count in durations) + sum(count for _, count in last)
    sms = max(1, min(sms, number))
    total = instances * sum(s * count for s, count in durations) + sum(s * count for s, count in last)
    followed = min(number, max(FOLLOWED, 2 * sms * resident))
    followed = min(number, followed + (number - followed) % (2 * sms))
    backwards = chain(_backwards(last, 1), _backwards(durations, instances))
    blocks = list(islice(backwards, followed))
    blocks.reverse()
    before = max(0.0, total - sum(blocks)) / sms
    if snake:
        return before + _snake(blocks, sms)
    return before / (resident * speed(resident)) + _dynamic(blocks, sms, resident, speed)


def _backwards(durations: Sequence[tuple[float, int]], instances: int) -> Iterator[float]:
    for _ in range(instances):
        for seconds, count in reversed(durations):
            for _ in range(count):
                yield seconds


def _snake(blocks: Sequence[float], sms: int) -> float:
    busy = [0.0] * sms
    for number, seconds in enumerate(blocks):
        row, place = divmod(number, sms)
        busy[sms - 1 - place if row % 2 else place] += seconds
    return max(busy)


def _dynamic(blocks: Sequence[float], sms: int, resident: int, speed: Callable[[int], float]) -> float:
    """Follow every block: an event is the end of a block on the SM where one ends first; several take turns."""
    if resident == 1:
        return _one_at_a_time(blocks, sms)
    waiting = iter(blocks)
    running: list[list[float]] = [[] for _ in range(sms)]
    for number, seconds in zip(range(sms * resident), waiting, strict=False):
        running[number % sms].append(seconds)
    tick = TICK * max(blocks, default=0.0) or 1.0
    ends = [_end(_next(left, speed), tick, sm, sm) for sm, left in enumerate(running)]
    heapify(ends)
    changed = [0.0] * sms
    done, turn = 0.0, sms
    while ends[0][0] != float("inf"):
        _, _, sm, now = ends[0]
        done, turn = now, turn + 1
        progress = (now - changed[sm]) * speed(len(running[sm]))
        shortest = min(running[sm])
        running[sm].remove(shortest)
        running[sm] = [max(0.0, left - min(progress, shortest)) for left in running[sm]]
        following = next(waiting, None)
        if following is not None:
            running[sm].append(following)
        changed[sm] = now
        heapreplace(ends, _end(now + _next(running[sm], speed), tick, turn, sm))
    return done


def _end(seconds: float, tick: float, turn: int, sm: int) -> tuple[float, int, int, float]:
    """The next end on an SM: in ticks, so that those at the same time come by turn; and in seconds."""
    return (seconds if seconds == float("inf") else round(seconds / tick)), turn, sm, seconds


def _next(left: Sequence[float], speed: Callable[[int], float]) -> float:
    return min(left) / speed(len(left)) if left else float("inf")


def _one_at_a_time(blocks: Sequence[float], sms: int) -> float:
    free = [0.0] * sms
    for seconds in blocks:
        heapreplace(free, free[0] + seconds)
    return max(free)

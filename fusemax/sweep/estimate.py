"""How long the batches of a sweep that are left will take, from points of a few of them.

Points are timed at eight places, because what they cost differs from one mapper, length or machine to the next: one
batch in each eighth of what is left, where in it a hash decides, so that no axis is hit in step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Final

import numpy as np

from fusemax.sweep.parts import Batch, Header
from fusemax.sweep.sampling import uniform

PLACES: Final = 8
GROWTH: Final = 4
LIMIT: Final = 4
"""Times as long as was asked for, after which a round is not finished."""


def _fractions() -> list[float]:
    found: list[float] = uniform(0, "estimate", np.arange(PLACES)).tolist()
    return found


def probes(header: Header, done: Iterable[Batch]) -> list[Batch]:
    """Return the batches to time: of those left, one in each eighth, or all if they are fewer.

    Args:
        header: of the dataset.
        done: batches that are not left.
    """
    taken = sorted(batch.start // header.batch_points for batch in done)
    left_before = [number - place for place, number in enumerate(taken)]
    left = header.batch_count - len(taken)
    places = {min(int((place + w) * left / PLACES), left - 1) for place, w in enumerate(_fractions())}
    return [header.batch(place + bisect_right(left_before, place)) for place in sorted(places)]


def seconds_per_point(work: Callable[[Batch], object], batches: Sequence[Batch], seconds: float = 0.5) -> float:
    """Return the time that a point takes among others of its batch, from about ``seconds`` of work.

    Slices of the batches are evaluated, first of one point each and then of ever more, because points are cheaper
    together; the last round counts. What is loaded once only does not.

    Args:
        work: evaluates some points.
        batches: some of the batches.
    """
    work(Batch(batches[0].start, batches[0].start + 1))
    began, length = perf_counter(), 1
    while True:
        started, sampled = perf_counter(), 0
        for batch, fraction in zip(batches, _fractions(), strict=False):
            some = _slice(batch, length, fraction)
            work(some)
            sampled += len(some)
            if perf_counter() - began > LIMIT * seconds:
                break
        per_point = (perf_counter() - started) / sampled
        if perf_counter() - began > seconds or length >= max(map(len, batches)):
            return per_point
        length *= GROWTH


def _slice(batch: Batch, length: int, fraction: float) -> Batch:
    length = min(length, len(batch))
    start = batch.start + int(fraction * (len(batch) - length + 1))
    return Batch(start, start + length)

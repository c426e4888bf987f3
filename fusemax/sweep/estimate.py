"""How long a sweep will take, from a small sample of its points spread evenly over all of them."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np

from fusemax.sweep.evaluate import evaluate_points
from fusemax.sweep.sampling import uniform
from fusemax.sweep.spec import Sweep

PLACES: Final = 8
GROWTH: Final = 4
LARGEST_SLICE: Final = 65_536


@dataclass(frozen=True)
class Estimate:
    """What a sample of a sweep tells.

    Attributes:
        points: of the sweep, before filters.
        sampled: points evaluated for the estimate.
        kept: fraction of these that the filters kept.
        points_per_s: points that one process gets through in a second, filtered ones included.
    """

    points: int
    sampled: int
    kept: float
    points_per_s: float

    def seconds(self, workers: int = 1) -> float:
        """Return the time that so many processes take, each on a core of its own."""
        return self.points / (self.points_per_s * workers)


def estimate(sweep: Sweep, seconds: float = 0.5) -> Estimate:
    """Return an estimate from about ``seconds`` of work.

    Points are evaluated in slices at eight places, first of one point each and then of ever more, because points are
    cheaper together; the last round that fits the time counts. What is loaded once only is not counted.
    """
    evaluate_points(sweep, 0, min(1, sweep.points))
    began = perf_counter()
    length = 1
    while True:
        started = perf_counter()
        slices = _slices(sweep.points, length)
        kept = sum(evaluate_points(sweep, *each).num_rows for each in slices)
        sampled = sum(stop - start for start, stop in slices)
        took = max(perf_counter() - started, 1e-9)
        more = (perf_counter() - began) + GROWTH * took < seconds
        if not more or sampled >= sweep.points or length >= LARGEST_SLICE:
            return Estimate(sweep.points, sampled, kept / sampled, sampled / took)
        length *= GROWTH


def _slices(points: int, length: int) -> list[tuple[int, int]]:
    """Slices at one place in each eighth of a sweep; where in it a hash decides, so that no axis is hit in step."""
    if points <= PLACES * length:
        return [(0, points)]
    eighth = points / PLACES
    within = uniform(0, "estimate", np.arange(PLACES)) * (eighth - length)
    return [(start, start + length) for start in (int(place * eighth + w) for place, w in enumerate(within.tolist()))]

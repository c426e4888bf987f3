"""Divisors of many numbers: ``capacity.largest_divisor`` and ``capacity.tile_counts``, for all points at once.

A divisor at most the square root is found by trying every number up to it; a larger one is the partner of such a one.
"""

from __future__ import annotations

from math import isqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mappers.capacity import largest_divisor, tile_counts

Array = npt.NDArray[Any]

LARGEST_TRIED: Final = 2**24
"""Beyond, numbers are factored one by one."""
MOST_TILES: Final = 16


def largest_divisors(numbers: Array, bounds: Array) -> Array:
    """Return, for each positive number, its largest divisor that is at most its bound (1 or more)."""
    found = np.minimum(numbers, bounds)
    open_ = np.flatnonzero(bounds < numbers)
    tried = numbers[open_] <= LARGEST_TRIED
    small = open_[tried]
    if len(small):
        found[small] = _tried(numbers[small].astype(np.uint32), bounds[small].astype(np.uint32))
    for place in open_[~tried].tolist():
        found[place] = largest_divisor(int(numbers[place]), int(bounds[place]))
    return found


def _tried(numbers: Array, bounds: Array) -> Array:
    best = np.ones_like(numbers)
    places = np.arange(len(numbers))
    for divisor in range(1, isqrt(int(numbers.max())) + 1):
        partner = numbers // np.uint32(divisor)
        hit = np.flatnonzero(partner * np.uint32(divisor) == numbers)
        if not len(hit):
            continue
        over, top = partner[hit], bounds[hit]
        candidate = np.where(over <= top, over, np.where(divisor <= top, divisor, 1))
        best[places[hit]] = np.maximum(best[places[hit]], candidate)
        if divisor % 16 == 0 or len(hit) * 4 > len(numbers):
            going = partner > divisor
            going[hit[over <= top]] = False  # a later partner is smaller
            numbers, bounds, places = numbers[going], bounds[going], places[going]
            if not len(numbers):
                break
    return best


def tile_count_rows(numbers: Array) -> Array:
    """Return ``tile_counts`` of each positive number as a row, the largest first, filled up with zeros."""
    distinct, which = np.unique(numbers, return_inverse=True)
    rows = np.zeros((len(distinct), MOST_TILES), np.int64)
    tried = distinct <= LARGEST_TRIED
    if tried.any():
        rows[tried] = _rows(distinct[tried].astype(np.uint32))
    for place in np.flatnonzero(~tried).tolist():
        counts = tile_counts(int(distinct[place]), MOST_TILES)
        rows[place, : len(counts)] = counts
    return rows[which]


def _rows(numbers: Array) -> Array:
    """Rows of distinct numbers in rising order."""
    owners, divisors = [], []
    first = 0
    for divisor in range(1, isqrt(int(numbers[-1])) + 1):
        first += int(np.searchsorted(numbers[first:], divisor * divisor))
        partner = numbers[first:] // np.uint32(divisor)
        hit = np.flatnonzero(partner * np.uint32(divisor) == numbers[first:])
        owners += [hit + first, hit[partner[hit] != divisor] + first]
        divisors += [np.full(len(hit), divisor), partner[hit][partner[hit] != divisor]]
    owner, value = np.concatenate(owners), np.concatenate(divisors).astype(np.int64)
    order = np.lexsort((-value, owner))
    owner, value = owner[order], value[order]
    counts = np.bincount(owner, minlength=len(numbers))
    starts = np.cumsum(counts) - counts
    step = np.arange(MOST_TILES)
    few = counts[:, None] <= MOST_TILES
    even = np.rint(step * (counts[:, None] - 1) / (MOST_TILES - 1)).astype(np.int64)
    place = np.where(few, np.minimum(step, counts[:, None] - 1), even)
    found: Array = np.where(few & (step >= counts[:, None]), 0, value[starts[:, None] + place])
    return found

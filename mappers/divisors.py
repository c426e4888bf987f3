"""Divisors of many numbers at once, as ``capacity.largest_divisor`` and ``capacity.tile_counts`` find them of one."""

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
_TOGETHER: Final = 32
"""Trials of a number that are made at once."""


def even_counts(size: Any, tile: Any, tiles: Any, counts: Any) -> Array:
    """Return, for each number of tiles, the largest one that divides it and is at most a count (1 or more, and no more
    than they are), where tiles divide the size and it is half of the count or more; else the count."""
    size, tile, tiles, counts = np.broadcast_arrays(size, tile, tiles, counts)
    found: Array = counts.copy()
    open_ = np.flatnonzero((size % tile == 0) & (counts < tiles))
    tried = tiles[open_] <= LARGEST_TRIED
    small = open_[tried]
    found[small] = _dividing(tiles[small].astype(np.int32), counts[small].astype(np.int32))
    for place in open_[~tried].tolist():
        even = largest_divisor(int(tiles[place]), int(counts[place]))
        found[place] = even if 2 * even >= counts[place] else counts[place]
    return found


def _dividing(numbers: Array, bounds: Array) -> Array:
    """Largest divisors from half a bound to the bound, else the bound: tried themselves from the largest down, or their
    partners from the smallest up, whichever are fewer."""
    found, places = bounds.copy(), np.arange(len(numbers))
    least = (bounds + 1) // 2
    partner = (numbers + bounds - 1) // bounds
    up, down = numbers // least - partner, bounds - least
    partners = up < down
    trial, left = np.where(partners, partner, bounds), np.minimum(up, down)
    step = np.where(partners, 1, -1).astype(np.int32)
    several = np.arange(_TOGETHER, dtype=np.int32)
    while len(places):
        tried = trial[:, None] + step[:, None] * several
        divides = (numbers[:, None] % np.maximum(tried, 1) == 0) & (several <= left[:, None])
        place = divides.argmax(1)
        hit = np.flatnonzero(divides[np.arange(len(places)), place])
        divisor = tried[hit, place[hit]]
        found[places[hit]] = np.where(step[hit] > 0, numbers[hit] // divisor, divisor)
        going = left >= _TOGETHER
        going[hit] = False
        trial, left = trial + step * _TOGETHER, left - _TOGETHER
        numbers, places, trial, step, left = (x[going] for x in (numbers, places, trial, step, left))
    return found


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

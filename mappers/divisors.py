"""Divisors of many numbers at once, as ``capacity.largest_divisor`` finds them of one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mappers.capacity import largest_divisor, tile_counts

Array = npt.NDArray[Any]

LARGEST_TRIED: Final = 2**24
"""Beyond, numbers are factored one by one."""
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


@lru_cache(maxsize=4096)
def divisors_tried(number: int) -> Array:
    """Return rising divisors, those that the published evaluation's mapper tries: of more than 16 an even selection."""
    return np.array(sorted(tile_counts(number)))

"""The largest divisors of many numbers below bounds, as ``capacity.largest_divisor`` finds them one by one.

A divisor at most the square root is found by trying every number up to it, for all points at once; a larger one is
the partner of the first such number whose partner is within the bound.
"""

from __future__ import annotations

from math import isqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mappers.capacity import largest_divisor

Array = npt.NDArray[Any]

_LARGEST_TRIED: Final = 2**24


def largest_divisors(numbers: Array, bounds: Array) -> Array:
    """Return, for each positive number, its largest divisor that is at most its bound (1 or more)."""
    found = np.minimum(numbers, bounds)
    open_ = np.flatnonzero(bounds < numbers)
    small = open_[numbers[open_] <= _LARGEST_TRIED]
    if len(small):
        found[small] = _tried(numbers[small].astype(np.uint32), bounds[small].astype(np.uint32))
    for place in open_[numbers[open_] > _LARGEST_TRIED].tolist():
        found[place] = largest_divisor(int(numbers[place]), int(bounds[place]))
    return found


def _tried(numbers: Array, bounds: Array) -> Array:
    best = np.ones_like(numbers)
    places = np.arange(len(numbers))
    for divisor in range(1, isqrt(int(numbers.max())) + 1):
        partner = numbers // np.uint32(divisor)
        divides = partner * np.uint32(divisor) == numbers
        hit = np.flatnonzero(divides)
        if not len(hit):
            continue
        over, at, top = partner[hit], places[hit], bounds[hit]
        candidate = np.where(over <= top, over, np.where(divisor <= top, divisor, 1))
        best[at] = np.maximum(best[at], candidate)
        done = np.zeros(len(numbers), bool)
        done[hit] = over <= top
        if divisor % 16 == 0 or len(hit) * 4 > len(numbers):
            going = ~(done | (partner <= divisor))
            numbers, bounds, places = numbers[going], bounds[going], places[going]
            if not len(numbers):
                break
    return best

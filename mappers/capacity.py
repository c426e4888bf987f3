"""What fits on chip: the one exact integer function that strategies, searches and tests share."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import isqrt
from typing import Any

from einsum_cascades.errors import InputError

# Up to this bound divisors are looked for one by one; beyond, the number is factored.
_SCANNED = 2**16


def least(a: Any, b: Any) -> Any:
    """Return the smaller of two numbers; of arrays, the smaller at each place."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    import numpy as np

    return np.minimum(a, b)


def most(a: Any, b: Any) -> Any:
    """Return the larger of two numbers; of arrays, the larger at each place."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    import numpy as np

    return np.maximum(a, b)


def live_bytes(tiles: Iterable[int], value_bytes: int) -> int:
    """Return the bytes that tiles of so many values occupy together."""
    return sum(tiles) * value_bytes


def fits(live: int, capacity_bytes: int) -> bool:
    """Whether live data fit."""
    return live <= capacity_bytes


def too_small(what: str, least_bytes: int, capacity_bytes: int, buffer: str = "global_buffer") -> InputError:
    """Return the error for a buffer in which no mapping fits."""
    return InputError(
        f"the {buffer.replace('_', ' ')} of {capacity_bytes} bytes is too small for any {what} mapping",
        hint=f"the smallest tile needs {least_bytes} bytes: raise {buffer}.bytes, or narrow the arrays",
    )


def largest_divisor(number: int, bound: int) -> int:
    """Return the largest divisor of a positive number that is at most ``bound`` (1 or more)."""
    if bound >= number:
        return number
    if bound > _SCANNED:
        from sympy import divisors

        return max(int(d) for d in divisors(number, generator=True) if d <= bound)
    return next(d for d in range(bound, 0, -1) if number % d == 0)


@lru_cache(maxsize=4096)
def tile_counts(number: int, most: int = 16) -> tuple[int, ...]:
    """Return divisors of a positive number, the largest first: how many steps a tile may take of it.

    Prime factors above 2^16 are not looked for, and of more than ``most`` divisors an even selection with both ends
    is returned, so that a search stays short for any size.
    """
    found = {1, number}
    for candidate in range(2, min(isqrt(number), 2**16) + 1):
        if number % candidate == 0:
            found |= {candidate, number // candidate}
    ordered = sorted(found, reverse=True)
    if len(ordered) <= most:
        return tuple(ordered)
    return tuple(ordered[round(i * (len(ordered) - 1) / (most - 1))] for i in range(most))

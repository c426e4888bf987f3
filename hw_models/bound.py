"""What a latency depends on: the resource whose rate counts most.

The latency depends on a resource for

    Σ over what runs one after another of the seconds in which it is (one of) the slowest

seconds: were the resource slower by a small part ε, the latency would be longer by ε times that. Where one resource is
alone the slowest, a faster one shortens the latency as much; where two are equally slow, only both together do.
"""

from __future__ import annotations

from collections.abc import Mapping

TOLERANCE = 1e-9
"""Seconds that differ less, relatively, are equal: they come from sums in another order."""


def slowest(seconds: Mapping[str, float], tolerance: float = TOLERANCE) -> str:
    """Return the resource that the latency depends on most; of equals all, in order: ``2d+1d``.

    Args:
        seconds: for which the latency depends on each resource.
        tolerance: relative difference below which two are equal.
    """
    most = max(seconds.values())
    return "+".join(name for name, value in seconds.items() if value >= (1 - tolerance) * most)

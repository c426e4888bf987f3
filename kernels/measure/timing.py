"""Robust timing on a machine that others use too.

What is compared is timed in turns, round after round, so that a slow spell hits all of it; the median over the rounds
is what is reported. A turn starts with one call that is not timed, so that it finds its own data in the caches, and
calls a quick function often enough for the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Final, TypeVar

Key = TypeVar("Key", bound=Hashable)
ROUND_S: Final = 0.004
"""A quick function is called until a round takes about so long."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, over several rounds."""

    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The median of the rounds."""
        return median(self.seconds)

    @property
    def min_s(self) -> float:
        """The least of the rounds."""
        return min(self.seconds)


def in_turns(
    functions: Mapping[Key, Callable[[], object]], rounds: int, *, round_s: float = ROUND_S
) -> dict[Key, Timing]:
    """Time functions in turns.

    Args:
        functions: what to time; each is called once before, to compile and to warm caches.
        rounds: how often each has its turn.
        round_s: seconds that a turn takes at least.
    """
    calls = {}
    for key, function in functions.items():
        function()
        calls[key] = max(1, min(10_000, round(round_s / max(_seconds(function, 1), 1e-7))))
    found: dict[Key, list[float]] = {key: [] for key in functions}
    for _ in range(rounds):
        for key, function in functions.items():
            function()
            found[key].append(_seconds(function, calls[key]))
    return {key: Timing(tuple(seconds)) for key, seconds in found.items()}


def _seconds(function: Callable[[], object], calls: int) -> float:
    start = perf_counter()
    for _ in range(calls):
        function()
    return (perf_counter() - start) / calls

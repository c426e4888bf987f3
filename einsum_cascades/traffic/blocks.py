"""Blocks of ranks: how many values of each, as ranges of which a bound takes the end that errs towards less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Values of a rank, for each of several candidates: from the least to the most that the candidate stands for."""

    least: Numbers
    most: Numbers

    def above(self, other: Block) -> Block:
        """Return the larger of two blocks."""
        return Block(np.maximum(self.least, other.least), np.maximum(self.most, other.most))

    def within(self, other: Block) -> Block:
        """Return the smaller of two blocks."""
        return Block(np.minimum(self.least, other.least), np.minimum(self.most, other.most))


Box = Mapping[str, Block]
"""A block of each rank."""


def room(ranks: Iterable[str], box: Box) -> Numbers:
    """Least values of a tensor in a box."""
    found = np.ones(1)
    for rank in ranks:
        found = found * box[rank].least
    return found


def trips(outer: Block, inner: Block) -> Numbers:
    """Fewest blocks that a larger block is walked in."""
    found: Numbers = np.ceil(outer.least / inner.most)
    return np.maximum(found, 1)


def repeats(ranks: Iterable[str], sizes: Mapping[str, int], box: Box) -> Numbers:
    """Fewest boxes along some ranks."""
    found = np.ones(1)
    for rank in ranks:
        found = found * np.ceil(sizes[rank] / box[rank].most)
    return found


@lru_cache(maxsize=1024)
def ranges(size: int, count: int) -> tuple[tuple[int, int], ...]:
    """Part 1 to ``size`` into at most about ``count`` ranges, (least, most): as few values as possible in each.

    Values that make one number of trips count as the least of them.
    """
    useful = sorted({-(-size // n) for n in range(1, min(size, count) + 1)} | set(range(1, min(size, count) + 1)))
    if len(useful) > count:
        steps = np.unique(np.round(np.geomspace(1, size, max(2, count))).astype(np.int64))
        useful = [int(step) for step in steps]
    following = [*useful[1:], size + 1]
    return tuple((least, most - 1) for least, most in zip(useful, following, strict=True))

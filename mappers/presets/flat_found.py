"""What a search of FLAT's choices has found so far, and the combinations of layouts that it tries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mappers.presets.flat_counts import Figure, Way

Array = npt.NDArray[Any]
Combination = tuple[Figure, ...]
"""Of each product the number of its layout."""
_LAYOUTS = 32
"""Up to so many combinations of layouts are tried; of more products, each takes its fastest, or that of least
traffic."""


@dataclass(frozen=True)
class Found:
    """The best choice at each point, by number.

    Attributes:
        score: what is minimised; infinite where nothing fits.
        order: of choices with one score the first counts.
        layouts: of each point and product, twice the number of the layout, and one more if it is turned.
        fixed: whether the points have all numbers in common that trees depend on.
    """

    score: Array
    order: Array
    base: Array
    places: Array
    fused: Array
    layouts: Array
    fixed: bool

    @classmethod
    def none(cls, count: int, products: int, *, fixed: bool) -> Found:
        """Nothing found yet at so many points."""
        order, base, places = (np.zeros(count, int) for _ in range(3))
        return cls(np.full(count, np.inf), order, base, places, np.ones(count), np.zeros((count, products), int), fixed)

    @property
    def columns(self) -> list[Array]:
        """What makes trees differ; the fused tile too, if it is all that may differ between points."""
        numbers = [np.isfinite(self.score), self.base, self.places, *self.layouts.T]
        return [*numbers, self.fused] if self.fixed else numbers

    def better(self, points: Array, score: Array, order: Array) -> Array:
        """Which of some points have a better choice now."""
        before = self.score[points]
        return np.flatnonzero((score < before) | ((score == before) & (order < self.order[points])))


def combinations_of(ways: Sequence[list[Way]], moved: Sequence[list[Figure]]) -> Iterator[Combination]:
    """Yield combinations of products' layouts, from their cycles and what they move."""
    numbers = [range(len(own)) for own in ways]
    if prod(len(own) for own in numbers) <= _LAYOUTS:
        yield from product(*numbers)
        return
    busy = [[way.cycles for way in own] for own in ways]
    for first, second in ((busy, moved), (moved, busy)):
        yield tuple(_least(*own) for own in zip(first, second, strict=True))


def _least(first: list[Figure], second: list[Figure]) -> Figure:
    """The number of the layout with the least of the first figure, then of the second."""
    best: Figure = 0
    for number in range(1, len(first)):
        a, b = chosen(first, best), chosen(second, best)
        better = (first[number] < a) | ((first[number] == a) & (second[number] < b))
        best = np.where(better, number, best)
    return best


def chosen(figures: list[Figure], number: Figure) -> Figure:
    """Return one of several figures, by its number."""
    if isinstance(number, int):
        return figures[number]
    found = figures[0]
    for place, figure in enumerate(figures[1:], 1):
        found = np.where(number == place, figure, found)
    return found


def layouts_of(ways: Sequence[list[Way]], combination: Combination, at: tuple[Array, Array], shape: Any) -> list[Array]:
    """Return a combination's layouts at some places of a shape, as ``Found`` has them."""
    found = []
    for own, number in zip(ways, combination, strict=True):
        turned = chosen([np.asarray(way.turned) for way in own], number)
        found.append(np.broadcast_to(2 * np.asarray(number) + turned, shape)[at])
    return found


def sum_of(figures: Iterable[Figure], found: Figure) -> Figure:
    """Return the sum of figures and one more, that one first."""
    for one in figures:
        found = found + one
    return found

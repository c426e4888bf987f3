"""What a mapping, or a part of one, costs, and what is asked to be small.

    latency, energy   add up over the parts of a mapping, which run one after another
    buffer            the most bytes that one instance of a memory on chip holds at a time: the largest of the parts'

All objectives rise with each figure, so a part that is no better in any figure than another is never needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from einsum_cascades.errors import unknown

ROUNDING: Final = 1e-12
"""Sums in floating point that differ less, relatively, are equal."""
_T = TypeVar("_T")


class Figures(NamedTuple):
    """What is minimised, in SI units."""

    latency_s: float
    energy_j: float
    buffer_bytes: int

    def then(self, other: Figures) -> Figures:
        """Return those of a part followed by another."""
        return Figures(
            self.latency_s + other.latency_s,
            self.energy_j + other.energy_j,
            max(self.buffer_bytes, other.buffer_bytes),
        )

    def or_more(self, other: Figures) -> Figures:
        """Return, of each figure, the larger one: what two bounds say together."""
        return Figures(
            max(self.latency_s, other.latency_s),
            max(self.energy_j, other.energy_j),
            max(self.buffer_bytes, other.buffer_bytes),
        )


NOTHING: Final = Figures(0.0, 0.0, 0)
Column = Callable[[Figures], float]


class Objective(NamedTuple):
    """What is asked for.

    Attributes:
        columns: the figures that it depends on; fronts are kept in these.
        value: what is minimised; of the Pareto front, the first column.
    """

    name: str
    columns: tuple[Column, ...]
    value: Column

    def key(self, figures: Figures) -> tuple[float, ...]:
        """Return the figures that count."""
        return tuple(column(figures) for column in self.columns)

    def no_worse(self, one: Figures, other: Figures) -> bool:
        """Whether a mapping with figures is in none worse than another, rounding apart."""
        return all(a <= b * (1 + ROUNDING) for a, b in zip(self.key(one), self.key(other), strict=True))

    def front(
        self, items: Iterable[_T], figures: Callable[[_T], Figures], sure: Callable[[_T], bool] = lambda _: True
    ) -> list[_T]:
        """Return the items that no other is better than, in order; of equal ones the first.

        Args:
            sure: whether an item's figures are those of trees; else they are bounds, which leave none of these out, and
                are left out if they are no better, rounding apart.
        """
        several = list(items)
        found: list[_T] = []
        for certain in (True, False):
            kept = list(found)
            for item in sorted((i for i in several if sure(i) is certain), key=lambda i: self.key(figures(i))):
                if not any(self.no_worse(figures(other), figures(item)) for other in kept):
                    kept.append(item)
            found = kept
        return sorted(found, key=lambda i: self.key(figures(i)))


def _latency(figures: Figures) -> float:
    return figures.latency_s


def _energy(figures: Figures) -> float:
    return figures.energy_j


def _buffer(figures: Figures) -> float:
    return figures.buffer_bytes


def _edp(figures: Figures) -> float:
    return figures.latency_s * figures.energy_j


OBJECTIVES: Final[dict[str, Objective]] = {
    "latency": Objective("latency", (_latency,), _latency),
    "energy": Objective("energy", (_energy,), _energy),
    "edp": Objective("edp", (_latency, _energy), _edp),
    "pareto": Objective("pareto", (_latency, _energy, _buffer), _latency),
}


def objective_named(name: str) -> Objective:
    """Return an objective by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in OBJECTIVES:
        raise unknown("objective", name, OBJECTIVES)
    return OBJECTIVES[name]

"""The loops in time that a timed run iterates, and the ranges that they can have.

A loop of ``n`` iterations has few different ones: the first, those like it, and those in which positions run out. Such
a difference is a *class*: the ranges of the rank in it, and which loops over the rank are in their first iteration.
Classes are enumerated here once; a run steps through them by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TypeAlias

from einsum_cascades.loops.sites import Site
from einsum_cascades.loops.tree import Compute, Hold, Loop, Node, children
from hw_models.simulator.timed.ranges import Cut, Pieces, spread, turns, whole

Class: TypeAlias = tuple[Pieces, tuple[bool, ...]]
"""Ranges of a rank, and whether each loop in time over it is in its first iteration, outermost first."""


@dataclass(eq=False)
class Control:
    """A loop in time that is iterated.

    Attributes:
        outer: the next loop further out over the same rank; None if there is none.
        classes: what its iterations can be, numbered.
        runs: for each class of the outer loop, (iterations up to here, class) in order.
    """

    index: int
    rank: str
    tile: int
    outer: Control | None
    classes: list[Class] = field(default_factory=list)
    runs: list[tuple[tuple[int, int], ...]] = field(default_factory=list)

    @property
    def most_trips(self) -> int:
        """The most iterations that it has."""
        return max(runs[-1][0] for runs in self.runs)

    @property
    def least_trips(self) -> int:
        """The fewest iterations that it has."""
        return min(runs[-1][0] for runs in self.runs)


class Controls:
    """The loops in time around the visits of a tree, outermost first on each path."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.found: list[Control] = []

    def root(self, rank: str) -> Class:
        """Return the only class of a rank around which no loop is."""
        return whole(self.sizes[rank]), ()

    def add(self, loop: Loop, outer: Control | None, between: Iterable[Cut]) -> Control:
        """Enumerate the classes of a loop; ``between``: the cuts over dimensions since the next one further out."""
        control = Control(len(self.found), loop.rank, int(loop.tile), outer)
        numbers: dict[Class, int] = {}
        for pieces, first in [self.root(loop.rank)] if outer is None else outer.classes:
            for cut in between:
                pieces = spread(pieces, cut)
            runs, upto = [], 0
            for times, inside in turns(pieces, control.tile):
                for count, begins in ((1, True), (times - 1, False)) if upto == 0 else ((times, False),):
                    if count:
                        upto += count
                        runs.append((upto, numbers.setdefault((inside, (*first, begins)), len(numbers))))
            control.runs.append(tuple(runs))
        control.classes = list(numbers)
        self.found.append(control)
        return control


@dataclass(frozen=True)
class Table:
    """The visits of a site, numbered by the classes of the loops around it.

    Attributes:
        base: number of the first.
        keys: (rank, its innermost loop around the visit, how far numbers lie apart); None is no loop.
        size: how many there are.
    """

    site: Site
    base: int
    keys: tuple[tuple[str, Control | None, int], ...]
    size: int
    controls: Controls

    def __iter__(self) -> Iterator[tuple[dict[str, Pieces], dict[str, tuple[bool, ...]]]]:
        """Yield the ranges and first iterations of each visit, in the order of their numbers."""
        sides = [[self.controls.root(r)] if c is None else c.classes for r, c, _ in self.keys]
        ranks = [rank for rank, _, _ in self.keys]
        for picked in product(*sides):
            yield (
                {r: pieces for r, (pieces, _) in zip(ranks, picked, strict=True)},
                {r: first for r, (_, first) in zip(ranks, picked, strict=True)},
            )


def table(site: Site, ranks: Iterable[str], around: Mapping[str, Control], base: int, controls: Controls) -> Table:
    """Number the visits of a site."""
    keys, stride = [], 1
    for rank in reversed(list(ranks)):
        control = around.get(rank)
        keys.append((rank, control, stride))
        stride *= 1 if control is None else len(control.classes)
    return Table(site, base, tuple(reversed(keys)), stride, controls)


def is_leaf(node: Node) -> bool:
    """Whether a subtree is one task: a compute with loops around it and what its own registers hold, entered at a loop
    over a dimension or such a hold."""
    inside = []
    here = node
    while not isinstance(here, Compute):
        if not isinstance(here, Loop | Hold):
            return False
        inside.append(here)
        (here,) = children(here)
    if any(isinstance(x, Hold) and x.memory != here.unit for x in inside):
        return False
    return not inside or isinstance(inside[0], Hold) or inside[0].over is not None

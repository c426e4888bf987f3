"""Best-first search for the best mapping of the stated space, with a lower bound that rises until it meets the answer.

Each segment has a lower bound: at first what no mapping of it is better than (``floors.py``); once *opened*, the least
of its open boxes' bounds and of its trees' figures. The best way from nothing to all units by these bounds is a lower
bound of the whole space. If all segments on it have trees, it is the answer, and optimal; else the first one that has
not is refined: opened, or its most promising box is cut by its next choice, or a tree is made and costed. Bounds only
rise, so this ends; stopped before, it has the best mapping so far and how far off it may be.

The order of refinement depends on the space alone.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from einsum_cascades.errors import InputError
from einsum_cascades.loops.tree import LoopTree, Node, Sequential
from mappers.choose import Outcome, outcome
from mappers.presets.problem import Problem
from mappers.search.figures import NOTHING, ROUNDING, Figures, Objective
from mappers.search.frames.frame import Box, Value
from mappers.search.frames.presets import PRESETS, preset_figures, preset_tree
from mappers.search.segment import Segment
from mappers.search.space import FRAMES, CutSpace, MappingSpace, Split

Units = int
"""The units of a segment, as bits."""


class Tried(NamedTuple):
    """What came of a box: it was cut into smaller ones, costed, or refused; else it is open.

    Attributes:
        values: of the choice that it was cut by.
    """

    kind: str
    figures: Figures | None = None
    why: str = ""
    values: tuple[Value, ...] = ()


class Item(NamedTuple):
    """A bound of a segment, or a tree's figures.

    Attributes:
        box: of the tree; None for a bound.
    """

    figures: Figures
    box: Box | None


class Way(NamedTuple):
    """Segments one after another.

    Attributes:
        items: what stands for each.
    """

    figures: Figures
    split: Split
    segments: tuple[Units, ...] = ()
    items: tuple[Item, ...] = ()

    @property
    def done(self) -> bool:
        """Whether all segments have trees."""
        return all(item.box is not None for item in self.items)


@dataclass(eq=False)
class Opened:
    """A segment that is searched.

    Attributes:
        tried: all boxes but the open ones.
        open: boxes by their bounds.
        found: trees that no other is better than.
    """

    tried: dict[Box, Tried] = field(default_factory=dict)
    open: list[tuple[tuple[float, ...], int, int, Figures, Box]] = field(default_factory=list)
    found: list[Item] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Answer:
    """What a search found.

    Attributes:
        mappings: the best one; of a Pareto front all, the fastest first.
        lower_bound: what no mapping of the space is better than, by the objective's value.
        gap: by which fraction of the answer it may be off; 0 if it is optimal.
        evaluated, pruned: trees costed; boxes and segments that bounds left out.
        proof: the search, for a certificate.
    """

    mappings: tuple[Outcome, ...]
    lower_bound: float
    gap: float
    evaluated: int
    pruned: int
    seconds: float
    proof: Search

    @property
    def optimal(self) -> bool:
        """Whether no mapping of the space is better."""
        return self.gap == 0


_DOUBT = 0.05
"""By so much worse than its bound, for each further unit, a segment without a tree is taken when one is to be found."""
_TRIES = 64
"""So many boxes of a segment are tried before another way may look better."""
Progress = Callable[[float, float, int], None]
"""Told the best value so far, the lower bound, and how many trees have been costed."""


@dataclass(eq=False)
class Search:
    """The state of a search."""

    space: MappingSpace
    objective: Objective
    opened: dict[tuple[Split, Units], Opened] = field(default_factory=dict)
    presets: dict[tuple[str, int], Tried] = field(default_factory=dict)
    evaluated: int = 0
    bounds: dict[tuple[Split, Units], Figures] = field(default_factory=dict)

    def run(self, time_limit: float | None = None, progress: Progress | None = None) -> Answer:
        """Search until the answer is proven, or time is over.

        Raises:
            InputError: the space has no mapping that can be executed and fits.
        """
        start = time.monotonic()
        refused = self._try_presets()
        ways: dict[Split, list[Way]] = {}
        turn = 0
        while True:
            for split, cut in self.space.cut.items():
                if split not in ways:
                    ways[split] = self._ways(cut, by_bound=True)
            front = self._front(way for found in ways.values() for way in found)
            target = next((way for way in front if not way.done), None)
            if target is not None and turn % 2:
                target = self._promising() or target
            turn += 1
            late = time_limit is not None and time.monotonic() - start >= time_limit
            if target is None or late:
                return self._answer(front, time.monotonic() - start, refused)
            self._refine(self.space.cut[target.split], target)
            del ways[target.split]
            if progress is not None:
                best = self._incumbent()
                progress(best, min(self.objective.value(w.figures) for w in front), self.evaluated)

    def _try_presets(self) -> InputError | None:
        """Cost the trees of all presets; return why the first that is refused is."""
        refused: InputError | None = None
        for name in PRESETS:
            number, more = 0, True
            while more:
                try:
                    tree = preset_tree(self.space.problem, name, number)
                    more = tree is not None
                    if tree is not None:
                        self.presets[name, number] = self._preset(tree)
                except InputError as error:
                    more = False
                    self.presets[name, number] = Tried("refused", why=str(error))
                    refused = refused or error
                number += 1
        return refused

    def _preset(self, tree: LoopTree) -> Tried:
        self.evaluated += 1
        try:
            return Tried("costed", preset_figures(self.space.problem, tree))
        except InputError as error:
            return Tried("refused", why=str(error))

    # Bounds.

    def _promising(self) -> Way | None:
        """The way that is best if segments without a tree turn out worse than their bounds, if it lacks trees."""
        ways = [way for cut in self.space.cut.values() for way in self._ways(cut, by_bound=True, doubt=_DOUBT)]
        best = min(ways, key=lambda way: self.objective.value(way.figures), default=None)
        return None if best is None or best.done else best

    def _ways(self, cut: CutSpace, *, by_bound: bool, doubt: float = 0.0) -> list[Way]:
        """The best ways to run all units, by bounds or by trees.

        Args:
            doubt: by how much worse than its bound, for each unit more than one, a segment without a tree is taken.
        """
        cuts = self.space.cuts
        best: dict[int, list[Way]] = {0: [Way(NOTHING, cut.split)]}
        for after in cuts.states[1:]:
            found = [
                Way(way.figures.then(item.figures), cut.split, (*way.segments, after & ~before), (*way.items, item))
                for before in cuts.segments_to[after]
                for item in self._items(cut, after & ~before, by_bound=by_bound, doubt=doubt)
                for way in best.get(before, ())
            ]
            best[after] = self.objective.front(found, lambda way: way.figures, lambda way: way.done)
        return best[cuts.states[-1]]

    def _items(self, cut: CutSpace, units: Units, *, by_bound: bool, doubt: float) -> list[Item]:
        opened = self.opened.get((cut.split, units))
        if not by_bound:
            return opened.found if opened else []
        if doubt and (opened is None or not opened.found):
            items = self._items(cut, units, by_bound=True, doubt=0.0)
            more = 1 + doubt * (units.bit_count() - 1)
            return [Item(Figures(i.figures[0] * more, i.figures[1] * more, i.figures[2]), None) for i in items]
        if doubt and opened is not None:
            return opened.found
        if opened is None:
            return [Item(self._floor(cut, units), None)]
        if not opened.open:
            return opened.found
        bounds = [Item(opened.open[0][3], None)]
        if len(self.objective.columns) > 1:
            bounds = [Item(entry[3], None) for entry in opened.open]
        return self.objective.front([*opened.found, *bounds], lambda i: i.figures, lambda i: i.box is not None)

    def _floor(self, cut: CutSpace, units: Units) -> Figures:
        key = cut.split, units
        if key not in self.bounds:
            self.bounds[key] = cut.floors.of(cut.segment(units))
        return self.bounds[key]

    def _front(self, ways: Iterator[Way]) -> list[Way]:
        presets = [Way(tried.figures, ()) for tried in self.presets.values() if tried.figures is not None]
        return self.objective.front([*presets, *ways], lambda way: way.figures, lambda way: way.done)

    def _incumbent(self) -> float:
        return min((self.objective.value(o) for o in self._realised()), default=float("inf"))

    def _realised(self) -> Iterator[Figures]:
        for tried in self.presets.values():
            if tried.figures is not None:
                yield tried.figures
        for cut in self.space.cut.values():
            for way in self._ways(cut, by_bound=False):
                yield way.figures

    # Refinement.

    def _refine(self, cut: CutSpace, way: Way) -> None:
        """Refine the first segment of a way that has no tree, until its bound rises or it has one."""
        place = next(i for i, item in enumerate(way.items) if item.box is None)
        units = way.segments[place]
        key = cut.split, units
        segment = cut.segment(units)
        if key not in self.opened:
            self.opened[key] = Opened()
            for name in FRAMES:
                self._push(self.opened[key], cut, segment, Box(name), self._floor(cut, units))
        opened = self.opened[key]
        bound = opened.open[0][3] if opened.open else NOTHING
        tries = 0
        while opened.open and self.objective.no_worse(opened.open[0][3], bound) and tries < _TRIES:
            tries += 1
            entry = heapq.heappop(opened.open)
            if self._try(opened, cut, segment, entry[4], entry[3]):
                break

    def _push(self, opened: Opened, cut: CutSpace, segment: Segment, box: Box, above: Figures) -> None:
        try:
            floor = FRAMES[box.frame].floor(segment, box)
        except InputError as error:
            opened.tried[box] = Tried("refused", why=str(error))
            return
        bound = floor.or_more(above)
        order = (self.objective.key(bound), -len(box.choices), len(opened.tried) + len(opened.open))
        heapq.heappush(opened.open, (*order, bound, box))

    def _try(self, opened: Opened, cut: CutSpace, segment: Segment, box: Box, bound: Figures) -> bool:
        """Cut a box, or cost its tree; return whether a tree was found that counts."""
        frame = FRAMES[box.frame]
        try:
            values = frame.values(segment, box)
            if values is not None:
                opened.tried[box] = Tried("cut", values=values)
                for value in values:
                    self._push(opened, cut, segment, box.with_value(value), bound)
                return False
            self.evaluated += 1
            figures = segment.figures(frame.tree(segment, box))
        except InputError as error:
            opened.tried[box] = Tried("refused", why=str(error))
            return False
        opened.tried[box] = Tried("costed", figures)
        before = len(opened.found)
        kept = self.objective.front([*opened.found, Item(figures, box)], lambda item: item.figures)
        grown = any(item.box == box for item in kept)
        opened.found[:] = kept
        return grown or not before

    # The answer.

    @property
    def pruned(self) -> int:
        """How many boxes, and segments of which none was opened, bounds have left out so far."""
        boxes = sum(len(opened.open) for opened in self.opened.values())
        return boxes + len(self.space.splits) * len(self.space.cuts.segments) - len(self.opened)

    def _answer(self, front: list[Way], seconds: float, refused: InputError | None) -> Answer:
        value = self.objective.value
        lower = min((value(way.figures) for way in front), default=float("inf"))
        realised = self.best_so_far()
        if not realised:
            raise refused or InputError(f"no mapping of {self.space.problem.cascade.name} can be executed and fits")
        found = [outcome(self.space.problem, tree) for _, tree in realised]
        gap = self._gap([figures for figures, _ in realised], front)
        return Answer(tuple(found), lower, gap, self.evaluated, self.pruned, seconds, self)

    def _gap(self, realised: list[Figures], front: list[Way]) -> float:
        if len(self.objective.columns) == 1 or self.objective.name == "edp":
            value = self.objective.value
            best, least = min(map(value, realised)), min(value(way.figures) for way in front)
            return 0.0 if best <= least * (1 + ROUNDING) else 1 - least / best
        key = self.objective.key
        far = [
            min(
                max(a / b if b else float(a > 0) for a, b in zip(key(r), key(w.figures), strict=True)) for r in realised
            )
            for w in front
        ]
        return max(0.0, max(far) - 1) if max(far) > 1 + ROUNDING else 0.0

    def best_so_far(self) -> list[tuple[Figures, LoopTree]]:
        """Return the best mappings found, with their figures: one, or a front of them, the fastest first."""
        found: list[tuple[Figures, LoopTree | tuple[CutSpace, Way]]] = []
        for (name, number), tried in self.presets.items():
            if tried.figures is not None:
                tree = preset_tree(self.space.problem, name, number)
                assert tree is not None
                found.append((tried.figures, tree))
        for cut in self.space.cut.values():
            found += [(way.figures, (cut, way)) for way in self._ways(cut, by_bound=False)]
        front = self.objective.front(found, lambda pair: pair[0])
        if self.objective.name != "pareto" and front:
            front = [min(front, key=lambda pair: self.objective.value(pair[0]))]
        return [(f, made if isinstance(made, LoopTree) else joined(*made)) for f, made in front]


def joined(cut: CutSpace, way: Way) -> LoopTree:
    """Return the trees of a way's segments one after another."""
    parts: list[Node] = []
    for units, item in zip(way.segments, way.items, strict=True):
        assert item.box is not None
        body = FRAMES[item.box.frame].tree(cut.segment(units), item.box).body
        parts += body.children if isinstance(body, Sequential) else (body,)
    return LoopTree(parts[0] if len(parts) == 1 else Sequential(tuple(parts)), cut.split)


def search(
    problem: Problem, objective: Objective, time_limit: float | None = None, progress: Progress | None = None
) -> Answer:
    """Return the best mapping of a problem, of those in the stated space.

    Args:
        time_limit: seconds after which the best so far is returned; None for no limit.

    Raises:
        InputError: the space has no mapping that can be executed and fits.
    """
    return Search(MappingSpace(problem), objective).run(time_limit, progress)

"""Every mapping of a stated space, one after another: no bound leaves out any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from einsum_cascades.errors import InputError
from mappers.presets.problem import Problem
from mappers.search.figures import NOTHING, Figures, Objective
from mappers.search.frames.frame import Box
from mappers.search.frames.presets import PRESETS, preset_figures, preset_tree
from mappers.search.segment import Segment
from mappers.search.space import FRAMES, MappingSpace, Split


class TooManyError(Exception):
    """There are more trees than are asked for."""


def best_of_all(problem: Problem, objective: Objective, most: int) -> list[Figures]:
    """Return the figures of all mappings that no other is better than.

    Args:
        most: trees of segments that are costed.

    Raises:
        TooManyError: there are more.
    """
    space = MappingSpace(problem)
    trees: dict[tuple[Split, int], list[Box]] = {}
    for cut in space.cut.values():
        for units in space.cuts.segments:
            boxes = (box for name in FRAMES for box in leaves(cut.segment(units), Box(name)))
            trees[cut.split, units] = list(islice(boxes, most + 1))
            if sum(map(len, trees.values())) > most:
                raise TooManyError
    found = list(_presets(problem))
    for cut in space.cut.values():
        best: dict[int, list[Figures]] = {0: [NOTHING]}
        costs = {units: list(_costs(cut.segment(units), trees[cut.split, units])) for units in space.cuts.segments}
        for after in space.cuts.states[1:]:
            ways = [
                way.then(own)
                for before in space.cuts.segments_to[after]
                for own in costs[after & ~before]
                for way in best.get(before, [])
            ]
            best[after] = objective.front(ways, lambda figures: figures)
        found += best[space.cuts.states[-1]]
    return objective.front(found, lambda figures: figures)


def _presets(problem: Problem) -> Iterator[Figures]:
    for name in PRESETS:
        with suppress(InputError):
            number = 0
            while (tree := preset_tree(problem, name, number)) is not None:
                number += 1
                with suppress(InputError):
                    yield preset_figures(problem, tree)


def _costs(segment: Segment, boxes: list[Box]) -> Iterator[Figures]:
    for box in boxes:
        with suppress(InputError):
            yield segment.figures(FRAMES[box.frame].tree(segment, box))


def leaves(segment: Segment, box: Box) -> Iterator[Box]:
    """Yield all boxes of one tree."""
    try:
        values = FRAMES[box.frame].values(segment, box)
    except InputError:
        return
    if values is None:
        yield box
        return
    for value in values:
        yield from leaves(segment, box.with_value(value))

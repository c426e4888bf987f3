"""Every mapping of a stated space, one after another: no bound leaves out any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from einsum_cascades.errors import InputError
from mappers.presets.problem import Problem
from mappers.search.figures import NOTHING, Figures, Objective
from mappers.search.frames.frame import Box
from mappers.search.frames.presets import PRESETS, preset_figures, preset_tree
from mappers.search.segment import Segment
from mappers.search.space import FRAMES, CutSpace, MappingSpace


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
    found = list(_presets(problem))
    left = [most]
    for cut in space.cut.values():
        best: dict[int, list[Figures]] = {0: [NOTHING]}
        costs = {units: list(_all(cut, units, left)) for units in space.cuts.segments}
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


def _all(cut: CutSpace, units: int, left: list[int]) -> Iterator[Figures]:
    segment = cut.segment(units)
    for name in FRAMES:
        for box in leaves(segment, Box(name)):
            left[0] -= 1
            if left[0] < 0:
                raise TooManyError
            with suppress(InputError):
                yield segment.figures(FRAMES[name].tree(segment, box))


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

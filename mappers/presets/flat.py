"""FLAT: the phases of a cascade fused on a tile of queries, with the score tile on chip if it fits.

``flat`` takes the published choice for the machine and shape where there is one, else what ``flat-searched`` finds,
which always chooses itself and is never worse than the published choice that fits. Iterations of a cascade that carries
values follow one another inside the tile, Einsum after Einsum.

Sources: Kao et al., "FLAT: An Optimized Dataflow for Mitigating Attention Bottlenecks", ASPLOS 2023; the published
choices (``tables/flat.csv``) from the evaluation of Nayak et al., "FuseMax", MICRO 2024.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from einsum_cascades.loops.tree import LoopTree
from hw_models.spatial.activity import Activity
from mappers.capacity import too_small
from mappers.choose import Part, Trees, fits, outcome, too_large
from mappers.points import apart, same
from mappers.presets.flat_phases import Phases
from mappers.presets.flat_search import Search
from mappers.presets.flat_table import tabulated
from mappers.presets.flat_tree import Choice, whole_tree
from mappers.presets.fusemax import fused_trees
from mappers.presets.problem import Problem

Points = npt.NDArray[np.int64]


def flat(problem: Problem) -> Trees:
    """Phases one after another on a tile of queries: the published choice where one fits, else the best found.

    Raises:
        InputError: the cascade has no contraction to fuse, or the buffer is too small.
    """
    if problem.cascade.iterative_ranks:
        return fused_trees(problem, "none")
    published = tuple(_published(problem))
    left = np.ones(problem.count or 1, bool)
    for part in published:
        left[part.points] = False
    return _trees(problem, (*published, *_searched(problem, np.flatnonzero(left))))


def flat_searched(problem: Problem) -> Trees:
    """Phases one after another on a tile of queries, with the best choice found.

    Raises:
        InputError: the cascade has no contraction to fuse, or the buffer is too small.
    """
    if problem.cascade.iterative_ranks:
        return fused_trees(problem, "none")
    return _trees(problem, (*_searched(problem, np.arange(problem.count or 1)), *_published(problem)))


def _trees(problem: Problem, parts: tuple[Part, ...]) -> Trees:
    return parts if problem.count is not None else tuple(part.tree for part in parts)


def _published(problem: Problem) -> Iterator[Part]:
    """Yield the published choices as trees, where there are any that fit."""
    phases = Phases(problem)
    if len(phases.segments) > 1:
        return
    for points, choice in tabulated(phases, problem.count or 1):
        for fibers in (False, True):
            some = problem.at(points)
            tree = whole_tree(Phases(some), [replace(choice, register_fibers=fibers)])
            fitting = np.broadcast_to(_fits(some, tree), points.shape)
            if fitting.any():
                yield Part(points[fitting], some.at(np.flatnonzero(fitting)), tree)
            points = points[~fitting]
            if not len(points):
                break


def _fits(problem: Problem, tree: LoopTree) -> Any:
    """Whether every memory has room for what a tree holds in it."""
    accounting = problem.accounting
    activity = Activity(problem.plan(tree), problem.machine, (), {}, accounting.pipeline_copies)
    return np.asarray(fits(activity, accounting))


def _searched(problem: Problem, points: Points) -> Iterator[Part]:
    """Yield trees with the best choices found at some points.

    Raises:
        InputError: the problem is of one point, and nothing fits.
    """
    if not len(points):
        return
    problem = problem.at(points)
    phases = Phases(problem)
    searches = [Search(phases, segment, len(points)) for segment in phases.segments]
    found = [search.best() for search in searches]
    fused = np.column_stack([one.fused.astype(np.int64) for one in found])
    for there in same((column for one in found for column in one.columns), len(points)):
        choices = [search.choice(one, int(there[0])) for search, one in zip(searches, found, strict=True)]

        def build(given: tuple[Problem, Any], _: Points, choices: list[Choice] = choices) -> LoopTree:
            some, tiles = given
            return whole_tree(
                Phases(some), [replace(c, fused=_number(t)) for c, t in zip(choices, tiles.T, strict=True)]
            )

        def at(given: tuple[Problem, Any], points: Points) -> tuple[Problem, Any]:
            return given[0].at(points), given[1][points]

        for places, (some, _), tree in apart(at((problem, fused), there), len(there), build, at):
            if problem.count is None and not np.isfinite(found[0].score[0]):
                raise _too_small(problem, tree)
            yield Part(points[there[places]], some, tree)


def _number(tiles: npt.NDArray[np.int64]) -> Any:
    """A number that all points share, if they do."""
    return int(tiles[0]) if (tiles == tiles[0]).all() else tiles


def _too_small(problem: Problem, smallest: LoopTree) -> InputError:
    buffer = problem.parts.buffer
    found = outcome(problem, smallest)
    needed = -(-found.activity.peak_bits.get(buffer.name, 0) // 8)
    if needed > (buffer.bytes or 0):
        return too_small("FLAT", needed, buffer.bytes or 0, buffer.name)
    return too_large(found, problem.accounting)

"""FLAT: the phases of a cascade fused on a tile of queries, with the score tile on chip if it fits.

``flat`` takes the published choice for the machine and shape where there is one, else what ``flat-searched`` finds,
which always chooses itself and is never worse than the published choice that fits.

Sources: Kao et al., "FLAT: An Optimized Dataflow for Mitigating Attention Bottlenecks", ASPLOS 2023; the published
choices (``tables/flat.csv``) from the evaluation of Nayak et al., "FuseMax", MICRO 2024.
"""

from __future__ import annotations

from dataclasses import replace

from einsum_cascades.errors import InputError
from einsum_cascades.loops.tree import LoopTree
from hw_models.spatial.activity import activity_of
from hw_models.spatial.cost import cost, latency_s
from mappers.capacity import too_small
from mappers.choose import Outcome, fits, too_large
from mappers.presets.flat_phases import Phases, Segment
from mappers.presets.flat_search import Search
from mappers.presets.flat_table import tabulated
from mappers.presets.flat_tree import Choice, SegmentTree, whole_tree
from mappers.presets.problem import Problem

_EVALUATED = 8
"""Choices of a segment that are evaluated in full."""


def flat(problem: Problem) -> LoopTree:
    """Return FLAT's tree, with the published choice where there is one that fits, else with the best found.

    Raises:
        InputError: the cascade has no contraction to fuse, or the buffer is too small.
    """
    phases = Phases(problem)
    published = _published(phases)
    return published if published is not None else _searched(phases)


def flat_searched(problem: Problem) -> LoopTree:
    """Return FLAT's tree with the best choice found.

    Raises:
        InputError: the cascade has no contraction to fuse, or the buffer is too small.
    """
    phases = Phases(problem)
    published = _published(phases)
    found = _searched(phases)
    if published is None or _speed(problem, found)[:2] <= _speed(problem, published)[:2]:
        return found
    return published


def _published(phases: Phases) -> LoopTree | None:
    """The published choice as a tree, if there is one that fits."""
    found = tabulated(phases) if len(phases.segments) == 1 else None
    if found is None:
        return None
    for choice in (found, replace(found, register_fibers=True)):
        tree = whole_tree(phases, [choice])
        if _speed(phases.problem, tree)[2]:
            return tree
    return None


def _searched(phases: Phases) -> LoopTree:
    return whole_tree(phases, [_best(phases, segment) for segment in phases.segments])


def _best(phases: Phases, segment: Segment) -> Choice:
    best: tuple[float, int, Choice] | None = None
    exact = not phases.problem.accounting.pipeline_ends
    for number, (expected, bits, choice) in enumerate(Search(phases, segment).choices()):
        if best is not None and (number >= _EVALUATED or (exact and (expected, bits) >= (best[0], 8 * best[1]))):
            break
        tree = LoopTree(SegmentTree(phases, segment, choice).node(), phases.split)
        latency, traffic, fitting = _speed(phases.problem, tree)
        if fitting and (best is None or (latency, traffic) < best[:2]):
            best = (latency, traffic, choice)
    if best is not None:
        return best[2]
    smallest = _smallest(phases, segment)
    if _speed(phases.problem, LoopTree(SegmentTree(phases, segment, smallest).node(), phases.split))[2]:
        return smallest
    raise _too_small(phases, segment, smallest)


def _smallest(phases: Phases, segment: Segment) -> Choice:
    """The choice that keeps least on chip."""
    return replace(Search(phases, segment).registers, fibers=False, overlap=False)


def _speed(problem: Problem, tree: LoopTree) -> tuple[float, int, bool]:
    activity = activity_of(problem.plan(tree), problem.machine, problem.accounting)
    return latency_s(activity, problem.accounting), activity.dram_bytes, bool(fits(activity, problem.accounting))


def _too_small(phases: Phases, segment: Segment, smallest: Choice) -> InputError:
    problem, buffer = phases.problem, phases.problem.parts.buffer
    tree = LoopTree(SegmentTree(phases, segment, smallest).node(), phases.split)
    activity = activity_of(problem.plan(tree), problem.machine, problem.accounting)
    needed = -(-activity.peak_bits.get(buffer.name, 0) // 8)
    if needed > (buffer.bytes or 0):
        return too_small("FLAT", needed, buffer.bytes or 0)
    found = Outcome(tree, activity, cost(activity, problem.accounting), False)
    return too_large(found, problem.accounting)

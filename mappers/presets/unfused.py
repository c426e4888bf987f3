"""Each phase by itself, all that passes between phases through the off-chip memory: the published configuration
``unfused``, for any cascade and any machine with arrays and a buffer.

A phase is a matrix product (``product.py``) or a run of other Einsums (``vector_phase.py``); ``phases.py`` says which.
Where several memories stand between the arrays and the off-chip one, each phase takes the one that suits it best.
Source: Nayak et al., "FuseMax", MICRO 2024, section VI (the unfused baseline).
"""

from __future__ import annotations

from dataclasses import replace

from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.space import Space
from einsum_cascades.loops.tree import LoopTree, Node, sequence
from hw_models.spatial.activity import activity_of
from hw_models.spatial.cost import latency_s
from mappers.choose import Part, fits
from mappers.presets.axes import space_of, split_of
from mappers.presets.phases import Phase, phases_of
from mappers.presets.problem import Problem
from mappers.presets.product_tree import product_tree
from mappers.presets.ratios import over_points
from mappers.presets.vector_tree import vector_tree


def unfused(problem: Problem) -> LoopTree | tuple[Part, ...]:
    """Return a tree with every phase of a cascade by itself; over arrays, trees for some of the points each.

    Raises:
        InputError: a rank has no size, or no array offers an Einsum's operators.
    """
    return _searched(problem) if problem.count is None else over_points(problem, _searched)


def _searched(problem: Problem) -> LoopTree:
    space = space_of(problem)
    parts = [_best(problem, phase, space) for phase in phases_of(problem.cascade)]
    return LoopTree(sequence(*parts), split_of(problem))


def _best(problem: Problem, phase: Phase, space: Space) -> Node:
    """Return a phase's tree with the memory that suits it best as its buffer: of equals the nearest to the arrays."""
    found = []
    for further in range(problem.parts.buffers):
        at = replace(problem, further=further)
        node = product_tree(at, phase.steps[0], space) if phase.product else vector_tree(at, phase.steps, space)
        found.append(node)
    return found[0] if len(found) == 1 else min(found, key=lambda node: _speed(problem, node, space))


def _speed(problem: Problem, node: Node, space: Space) -> tuple[bool, float, int]:
    plan = Plan(LoopTree(node), space, problem.machine.levels)
    activity = activity_of(plan, problem.machine, problem.accounting)
    seconds = float(latency_s(activity, problem.accounting))
    return not fits(activity, problem.accounting), seconds, int(activity.dram_bytes)

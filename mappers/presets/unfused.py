"""Each phase by itself, all that passes between phases through the off-chip memory: the published configuration
``unfused``, for any cascade and any machine with arrays and a buffer.

A phase is a matrix product (``product.py``) or a run of other Einsums (``vector_phase.py``); ``phases.py`` says which.
Where several memories stand between the arrays and the off-chip one, each phase takes the one that suits it best.
Source: Nayak et al., "FuseMax", MICRO 2024, section VI (the unfused baseline).
"""

from __future__ import annotations

from dataclasses import replace

from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.space import Space, Step
from einsum_cascades.loops.tree import LoopTree, Node, sequence
from hw_models.machine import Array
from hw_models.spatial.activity import activity_of
from hw_models.spatial.cost import latency_s
from mappers.choose import Part, fits
from mappers.presets.axes import space_of, split_of
from mappers.presets.order import in_order
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
    problem = in_order(problem)
    space = space_of(problem)
    phases = [part for phase in phases_of(problem.cascade) for part in _by_array(problem, phase)]
    parts = [_best(problem, phase, space) for phase in phases]
    return LoopTree(sequence(*parts), split_of(problem))


def _by_array(problem: Problem, phase: Phase) -> list[Phase]:
    """Cut a run where no array does the work of all, so that one does the work of each part; recurrences stay whole."""
    runs: list[tuple[list[Step], list[Array]]] = []
    for step in phase.steps:
        able = [array for array in problem.machine.arrays if problem.parts.offers(array, step.einsum)]
        both = [array for array in runs[-1][1] if array in able] if runs else []
        if both:
            runs[-1] = ([*runs[-1][0], step], both)
        else:
            runs.append(([step], able))
    made = {step.output.tensor: number for number, (steps, _) in enumerate(runs) for step in steps}
    for number, (steps, _) in enumerate(runs):
        if any(o.carried and made.get(o.tensor, number) != number for step in steps for o in step.inputs):
            return [phase]
    return [replace(phase, steps=tuple(steps)) for steps, _ in runs]


def _best(problem: Problem, phase: Phase, space: Space) -> Node:
    """Return the tree of a phase with the memory as its buffer that suits it best: of equals the nearest."""
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

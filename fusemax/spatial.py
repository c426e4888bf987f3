"""Evaluation on spatial arrays: a mapper's tree or a user's, checked, counted and priced.

Problem -> mapper -> LoopTree -> legal? fits? -> Activity -> Cost
"""

from __future__ import annotations

from typing import TypeAlias

from einsum_cascades.errors import InputError, quoted
from einsum_cascades.ir import Cascade
from einsum_cascades.loops.tree import INSTANCES, LoopTree
from einsum_cascades.workload import Workload
from fusemax.evaluated import SpatialEvaluation
from hw_models.accounting import Accounting
from hw_models.machine import Machine
from hw_models.spatial.activity import tiles_of
from mappers.choose import Outcome, best
from mappers.presets.named import Preset, preset_named
from mappers.presets.problem import Parts, Problem
from mappers.rows import passes_of
from mappers.strategies import check_spatial

Mapper: TypeAlias = str | Preset
"""A mapper's name, or any function that maps a problem."""


def evaluate_on(
    cascade: Cascade, machine: Machine, mapper: Mapper, workload: Workload, accounting: Accounting
) -> SpatialEvaluation:
    """Map a cascade onto a spatial array and return what it costs: the one path from a cascade to a cost.

    Raises:
        InputError: no such mapper, or no mapping for this cascade, machine and workload.
    """
    name = mapper if isinstance(mapper, str) else getattr(mapper, "__name__", type(mapper).__name__)
    if isinstance(mapper, str) or not callable(mapper):
        check_spatial(mapper)
    problem = problem_of(cascade, machine, workload, accounting)
    trees = (preset_named(mapper) if isinstance(mapper, str) else mapper)(problem)
    several = (trees,) if isinstance(trees, LoopTree) else trees
    if not isinstance(several, tuple | list) or not all(isinstance(tree, LoopTree) for tree in several) or not several:
        raise InputError(f"the mapper {name} returned {quoted(trees)}", hint="a LoopTree, or several, are expected")
    return evaluation_of(best(problem, several), problem, name, workload)


def problem_of(cascade: Cascade, machine: Machine, workload: Workload, accounting: Accounting) -> Problem:
    """Return what a mapper is given for a workload."""
    return Problem(cascade, {INSTANCES: workload.instances, **workload.as_dict()}, machine, accounting)


def evaluate_tree(tree: LoopTree, problem: Problem, mapper: str, workload: Workload) -> SpatialEvaluation:
    """Return what a loop tree costs.

    Args:
        mapper: who made it.

    Raises:
        InputError: it cannot be executed, or a memory has no room for what it keeps.
    """
    return evaluation_of(best(problem, tree), problem, mapper, workload)


def evaluation_of(found: Outcome, problem: Problem, mapper: str, workload: Workload) -> SpatialEvaluation:
    """Return the evaluation of a tree whose cost is known.

    Args:
        mapper: who made it.
    """
    return SpatialEvaluation(
        problem.cascade,
        problem.machine,
        mapper,
        workload,
        found.tree,
        found.cost,
        problem.accounting,
        found.activity,
        tuple(tiles_of(found.tree).items()),
        passes_of(problem.cascade),
        _buffer(problem.machine),
    )


def _buffer(machine: Machine) -> str:
    """The memory that tiles are cut for."""
    try:
        return Parts.of(machine).buffer.name
    except InputError:
        return ""

"""Evaluation on spatial arrays: a mapper's tree or a user's, checked, counted and priced.

    Problem -> mapper -> LoopTree -> legal? fits? -> Activity -> Cost
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from einsum_cascades.errors import InputError, quoted
from einsum_cascades.ir import Cascade
from einsum_cascades.loops.legal import check_legal
from einsum_cascades.loops.tree import INSTANCES, LoopTree
from einsum_cascades.workload import Workload
from fusemax.evaluated import SpatialEvaluation
from hw_models.accounting import Accounting
from hw_models.machine import Machine
from hw_models.spatial.activity import activity_of, tiles_of
from hw_models.spatial.cost import cost
from hw_models.spatial.fits import check_fits
from mappers.old_engine import OLD, evaluate_old
from mappers.presets.named import PRESETS, preset_named
from mappers.presets.problem import Parts, Problem
from mappers.rows import row_sections
from mappers.strategies import check_spatial

Mapper: TypeAlias = str | Callable[[Problem], LoopTree]
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
        if mapper in OLD and mapper not in PRESETS:
            mapping, found = evaluate_old(cascade, machine, mapper, workload, accounting)
            passes, buffer = _passes(cascade), _buffer(machine)
            return SpatialEvaluation(
                cascade, machine, name, workload, None, found, accounting, None, mapping.tiles, passes, buffer
            )
    problem = problem_of(cascade, machine, workload, accounting)
    tree = (preset_named(mapper) if isinstance(mapper, str) else mapper)(problem)
    if not isinstance(tree, LoopTree):
        raise InputError(f"the mapper {name} returned {quoted(tree)}", hint="a LoopTree is expected")
    return evaluate_tree(tree, problem, name, workload)


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
    machine, accounting = problem.machine, problem.accounting
    plan = problem.plan(tree)
    check_legal(plan)
    activity = activity_of(plan, machine, accounting)
    check_fits(activity, accounting)
    tiles = tuple(tiles_of(tree).items())
    return SpatialEvaluation(
        problem.cascade,
        machine,
        mapper,
        workload,
        tree,
        cost(activity, accounting),
        accounting,
        activity,
        tiles,
        _passes(problem.cascade),
        _buffer(machine),
    )


def _passes(cascade: Cascade) -> int:
    return max((number for number, _ in row_sections(cascade)[1].values()), default=1)


def _buffer(machine: Machine) -> str:
    """The memory that tiles are cut for."""
    try:
        return Parts.of(machine).buffer.name
    except InputError:
        return ""

"""What a preset's trees cost, and which of several is taken: the least latency, then the least off-chip traffic.

A preset returns a tree, or several of which the best is taken; over arrays of problems, the best at each point.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from einsum_cascades.errors import InputError
from einsum_cascades.loops.legal import check_legal
from einsum_cascades.loops.tree import LoopTree
from hw_models.accounting import Accounting
from hw_models.spatial.activity import Activity, activity_of
from hw_models.spatial.cost import Cost, cost
from mappers.presets.problem import Problem


@dataclass(frozen=True, eq=False)
class Outcome:
    """A tree for a problem, and what it costs.

    Attributes:
        fits: whether every memory has room for what the tree holds in it, at each point.
    """

    tree: LoopTree
    activity: Activity
    cost: Cost
    fits: Any


def outcome(problem: Problem, tree: LoopTree) -> Outcome:
    """Return what a tree costs.

    Raises:
        InputError: it cannot be executed.
    """
    plan = problem.plan(tree)
    check_legal(plan)
    activity = activity_of(plan, problem.machine, problem.accounting)
    return Outcome(tree, activity, cost(activity, problem.accounting), fits(activity, problem.accounting))


def best(problem: Problem, trees: LoopTree | Iterable[LoopTree]) -> Outcome:
    """Return the best of a preset's trees for one problem.

    Raises:
        InputError: none can be executed, or none fits; it says what the smallest needs.
    """
    found = [outcome(problem, tree) for tree in ((trees,) if isinstance(trees, LoopTree) else trees)]
    fitting = [one for one in found if one.fits]
    if not fitting:
        raise too_large(found[0], problem.accounting)
    return min(fitting, key=lambda one: (one.cost.latency_s, one.cost.dram_bytes))


def fits(activity: Activity, accounting: Accounting) -> Any:
    """Whether every memory has room for what a tree holds in it."""
    found: Any = True
    for name, limit in _limits(activity, accounting):
        found = found & (activity.peak_bits[name] <= limit)
    return found


def _limits(activity: Activity, accounting: Accounting) -> list[tuple[str, Any]]:
    """Memories of a stated size that a tree holds something in, and that size in bits."""
    limits = []
    for name in activity.peak_bits:
        level = activity.plan.levels[name]
        if level.capacity_bits is not None and not (level.computes and accounting.fibers_in_registers):
            limits.append((name, level.capacity_bits))
    return limits


def too_large(one: Outcome, accounting: Accounting) -> InputError:
    """Return the error that says which memory is too small for a tree."""
    for name, limit in _limits(one.activity, accounting):
        needed = one.activity.peak_bits[name]
        if needed > limit:
            level = one.activity.plan.levels[name]
            if level.computes:
                registers = limit // one.activity.machine.role_bits["accumulators"]
                values = -(-needed // one.activity.machine.role_bits["accumulators"])
                return InputError(
                    f"a PE of {name} has {registers} registers, and the mapping keeps {values} values there",
                    hint=f"raise {name}.registers, or keep tensors further out",
                )
            return InputError(
                f"{name} has {limit // 8} bytes, and the mapping needs {-(-needed // 8)} of it",
                hint=f"raise {name}.bytes, or take smaller tiles",
            )
    raise AssertionError("it fits")

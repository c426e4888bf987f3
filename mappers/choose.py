"""What a preset's trees cost, and which of several is taken: the least latency, then the least off-chip traffic.

A preset returns a tree, or several of which the best is taken; over arrays of problems, the best at each point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from einsum_cascades.errors import InputError
from einsum_cascades.loops.arith import steps
from einsum_cascades.loops.capacity import room
from einsum_cascades.loops.faults import place_of
from einsum_cascades.loops.legal import check_legal
from einsum_cascades.loops.sites import Site
from einsum_cascades.loops.tree import LoopTree
from hw_models.accounting import Accounting
from hw_models.spatial.activity import Activity, activity_of
from hw_models.spatial.cost import Cost, cost
from mappers.points import apart
from mappers.presets.problem import Problem


@dataclass(frozen=True, eq=False)
class Part:
    """A tree for some of many points.

    Attributes:
        points: which ones.
        problem: at these points.
        legal: whether it is known that it can be executed.
    """

    points: Any
    problem: Problem
    tree: LoopTree
    legal: bool = True


ROUNDING: Final = 1e-12
"""Latencies that differ less, relatively, are equal."""
Trees: TypeAlias = LoopTree | tuple[LoopTree, ...] | tuple[Part, ...]
"""What a preset returns: a tree, or several of which the best is taken; over arrays also trees for some of the
points."""


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


def outcome(problem: Problem, tree: LoopTree, *, legal: bool = False) -> Outcome:
    """Return what a tree costs.

    Args:
        legal: whether it is known that it can be executed.

    Raises:
        InputError: it cannot be executed.
    """
    plan = problem.plan(tree)
    if not legal:
        check_legal(plan)
    activity = activity_of(plan, problem.machine, problem.accounting)
    return Outcome(tree, activity, cost(activity, problem.accounting), fits(activity, problem.accounting))


def parts_of(
    problem: Problem, preset: Callable[[Problem], Trees], count: int
) -> tuple[list[Part], list[tuple[Any, InputError]]]:
    """Return a preset's trees over arrays, each with the points that it is for, and the points that have none."""

    def built(some: Problem, _: Any) -> Trees | InputError:
        try:
            return preset(some)
        except InputError as error:
            return error

    found: list[Part] = []
    refused: list[tuple[Any, InputError]] = []
    for points, some, trees in apart(problem, count, built, Problem.at):
        if isinstance(trees, InputError):
            refused.append((points, trees))
            continue
        for one in (trees,) if isinstance(trees, LoopTree) else trees:
            if isinstance(one, Part):
                found.append(Part(points[one.points], one.problem, one.tree, one.legal))
            else:
                found.append(Part(points, some, one, legal=False))
    return found, refused


def trees_of(trees: Trees) -> list[LoopTree]:
    """Return a preset's trees."""
    several = (trees,) if isinstance(trees, LoopTree) else trees
    return [one.tree if isinstance(one, Part) else one for one in several]


def better(seconds: Any, moved: Any, other_seconds: Any, other_moved: Any) -> Any:
    """Return whether what takes so many seconds and moves so many bytes is better than another."""
    faster = seconds < (1 - ROUNDING) * other_seconds
    as_fast = seconds <= (1 + ROUNDING) * other_seconds
    return faster | (as_fast & (moved < other_moved))


def best(problem: Problem, trees: Trees) -> Outcome:
    """Return the best of a preset's trees for one problem.

    Raises:
        InputError: none can be executed, or none fits; it says what the smallest needs.
    """
    found = [outcome(problem, tree) for tree in trees_of(trees)]
    fitting = [one for one in found if one.fits]
    if not fitting:
        raise too_large(found[0], problem.accounting)
    taken = fitting[0]
    for one in fitting[1:]:
        if better(one.cost.latency_s, one.cost.dram_bytes, taken.cost.latency_s, taken.cost.dram_bytes):
            taken = one
    return taken


def fits(activity: Activity, accounting: Accounting) -> Any:
    """Whether every memory has room for what a tree holds in it."""
    found: Any = True
    for limit in limits(activity, accounting):
        found = found & (limit.needed <= limit.room)
    return found


class Limit(NamedTuple):
    """A memory of a stated size that a tree holds something in.

    Attributes:
        room, needed: in the unit that people count in: bytes of a memory, registers of a PE.
    """

    memory: str
    registers: bool
    room: Any
    needed: Any

    def said(self, room: int, needed: int) -> InputError:
        """Return the error that says of one point that it has no room."""
        if self.registers:
            return InputError(
                f"a PE of {self.memory} has {room} registers, and the mapping keeps {needed} values there",
                hint=f"raise {self.memory}.registers, or keep tensors further out",
            )
        return InputError(
            f"{self.memory} has {room} bytes, and the mapping needs {needed} of it",
            hint=f"raise {self.memory}.bytes, or take smaller tiles",
        )


def limits(activity: Activity, accounting: Accounting) -> list[Limit]:
    """Return of each memory of a stated size what a tree needs of it."""
    found = []
    for name, bits in activity.peak_bits.items():
        level = activity.plan.levels[name]
        if level.capacity_bits is not None and not (level.computes and accounting.fibers_in_registers):
            unit = activity.machine.role_bits["accumulators"] if level.computes else 8
            found.append(Limit(name, level.computes, level.capacity_bits // unit, steps(bits, unit)))
    return found


def too_large(one: Outcome, accounting: Accounting) -> InputError:
    """Return the error that says which memory is too small for a tree; in a file, where most of it is held."""
    limit = next(x for x in limits(one.activity, accounting) if x.needed > x.room)
    error = limit.said(limit.room, limit.needed)
    place = place_of(_largest(one.activity, limit.memory).node)
    return error if place is None else error.at(place)


def _largest(activity: Activity, memory: str) -> Site:
    """Return the hold in a memory that takes most room."""
    plan = activity.plan
    holds = [site for site in plan.holds if site.unit == memory]
    return max(holds, key=lambda site: room(plan, site, activity.measure) * activity.bits(plan.operand_of(site).tensor))

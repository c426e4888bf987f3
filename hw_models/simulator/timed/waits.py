"""What a task waits for before it starts, beside its turn on its array: operands, and what other tasks make.

    ready     what a hold around it keeps has been filled
    made      the latest results of a task before it, in the same iteration
    iteration the results that a stage of a pipeline made in the iteration that the task works on, or one before it
    follows   the results of a task beside it, as they come

Results that change arrays, or go through a memory, are there when they have left their array; what stays in registers,
when its unit's pipeline has been passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.tree import Hold, Parallel, Pipeline
from hw_models.simulator.timed.instructions import Kept, Pipe, Step, Task
from hw_models.simulator.timed.lowering import Lowered, places

Kind = Literal["ready", "made", "iteration", "follows"]


class Wait(NamedTuple):
    """One thing that a task waits for.

    Attributes:
        what: the hold, or the task that makes it.
        crosses: whether its results have to leave their array.
        pipe, before: of an iteration, the pipeline, and by how many iterations before.
        mine, theirs: of tasks beside each other, how many visits each makes there at most.
    """

    kind: Kind
    what: int
    crosses: bool = True
    pipe: int = -1
    before: int = 0
    mine: int = 1
    theirs: int = 1


def waits_of(task: Task, lowered: Lowered) -> list[Wait]:
    """Return what a task waits for, less the filling of holds."""
    plan = lowered.plan
    found: list[Wait] = []
    for operand in plan.step(task.site).inputs:
        for other in lowered.tasks:
            step = plan.step(other.site)
            if step.output.tensor == operand.tensor and (other is not task or operand.carried):
                found += _between(task, other, carried=operand.carried, lowered=lowered)
    return list(dict.fromkeys(found))


def _between(task: Task, maker: Task, *, carried: bool, lowered: Lowered) -> Iterator[Wait]:
    crosses = _crosses(task, maker, lowered.plan)
    if maker is task:
        yield Wait("made", maker.index, crosses)
        return
    depth = _common(task.path, maker.path)
    mine, theirs = task.path[depth], maker.path[depth]
    pipe = _pipe(lowered, mine)
    if pipe is None and depth and isinstance(mine.node, Parallel):
        pipe = _pipe(lowered, task.path[depth - 1])
    if pipe is not None:
        yield from _in_pipeline(task, maker, pipe, crosses, carried=carried, lowered=lowered)
    elif isinstance(mine.node, Parallel) and not carried and theirs.child < mine.child:
        yield Wait("follows", maker.index, crosses, mine=_visits(task, depth), theirs=_visits(maker, depth))
    elif theirs.child < mine.child or carried:
        yield Wait("made", maker.index, crosses)


def _in_pipeline(
    task: Task, maker: Task, pipe: Pipe, crosses: bool, *, carried: bool, lowered: Lowered
) -> Iterator[Wait]:
    place = places(pipe.node)
    made, used = place[id(maker.site.node)], place[id(task.site.node)]
    if carried:
        tensor = lowered.plan.step(maker.site).output.tensor
        along = lowered.plan.carried_along(tensor)
        before = 1
        for control in reversed(pipe.loops):
            if control.rank in along:
                yield Wait("iteration", maker.index, crosses, pipe.index, before)
                return
            before *= control.least_trips
            if control is pipe.root:
                break
        yield Wait("made", maker.index, crosses)
        return
    if made[0] == used[0] and made[1] == used[1]:
        depth = _common(task.path, maker.path)
        yield Wait("follows", maker.index, crosses, mine=_visits(task, depth), theirs=_visits(maker, depth))
    elif made[:2] < used[:2]:
        yield Wait("iteration", maker.index, crosses, pipe.index)


def _crosses(task: Task, maker: Task, plan: Plan) -> bool:
    """Whether results go from a task to another through more than the registers of an array."""
    if task.site.unit != maker.site.unit:
        return True
    tensor = plan.step(maker.site).output.tensor
    around = [
        hold
        for hold in maker.site.holds
        if isinstance(hold.node, Hold) and hold.node.tensor == tensor and hold.encloses(task.site)
    ]
    return not (around and around[-1].unit == maker.site.unit)


def _visits(task: Task, depth: int) -> int:
    found = 1
    for step in task.path[depth:]:
        if step.control is not None:
            found *= step.control.most_trips
    return found


def _pipe(lowered: Lowered, step: Step) -> Pipe | None:
    if isinstance(step.node, Pipeline):
        return next((p for p in lowered.pipes if p.node is step.node), None)
    return None


def _common(a: tuple[Step, ...], b: tuple[Step, ...]) -> int:
    """How many nodes two paths have in common before they part."""
    for depth, (x, y) in enumerate(zip(a, b, strict=False)):
        if x.node is not y.node or x.child != y.child:
            return depth
    return min(len(a), len(b)) - 1


@dataclass(frozen=True)
class Source:
    """What a hold's filling waits for.

    Attributes:
        holds: those further out that must have been filled, by their index.
        signals: (signal, mark, holds that must have been written back): children that make it, earlier in tree order.
        again: after how many of its entries the same values come in again; 0 is never.
    """

    holds: tuple[int, ...]
    signals: tuple[tuple[int, int, tuple[int, ...]], ...]
    again: int


def source_of(kept: Kept, lowered: Lowered, filled: set[int], emptied: set[int]) -> Source:
    """Return what the filling of a hold waits for.

    Args:
        filled, emptied: holds that threads fill and write back.
    """
    plan = lowered.plan
    outer = plan.outer(kept.site)
    holds = tuple(k.index for k in lowered.kept if k.site is outer and k.index in filled)
    tensor = plan.operand_of(kept.site).tensor
    signals = []
    for task in lowered.tasks:
        if plan.step(task.site).output.tensor != tensor or kept.site.encloses(task.site):
            continue
        depth = _common(kept.path, task.path)
        mine, theirs = kept.path[depth], task.path[depth]
        if theirs.child < mine.child and not isinstance(theirs.node, Parallel):
            written = tuple(
                k.index
                for k in lowered.kept
                if k.index in emptied
                and k.site.encloses(task.site)
                and k is not kept
                and not k.site.encloses(kept.site)
                and plan.operand_of(k.site).tensor == tensor
            )
            signal = lowered.signals[id(theirs.node), theirs.child]
            signals.append((signal, lowered.mark(mine.node), written))
    return Source(holds, tuple(dict.fromkeys(signals)), _again(kept, plan) if kept.index in emptied else 0)


def _again(kept: Kept, plan: Plan) -> int:
    """After how many of its entries a hold comes to the same values again, at least."""
    own = {plan.space.whole(r) for r in plan.operand_of(kept.site).ranks} | {"instances"}
    found = 1
    for step in reversed(kept.path):
        if step.control is None:
            continue
        if own.isdisjoint(step.control.rank.split("*")):
            return found
        found *= step.control.least_trips
    return 0

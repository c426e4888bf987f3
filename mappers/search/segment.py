"""A part of a cascade that runs by itself between others: what it reads comes from the off-chip memory, what others
read goes there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from einsum_cascades.ir import Cascade, Einsum
from einsum_cascades.loops.legal import check_legal
from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.space import Space, Step
from einsum_cascades.loops.tree import LoopTree
from hw_models.spatial.activity import activity_of
from hw_models.spatial.cost import cost
from mappers.choose import limits
from mappers.presets.apart import part_of
from mappers.presets.problem import Problem
from mappers.search.figures import Figures
from mappers.search.floors import Floors


@dataclass(frozen=True, eq=False)
class Segment:
    """Some Einsums of a cascade on a machine.

    Attributes:
        problem: the whole one.
        space: its sizes, with the partitions cut.
        names: of the Einsums, in an order that can run.
        floors: bounds of what Einsums cost, whatever the mapping.
    """

    problem: Problem
    space: Space
    names: tuple[str, ...]
    floors: Floors

    @cached_property
    def cascade(self) -> Cascade:
        """The Einsums with the tensors that they use."""
        return part_of(self.problem.cascade, self.names)

    @cached_property
    def einsums(self) -> tuple[Einsum, ...]:
        """The Einsums that run, in an order that can run."""
        by_name = {e.name: e for e in (*self.problem.cascade.body, *self.problem.cascade.final)}
        return tuple(by_name[name] for name in self.names)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps of these Einsums, those that begin a recurrence included."""
        own = set(self.names)
        return tuple(step for name, step in self.space.steps.items() if name.partition("@")[0] in own)

    @cached_property
    def made(self) -> frozenset[str]:
        """Tensors made here."""
        return frozenset(step.output.tensor for step in self.steps)

    @cached_property
    def read(self) -> frozenset[str]:
        """Tensors made elsewhere that are read here, by their plain names."""
        plain = dict(self.problem.cascade.views)
        found = {plain.get(o.tensor, o.tensor) for step in self.steps for o in step.inputs}
        return frozenset(found - self.made)

    @cached_property
    def exported(self) -> frozenset[str]:
        """Tensors made here that others read, or the cascade's user."""
        plain = dict(self.problem.cascade.views)
        own = set(self.names)
        others = {
            plain.get(o.tensor, o.tensor)
            for name, step in self.space.steps.items()
            if name.partition("@")[0] not in own
            for o in step.inputs
        }
        return self.made & (others | set(self.problem.cascade.outputs))

    @cached_property
    def part(self) -> Problem:
        """The segment as a problem of its own."""
        return replace(self.problem, cascade=self.cascade, whole=self.problem.cascade)

    def figures(self, tree: LoopTree) -> Figures:
        """Return what a tree of the segment costs, as a part of the whole.

        Raises:
            InputError: it cannot be executed, or a memory has no room for it.
        """
        plan = Plan(tree, self.space, self.problem.machine.levels, self.exported)
        check_legal(plan)
        return figures_of(plan, self.problem)


def figures_of(plan: Plan, problem: Problem) -> Figures:
    """Return what a legal tree, or a part of one, costs.

    Raises:
        InputError: a memory has no room for it.
    """
    activity = activity_of(plan, problem.machine, problem.accounting)
    for limit in limits(activity, problem.accounting):
        if limit.needed > limit.room:
            raise limit.said(limit.room, limit.needed)
    found = cost(activity, problem.accounting)
    buffer = max((int(b) for name, b in found.peak_bytes.items() if not plan.levels[name].computes), default=0)
    return Figures(float(found.latency_s), float(found.energy_j), buffer)

"""Stages of pipelines late enough for what changes arrays to have left the one that made it.

What a stage reads that another array made in an iteration before, so that nothing is to wait for it, is there if

    later · T + start of the reader >= end of the maker + drain

where an epoch takes T, its slots and what they wait for. A reader may start as late as makes no slot longer; a maker
ends with its array's work in the slot, or where that may start late, with the slot. A stage comes after those that it
reads, and after those of the iteration before whose states it reads, if there is such an order. What waits for drains
in one epoch, or runs beside what it takes values from, stays as late as that.

Lateness changes the ends of pipelines and the copies of what crosses stages. Where an accounting counts neither, trees
for many points at once keep theirs unless the same is right at all points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from einsum_cascades.loops.arith import Number, alike, most, steps
from einsum_cascades.loops.measure import Measure
from einsum_cascades.loops.pipes import lateness, parts_in
from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.tree import (
    Compute,
    Hold,
    Late,
    Loop,
    Node,
    Parallel,
    Pipeline,
    Sequential,
    children,
    nodes,
    parts_of,
    sequence,
)
from einsum_cascades.loops.turns import first
from hw_models.spatial.schedule import Span, in_turn, side_by_side
from hw_models.spatial.work import cycles_of, in_tile, work_of
from mappers.presets.problem import Problem
from mappers.presets.slots import raised


def drained(body: Node, plan: Plan, problem: Problem) -> Node:
    """Return a subtree of a plan's tree, the stages of the pipelines in it late enough.

    Raises:
        UnlikeError: they are not equally late at all points.
    """
    if all(isinstance(a.drain_cycles, int) and not a.drain_cycles for a in problem.machine.arrays):
        return body
    cut = {part for node in nodes(body) if isinstance(node, Loop) for part in parts_of(node.rank)}
    if not cut <= plan.space.sizes.keys():
        return body  # no legal tree, and the check of legality says which ranks there are
    sites = {id(site.node): site for site in plan.computes}

    def changed(node: Node) -> Node:
        if isinstance(node, Pipeline):
            return _Pipe(node, plan, problem, sites).late_enough()
        below = tuple(changed(child) for child in children(node))
        if all(new is old for new, old in zip(below, children(node), strict=True)):
            return node
        if isinstance(node, Sequential | Parallel):
            return replace(node, children=below)
        assert not isinstance(node, Compute)
        return replace(node, body=below[0])

    return changed(body)


@dataclass(frozen=True, eq=False)
class _Stage:
    """What is late together: a part of a slot, or of its one after another."""

    slot: int
    part: int
    late: int
    node: Node
    sites: tuple[Site, ...]


class _Read(NamedTuple):
    """A stage reads what another one made; across is the array that it has to leave first, if there is one."""

    maker: _Stage
    reader: _Stage
    carried: bool
    across: str | None

    @property
    def after(self) -> int:
        """By how many iterations the reader is later, at least, for its slot to come after the maker's."""
        maker, reader = self.maker, self.reader
        in_turn = (maker.slot, maker.part) == (reader.slot, reader.part)
        return int(maker.slot > reader.slot or (maker.slot == reader.slot and not in_turn))


@dataclass(frozen=True)
class _Times:
    """When the slots of an epoch begin and end at the earliest; after the last one, the next epoch begins."""

    begins: tuple[Number, ...]
    ends: tuple[Number, ...]


@dataclass(frozen=True, eq=False)
class _Pipe:
    node: Pipeline
    plan: Plan
    problem: Problem
    sites: Mapping[int, Site]

    def late_enough(self) -> Node:
        """Return the pipeline with its stages late enough."""
        order: list[tuple[_Stage, _Stage, Number]] = []
        states: list[tuple[_Stage, _Stage, Number]] = []
        for read in self._reads:
            maker, reader = read.maker, read.reader
            if read.carried:
                order_of_states = -int(maker.slot < reader.slot)
                if reader.late - maker.late >= order_of_states:
                    states.append((maker, reader, order_of_states))
                continue
            beside = read.after and reader.late == maker.late
            if beside or (read.across and reader.late == maker.late):
                order += [(maker, reader, 0), (reader, maker, 0)]
            else:
                order.append((maker, reader, self._later(read)))
        counted = self.problem.accounting.pipeline_ends or self.problem.accounting.pipeline_copies
        if not counted and any(hasattr(by, "all") for _, _, by in order):
            return self.node
        exact = [(maker, reader, _whole(by)) for maker, reader, by in order]
        start = {stage: stage.late for stage in self._stages}
        found = raised(start, [*exact, *states]) or raised(start, exact)
        return self.node if found is None or found == start else self._with(found)

    @cached_property
    def _loops(self) -> tuple[Loop, ...]:
        """The loops around it."""
        site = self._stages[0].sites[0]
        return site.loops[: next(stage.loops for stage in site.stages if self._at(stage.pipeline) is self.node)]

    def _at(self, path: tuple[int, ...]) -> Node:
        node = self.plan.tree.body
        for place in path:
            node = children(node)[place]
        return node

    @cached_property
    def _stages(self) -> tuple[_Stage, ...]:
        found = []
        for slot, child in enumerate(self.node.children):
            for number, part in enumerate(parts_in(child)):
                for node in _in_turn(part):
                    sites = tuple(self.sites[id(x)] for x in nodes(node) if isinstance(x, Compute))
                    found.append(_Stage(slot, number, lateness(part), node, sites))
        return tuple(found)

    @cached_property
    def _reads(self) -> tuple[_Read, ...]:
        stage_of = {site.number: stage for stage in self._stages for site in stage.sites}
        found: dict[_Read, None] = {}
        for reader in self._stages:
            for site in reader.sites:
                for operand in self.plan.step(site).inputs:
                    for made, _, writes in self.plan.users[operand.tensor]:
                        maker = stage_of.get(made.number)
                        if writes and maker is not None and maker is not reader:
                            across = None if operand.carried else self._across(made, site, operand.tensor)
                            found[_Read(maker, reader, operand.carried, across)] = None
        return tuple(found)

    def _across(self, made: Site, used: Site, tensor: str) -> str | None:
        there = made.unit != used.unit and tensor not in self.plan.at_home
        return made.unit if there and alike(self._drain(made.unit) > 0) else None

    def _drain(self, array: str) -> Number:
        return self.problem.machine.array(array).drain_cycles

    def _later(self, read: _Read) -> Number:
        """By how many iterations a reader is to be later than the maker."""
        if read.across is None:
            return read.after
        slot = read.reader.slot
        start = self._times.begins[slot + 1] - self._spans[slot].busy[read.reader.sites[0].unit]
        there = self._end(read) + self._drain(read.across)
        return most(steps(there - start, self._times.begins[-1]), read.after)

    def _end(self, read: _Read) -> Number:
        """When a maker has ended."""
        assert read.across is not None
        slot, array = read.maker.slot, read.across
        waits = any(r.across and r.reader.slot == slot and r.reader.sites[0].unit == array for r in self._reads)
        return self._times.ends[slot] if waits else self._times.begins[slot] + self._spans[slot].busy[array]

    @cached_property
    def _times(self) -> _Times:
        begins: list[Number] = []
        ends: list[Number] = []
        at: Number = 0
        for slot, span in enumerate(self._spans):
            for read in self._reads:
                if read.across and read.reader.slot == slot > read.maker.slot and read.reader.late == read.maker.late:
                    at = most(at, ends[read.maker.slot] + self._drain(read.across))
            begins.append(at)
            at = at + span.elapsed
            ends.append(at)
        return _Times((*begins, most(at, 1)), tuple(ends))

    @cached_property
    def _spans(self) -> tuple[Span, ...]:
        """Of each slot, its time in one iteration."""
        found = []
        for child in self.node.children:
            found.append(side_by_side([self._span(part) for part in parts_in(child)]))
        return tuple(found)

    def _span(self, node: Node) -> Span:
        if isinstance(node, Compute):
            site = self.sites[id(node)]
            cycles = 0 if site.last else self._cycles(site)
            return Span(cycles, {site.unit: cycles})
        below = [self._span(child) for child in children(node)]
        return side_by_side(below) if isinstance(node, Parallel) else in_turn(below)

    def _cycles(self, site: Site) -> Number:
        step, array = self.plan.step(site), self.problem.machine.array(site.unit)
        turns = self._measure.passing(
            site.loops[len(self._loops) :],
            None,
            walked=step.ranks,
            shared=frozenset(self.plan.levels.dimensions),
        )
        tile = "exp" in work_of(step.einsum) and in_tile(site, self.plan)
        return turns * cycles_of(step.einsum, array, self.problem.accounting, tile=tile)

    @cached_property
    def _measure(self) -> Measure:
        """Counts in the first iteration, where tiles are largest."""
        space = self.plan.space
        tiles = {rank: [loop.tile for loop in self._loops if loop.rank == rank] for rank in space.sizes}
        sizes = {rank: first(size, tiles[rank]) for rank, size in space.sizes.items()}
        return Measure(self.plan.resized(replace(space, sizes=sizes)))

    def _with(self, lates: Mapping[_Stage, int]) -> Node:
        slots: list[Node] = []
        for slot, child in enumerate(self.node.children):
            parts: list[Node] = []
            for number, _ in enumerate(parts_in(child)):
                together: dict[int, list[Node]] = {}
                for stage in self._stages:
                    if (stage.slot, stage.part) == (slot, number):
                        together.setdefault(lates[stage], []).append(stage.node)
                parts += [_late(by, sequence(*found)) for by, found in sorted(together.items())]
            slots.append(parts[0] if len(parts) == 1 else Parallel(tuple(parts)))
        return replace(self.node, children=tuple(slots))


def _in_turn(part: Node) -> tuple[Node, ...]:
    """What a part of a slot does one after another."""
    body = part.body if isinstance(part, Late) else part
    return body.children if isinstance(body, Sequential) else (body,)


def _late(by: int, node: Node) -> Node:
    if isinstance(node, Hold) and lateness(node):
        return replace(node, body=_late(by, node.body))
    body = node.body if isinstance(node, Late) else node
    return Late(by, body) if by else body


def _whole(number: Number) -> int:
    """The plain number that all points share.

    Raises:
        UnlikeError: they do not share one.
    """
    if not hasattr(number, "all"):
        return int(number)
    found = 0
    while not alike(number <= found):
        found += 1
    return found

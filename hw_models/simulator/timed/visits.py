"""What one visit of a hold or a compute moves: values read, filled, updated, drained, sent and delivered.

The rules are those of ``docs`` for loop trees: a hold fetches on entering and writes back on leaving; one access serves
all positions that a link's multicast reaches; results are summed on their way out where the link reduces; the first
visit of a sum finds nothing. Amounts are per visit and depend on the ranges at it alone (``ranges.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import prod

from einsum_cascades.loops.levels import Level
from einsum_cascades.loops.sites import WITHIN, Plan, Site
from einsum_cascades.loops.space import Operand
from einsum_cascades.loops.tree import INSTANCES, JOIN, Compute, Hold, Loop, parts_of
from hw_models.simulator.timed.ranges import Cut, Pieces, accesses, steps, whole


@dataclass(frozen=True, slots=True)
class Moved:
    """Values that a visit moves.

    Attributes:
        node: the memory; of ``sent`` and ``delivered`` the node at the inner end of a link.
        action: read, fill, update, drain, sent or delivered; ``spilled`` ones are made further out instead.
        count: values.
        begun: of updates, those that begin a sum.
        hold: of updates, the site of the hold there; -1 is home.
        part: of all such accesses together, what is made here.
        out: whether it is on the way out: results, and not operands or sums that go on.
    """

    node: str
    tensor: str
    action: str
    count: int
    begun: int = 0
    hold: int = -1
    part: Fraction = Fraction(1)
    out: bool = False


@dataclass(frozen=True)
class Around:
    """A site's loops, by rank.

    Attributes:
        control: by rank, the index of the innermost loop in time around the visit; absent if there is none.
        inside: by rank, the cuts inside the visit, and those over dimensions since that loop.
        repeated: by rank, (place among the site's loops, whether in the visit) of loops in time.
    """

    control: Mapping[str, int]
    inside: Mapping[str, tuple[Cut, ...]]


class Visits:
    """Evaluates visits of the sites of a plan.

    Args:
        control: by site, how many of its loops (``plan.loops``) are around the visit: those in time are iterated there.
    """

    def __init__(self, plan: Plan, control: Mapping[int, int]) -> None:
        self.plan, self.levels, self.space = plan, plan.levels, plan.space
        self.control = control

    def ranks(self, site: Site) -> tuple[str, ...]:
        """Return the ranks on which a visit depends."""
        joint = _joint(self.plan.loops(site))
        ranks = [INSTANCES, *(loop.rank for loop in self.plan.loops(site))]
        if isinstance(site.node, Compute):
            ranks += [joint.get(r, r) for r in self.space.grains(self.plan.step(site).ranks)]
        else:
            touched = [r for _, operand, _ in self.plan.touched(site) for r in operand.ranks]
            ranks += [joint.get(r, r) for r in self.space.grains(touched)]
        return tuple(dict.fromkeys(joint.get(r, r) for r in ranks))

    def cuts(self, site: Site, rank: str) -> tuple[Cut, ...]:
        """Return the cuts of a rank since the last loop in time around the visit."""
        loops, around = self.plan.loops(site), self.control[site.number]
        last = max((i for i, x in enumerate(loops[:around]) if x.rank == rank and x.over is None), default=-1)
        return tuple(Cut(int(loop.tile), loop.over) for i, loop in enumerate(loops) if i > last and loop.rank == rank)

    def steps(self, site: Site, at: Mapping[str, Pieces]) -> int:
        """Return the steps in time of a visit of a compute."""
        walked = self._walked(site)
        return prod(steps(pieces, (*self.cuts(site, rank), *walked.get(rank, ()))) for rank, pieces in at.items())

    def points(self, site: Site, at: Mapping[str, Pieces]) -> int:
        """Return the points on which a visit of a compute works."""
        walked = self._walked(site)
        return prod(
            accesses(pieces, (*self.cuts(site, rank), *walked.get(rank, ())), None, frozenset())
            for rank, pieces in at.items()
        )

    def moved(
        self,
        site: Site,
        at: Mapping[str, Pieces],
        first: Mapping[str, tuple[bool, ...]],
        only: frozenset[str] = frozenset(),
    ) -> list[Moved]:
        """Return what a visit moves.

        Args:
            at: the ranges at the visit, by rank.
            first: by rank, whether each loop in time around the visit is in its first iteration, outermost first.
            only: dimensions of whose positions the first alone counts.
        """
        visit = _Visit(self, site, at, first, only)
        rows = visit.of_hold() if isinstance(site.node, Hold) else visit.of_compute()
        return [part for row in rows for part in self._parts(site, row)]

    def region(self, site: Site, at: Mapping[str, Pieces]) -> int:
        """Return how many values a visit of a hold keeps in the instance that keeps most."""
        ranks = self.plan.operand_of(site).ranks
        joint = _joint(self.plan.loops(site))
        grains = {joint.get(r, r): int(self.space.length(grain)) for r, grain in self.space.grains(ranks).items()}
        grains[joint.get(INSTANCES, INSTANCES)] = 1
        everywhere = frozenset(self.levels.dimensions)
        return prod(
            accesses(at[rank], self.cuts(site, rank), grain, everywhere, None, everywhere)
            for rank, grain in grains.items()
            if rank in at
        )

    def covered(self, site: Site, at: Mapping[str, Pieces], tensor: str) -> list[tuple[int, int]]:
        """Return, along each rank of a tensor as it is laid out, how many values a visit touches of how many."""
        joint, found = _joint(self.plan.loops(site)), {}
        grains = {INSTANCES: (), **self.space.grains(self.space.cascade.ranks_of[tensor])}
        walked = self._walked(site) if isinstance(site.node, Compute) else {}
        for rank, grain in grains.items():
            own, length = joint.get(rank, rank), int(self.space.length(grain))
            size = -(-int(self.space.extent(own)) // length)
            cuts = (*self.cuts(site, own), *walked.get(own, ()))
            touched = accesses(at[own], cuts, length, frozenset()) if own in at else size
            found[own] = (min(touched, size), size)
        return list(found.values())

    def _walked(self, site: Site) -> dict[str, tuple[Cut, ...]]:
        joint = _joint(self.plan.loops(site))
        grains = {INSTANCES: (), **self.space.grains(self.plan.step(site).ranks)}
        return {joint.get(r, r): (Cut(int(self.space.length(grain))),) for r, grain in grains.items()}

    def _parts(self, site: Site, row: Moved) -> Iterable[Moved]:
        """Send the accesses to what a hold does not keep further out."""
        hold = self._partial(site, row) if row.action not in ("sent", "delivered") else None
        if hold is None:
            yield row
            return
        assert isinstance(hold.node, Hold)
        part = Fraction(hold.node.part)
        yield replace(row, part=part)
        if site.number == hold.number and row.node != hold.node.memory:
            return
        if row.action != "drain":
            spilled = "spilled read" if row.action == "read" else "spilled write"
            yield replace(row, action=spilled, part=1 - part, begun=0, hold=-1)
        if row.action in ("read", "update"):
            outer = self.plan.outer(hold)
            memory = memory_of(outer, self.plan)
            yield Moved(memory, row.tensor, row.action, row.count, part=1 - part, out=row.out)

    def _partial(self, site: Site, row: Moved) -> Site | None:
        if isinstance(site.node, Hold) and site.node.part != 1:
            return site
        for hold in reversed(site.holds):
            node = hold.node
            if isinstance(node, Hold) and node.part != 1 and (node.tensor, node.memory) == (row.tensor, row.node):
                return hold
        return None


class _Visit:
    def __init__(
        self,
        of: Visits,
        site: Site,
        at: Mapping[str, Pieces],
        first: Mapping[str, tuple[bool, ...]],
        only: frozenset[str],
    ) -> None:
        self.of, self.site, self.at, self.first, self.only = of, site, at, first, only
        self.plan, self.levels, self.space = of.plan, of.levels, of.space

    @cached_property
    def walked(self) -> dict[str, tuple[Cut, ...]]:
        return self.of._walked(self.site) if isinstance(self.site.node, Compute) else {}

    def _grains(self, ranks: Iterable[str]) -> dict[str, int]:
        joint = _joint(self.plan.loops(self.site))
        grains = {INSTANCES: (), **self.space.grains(ranks)}
        return {joint.get(r, r): int(self.space.length(grain)) for r, grain in grains.items()}

    def passing(
        self,
        ranks: Iterable[str],
        shared: frozenset[str],
        once: Iterable[str] = (),
        apart: frozenset[str] = frozenset(),
    ) -> int:
        """Return the accesses of a visit to a tensor of some ranks.

        Args:
            once: ranks of which the first time counts only, at each position along the dimensions ``apart``.
        """
        grains, shared = self._grains(ranks), shared | {WITHIN}
        return prod(
            accesses(
                pieces,
                (*self.of.cuts(self.site, rank), *self.walked.get(rank, ())),
                grains.get(rank),
                shared,
                apart if rank in once else None,
                self.only,
            )
            for rank, pieces in self.at.items()
        )

    def of_hold(self) -> list[Moved]:
        site, plan = self.site, self.plan
        assert isinstance(site.node, Hold)
        outer, operand = plan.outer(site), plan.operand_of(site)
        if not exchanges(plan, site):
            return []
        if not plan.writes_inside(site):
            return self._inward(operand, memory_of(outer, plan), registers=True)
        return self._outward(operand, outer)

    def of_compute(self) -> list[Moved]:
        site, plan = self.site, self.plan
        step, rows = plan.step(site), []
        for operand in step.inputs:
            chain = plan.chain(site, operand)
            rows += self._inward(operand, memory_of(chain[-1] if chain else None, plan), registers=False)
        chain = plan.chain(site, step.output)
        return rows + self._outward(step.output, chain[-1] if chain else None)

    def _inward(self, operand: Operand, place: str, *, registers: bool) -> list[Moved]:
        tensor, inner = operand.tensor, self.site.unit
        way = self.levels.between(place, inner)
        served = [_dimensions(level) if level.multicast else frozenset() for level in way]
        counts = [self.passing(operand.ranks, _union(served[i:])) for i in range(len(way) + 1)]
        rows = [Moved(place, tensor, "read", counts[0])]
        for i, level in enumerate(way):
            rows.append(Moved(level.name, tensor, "sent", counts[i]))
            if level.dimensions:
                rows.append(Moved(level.name, tensor, "delivered", counts[i + 1]))
        if registers:
            rows.append(Moved(inner, tensor, "fill", counts[-1]))
        return rows

    def _outward(self, operand: Operand, outer: Site | None) -> list[Moved]:
        site, tensor, inner = self.site, operand.tensor, self.site.unit
        place = memory_of(outer, self.plan)
        way = self.levels.between(place, inner)
        served = [_dimensions(level) if level.reduction else frozenset() for level in way]
        state = isinstance(site.node, Hold) and site.node.state
        ranks = operand.ranks
        every = state and self.plan.every_iteration(site)
        counts = [self.passing(ranks, _union(served[i:])) for i in range(len(way) + 1)]
        begun = self._begun(operand, outer, _union(served))
        back = counts[0] - begun
        met = counts[0] - self.passing(ranks, _union(map(_dimensions, way)))
        if every:
            ranks = next(o.ranks for _, o, writes in self.plan.touched(site) if writes)
            counts = [self.passing(ranks, _union(served[i:])) for i in range(len(way) + 1)]
            begun = counts[0]
        rows = [
            Moved(place, tensor, "update", counts[0], begun, -1 if outer is None else outer.number, out=True),
            Moved(place, tensor, "read", back),
        ]
        for i, level in enumerate(way):
            rows.append(Moved(level.name, tensor, "sent", counts[i + 1], out=True))
            rows.append(Moved(level.name, tensor, "delivered", counts[i], out=True))
            rows.append(Moved(level.name, tensor, "sent", back))
            rows.append(Moved(level.name, tensor, "delivered", back))
        if isinstance(site.node, Hold):
            rows.append(Moved(inner, tensor, "drain", counts[-1], out=True))
            rows.append(Moved(inner, tensor, "fill", back))
            rows.append(Moved(inner, tensor, "read", met, out=True))
        return rows

    def _begun(self, operand: Operand, outer: Site | None, served: frozenset[str]) -> int:
        """Return how many updates of a visit find nothing: those of the first iterations of what they sum over."""
        site, plan = self.site, self.plan
        if outer is not None and isinstance(outer.node, Hold) and outer.node.state and not _is_state(site):
            return self.passing(operand.ranks, served)
        summed, fan = self._summed(operand), self.levels.fan_out(memory_of(outer, plan))
        fresh = self.passing(operand.ranks, served, summed, fan)
        if outer is None or not exchanges(plan, outer):
            return fresh if self._begins(operand, summed, 0 if outer is None else len(outer.loops)) else 0
        if self._begins(operand, summed, self._begins_in(outer)):
            return fresh
        if not self._begins(operand, summed, len(outer.loops)):
            return 0
        way = self.levels.between(memory_of(plan.outer(outer), plan), memory_of(outer, plan))
        summing = _union(_dimensions(level) for level in way if level.reduction)
        return fresh - self.passing(operand.ranks, served | summing, summed, fan)

    def _begins(self, operand: Operand, summed: Iterable[str], outside: int) -> bool:
        """Whether all loops in time after so many that go on with a value are in their first iteration."""
        loops = self.plan.loops(self.site)[: self.of.control[self.site.number]]
        for rank in summed:
            timed = [i for i, x in enumerate(loops) if x.rank == rank and x.over is None]
            for i, first in zip(timed, self.first.get(rank, ()), strict=True):
                if not first and i >= outside and self._sums(operand, loops[i]):
                    return False
        return True

    def _sums(self, operand: Operand, loop: Loop) -> bool:
        """Whether iterations of a loop go on with a value."""
        makers = self._makers(operand)
        return any(self.plan.goes_on(maker, loop) for maker in makers) and (
            _is_state(self.site) or loop.rank not in self.plan.carried_along(operand.tensor)
        )

    def _makers(self, operand: Operand) -> list[Site]:
        if isinstance(self.site.node, Compute):
            return [self.site]
        return [maker for maker, _, writes in self.plan.touched(self.site) if writes]

    def _summed(self, operand: Operand) -> list[str]:
        joint = _joint(self.plan.loops(self.site))
        found = []
        for maker in self._makers(operand):
            step = self.plan.step(maker)
            own, out = self.space.grains(step.ranks), self.space.grains(step.output.ranks)
            found += [joint.get(r, r) for r in own if own[r] != out.get(r)]
            if _is_state(self.site):
                found += self.plan.carried_along(operand.tensor)
        return list(dict.fromkeys(found))

    def _begins_in(self, outer: Site | None) -> int:
        """How many loops are outside of what a sum begins in."""
        while outer is not None and exchanges(self.plan, outer):
            outer = self.plan.outer(outer)
        return 0 if outer is None else len(outer.loops)


def exchanges(plan: Plan, hold: Site) -> bool:
    """Whether a hold fetches what it keeps from further out, or writes it back there."""
    if plan.outer(hold) is None and plan.operand_of(hold).tensor not in plan.at_home:
        return False
    return bool(plan.touched(hold)) and (not plan.writes_inside(hold) or plan.wanted_outside(hold))


def memory_of(hold: Site | None, plan: Plan) -> str:
    """Return the memory of a hold; without one, the home."""
    if hold is None:
        return plan.levels.home
    assert isinstance(hold.node, Hold)
    return hold.node.memory


def _is_state(site: Site) -> bool:
    return isinstance(site.node, Hold) and site.node.state


def _joint(loops: Sequence[Loop]) -> dict[str, str]:
    return {part: loop.rank for loop in loops if JOIN in loop.rank for part in parts_of(loop.rank)}


def _dimensions(level: Level) -> frozenset[str]:
    return frozenset(f"{level.name}.{name}" for name, _ in level.dimensions)


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)


__all__ = ["Moved", "Visits", "exchanges", "memory_of", "whole"]

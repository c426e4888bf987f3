"""Exact counts of what a loop tree makes every memory and link do.

    fill     values that come into a memory from further out;       read    values that it gives to what is further in
    update   values that come into it from further in (results);    drain   values that it gives further out

A hold's region comes in once for each turn of the loops outside it that its tensor lacks (``turns.py``); one read of the
outer memory serves all positions that want the same value in the same step, if every link on the way multicasts, else
each. Results go out likewise, summed on the way where links reduce. A partial sum comes back on every visit but those
that find nothing:

    back = visits - beginnings;   beginnings at home: the tensor's values;   in a memory: what leaves - what comes back

since of positions whose results are summed on the way one receives what was there and the others begin from nothing.
A value that is recomputed begins anew each time. All are exact integers, for ragged tiles too.

Source of the counts: the tile analysis of Parashar et al., "Timeloop", ISPASS 2019, section V, is the special case in
which every hold stands as far out as loops reach that its tensor lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from einsum_cascades.loops.arith import Number
from einsum_cascades.loops.levels import Level
from einsum_cascades.loops.measure import Measure
from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.space import Operand
from einsum_cascades.loops.tree import Compute, Hold, parts_of

Action = Literal["read", "fill", "update", "drain", "sent", "delivered", "spilled read", "spilled write"]


class Row(NamedTuple):
    """One line of the activity table.

    Attributes:
        node: the memory; for ``sent`` and ``delivered`` the node at the inner end of a link.
        tensor: the tensor, without a prime.
        action: what is done; ``sent`` and ``delivered`` are values that enter and leave the link to the node, and
            a ``spilled`` access is one to a part that is not kept, which is made further out instead.
        count: values.
        site: number of the hold or compute that causes it.
        begun, hold: of updates, how many values begin there, parts that are not kept included, and the number of the hold
            there is (-1: it is home).
    """

    node: str
    tensor: str
    action: Action
    count: Number
    site: int
    begun: Number = 0
    hold: int = -1


@dataclass(frozen=True, eq=False)
class Counts:
    """What a plan does.

    Attributes:
        rows: the activity table, in tree order.
        points: of each compute, by number of its site, the points that it works on.
        steps: of each compute, the steps that it takes in time.
    """

    rows: tuple[Row, ...]
    points: dict[int, Number]
    steps: dict[int, Number]

    def of(self, node: str, tensor: str | None = None) -> dict[str, Number]:
        """Return the counts by action of a node, for one tensor or all."""
        found: dict[str, Number] = {}
        for row in self.rows:
            if row.node == node and tensor in (None, row.tensor):
                found[row.action] = found.get(row.action, 0) + row.count
        return found


def count(plan: Plan) -> Counts:
    """Return the activity of a plan whose legality has been checked; sizes and tiles may be numbers or arrays."""
    found = _Counting(plan)
    rows: list[Row] = []
    points: dict[int, Number] = {}
    taken: dict[int, Number] = {}
    for site in plan.sites:
        if isinstance(site.node, Hold):
            rows += found.hold(site)
        else:
            rows += found.compute(site)
            points[site.number], taken[site.number] = found.work(site)
    return Counts(tuple(_placed(rows, plan)), points, taken)


class _Counting:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.levels = plan.levels
        self.measure = Measure(plan)
        self._begun: dict[int, Number] = {}

    def work(self, site: Site) -> tuple[Number, Number]:
        """Return the points of a compute and its steps in time."""
        step, everything = self.plan.step(site), frozenset(self.levels.dimensions)
        passing = self.measure.passing
        points = passing(site.loops, None, walked=step.ranks, last=site.last)
        return points, passing(site.loops, None, walked=step.ranks, last=site.last, shared=everything)

    def hold(self, site: Site) -> list[Row]:
        """Return what filling a hold and emptying it does."""
        assert isinstance(site.node, Hold)
        plan, outer = self.plan, self.plan.outer(site)
        operand = plan.operand_of(site)
        tensor = operand.tensor
        if outer is None and tensor not in plan.at_home:
            return []
        place = _memory(outer, plan)
        if not plan.touched(site):
            return []
        if not plan.writes_inside(site):
            passing = self._passing(site, operand)
            return self._inward(site, tensor, place, site.node.memory, passing)
        if not plan.wanted_outside(site):
            return []
        return self._outward(site, operand, outer)

    def compute(self, site: Site) -> list[Row]:
        """Return what the operands of a compute do at the memories that they come from and go to."""
        assert isinstance(site.node, Compute)
        step, unit, rows = self.plan.step(site), site.node.unit, []
        for operand in step.inputs:
            chain = self.plan.chain(site, operand)
            place = _memory(chain[-1] if chain else None, self.plan)
            passing = self._passing(site, operand, step.ranks)
            rows += self._inward(site, operand.tensor, place, unit, passing, registers=False)
        chain = self.plan.chain(site, step.output)
        rows += self._outward(site, step.output, chain[-1] if chain else None)
        return rows

    def _passing(self, site: Site, operand: Operand, walked: tuple[str, ...] | None = None) -> _Passing:
        return _Passing(self.measure, site, operand.ranks, walked, frozenset())

    def _inward(
        self, site: Site, tensor: str, outer: str, inner: str, passing: _Passing, *, registers: bool = True
    ) -> list[Row]:
        """Values from one memory to another further in, or (without registers) to a unit there."""
        way = self.levels.between(outer, inner)
        served = [_dimensions(level) if level.multicast else frozenset() for level in way]
        rows = [Row(outer, tensor, "read", passing(_together(served, 0)), site.number)]
        for place, level in enumerate(way):
            if level.dimensions:
                rows.append(Row(level.name, tensor, "sent", passing(_together(served, place)), site.number))
                rows.append(Row(level.name, tensor, "delivered", passing(_together(served, place + 1)), site.number))
            else:
                rows.append(Row(level.name, tensor, "sent", passing(_together(served, place)), site.number))
        if registers:
            rows.append(Row(inner, tensor, "fill", passing(frozenset()), site.number))
        return rows

    def _outward(self, site: Site, operand: Operand, outer: Site | None) -> list[Row]:
        """Results from a hold or a unit to the next memory further out, and partial sums back."""
        tensor, number = operand.tensor, site.number
        inner = site.unit
        place = _memory(outer, self.plan)
        way = self.levels.between(place, inner)
        served = [_dimensions(level) if level.reduction else frozenset() for level in way]
        passing = self._results(site, operand)
        visits = passing(_together(served, 0))
        begun = self._beginnings(outer, site, operand)
        back = visits - begun
        met = visits - passing(_together([_dimensions(level) for level in way], 0))
        if isinstance(site.node, Hold) and site.node.state and self.plan.every_iteration(site):
            passing = self._results(site, next(o for _, o, writes in self.plan.touched(site) if writes))
            visits = begun = passing(_together(served, 0))
        rows = [Row(place, tensor, "update", visits, number, begun, -1 if outer is None else outer.number)]
        rows.append(Row(place, tensor, "read", back, number))
        for step, level in enumerate(way):
            out, into = passing(_together(served, step + 1)), passing(_together(served, step))
            rows.append(Row(level.name, tensor, "sent", out + back, number))
            rows.append(Row(level.name, tensor, "delivered", into + back, number))
        if isinstance(site.node, Hold):
            rows.append(Row(inner, tensor, "drain", passing(frozenset()), number))
            rows.append(Row(inner, tensor, "fill", back, number))
            rows.append(Row(inner, tensor, "read", met, number))
        return rows

    def _results(self, site: Site, operand: Operand) -> _Passing:
        walked = self.plan.step(site).ranks if isinstance(site.node, Compute) else None
        return _Passing(self.measure, site, operand.ranks, walked, frozenset())

    def _foreign(self, tensor: str, site: Site) -> frozenset[str]:
        """Whole ranks of the loops around a place that the Einsum which makes a tensor does not have."""
        space = self.plan.space
        makers = [self.plan.step(s) for s, _, writes in self.plan.users[tensor] if writes]
        known = {space.whole(r) for step in makers for r in step.ranks} | {"instances"}
        around = {loop.rank for loop in self.plan.loops(site)}
        return frozenset(rank for rank in around - site.last if known.isdisjoint(parts_of(rank)))

    def _beginnings(self, outer: Site | None, site: Site, operand: Operand) -> Number:
        """Return how many of the visits from a site to a hold (or home) find nothing there."""
        foreign = self._foreign(operand.tensor, site)
        again = self.measure.passing(
            [loop for loop in self.plan.loops(site) if loop.rank in foreign], None, last=site.last
        )
        if outer is None:
            own = self.measure.passing((), operand.ranks, last=site.last)
        else:
            assert isinstance(outer.node, Hold)
            anew = outer.node.state and not (isinstance(site.node, Hold) and site.node.state)
            own = self._held(outer, operand) if anew else self._begun_in(outer)
        return own * again

    def _held(self, hold: Site, operand: Operand) -> Number:
        kept = [loop for loop in self.plan.loops(hold) if loop.rank not in self._foreign(operand.tensor, hold)]
        return self.measure.passing(kept, operand.ranks, last=hold.last)

    def _begun_in(self, hold: Site) -> Number:
        """Return how many values begin from nothing in a hold, each computed once."""
        if hold.number not in self._begun:
            operand, outer = self.plan.operand_of(hold), self.plan.outer(hold)
            found = self._held(hold, operand)
            if outer is not None or operand.tensor in self.plan.at_home:
                foreign = self._foreign(operand.tensor, hold)
                way = self.levels.between(_memory(outer, self.plan), _hold(hold).memory)
                shared = _together([_dimensions(level) for level in way], 0)
                kept = [loop for loop in self.plan.loops(hold) if loop.rank not in foreign]
                visits = self.measure.passing(kept, operand.ranks, shared=shared, last=hold.last)
                again = [loop for loop in self.plan.loops(hold) if loop.rank in foreign]
                begun = self._beginnings(outer, hold, operand)
                once = self.measure.passing(again, None, last=hold.last)
                found = found - (visits - begun // once)
            self._begun[hold.number] = found
        return self._begun[hold.number]


@dataclass(frozen=True, eq=False)
class _Passing:
    """Values that pass a place, by the dimensions whose positions count together."""

    measure: Measure
    site: Site
    ranks: tuple[str, ...]
    walked: tuple[str, ...] | None
    without: frozenset[str]

    def __call__(self, shared: frozenset[str]) -> Number:
        site = self.site
        return self.measure.passing(
            self.measure.plan.loops(site),
            self.ranks,
            shared=shared,
            walked=self.walked,
            last=site.last,
            without=self.without,
        )


def _hold(site: Site) -> Hold:
    assert isinstance(site.node, Hold)
    return site.node


def _memory(hold: Site | None, plan: Plan) -> str:
    return plan.levels.home if hold is None else _hold(hold).memory


@lru_cache(maxsize=1024)
def _full(name: str, own: tuple[str, ...]) -> frozenset[str]:
    return frozenset(f"{name}.{dimension}" for dimension in own)


def _dimensions(level: Level) -> frozenset[str]:
    return _full(level.name, tuple(name for name, _ in level.dimensions))


def _together(served: list[frozenset[str]], start: int) -> frozenset[str]:
    return frozenset().union(*served[start:])


def _placed(rows: list[Row], plan: Plan) -> Iterator[Row]:
    """Send the accesses to what a hold does not keep further out, where that part is."""
    partial = {h.number: h for h in plan.holds if _hold(h).part != 1}
    for row in rows:
        hold = _partial(row, plan, partial) if partial and row.action not in ("sent", "delivered") else None
        if hold is None:
            yield row
            continue
        kept = _scaled(row.count, hold)
        rest = row.count - kept
        if row.site == hold.number and row.node != _hold(hold).memory:
            yield row._replace(count=kept)
            continue
        yield row._replace(count=kept)
        if row.action != "drain":
            yield row._replace(
                action="spilled read" if row.action == "read" else "spilled write", count=rest, begun=0, hold=-1
            )
        if row.action in ("read", "update"):
            outer = _memory(plan.outer(hold), plan)
            yield Row(outer, row.tensor, row.action, rest, row.site)


def _partial(row: Row, plan: Plan, partial: dict[int, Site]) -> Site | None:
    """The hold of which a row is an access, if it keeps a part only."""
    site = plan.sites[row.site]
    if row.site in partial:
        return partial[row.site]
    for hold in reversed(site.holds):
        if hold.number in partial and _hold(hold).tensor == row.tensor and _hold(hold).memory == row.node:
            return hold
    return None


def _scaled(number: Number, hold: Site) -> Number:
    part = _hold(hold).part
    return (2 * number * part.numerator + part.denominator) // (2 * part.denominator)

"""How much of each memory a tree needs: exact, and the same function for presets, search, tests and errors.

    live(hold) = its region + live(body)      live(seq, pipe) = the most of a child      live(par) = the sum of them

(in an array's registers the most of them, since on one array they take turns), and copies that late stages of earlier
iterations still use live beside all that the loop around them runs.

A region is what the ranges select where tiles are largest, which they are first, so one evaluation gives the peak. A
hold between a pipeline and its loop is held in as many copies as its users differ in lateness, plus one; one that is
refilled while it is used, twice; a state whose earlier value is wanted after the new one is made, once more; a hold in
the place of another takes what it needs beyond that one.
"""

from __future__ import annotations

from collections.abc import Callable

from einsum_cascades.loops.arith import Number, most
from einsum_cascades.loops.measure import Measure
from einsum_cascades.loops.sites import Plan, Site, once
from einsum_cascades.loops.space import PRIME, Operand
from einsum_cascades.loops.tree import Compute, Hold, Loop, Node, Parallel, children, nodes

Bits = Callable[[str], Number]
"""Bits of a value of a tensor, by its name."""


def live_bits(
    plan: Plan, bits: Bits, only: str | None = None, *, in_copies: bool = True, measure: Measure | None = None
) -> dict[str, Number]:
    """Return the most bits that one instance of each memory holds at a time; the outermost memory is left out.

    Args:
        only: the one memory that is asked for.
        in_copies: whether what crosses a pipeline's stages takes room for each iteration that is under way.
        measure: of the plan, if there is one already.
        measure: of the plan, if there is one already.
    """
    measure = measure or Measure(plan)
    memories = dict.fromkeys(_hold(h).memory for h in plan.holds if only in (None, _hold(h).memory))
    memories.pop(plan.levels.home, None)
    rooms = {
        hold.number: room(plan, hold, measure, in_copies=in_copies) * bits(_hold(hold).tensor.removesuffix(PRIME))
        for hold in plan.holds
        if _hold(hold).memory in memories
    }
    return {memory: _Live(plan, memory, rooms, in_copies).of(plan.tree.body) for memory in memories}


def room(plan: Plan, hold: Site, measure: Measure | None = None, *, in_copies: bool = True) -> Number:
    """Return the values that a hold takes room for, copies included."""
    node, measure = _hold(hold), measure or Measure(plan)
    other = _gives_place(plan, hold)
    values = measure.region(hold, plan.operand_of(hold).ranks) * copies(plan, hold, other, in_copies=in_copies)
    if node.part != 1:
        values = -(-values * node.part.numerator // node.part.denominator)
    if other is not None:
        values = most(values - room(plan, other, measure, in_copies=in_copies), 0)
    return values


@once
def _gives_place(plan: Plan, hold: Site) -> Site | None:
    """The hold whose room another one takes: of those around it the innermost."""
    node = _hold(hold)
    same = [h for h in plan.holds if _hold(h).tensor == node.place and _hold(h).memory == node.memory]
    around = [h for h in same if h.encloses(hold)] or same
    return around[-1] if around else None


def copies(plan: Plan, hold: Site, place: Site | None = None, *, in_copies: bool = True) -> int:
    """Return how many tiles of a hold live at a time.

    Args:
        place: the hold whose room it takes: from the first use of that one until its own last use both are one tile.
        in_copies: whether a pipeline's iterations under way take room each.
    """
    node = _hold(hold)
    found = crossing(plan, hold, place) + 1 if in_copies else 1
    if node.state:
        found = found * _versions(plan, hold)
    if node.double or (plan.levels[node.memory].double_buffered and hold.time_loops):
        found = max(found, 2)
    return found


@once
def crossing(plan: Plan, hold: Site, place: Site | None = None) -> int:
    """Return from how many earlier iterations of the loop around it tiles of a hold are left, for late stages."""
    spans = [(hold, hold)]
    if place is not None and place.encloses(hold):
        spans = [(place, hold), (place, place)]
    late = [_lateness(site, len(outer.time_loops), outer.path) for outer, h in spans for site, _, _ in plan.touched(h)]
    return max(late, default=0) - min(late, default=0)


def _lateness(site: Site, depth: int, below: tuple[int, ...] = ()) -> int:
    """By how many iterations a site is late in the pipelines below a node that so many loops in time are around."""
    return sum(
        stage.late
        for stage in site.stages
        if stage.pipeline[: len(below)] == below and sum(x.over is None for x in site.loops[: stage.loops]) == depth
    )


@once
def _versions(plan: Plan, hold: Site) -> int:
    """How many iterations' values of a state live at a time: what is read after the next is made lives longer."""
    uses = plan.touched(hold)
    along = plan.carried_along(_hold(hold).tensor)
    inside = [_next(hold, plan, site, operand) for site, operand, _ in uses]
    made = [(site, way) for (site, _, writes), way in zip(uses, inside, strict=True) if writes]
    found = 1
    for (site, operand, writes), way in zip(uses, inside, strict=True):
        if writes or not along & {plan.space.whole(r) for r in operand.ranks}:
            continue
        for maker, out in made:
            depth = max((i for i, loop in enumerate(maker.time_loops, 1) if loop.rank in along), default=0)
            ahead = _of(way, plan, depth, min) - _of(out, plan, depth, max) + operand.carried
            found = max(found, ahead + _before(out, way, plan, depth))
    return found


def _next(hold: Site, plan: Plan, site: Site, operand: Operand) -> Site:
    """The hold that a state's values are fetched into next on their way to a compute, or the compute."""
    return next((h for h in plan.chain(site, operand) if hold.encloses(h)), site)


def _of(place: Site, plan: Plan, depth: int, most_of: Callable[[list[int]], int]) -> int:
    sites = [site for site, _, _ in plan.touched(place)] if isinstance(place.node, Hold) else [place]
    return most_of([_lateness(site, depth) for site in sites])


def _before(out: Site, way: Site, plan: Plan, depth: int) -> bool:
    """Whether a state's value is made before another is fetched, in one iteration that a number of loops in time make."""
    common = sum(x is y and x.over is None for x, y in zip(out.loops, way.loops, strict=False))
    if common <= depth:
        return out.ends < way.number
    return (_of(out, plan, common, max), out.ends) < (_of(way, plan, common, min), way.number)


class _Live:
    def __init__(self, plan: Plan, memory: str, rooms: dict[int, Number], in_copies: bool) -> None:
        self.plan, self.memory, self.rooms, self.in_copies = plan, memory, rooms, in_copies
        self.numbers = iter(plan.sites)

    def of(self, node: Node) -> Number:
        """Return what a subtree holds at most; nodes are visited in tree order, as sites are numbered."""
        inside, left = self._parts(node)
        return inside + left

    def _parts(self, node: Node) -> tuple[Number, Number]:
        """What a subtree holds at most, without and with what earlier iterations of the loop around leave in it."""
        if isinstance(node, Hold | Compute):
            site = next(self.numbers)
            if isinstance(node, Compute):
                return 0, 0
            inside, under_way = self._parts(node.body)
            if node.memory != self.memory:
                return inside, under_way
            room, earlier = self.rooms[site.number], crossing(self.plan, site)
            if earlier == 0 or not self.in_copies or node.place is not None:
                return inside + room, under_way
            one = room // (earlier + 1)
            return inside + room - earlier * one, under_way + earlier * one
        parts = [self._parts(child) for child in children(node)]
        if isinstance(node, Loop) and node.over is None:
            return parts[0][0] + parts[0][1], 0
        alone: Number = 0
        beside: Number = 0
        all_left: Number = 0
        for child, (inside, earlier) in zip(children(node), parts, strict=True):
            all_left = all_left + earlier
            if isinstance(node, Parallel) and not self._works(child):
                beside = beside + inside
            else:
                alone = most(alone, inside)
        return alone + beside, all_left

    def _works(self, node: Node) -> bool:
        """Whether a part computes on the memory's own array, where what runs side by side takes turns."""
        return any(isinstance(x, Compute) and x.unit == self.memory for x in nodes(node))


def _hold(site: Site) -> Hold:
    assert isinstance(site.node, Hold)
    return site.node

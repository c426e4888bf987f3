"""How much of each memory a tree needs: exact, and the same function for presets, search, tests and errors.

    live(hold) = its region + live(body)      live(seq, pipe) = the most of a child      live(par) = the sum of them

(in an array's registers the most of them, since on one array they take turns).

A region is what the ranges select where tiles are largest, which they are first, so one evaluation gives the peak. A
hold between a pipeline and its loop is held in as many copies as its users differ in lateness, plus one; one that is
refilled while it is used, twice; a state whose earlier value is wanted after the new one is made, once more; a hold in
the place of another takes what it needs beyond that one.
"""

from __future__ import annotations

from collections.abc import Callable

from einsum_cascades.loops.arith import Number, most
from einsum_cascades.loops.measure import Measure
from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.space import PRIME
from einsum_cascades.loops.tree import Compute, Hold, Node, Parallel, children

Bits = Callable[[str], Number]
"""Bits of a value of a tensor, by its name."""


def live_bits(plan: Plan, bits: Bits, only: str | None = None, *, in_copies: bool = True) -> dict[str, Number]:
    """Return the most bits that one instance of each memory holds at a time; the outermost memory is left out.

    Args:
        only: the one memory that is asked for.
        in_copies: whether what crosses a pipeline's stages takes room for each iteration that is under way.
    """
    measure = Measure(plan)
    memories = dict.fromkeys(_hold(h).memory for h in plan.holds if only in (None, _hold(h).memory))
    memories.pop(plan.levels.home, None)
    rooms = {
        hold.number: room(plan, hold, measure, in_copies=in_copies) * bits(_hold(hold).tensor.removesuffix(PRIME))
        for hold in plan.holds
        if _hold(hold).memory in memories
    }
    return {memory: _Live(plan, memory, rooms).of(plan.tree.body) for memory in memories}


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
    late = [_lateness(hold, site) for site, _, _ in plan.touched(hold)]
    if place is not None and place.encloses(hold):
        late = [_lateness(place, site) for h in (hold, place) for site, _, _ in plan.touched(h)]
    found = max(late, default=0) - min(late, default=0) + 1 if in_copies else 1
    if node.state:
        found = max(found, _versions(hold, plan))
    if node.double or (plan.levels[node.memory].double_buffered and hold.time_loops):
        found = max(found, 2)
    return found


def _lateness(hold: Site, user: Site) -> int:
    """How many iterations after the first part of the pipelines that it spans a use of a hold is."""
    depth = len(hold.path)
    return sum(
        stage.late
        for stage in user.stages
        if stage.pipeline[:depth] == hold.path and len(stage.pipeline) >= depth and stage.loops <= len(hold.loops)
    )


def _versions(hold: Site, plan: Plan) -> int:
    """How many iterations' values of a state are wanted at a time: two where the old one is read after the new is made."""
    uses = plan.touched(hold)
    made = min((site.number for site, _, writes in uses if writes), default=None)
    old = [
        site.number
        for site, operand, _ in uses
        if operand.carried and plan.chain(site, operand) and plan.chain(site, operand)[-1] is hold
    ]
    return 2 if made is not None and any(number > made for number in old) else 1


class _Live:
    def __init__(self, plan: Plan, memory: str, rooms: dict[int, Number]) -> None:
        self.memory, self.rooms = memory, rooms
        self.turns = plan.levels[memory].computes  # what runs side by side on one array takes turns in its registers
        self.numbers = iter(plan.sites)

    def of(self, node: Node) -> Number:
        """Return what a subtree holds at most; nodes are visited in tree order, as sites are numbered."""
        if isinstance(node, Hold | Compute):
            site = next(self.numbers)
            if isinstance(node, Compute):
                return 0
            own = self.rooms[site.number] if node.memory == self.memory else 0
            return own + self.of(node.body)
        parts = [self.of(child) for child in children(node)]
        if isinstance(node, Parallel) and not self.turns:
            total: Number = 0
            for part in parts:
                total = total + part
            return total
        found = parts[0]
        for part in parts[1:]:
            found = most(found, part)
        return found


def _hold(site: Site) -> Hold:
    assert isinstance(site.node, Hold)
    return site.node

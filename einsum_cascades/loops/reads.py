"""Whether every read finds its value, complete, where the tree says that it is.

A value is made in the innermost hold around its reader that a compute of it is in too, or at home (``Plan.source``): it
goes there by the holds around its making, as they are left, or as soon as it is complete if its reader is inside them
too; and from there by the holds around its reader, as they are entered. So the former is before the latter, in the same
iteration of the loops around both: earlier in the tree, or by less late stages of a pipeline. No hold on the way to the
reader is around the making.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from einsum_cascades.errors import InputError
from einsum_cascades.loops.arith import everywhere, steps
from einsum_cascades.loops.faults import wrong
from einsum_cascades.loops.measure import Measure
from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.space import Operand, Space
from einsum_cascades.loops.tree import Hold, Loop, parts_of
from einsum_cascades.loops.turns import first


class Reads:
    """The reads of one plan."""

    def __init__(self, plan: Plan, measure: Measure) -> None:
        self.plan, self.space, self.measure = plan, plan.space, measure

    def check(self) -> None:
        """Check all reads.

        Raises:
            InputError: one does not find its value.
        """
        for site in self.plan.computes:
            self._sum(site)
        for site in self.plan.computes:
            for operand in self.plan.step(site).inputs:
                elsewhere = self.plan.exported is not None and operand.tensor not in self.plan.made
                if operand.tensor not in self.space.cascade.inputs and not elsewhere:
                    self._read(site, operand)

    # What is summed in parts.

    def _sum(self, maker: Site) -> None:
        """Check that what a compute adds to, iteration after iteration, is not begun anew in between."""
        step, tensor = self.plan.step(maker), self.plan.step(maker).output.tensor
        for place, loop in enumerate(maker.loops):
            if not self.plan.goes_on(maker, loop) or not several(self.space, maker, place):
                continue
            for within, other in enumerate(maker.loops[place + 1 :], place + 1):
                if self._own(maker).isdisjoint(parts_of(other.rank)) and several(self.space, maker, within):
                    raise wrong(
                        other,
                        f"{step.name} has no rank {other.rank}: each turn of this loop would begin anew "
                        f"what the turns of 'for {loop.rank} step {loop.tile}' around it add up",
                        f"put 'for {other.rank}' outside of 'for {loop.rank}', or {step.name} out of it",
                    )
            outside = [h for h in self.plan.chain(maker, step.output) if not _around(loop, h)]
            for again, _, writes in self.plan.users[tensor]:
                there = writes and again.number != maker.number and self._in(again, maker, place)
                if there and self._reaches(again, outside[-1] if outside else None):
                    raise wrong(
                        again.node,
                        f"{step.name} runs twice in 'for {loop.rank} step {loop.tile}', and each begins {tensor} anew",
                        f"keep {tensor} in a hold of its own around each, outside of that loop",
                    )

    def _own(self, site: Site) -> set[str]:
        return {"instances", *(self.space.whole(r) for r in self.plan.step(site).ranks)}

    def _in(self, site: Site, other: Site, place: int) -> bool:
        """Whether a site is in a loop around another."""
        return len(_common_loops(site, other)) > place

    def _reaches(self, maker: Site, place: Site | None) -> bool:
        """Whether what a compute makes is written to a hold, or home."""
        chain = self.plan.chain(maker, self.plan.step(maker).output)
        inside = chain if place is None else [hold for hold in chain if place.encloses(hold)]
        return (place is None or place in chain) and all(self.plan.wanted_outside(hold) for hold in inside)

    # What is read.

    def _read(self, reader: Site, operand: Operand) -> None:
        source, makers = self.plan.source(reader, operand)
        name = self.plan.step(reader).name
        if not makers:
            raise wrong(reader.node, f"{name} reads {operand.tensor}, which nothing makes")
        for maker in makers:
            self._iterations(source, maker, reader, operand)
            for hold in self._within(source, self.plan.chain(maker, self.plan.step(maker).output)):
                if hold.encloses(reader) and self._again(maker, hold):
                    raise wrong(
                        hold.node,
                        f"{operand.tensor} is made twice in this hold, and {name} inside reads it from further out",
                        f"keep {operand.tensor} in a hold of its own around each",
                    )
        made = [maker for maker in makers if self._before(source, maker, reader, operand)]
        if not made:
            raise wrong(
                reader.node,
                f"{name} reads {operand.tensor}, which is not made before",
                f"put 'compute {operand.tensor}' before it, in seq or pipe, and holds of it around both or one",
            )
        for maker in makers:
            if not operand.carried:
                self._complete(source, maker, reader, operand, before=maker in made)

    def _again(self, maker: Site, hold: Site) -> bool:
        """Whether a value is made more than once while a hold keeps it."""
        foreign = any(
            self._own(maker).isdisjoint(parts_of(loop.rank)) and several(self.space, maker, place)
            for place, loop in enumerate(maker.loops)
            if place >= len(hold.loops)
        )
        return foreign or sum(writes for _, _, writes in self.plan.touched(hold)) > 1

    def _before(self, source: Site | None, maker: Site, reader: Site, operand: Operand) -> bool:
        """Whether a value is in its place before it is fetched from it, in one iteration of the loops around both."""
        output = self.plan.step(maker).output
        out = [h for h in self._within(source, self.plan.chain(maker, output)) if not h.encloses(reader)] or [maker]
        into = self._within(source, self.plan.chain(reader, operand)) or [reader]
        common = _common_loops(maker, reader)
        depth = sum(loop.over is None for loop in common)
        if operand.carried and self._same_iteration(maker, reader, operand):
            ranks = self.plan.carried_along(operand.tensor)
            handed = [loop for loop in common if loop.rank in ranks]
            if any(not _around(loop, hold) for hold in (*out, *into) for loop in handed):
                return False
            timed = [loop.rank for loop in common if loop.over is None]
            if timed and timed[-1] not in self.plan.carried_along(operand.tensor):
                return True  # the iteration before of a loop further out is done, pipelines inside it included
            made, wanted = self._late(out, depth, max), self._late(into, depth, min) + 1
        else:
            if any(hold.encloses(maker) for hold in into):
                return False
            made, wanted = self._late(out, depth, max), self._late(into, depth, min)
        return (made, out[0].number) < (wanted, into[0].number)

    def _same_iteration(self, maker: Site, reader: Site, operand: Operand) -> bool:
        """Whether the loops over an iterative rank around a making are those around its reader."""
        ranks = self.plan.carried_along(operand.tensor)
        common = {id(loop) for loop in _common_loops(maker, reader)}
        return all(id(loop) in common for loop in maker.loops if loop.rank in ranks)

    def _within(self, source: Site | None, chain: Iterable[Site]) -> list[Site]:
        return [hold for hold in chain if source is None or source.encloses(hold)]

    def _late(self, way: list[Site], depth: int, most: Callable[[Iterable[int]], int]) -> int:
        """How late in the pipelines right inside a number of loops in time a way is left, or is entered."""
        sites = [site for place in way for site in self._uses(place)]
        return most(
            sum(stage.late for stage in site.stages if sum(x.over is None for x in site.loops[: stage.loops]) == depth)
            for site in sites
        )

    def _uses(self, place: Site) -> list[Site]:
        return [site for site, _, _ in self.plan.touched(place)] if isinstance(place.node, Hold) else [place]

    def _iterations(self, source: Site | None, maker: Site, reader: Site, operand: Operand) -> None:
        """A state keeps the newest value: who wants another iteration's is in that iteration."""
        ranks = self.plan.carried_along(operand.tensor)
        if ranks and operand.carried:
            self._handed_on(source, reader, operand)
        wanted = ranks & {self.space.whole(r) for r in operand.ranks}
        if not wanted or source is None or not (isinstance(source.node, Hold) and source.node.state):
            return
        if not self._same_iteration(maker, reader, operand):
            loop = next(loop for loop in maker.loops if loop.rank in wanted)
            raise wrong(
                reader.node,
                f"{self.plan.step(reader).name} reads {operand.tensor} of each iteration, and a state keeps the last",
                f"move it into 'for {loop.rank} step {loop.tile}', or leave '(state)' out",
            )

    def _handed_on(self, source: Site | None, reader: Site, operand: Operand) -> None:
        """What is carried is kept from one iteration to the next."""
        if operand.tensor in self.plan.at_home:
            return
        ranks = self.plan.carried_along(operand.tensor)
        kept = [
            h for h in self.plan.chain(reader, operand) if isinstance(h.node, Hold) and h.node.tensor == operand.tensor
        ]
        if source is None or any(
            loop.rank in ranks and several(self.space, kept[0], i) for i, loop in enumerate(kept[0].loops)
        ):
            raise wrong(
                reader.node,
                f"{self.plan.step(reader).name} reads {operand.tensor} of an earlier iteration, which nothing keeps",
                f"put 'keep {operand.tensor} (state) in ...' around the loop over {', '.join(sorted(ranks))}",
            )

    def _complete(self, source: Site | None, maker: Site, reader: Site, operand: Operand, *, before: bool) -> None:
        along = self.plan.carried_along(operand.tensor)
        final = not along & {self.space.whole(r) for r in operand.ranks}
        way = (*self._within(source, self.plan.chain(reader, operand)), reader)
        last = frozenset.intersection(*(place.last for place in way)) if before else frozenset()
        for place, loop in enumerate(_common_loops(maker, reader)):
            goes_on = self.plan.goes_on(maker, loop) or loop.rank in maker.last
            if not goes_on or not several(self.space, maker, place):
                continue
            if loop.rank in along and not final:
                continue
            if loop.rank not in last or loop.over is not None:
                raise self._too_early(loop, reader, operand)
        if source is not None and not operand.carried:
            self._summed_apart(source, maker, reader, operand)

    def _summed_apart(self, source: Site, maker: Site, reader: Site, operand: Operand) -> None:
        """Check that no instance of a hold has a part of a sum where it is read: parts are summed as they leave it."""
        step = self.plan.step(maker)
        reduced = {self.space.whole(rank) for rank in step.reduced} | {*step.reduced}
        fan = self.plan.levels.fan_out(source.unit)
        for place, loop in enumerate(maker.loops):
            inside = place >= len(source.loops) and loop.over in fan and not reduced.isdisjoint(parts_of(loop.rank))
            if inside and self.plan.goes_on(maker, loop) and several(self.space, maker, place):
                raise wrong(
                    reader.node,
                    f"{operand.tensor} is summed over the instances of {source.unit}, each of which has a part of it "
                    f"where {self.plan.step(reader).name} reads it",
                    f"keep {operand.tensor} further out too, and {source.unit} around its making alone",
                )

    def _too_early(self, loop: Loop, reader: Site, operand: Operand) -> InputError:
        return wrong(
            reader.node,
            f"{operand.tensor} is not complete where {self.plan.step(reader).name} reads it: "
            f"'for {loop.rank} step {loop.tile}' runs around both",
            "move the reader out of that loop" + (f", or below 'last {loop.rank}'" if loop.over is None else ""),
        )


def several(space: Space, site: Site, place: int) -> bool:
    """Whether a loop around a site has several iterations."""
    loop = site.loops[place]
    around = [x.tile for x in site.loops[:place] if x.rank == loop.rank]
    return not everywhere(steps(first(space.extent(loop.rank), around), loop.tile) == 1)


def _around(loop: Loop, site: Site) -> bool:
    return any(loop is other for other in site.loops)


def _common_loops(a: Site, b: Site) -> tuple[Loop, ...]:
    return tuple(x for x, y in zip(a.loops, b.loops, strict=False) if x is y)

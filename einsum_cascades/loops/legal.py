"""Whether a loop tree can be executed: every read finds its value, complete, where the tree says that it is.

* Names are those of the cascade and the machine; every Einsum runs; a unit is one that computes.
* A spatial loop lies over a dimension of what its Einsums and the memories inside it fan out over, with no more
  iterations than the dimension has positions; a memory inside it that has no instances along it cannot tell them apart.
* Tiles are whole grains, or parts of one (``space.py``); where an Einsum carries values along an iterative rank, each
  iteration is a tile of its own, in time.
* Between the making of a value and its use, both in tree order or lateness, no loop around both cuts a rank that the
  making still sums over: partial sums are read only where the cascade itself splits the rank, or in the last iteration.
* A value that is carried comes from a hold outside the loop that carries it, or from home.
"""

from __future__ import annotations

import numpy as np

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.loops.arith import Number, everywhere, least, steps
from einsum_cascades.loops.capacity import crossing
from einsum_cascades.loops.faults import place_of, wrong
from einsum_cascades.loops.levels import Levels
from einsum_cascades.loops.measure import Measure, joined
from einsum_cascades.loops.reads import Reads, several
from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.space import PRIME, Step
from einsum_cascades.loops.tree import (
    INSTANCES,
    Compute,
    Hold,
    Last,
    Late,
    Loop,
    Node,
    Parallel,
    Pipeline,
    children,
    nodes,
    parts_of,
)
from einsum_cascades.loops.turns import first


def check_legal(plan: Plan) -> None:
    """Check that a tree can be executed; what a part of a mapping leaves to others is taken as done.

    Raises:
        InputError: it cannot; what is wrong, where in the tree, and what would be right.
    """
    _Names(plan).check()
    rules = _Rules(plan)
    for site in plan.holds:
        rules.hold(site)
    for site in plan.computes:
        rules.compute(site)
    Reads(plan, rules.measure).check()


class _Names:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.levels, self.space = plan, plan.levels, plan.space

    def check(self) -> None:
        tensors = self.space.cascade.ranks_of
        late_allowed = _pipelined(self.plan.tree.body)
        for node in nodes(self.plan.tree.body):
            if isinstance(node, Loop):
                self._loop(node)
            elif isinstance(node, Hold):
                self._known("memory", node.memory, self.levels, node)
                self._known("tensor", node.tensor.removesuffix("'"), tensors, node)
                if node.place is not None:
                    self._known("tensor", node.place, tensors, node)
            elif isinstance(node, Last):
                self._known("rank", node.rank, self.space.sizes, node)
            elif isinstance(node, Late) and id(node) not in late_allowed:
                raise wrong(node, "'late' stands in no pipeline", "put it below a pipe, or below a par of one")
        for site in self.plan.computes:
            assert isinstance(site.node, Compute)
            self.plan.step(site)
            self._known("unit", site.node.unit, self.levels, site.node)
            if not self.levels[site.node.unit].computes:
                units = ", ".join(level.name for level in self.levels.levels if level.computes)
                raise wrong(site.node, f"{site.node.unit} computes nothing", f"units are {units}")
        run = {site.node.einsum for site in self.plan.computes if isinstance(site.node, Compute)}
        for name in self.space.steps:
            if name not in run and self.plan.exported is None:
                raise InputError(f"the mapping does not run {name}", hint=f"add 'compute {name} on ...'")

    def _loop(self, node: Loop) -> None:
        for part in parts_of(node.rank):
            self._known("rank", part, self.space.sizes, node)
        if not everywhere(node.tile >= 1):
            raise wrong(node, "a tile has 1 point or more")
        if node.over is not None:
            self._known("dimension", node.over, self.levels.dimensions, node)

    def _known(self, kind: str, name: str, known: object, node: Node) -> None:
        names = list(known) if not isinstance(known, Levels) else [level.name for level in known.levels]  # type: ignore[call-overload]
        if name not in names:
            raise unknown(kind, name, names, location=place_of(node))


def _pipelined(root: Node) -> set[int]:
    """The ``Late`` nodes that stand in a pipeline, directly or below a ``par`` of it."""
    found: set[int] = set()
    for node in nodes(root):
        if isinstance(node, Pipeline):
            waiting = list(node.children)
            while waiting:
                here = waiting.pop()
                if isinstance(here, Late):
                    found.add(id(here))
                elif isinstance(here, Parallel | Hold):
                    waiting.extend(children(here))
    return found


class _Rules:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.levels, self.space = plan, plan.levels, plan.space
        self.measure = Measure(plan)

    def hold(self, site: Site) -> None:
        node = site.node
        assert isinstance(node, Hold)
        if node.memory not in self.levels or not self.plan.touched(site):
            raise wrong(node, f"nothing inside uses {node.tensor}", "leave this hold out, or move it")
        self._instances(site, node.memory)
        if node.state and not self.plan.carried_along(node.tensor):
            raise wrong(node, f"{node.tensor} is no state: nothing carries it along an iterative rank")
        if node.state and not self.plan.writes_inside(site):
            raise wrong(node, f"{node.tensor} is not made inside, where this hold would keep it as a state")
        for around in site.holds:
            if (
                isinstance(around.node, Hold)
                and around.node.tensor in (node.tensor, node.tensor.removesuffix(PRIME))
                and around.node.memory != node.memory
                and self.levels.inside(around.node.memory, node.memory)
            ):
                raise wrong(
                    node,
                    f"{node.memory} is further out than {around.node.memory}, where {node.tensor} is kept around it",
                    "swap these holds",
                )
        self._versions(site, node)
        loops = self.plan.partial(site)
        loops = tuple(
            x for x in loops if any(x is y and several(self.space, site, i) for i, y in enumerate(site.loops))
        )
        if loops and self.plan.outer(site) is None and node.tensor not in self.plan.at_home:
            raise wrong(
                node,
                f"the sum {node.tensor} is dropped at each turn of '{_said(loops[-1])}' around it",
                "put this hold outside that loop",
            )
        timed = [loop for loop in site.loops if loop.over is None]
        if timed and any(timed[-1] is loop for loop in loops) and crossing(self.plan, site):
            raise wrong(
                node,
                f"'{_said(timed[-1])}' goes on with {node.tensor} before late stages leave this hold",
                "put the late stages that read it outside of this hold",
            )
        own = _laid(self.plan.loops(site))
        for user, _, _ in self.plan.touched(site):
            if not _alike(_laid((*site.loops, *self.plan.spread(site, user))), own):
                raise wrong(
                    user.node,
                    f"{node.tensor} lies over the instances of {node.memory} in another way than here",
                    "give all its uses the same spatial loops, or keep it in a memory that they share",
                )

    def _versions(self, site: Site, node: Hold) -> None:
        """What a hold keeps is there when it is entered, and made when it is left."""
        outer = self.plan.outer(site)
        if node.state and outer is not None and isinstance(outer.node, Hold) and not outer.node.state:
            raise wrong(
                node, f"a state hands on its newest value, and the hold of {node.tensor} around it keeps others"
            )
        for user, _, writes in self.plan.users[node.tensor.removesuffix(PRIME)]:
            if not (writes and site.encloses(user)):
                continue
            for place, loop in enumerate(user.loops):
                inside = place >= len(site.loops)
                if (
                    inside
                    and node.tensor.endswith(PRIME)
                    and self.plan.goes_on(user, loop)
                    and several(self.space, user, place)
                ):
                    raise wrong(
                        node,
                        f"'for {loop.rank} step {loop.tile}' inside makes what this hold keeps",
                        "move it into that loop",
                    )
                if not inside and loop.rank in user.last - site.last and several(self.space, user, place):
                    raise wrong(
                        node,
                        f"{node.tensor} is made in the last turn of 'for {loop.rank}' alone, and kept in each",
                        f"move this hold out of that loop, or below 'last {loop.rank}'",
                    )

    def compute(self, site: Site) -> None:
        node, step = site.node, self.plan.step(site)
        assert isinstance(node, Compute)
        self._instances(site, node.unit)
        grains = self.space.grains(step.ranks)
        for loop in site.loops:
            if loop.over is not None and not grains.keys() >= set(parts_of(loop.rank)) - {INSTANCES}:
                raise wrong(
                    loop,
                    f"{step.name} has no rank {loop.rank}: each position would compute the same",
                    f"move 'compute {step.name}' out of this loop",
                )
        for place, loop in enumerate(site.loops):
            length = self.measure.length(grains.get(loop.rank, ()))
            if not everywhere(loop.tile >= length) and several(self.space, site, place):
                raise wrong(
                    loop,
                    f"{step.name} has one point for {length} of {loop.rank}: turns of this loop would compute it again",
                    f"move 'compute {step.name}' out of this loop",
                )
        for operand in (*step.inputs, step.output):
            for rank, grain in self.space.grains(operand.ranks).items():
                self._whole_grains(site, rank, grain)
        self._joined(site, step)
        for rank in site.last & grains.keys():
            raise wrong(node, f"{step.name} walks {rank}, of which only the last iteration is run", "move it out")
        if any(o.carried for o in step.inputs) or self._makes_state(step):
            self._one_by_one(site, step)

    def _joined(self, site: Site, step: Step) -> None:
        """Ranks that a loop cuts as one are one to all around and in an Einsum, point by point."""
        joint = joined(site.loops)
        for loop in site.loops:
            parts = parts_of(loop.rank)
            if any(joint.get(part, loop.rank) != loop.rank for part in parts):
                raise wrong(loop, f"{loop.rank} is cut as a part of another rank too", "cut it in one way only")
            if len(parts) == 1:
                continue
            for operand in (*step.inputs, step.output):
                grains = {INSTANCES: (), **self.space.grains(operand.ranks)}
                own = [part for part in parts if part in grains]
                if own and (len(own) < len(parts) or any(grains[part] for part in own)):
                    raise wrong(
                        loop,
                        f"{operand.tensor} of {step.name} has {', '.join(own)}, not all of {loop.rank} point by point",
                        "cut each of these ranks by itself",
                    )
            if self.space.iterative & set(parts):
                raise wrong(
                    loop, f"{loop.rank} joins a rank whose iterations run one after another", "cut it by itself"
                )

    def _makes_state(self, step: Step) -> bool:
        return bool(self.plan.carried_along(step.output.tensor))

    def _whole_grains(self, site: Site, rank: str, grain: tuple[str, ...]) -> None:
        """Tiles are whole grains, or within one."""
        length = self.measure.length(grain)
        left = self.space.sizes[rank]
        for loop in site.loops:
            if loop.rank != rank or not grain:
                continue
            if not everywhere(
                (loop.tile % length == 0)
                | (loop.tile >= left)
                | (loop.tile < length) & ((left <= length) | (length % loop.tile == 0))
            ):
                raise wrong(
                    loop, f"tiles of {loop.tile} cut parts of {length} points of {rank} apart", "take a multiple"
                )
            left = least(left, loop.tile)

    def _one_by_one(self, site: Site, step: Step) -> None:
        """Iterations that hand values on are tiles of their own."""
        for rank in self.space.iterative & {self.space.whole(r) for r in step.ranks}:
            grain = self.measure.length(self.space.grains(r for r in step.ranks if self._iterates(r))[rank])
            loops = [loop for loop in site.loops if loop.rank == rank]
            if not everywhere(first(self.space.sizes[rank], [loop.tile for loop in loops]) <= grain):
                raise wrong(
                    site.node,
                    f"{step.name} hands values from one iteration of {rank} to the next, and a tile has several",
                    f"put 'for {rank} step {grain}' around it",
                )
            for loop in loops:
                if loop.over is not None and not everywhere(loop.tile < grain):
                    raise wrong(loop, f"iterations of {rank} run one after another", "leave 'over' out")

    def _iterates(self, rank: str) -> bool:
        return rank in self.space.cascade.iterative_ranks

    def _instances(self, site: Site, memory: str) -> None:
        fan = self.levels.fan_out(memory)
        used: dict[str, Number] = {}
        for place, loop in enumerate(site.loops):
            if loop.over is None:
                continue
            if loop.over not in fan:
                raise wrong(
                    site.node,
                    f"{memory} has no instances along {loop.over}, over which 'for {loop.rank}' around it runs",
                    "move it out of that loop",
                )
            before = used.get(loop.over, 1)
            inside = [x for x in site.loops[:place] if x.rank == loop.rank]
            size = first(self.space.extent(loop.rank), [x.tile for x in inside])
            count = before * steps(size, loop.tile)
            positions = self.levels.dimensions[loop.over]
            if not everywhere(count <= positions):
                raise wrong(
                    loop,
                    f"this loop puts {count} tiles over {loop.over}, which has {positions} positions",
                    f"take a larger step, or put 'for {loop.rank} step ...' in time around it",
                )
            used[loop.over] = count


def _said(loop: Loop) -> str:
    return f"for {loop.rank} step {loop.tile}"


def _laid(loops: tuple[Loop, ...]) -> list[Loop]:
    """The loops that lie over dimensions."""
    return [loop for loop in loops if loop.over is not None]


def _alike(some: list[Loop], others: list[Loop]) -> bool:
    """Whether loops lie over dimensions in the same way, tile by tile."""
    return len(some) == len(others) and all(
        (one.rank, one.over) == (other.rank, other.over)
        and (one.tile is other.tile or np.array_equal(one.tile, other.tile))
        for one, other in zip(some, others, strict=True)
    )

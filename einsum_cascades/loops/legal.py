"""Whether a loop tree can be executed: every read finds its value, complete, where the tree says that it is.

* Names are those of the cascade and the machine; every Einsum runs; a unit is one that computes.
* A spatial loop lies over a dimension of what its Einsums and the memories inside it fan out over, with no more
  iterations than the dimension has positions; a memory inside one that it has no instances along cannot tell them apart.
* Tiles are whole grains, or parts of one (``space.py``); where an Einsum carries values along an iterative rank, each
  iteration is a tile of its own, in time.
* Between the making of a value and its use, both in tree order or lateness, no loop around both cuts a rank that the
  making still sums over: partial sums are read only where the cascade itself splits the rank, or in the last iteration.
* A value that is carried comes from a hold outside the loop that carries it, or from home.
"""

from __future__ import annotations

from einsum_cascades.errors import InputError, Location, unknown
from einsum_cascades.loops.arith import Number, everywhere, steps
from einsum_cascades.loops.levels import Levels
from einsum_cascades.loops.measure import Measure
from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.space import Operand, Step
from einsum_cascades.loops.tree import (
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
)
from einsum_cascades.loops.turns import first


def check_legal(plan: Plan) -> None:
    """Check that a tree can be executed.

    Raises:
        InputError: it cannot; what is wrong, where in the tree, and what would be right.
    """
    _Names(plan).check()
    rules = _Rules(plan)
    for site in plan.holds:
        rules.hold(site)
    for site in plan.computes:
        rules.compute(site)
    for site in plan.computes:
        rules.reads(site)


def place_of(node: Node) -> Location | None:
    """Return where in a text a node stands, if it came from one."""
    return getattr(node, "location", None)


def _wrong(node: Node, message: str, hint: str = "") -> InputError:
    from einsum_cascades.loops.text import line

    location = place_of(node)
    return InputError(message if location else f"at '{line(node)}': {message}", location=location, hint=hint)


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
                raise _wrong(node, "'late' stands in no pipeline", "put it below a pipe, or below a par of one")
        for site in self.plan.computes:
            assert isinstance(site.node, Compute)
            self.plan.step(site)
            self._known("unit", site.node.unit, self.levels, site.node)
            if not self.levels[site.node.unit].computes:
                units = ", ".join(level.name for level in self.levels.levels if level.computes)
                raise _wrong(site.node, f"{site.node.unit} computes nothing", f"units are {units}")
        run = {site.node.einsum for site in self.plan.computes if isinstance(site.node, Compute)}
        for name in self.space.steps:
            if name not in run:
                raise InputError(f"the mapping does not run {name}", hint=f"add 'compute {name} on ...'")

    def _loop(self, node: Loop) -> None:
        self._known("rank", node.rank, self.space.sizes, node)
        if not everywhere(node.tile >= 1):
            raise _wrong(node, "a tile has 1 point or more")
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
            raise _wrong(node, f"nothing inside uses {node.tensor}", "leave this hold out, or move it")
        self._instances(site, node.memory)
        if node.state and not self.plan.carried_along(node.tensor):
            raise _wrong(node, f"{node.tensor} is no state: nothing carries it along an iterative rank")
        loops = self.plan.partial(site)
        if loops and self.plan.outer(site) is None and node.tensor not in self.plan.at_home:
            raise _wrong(
                node,
                f"the sum {node.tensor} is dropped at each turn of 'for {loops[-1].rank} step {loops[-1].tile}' around it",
                "put this hold outside that loop",
            )
        own = _laid(self.plan.loops(site))
        for user, _, _ in self.plan.touched(site):
            if _laid((*site.loops, *self.plan.spread(site, user))) != own:
                raise _wrong(
                    user.node,
                    f"{node.tensor} lies over the instances of {node.memory} in another way than here",
                    "give all its uses the same spatial loops, or keep it in a memory that they share",
                )

    def compute(self, site: Site) -> None:
        node, step = site.node, self.plan.step(site)
        assert isinstance(node, Compute)
        self._instances(site, node.unit)
        grains = self.space.grains(step.ranks)
        for loop in site.loops:
            if loop.over is not None and loop.rank not in grains and loop.rank != "instances":
                raise _wrong(
                    loop,
                    f"{step.name} has no rank {loop.rank}: each position would compute the same",
                    f"move 'compute {step.name}' out of this loop",
                )
        for operand in (*step.inputs, step.output):
            for rank, grain in self.space.grains(operand.ranks).items():
                self._whole_grains(site, rank, grain)
        for rank in site.last & grains.keys():
            raise _wrong(node, f"{step.name} walks {rank}, of which only the last iteration is run", "move it out")
        if any(o.carried for o in step.inputs) or self._makes_state(step):
            self._one_by_one(site, step)

    def _makes_state(self, step: Step) -> bool:
        return bool(self.plan.carried_along(step.output.tensor))

    def _whole_grains(self, site: Site, rank: str, grain: tuple[str, ...]) -> None:
        length = self.measure.length(grain)
        for loop in site.loops:
            if loop.rank == rank and grain:
                if everywhere(loop.tile <= length):
                    continue
                if not everywhere(loop.tile % length == 0):
                    raise _wrong(
                        loop, f"tiles of {loop.tile} cut parts of {length} points of {rank} apart", "take a multiple"
                    )

    def _one_by_one(self, site: Site, step: Step) -> None:
        """Iterations that hand values on are tiles of their own."""
        for rank in self.space.iterative & {self.space.whole(r) for r in step.ranks}:
            grain = self.measure.length(self.space.grains(r for r in step.ranks if self._iterates(r))[rank])
            loops = [loop for loop in site.loops if loop.rank == rank]
            if not everywhere(first(self.space.sizes[rank], [loop.tile for loop in loops]) <= grain):
                raise _wrong(
                    site.node,
                    f"{step.name} hands values from one iteration of {rank} to the next, and a tile has several",
                    f"put 'for {rank} step {grain}' around it",
                )
            for loop in loops:
                if loop.over is not None and not everywhere(loop.tile < grain):
                    raise _wrong(loop, f"iterations of {rank} run one after another", "leave 'over' out")

    def _iterates(self, rank: str) -> bool:
        return rank in self.space.cascade.iterative_ranks

    def _instances(self, site: Site, memory: str) -> None:
        fan = self.levels.fan_out(memory)
        used: dict[str, Number] = {}
        for place, loop in enumerate(site.loops):
            if loop.over is None:
                continue
            if loop.over not in fan:
                raise _wrong(
                    site.node,
                    f"{memory} has no instances along {loop.over}, over which 'for {loop.rank}' around it runs",
                    "move it out of that loop",
                )
            before = used.get(loop.over, 1)
            inside = [x for x in site.loops[:place] if x.rank == loop.rank]
            size = first(self.space.sizes[loop.rank], [x.tile for x in inside])
            count = before * steps(size, loop.tile)
            if not everywhere(count <= self.levels.dimensions[loop.over]):
                raise _wrong(
                    loop,
                    f"this loop puts {count} tiles over {loop.over}, which has {self.levels.dimensions[loop.over]} positions",
                    f"take a larger step, or put 'for {loop.rank} step ...' in time around it",
                )
            used[loop.over] = count

    def reads(self, site: Site) -> None:
        """Check that each operand of a compute is there, and whole."""
        step = self.plan.step(site)
        for operand in step.inputs:
            makers = [s for s, _, writes in self.plan.users[operand.tensor] if writes and s.number != site.number]
            if operand.carried:
                self._carried(site, step, operand)
                continue
            if operand.tensor in self.space.cascade.inputs:
                continue
            made = [s for s in makers if self._before(s, site)]
            if not made:
                raise _wrong(
                    site.node,
                    f"{step.name} reads {operand.tensor}, which is not made before",
                    f"put 'compute {operand.tensor}' before it, in seq or pipe",
                )
            for maker in made:
                self._complete(maker, site, operand)
            self._reachable(made, site, operand)

    def _reachable(self, made: list[Site], site: Site, operand: Operand) -> None:
        """A hold that the maker is not in has its values from further out, so they must go there."""
        chain = self.plan.chain(site, operand)
        spans = [hold for hold in chain if any(hold.encloses(maker) for maker in made)]
        if spans or operand.tensor in self.plan.at_home:
            return
        raise _wrong(site.node, f"{operand.tensor} is not kept where it is made", "put a hold around both")

    def _before(self, maker: Site, reader: Site) -> bool:
        """Whether a value is made before it is read, in the same iteration of the loops around both."""
        shared = _shared(maker, reader)
        late = {stage.pipeline: stage.late for stage in maker.stages}
        for stage in reader.stages:
            if stage.pipeline in late and len(stage.pipeline) <= shared:
                if stage.late < late[stage.pipeline]:
                    return False
                if stage.late > late[stage.pipeline]:
                    return True
        return maker.number < reader.number

    def _complete(self, maker: Site, reader: Site, operand: Operand) -> None:
        step = self.plan.step(maker)
        own = self.space.grains(step.output.ranks)
        around = _common_loops(maker, reader)
        for rank in {self.space.whole(r) for r in step.reduced} | self.plan.carried_along(operand.tensor):
            if rank in reader.last:
                continue
            final = self._reads_final(reader, operand) and rank in self.plan.carried_along(operand.tensor)
            for loop in around:
                if loop.rank != rank:
                    continue
                grain = own.get(rank)
                if final or grain is None or not self.measure.coarse(loop, grain):
                    raise _wrong(
                        reader.node,
                        f"{operand.tensor} is not complete where {self.plan.step(reader).name} reads it: "
                        f"'for {loop.rank} step {loop.tile}' runs around both",
                        f"move the reader out of that loop, or below 'last {rank}'",
                    )

    def _reads_final(self, reader: Site, operand: Operand) -> bool:
        """Whether an operand is the value after the last iteration."""
        ranks = self.space.cascade.ranks_of[operand.tensor]
        return any(self._iterates(r) and r not in operand.ranks for r in ranks)

    def _carried(self, site: Site, step: Step, operand: Operand) -> None:
        ranks = self.plan.carried_along(operand.tensor)
        chain = self.plan.chain(site, operand)
        if chain and any(not h.node.tensor.endswith("'") for h in chain):  # type: ignore[union-attr]
            return
        if operand.tensor in self.plan.at_home:
            return
        shown = ", ".join(sorted(ranks))
        raise _wrong(
            site.node,
            f"{step.name} reads {operand.tensor} of an earlier iteration, which nothing keeps",
            f"put 'keep {operand.tensor} (state) in ...' around the loop over {shown}",
        )


def _laid(loops: tuple[Loop, ...]) -> list[tuple[str, int, str]]:
    """How loops lie over dimensions; arrays of tiles are told apart by identity."""
    return [
        (loop.rank, loop.tile if isinstance(loop.tile, int) else id(loop.tile), loop.over)
        for loop in loops
        if loop.over is not None
    ]


def _shared(a: Site, b: Site) -> int:
    """How far two sites have the same path."""
    count = 0
    for x, y in zip(a.path, b.path, strict=False):
        if x != y:
            break
        count += 1
    return count


def _common_loops(a: Site, b: Site) -> tuple[Loop, ...]:
    return tuple(x for x, y in zip(a.loops, b.loops, strict=False) if x is y)

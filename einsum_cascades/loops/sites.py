"""Where everything in a tree stands: for each hold and each compute, the loops and holds around it.

A *site* is a hold or a compute with all that its counts depend on; the analyses (legality, counts, capacity, time) read
sites and not the tree. ``Plan`` also resolves who serves whom: the hold from which an operand is read, the next hold
further out from which a hold is filled, and the home of a tensor in the outermost memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeAlias, TypeVar

from einsum_cascades.errors import InputError, nearest
from einsum_cascades.loops.arith import everywhere
from einsum_cascades.loops.levels import Levels
from einsum_cascades.loops.space import PRIME, Operand, Space, Step
from einsum_cascades.loops.tree import (
    Compute,
    Hold,
    Last,
    Late,
    Loop,
    LoopTree,
    Node,
    Pipeline,
    children,
    parts_of,
)

WITHIN: Final = "(within)"
"""Marks a loop inside a hold, outside the spatial loops by which it lies over its instances, that is none of them."""


_P = ParamSpec("_P")
_T = TypeVar("_T")


def once(method: Callable[Concatenate[Plan, _P], _T]) -> Callable[Concatenate[Plan, _P], _T]:
    """Evaluate a method that does not depend on sizes once for each of its arguments; plans of other sizes share it."""

    @wraps(method)
    def found(plan: Plan, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        assert not kwargs
        known = plan.known.setdefault(found, {})
        if args not in known:
            known[args] = method(plan, *args, **kwargs)
        value: _T = known[args]
        return value

    return found


class Stage(NamedTuple):
    """A site's part in a pipeline around it."""

    pipeline: tuple[int, ...]
    loops: int
    late: int


@dataclass(frozen=True, eq=False)
class Site:
    """A hold or a compute in its place.

    Attributes:
        node: the hold or compute.
        number: its place in tree order.
        loops: the loops around it, outermost first.
        holds: the sites of the holds around it, outermost first.
        path: the child taken at each node from the root, by which two sites' nearest common node is told.
        last: whole ranks in whose last iteration alone it runs.
        stages: for each pipeline around it, outermost first, that node's path, how many loops are around that, and by
            how many iterations this site is late in it.
        ends: number of the last site in its subtree.
    """

    node: Hold | Compute
    number: int
    loops: tuple[Loop, ...]
    holds: tuple[Site, ...]
    path: tuple[int, ...]
    last: frozenset[str] = frozenset()
    stages: tuple[Stage, ...] = ()
    ends: int = 0

    def encloses(self, other: Site) -> bool:
        """Whether another site is in this one's subtree."""
        return self.number < other.number <= self.ends

    @cached_property
    def unit(self) -> str:
        """The unit of a compute, or the memory of a hold."""
        return self.node.unit if isinstance(self.node, Compute) else self.node.memory

    @cached_property
    def time_loops(self) -> tuple[Loop, ...]:
        """The loops around it that run in time."""
        return tuple(loop for loop in self.loops if loop.over is None)


class _Around(NamedTuple):
    """What is around a node, as a site has it."""

    loops: tuple[Loop, ...] = ()
    holds: tuple[Site, ...] = ()
    path: tuple[int, ...] = ()
    last: frozenset[str] = frozenset()
    stages: tuple[Stage, ...] = ()


@dataclass
class _Walk:
    """Collects the sites of a tree."""

    found: list[Site] = field(default_factory=list)

    def visit(self, node: Node, here: _Around) -> None:
        """Visit a node; ``here`` says what is around it."""
        loops, holds, path, last, stages = here
        if isinstance(node, Compute | Hold):
            number = len(self.found)
            site = Site(node, number, *here, number)
            self.found.append(site)
            if isinstance(node, Hold):
                self.visit(node.body, _Around(loops, (*holds, site), (*path, 0), last, stages))
                object.__setattr__(site, "ends", len(self.found) - 1)
            return
        if isinstance(node, Loop):
            loops = (*loops, node)
        elif isinstance(node, Last):
            last = last | {node.rank}
        elif isinstance(node, Late) and stages:
            stages = (*stages[:-1], stages[-1]._replace(late=node.by))
        elif isinstance(node, Pipeline):
            stages = (*stages, Stage(path, len(loops), 0))
        for place, child in enumerate(children(node)):
            self.visit(child, _Around(loops, holds, (*path, place), last, stages))


Use: TypeAlias = tuple[Site, Operand, bool]
"""A compute that touches a tensor: where, as which operand, and whether it writes."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A tree of a cascade for a machine's levels, with everything resolved.

    Attributes:
        tree: what is analysed.
        space: the cascade and its sizes.
        levels: the machine's memories.
        exported: of a part of a mapping, the tensors that other parts read; None if this is a whole mapping.
        known: what has been found out of it that no size changes.
    """

    tree: LoopTree
    space: Space
    levels: Levels
    exported: frozenset[str] | None = None
    known: dict[Any, dict[Any, Any]] = field(default_factory=dict, repr=False)

    def resized(self, space: Space) -> Plan:
        """Return a plan of the same tree and cascade for other sizes."""
        other = replace(self, space=space)
        other.__dict__.update({name: self.__dict__[name] for name in _UNSIZED & self.__dict__.keys()})
        return other

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """All sites in tree order."""
        walk = _Walk()
        walk.visit(self.tree.body, _Around())
        return tuple(walk.found)

    @cached_property
    def computes(self) -> tuple[Site, ...]:
        """The sites of all computes, in tree order."""
        return tuple(s for s in self.sites if isinstance(s.node, Compute))

    @cached_property
    def holds(self) -> tuple[Site, ...]:
        """The sites of all holds, in tree order."""
        return tuple(s for s in self.sites if isinstance(s.node, Hold))

    def step(self, site: Site) -> Step:
        """Return the Einsum of a compute.

        Raises:
            InputError: the cascade has none of that name.
        """
        assert isinstance(site.node, Compute)
        steps = self.space.steps
        if site.node.einsum not in steps:
            raise InputError(
                f"'{site.node.einsum}' is no Einsum of {self.space.cascade.name}",
                location=site.node.location,
                hint=nearest(site.node.einsum, steps),
            )
        return steps[site.node.einsum]

    @cached_property
    def users(self) -> dict[str, tuple[Use, ...]]:
        """Per tensor, the computes that touch it: the site, as which operand, and whether it writes."""
        found: dict[str, list[Use]] = {}
        for site in self.computes:
            step = self.step(site)
            for operand in step.inputs:
                found.setdefault(operand.tensor, []).append((site, operand, False))
            found.setdefault(step.output.tensor, []).append((site, step.output, True))
        return {tensor: tuple(users) for tensor, users in found.items()}

    @once
    def touched(self, hold: Site) -> tuple[Use, ...]:
        """Return the uses of what a hold keeps in its subtree that it serves, directly or through holds further in."""
        return tuple(
            use
            for use in self.users.get(_hold(hold).tensor.removesuffix(PRIME), ())
            if hold.encloses(use[0]) and self._serves(hold, use[1], use[0].unit)
        )

    def _serves(self, hold: Site, operand: Operand, unit: str) -> bool:
        """Whether a hold around an operand is one of those through which it comes to a unit (or to a memory)."""
        node = _hold(hold)
        older = operand.carried and node.tensor == operand.tensor
        kept = node.tensor == operand.name or (older and self.outside(hold))
        return kept and self.levels.inside(unit, node.memory)

    @once
    def outside(self, hold: Site) -> bool:
        """Whether a hold stands outside the loops over the iterative ranks along which its tensor is carried."""
        ranks = self.carried_along(_hold(hold).tensor)
        return not any(loop.rank in ranks for loop in hold.loops) or _hold(hold).state

    @once
    def loops(self, site: Site) -> tuple[Loop, ...]:
        """Return the loops around a site; of a hold in several instances also those by which its uses lie over them."""
        return site.loops + self._spread(site)

    def _spread(self, site: Site) -> tuple[Loop, ...]:
        """The spatial loops inside a hold over dimensions of its own memory, as its first use has them."""
        if isinstance(site.node, Compute) or not self.touched(site):
            return ()
        return self.spread(site, self.touched(site)[0][0])

    @once
    def spread(self, hold: Site, use: Site) -> tuple[Loop, ...]:
        """Return the spatial loops between a hold and a use over dimensions that the hold's memory has instances along.

        Other loops between them and the hold, over the same ranks, come with them, marked ``WITHIN``: an instance has a
        tile of each of their iterations.
        """
        fan = self.levels.fan_out(_hold(hold).memory)
        inside = use.loops[len(hold.loops) :]
        last = {loop.rank: place for place, loop in enumerate(inside) if loop.over in fan}
        return tuple(
            loop if loop.over in fan else replace(loop, over=WITHIN)
            for place, loop in enumerate(inside)
            if loop.over in fan or place < last.get(loop.rank, -1)
        )

    @once
    def carried_along(self, tensor: str) -> frozenset[str]:
        """Return the whole ranks along which a tensor's values are carried from iteration to iteration."""
        name = tensor.removesuffix(PRIME)
        if not any(o.carried for s in self.space.steps.values() for o in s.inputs if o.tensor == name):
            return frozenset()
        ranks = self.space.cascade.ranks_of[name]
        return self.space.iterative & {self.space.whole(rank) for rank in ranks}

    @once
    def chain(self, site: Site, operand: Operand) -> tuple[Site, ...]:
        """Return the holds through which an operand of a compute comes or goes, outermost first; its home is not among
        them."""
        return tuple(hold for hold in site.holds if self._serves(hold, operand, site.unit))

    @once
    def operand_of(self, hold: Site) -> Operand:
        """Return what a hold keeps: its ranks are those along which some use of it changes."""
        ranks = dict.fromkeys(r for _, operand, _ in self.touched(hold) for r in operand.ranks)
        kept = tuple(ranks)
        if _hold(hold).state:
            iterative = self.carried_along(_hold(hold).tensor)
            kept = tuple(r for r in kept if self.space.whole(r) not in iterative)
        return Operand(_hold(hold).tensor, kept)

    @once
    def outer(self, hold: Site) -> Site | None:
        """Return the next hold further out that fills a hold; None if its home does, or it is the first."""
        operand = Operand(_hold(hold).tensor, ())
        around = [h for h in hold.holds if self._serves(h, operand, _hold(hold).memory)]
        return around[-1] if around else None

    @once
    def source(self, site: Site, operand: Operand) -> tuple[Site | None, tuple[Site, ...]]:
        """Return where a value that a compute reads is made, as far in as it can be: the hold around both (None is
        home), and the computes that make it."""
        makers = [s for s, _, writes in self.users[operand.tensor] if writes and (s is not site or operand.carried)]
        for hold in reversed(self.chain(site, operand)):
            inside = tuple(s for s, _, writes in self.touched(hold) if writes and s in makers)
            if inside and _hold(hold).tensor == operand.tensor:
                return hold, inside
        return None, tuple(makers)

    @cached_property
    def at_home(self) -> frozenset[str]:
        """Tensors that have a place in the outermost memory: inputs, results, and what no hold is around where it is
        made and read."""
        cascade = self.space.cascade
        found = {*cascade.inputs, *cascade.outputs} & self.users.keys()
        for tensor, users in self.users.items():
            if tensor not in found and any(
                tensor in self.unread or not self.chain(site, operand)
                if writes
                else self.source(site, operand)[0] is None
                for site, operand, writes in users
            ):
                found.add(tensor)
        return frozenset(found)

    @cached_property
    def unread(self) -> frozenset[str]:
        """Tensors that the tree makes and nothing in it reads: of a part of a mapping, what others may read."""
        read = frozenset(t for t, users in self.users.items() if not all(writes for _, _, writes in users))
        return self.made - (read - (self.exported or frozenset()))

    @cached_property
    def made(self) -> frozenset[str]:
        """Tensors that the tree makes."""
        return frozenset(t for t, users in self.users.items() if any(writes for _, _, writes in users))

    @once
    def writes_inside(self, hold: Site) -> bool:
        """Whether what a hold keeps is made, or added to, in its subtree."""
        return any(writes for _, _, writes in self.touched(hold))

    def wanted_outside(self, hold: Site) -> bool:
        """Whether something outside a hold still wants what is made in it: a later reader, a further part of its sum or
        of its iterations, or the cascade's user."""
        tensor = _hold(hold).tensor
        wanted = tensor in self.space.cascade.outputs or tensor in self.unread
        return wanted or bool(self.partial(hold) or self._read_outside(hold))

    @once
    def _read_outside(self, hold: Site) -> list[Operand]:
        """What computes outside a hold read that is made in it, and not again where they stand."""
        inside = {(site.number, operand) for site, operand, _ in self.touched(hold)}
        found = []
        for site, operand, writes in self.users[_hold(hold).tensor]:
            if not writes and (site.number, operand) not in inside:
                source = self.source(site, operand)[0]
                if source is None or source.encloses(hold):
                    found.append(operand)
        return found

    def partial(self, hold: Site) -> tuple[Loop, ...]:
        """Return the loops around a hold whose iterations go on with its values: they cut what its making sums over, or
        hand its state on."""
        makers = [site for site, _, writes in self.touched(hold) if writes]
        return tuple(
            loop
            for loop in hold.loops
            if any(self.goes_on(maker, loop) for maker in makers)
            and (_hold(hold).state or loop.rank not in self.carried_along(_hold(hold).tensor))
        )

    def goes_on(self, maker: Site, loop: Loop) -> bool:
        """Whether turns of a loop around a compute go on with one value: they cut what it sums over, or hand it on."""
        step = self.step(maker)
        if loop.rank in self.carried_along(step.output.tensor):
            return True
        own, kept, rank = self.space.grains(step.ranks), self.space.grains(step.output.ranks), parts_of(loop.rank)[0]
        if rank not in own or own[rank] == kept.get(rank):
            return False
        return rank not in kept or not everywhere(loop.tile >= self.space.length(kept[rank]))

    @once
    def every_iteration(self, hold: Site) -> bool:
        """Whether what is outside a state's hold wants its value of each iteration, and not the last one alone."""
        tensor, along = _hold(hold).tensor, self.carried_along(_hold(hold).tensor)
        ranks = [self.space.whole(r) for o in self._read_outside(hold) for r in o.ranks]
        if tensor in self.space.cascade.outputs:
            ranks += [self.space.whole(r) for r in self.space.cascade.ranks_of[tensor]]
        return bool(along & set(ranks))


_UNSIZED: Final = {"sites", "computes", "holds", "users", "at_home", "unread", "made"}
"""Properties of a plan that no size changes."""


def _hold(site: Site) -> Hold:
    assert isinstance(site.node, Hold)
    return site.node

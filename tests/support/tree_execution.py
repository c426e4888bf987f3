"""Executes a loop tree value by value, with real stores, and counts what happens: the oracle of ``loops/counts.py``.

The tree is expanded into visits of its holds and computes. All positions of spatial loops enter a visit together, in
lockstep; a compute walks its points in lockstep too. Visits run in the order of their keys: per loop in time its
iteration, plus how late a stage of a pipeline is; per seq, par and pipe the child. Each instance of a memory has a store
per hold, and each value in it the set of the points summed into it, so that a read of a value that is not there, or not
complete, is a fault, and so is one point that is summed twice.

* A hold of inputs fetches on entering; one access of the outer memory serves all positions that want the value and that
  only dimensions of links that multicast tell apart.
* A hold of results fetches on entering what was summed before; of positions whose results are summed on the way one gets
  it and the others begin from nothing. Of positions that are not summed on the way but want one value at a time the
  first gets it; each other adds what it finds there as it leaves.
* A hold of results whose reader is inside it, but reads from further out, writes a value on as soon as it is complete.
* What is made by another compute of the same Einsum, or in another iteration of a loop whose rank the Einsum lacks,
  begins anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from itertools import product
from math import prod
from typing import Any

from einsum_cascades.loops.levels import Level, Levels
from einsum_cascades.loops.space import Operand, Space, Step
from einsum_cascades.loops.tree import (
    INSTANCES,
    Compute,
    Hold,
    Last,
    Late,
    Loop,
    LoopTree,
    Node,
    Parallel,
    children,
    parts_of,
)

Coordinates = tuple[tuple[int, ...], int | None]
"""Indices of a value along its ranks but the iterative one, and the iteration that made it (-1 is the first value)."""


class Fault(Exception):
    """The tree cannot be executed."""


@dataclass
class Executed:
    """What happened.

    Attributes:
        rows: accesses by node, tensor and action.
        points, steps: of each compute, by its number among holds and computes in tree order.
        room: most values of each tensor that one instance of a memory holds, and the most bits of all.
        short: whether some pipeline has fewer iterations than stages, so that not all copies live at a time.
    """

    rows: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    points: Counter[int] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    bits: dict[str, int] = field(default_factory=dict)
    short: bool = False


@dataclass(eq=False)
class _Place:
    """A node of the tree with what is around it."""

    node: Node
    parent: _Place | None
    number: int = -1
    below: list[_Place] = field(default_factory=list)
    trips: int = 0
    room: int = 0
    versions: int = 1

    @cached_property
    def around(self) -> tuple[_Place, ...]:
        """The nodes around it, outermost first."""
        return () if self.parent is None else (*self.parent.around, self.parent)

    @cached_property
    def holds(self) -> tuple[_Place, ...]:
        return tuple(p for p in self.around if isinstance(p.node, Hold))

    @cached_property
    def loops(self) -> tuple[_Place, ...]:
        return tuple(p for p in self.around if isinstance(p.node, Loop))

    def encloses(self, other: _Place) -> bool:
        return self in other.around

    def all(self) -> Iterator[_Place]:
        yield self
        for place in self.below:
            yield from place.all()


def _where(place: _Place) -> str:
    """The memory of a hold, or the unit of a compute."""
    return place.node.memory if isinstance(place.node, Hold) else place.node.unit  # type: ignore[union-attr]


class _Store:
    """What one instance keeps for one hold."""

    __slots__ = ("began", "dirty", "fetched", "hold", "newest", "region", "values")

    def __init__(self, hold: _Place | None, region: list[Coordinates] | None = None) -> None:
        self.hold, self.region = hold, region or []
        self.values: dict[Coordinates, _Value] = {}
        self.newest: dict[tuple[int, ...], int] = {}
        self.began: int | None = None
        self.dirty: set[Coordinates] = set()
        self.fetched: set[Coordinates] = set()


class _Visit:
    """One visit of a hold: the stores of its instances, with what each is to keep.

    Where spatial loops inside run over dimensions of the hold's own memory, it is in all those instances, and each
    keeps what the uses there touch.
    """

    __slots__ = ("fan", "outside", "regions", "stores", "threads")

    def __init__(self, thread: _Thread, fan: list[str], place: _Place) -> None:
        self.outside, self.fan = thread, fan
        self.stores: dict[tuple[int, ...], _Store] = {}
        self.regions: dict[tuple[int, ...], dict[Coordinates, None]] = {}
        self.threads: list[_Thread] = []

    def at(self, thread: _Thread) -> tuple[int, ...]:
        return tuple(thread.position.get(d, 0) for d in self.fan)


class _Value:
    """The points summed into a value (a set of bits), and by which compute in which repetition."""

    __slots__ = ("mask", "run", "taken")

    def __init__(self, mask: int, run: tuple[Any, ...]) -> None:
        self.mask, self.run, self.taken = mask, run, False


class _Thread:
    """One position of the machine: its ranges, and the stores around it."""

    __slots__ = ("last", "position", "ranges", "stores", "turns")

    def __init__(self, position: Any, ranges: Any, stores: Any, turns: Any, last: Any) -> None:
        self.position, self.ranges, self.stores, self.turns, self.last = position, ranges, stores, turns, last

    def cut(self, place: _Place, rank: str, low: int, high: int, at: dict[str, int]) -> _Thread:
        ranges = {**self.ranges, rank: (low, high)}
        ends = self.last.get(rank, True) and high == self.ranges[rank][1]
        turns = (*self.turns, (place, low))
        return _Thread({**self.position, **at}, ranges, self.stores, turns, {**self.last, rank: ends})

    def within(self, number: int, visit: _Visit) -> _Thread:
        return _Thread(self.position, self.ranges, {**self.stores, number: visit}, self.turns, self.last)


_MANY = 1000
"""More iterations than a pipeline has stages."""

Way = list[tuple[str, ...]]
"""Dimensions that tell accesses apart, at the outer memory and behind each link on the way in."""


class Execution:
    """One run of a tree.

    Args:
        bits: of a value of each tensor.
    """

    def __init__(self, tree: LoopTree, space: Space, levels: Levels, bits: Callable[[str], int] = lambda _: 1) -> None:
        self.space, self.levels, self.bits = space, levels, bits
        self.found = Executed()
        self.count = 0
        self.root = self._read(tree.body, None)
        self.sites = [p for p in self.root.all() if p.number >= 0]
        self.computes = [p for p in self.sites if isinstance(p.node, Compute)]
        self.home = {tensor: _Store(None) for tensor in self._tensors}
        self.events: list[tuple[tuple[int, ...], int, str, _Place, list[_Thread]]] = []

    def _read(self, node: Node, parent: _Place | None) -> _Place:
        place = _Place(node, parent)
        if isinstance(node, Hold | Compute):
            place.number, self.count = self.count, self.count + 1
        place.below = [self._read(child, place) for child in children(node)]
        return place

    # Who serves whom.

    def step(self, place: _Place) -> Step:
        assert isinstance(place.node, Compute)
        if place.node.einsum not in self.space.steps:
            raise Fault(f"no Einsum {place.node.einsum}")
        return self.space.steps[place.node.einsum]

    @cached_property
    def _uses(self) -> list[tuple[_Place, Operand, bool]]:
        found = []
        for place in self.computes:
            step = self.step(place)
            found += [(place, operand, False) for operand in step.inputs]
            found.append((place, step.output, True))
        return found

    @cached_property
    def _tensors(self) -> list[str]:
        return list(dict.fromkeys(operand.tensor for _, operand, _ in self._uses))

    @cached_property
    def _carried(self) -> dict[str, str]:
        """Tensors that are carried, and the whole rank along which."""
        found = {}
        for step in self.space.steps.values():
            for operand in step.inputs:
                if operand.carried:
                    ranks = {self.space.whole(r) for r in self.space.cascade.ranks_of[operand.tensor]}
                    (found[operand.tensor],) = ranks & self.space.iterative
        return found

    def _outside(self, hold: _Place) -> bool:
        node = hold.node
        assert isinstance(node, Hold)
        rank = self._carried.get(node.tensor.removesuffix("'"))
        return node.state or all(loop.node.rank != rank for loop in hold.loops)  # type: ignore[union-attr]

    def serves(self, hold: _Place, operand: Operand, place: _Place) -> bool:
        """Whether a hold is one through which a place has an operand: it is on the way to its unit or memory."""
        assert isinstance(hold.node, Hold)
        kept = hold.node.tensor
        if not self.levels.inside(_where(place), hold.node.memory):
            return False
        return kept == operand.name or (operand.carried and kept == operand.tensor and self._outside(hold))

    def chain(self, place: _Place, operand: Operand) -> list[_Place]:
        return [hold for hold in place.holds if self.serves(hold, operand, place)]

    def outer(self, hold: _Place) -> _Place | None:
        assert isinstance(hold.node, Hold)
        around = self.chain(hold, Operand(hold.node.tensor, ()))
        return around[-1] if around else None

    @cached_property
    def uses(self) -> Callable[[_Place], list[tuple[_Place, Operand, bool]]]:
        """What a hold serves, directly or through others."""

        @cache
        def found(hold: _Place) -> list[tuple[_Place, Operand, bool]]:
            tensor = hold.node.tensor.removesuffix("'")  # type: ignore[union-attr]
            return [
                (place, operand, writes)
                for place, operand, writes in self._uses
                if operand.tensor == tensor and hold.encloses(place) and self.serves(hold, operand, place)
            ]

        return found

    def makers(self, tensor: str) -> list[_Place]:
        return [place for place, operand, writes in self._uses if writes and operand.tensor == tensor]

    def _made_in(self, place: _Place, operand: Operand) -> _Place | None:
        """The innermost hold of a reader in which what it reads is made."""
        for hold in reversed(self.chain(place, operand)):
            assert isinstance(hold.node, Hold)
            if hold.node.tensor == operand.tensor and any(
                writes and (maker is not place or operand.carried) for maker, _, writes in self.uses(hold)
            ):
                return hold
        return None

    @cached_property
    def at_home(self) -> set[str]:
        """Tensors that the outermost memory has."""
        cascade = self.space.cascade
        found = {*cascade.inputs, *cascade.outputs, *self._unread}
        for place, operand, writes in self._uses:
            if (writes and not self.chain(place, operand)) or (not writes and self._made_in(place, operand) is None):
                found.add(operand.tensor)
        return found

    @cached_property
    def _unread(self) -> set[str]:
        """What is made and not read, which may be wanted by what the tree is a part of."""
        return {o.tensor for _, o, writes in self._uses if writes} - {o.tensor for _, o, w in self._uses if not w}

    def wanted(self, hold: _Place) -> bool:
        """Whether something outside a hold wants what is made in it."""
        assert isinstance(hold.node, Hold)
        tensor = hold.node.tensor
        if tensor in self.space.cascade.outputs or tensor in self._unread:
            return True
        return bool(self._wanted_by(hold)) or self._goes_on(hold)

    def _wanted_by(self, hold: _Place) -> list[Operand]:
        """What computes outside a hold read that is made in it, and not again where they stand."""
        used = [(place, operand) for place, operand, _ in self.uses(hold)]
        found = []
        for place, operand, writes in self._uses:
            if writes or operand.tensor != hold.node.tensor or (place, operand) in used:  # type: ignore[union-attr]
                continue
            made = self._made_in(place, operand)
            if made is None or made.encloses(hold):
                found.append(operand)
        return found

    def each_wanted(self, hold: _Place) -> bool:
        """Whether something outside a state wants its value of each iteration, so that each is written."""
        assert isinstance(hold.node, Hold)
        tensor = hold.node.tensor
        own = self.space.cascade.ranks_of[tensor]
        return any(set(o.ranks) >= set(own) for o in self._wanted_by(hold)) or tensor in self.space.cascade.outputs

    def _goes_on(self, hold: _Place) -> bool:
        """Whether a sum or a state goes on when a hold is entered again."""
        assert isinstance(hold.node, Hold)
        makers = [maker for maker, _, writes in self.uses(hold) if writes]
        for loop in hold.loops:
            assert isinstance(loop.node, Loop)
            if hold.node.state and loop.node.rank == self._carried[hold.node.tensor]:
                return True
            for maker, part in product(makers, parts_of(loop.node.rank)):
                step = self.step(maker)
                own = self.grains(step.ranks).get(part)
                out = self.grains(step.output.ranks).get(part)
                if own is not None and (out is None or (own < out and loop.node.tile < out)):
                    return True
        return False

    # Coordinates.

    def grains(self, ranks: Iterable[str]) -> dict[str, int]:
        """Points per value, by whole rank; the instances are a rank of everything."""
        return self._grains(tuple(ranks))

    @cached_property
    def _grains(self) -> Callable[[tuple[str, ...]], dict[str, int]]:
        @cache
        def found(ranks: tuple[str, ...]) -> dict[str, int]:
            grains = {INSTANCES: 1}
            for rank, inner in self.space.grains(ranks).items():
                grains[rank] = int(self.space.length(inner))
            return dict(sorted(grains.items()))

        return found

    def _iterations(self, tensor: str) -> int:
        rank = self._carried[tensor]
        grain = self.grains(self.space.cascade.ranks_of[tensor])[rank]
        return -(-int(self.space.sizes[rank]) // grain)

    def _version(self, operand: Operand, iteration: int | None) -> int | None:
        """Which iteration made the value that an operand means; none is the last."""
        if operand.tensor not in self._carried:
            return None
        if iteration is None:
            return self._iterations(operand.tensor) - 1
        return iteration - operand.carried

    def address(self, operand: Operand, point: dict[str, int]) -> Coordinates:
        """Where a value is that a point of the whole ranks reads or writes."""
        rank = self._carried.get(operand.tensor)
        grains = self.grains(operand.ranks)
        where = tuple(point[r] // g for r, g in grains.items() if r != rank)
        iteration = point[rank] // grains[rank] if rank is not None and rank in grains else None
        return where, self._version(operand, iteration)

    def region(self, hold: _Place, thread: _Thread, ranks: tuple[str, ...] | None = None) -> list[Coordinates]:
        """The values that a thread's ranges select of what a hold keeps (or one use of it); of a state its place alone."""
        operand, grains = self._kept(hold)
        grains = grains if ranks is None else self.grains(ranks)
        rank = self._carried.get(operand.tensor)
        if rank is not None and hold.node.state:  # type: ignore[union-attr]
            grains = {r: g for r, g in grains.items() if r != rank}
        found = []
        for at in self._selected(thread, grains):
            version = None
            if rank is not None and not hold.node.state:  # type: ignore[union-attr]
                version = self._version(operand, at.get(rank))
            found.append((tuple(at[r] for r in grains if r != rank), version))
        return found

    @cached_property
    def _kept(self) -> Callable[[_Place], tuple[Operand, dict[str, int]]]:
        @cache
        def found(hold: _Place) -> tuple[Operand, dict[str, int]]:
            assert isinstance(hold.node, Hold)
            ranks = tuple(dict.fromkeys(r for _, operand, _ in self.uses(hold) for r in operand.ranks))
            return Operand(hold.node.tensor, ranks), self.grains(ranks)

        return found

    @cached_property
    def _joined(self) -> list[str]:
        """Ranks of loops that cut several ranks as one."""
        ranks = (place.node.rank for place in self.root.all() if isinstance(place.node, Loop))
        return [rank for rank in dict.fromkeys(ranks) if len(parts_of(rank)) > 1]

    def _parted(self, joined: str, index: int) -> dict[str, int]:
        """Where a point of ranks that are cut as one is in each of them; the last one is walked fastest."""
        found = {}
        for part in reversed(parts_of(joined)):
            index, found[part] = divmod(index, int(self.space.sizes[part]))
        return found

    def _selected(self, thread: _Thread, grains: dict[str, int]) -> Iterator[dict[str, int]]:
        """Indices along some ranks that a thread's ranges select."""
        sides: list[Iterable[dict[str, int]]] = []
        left = dict(grains)
        for joined in self._joined:
            own = [part for part in parts_of(joined) if part in left]
            low, high = thread.ranges[joined]
            if own and high - low < prod(int(self.space.sizes[part]) for part in parts_of(joined)):
                points = (self._parted(joined, index) for index in range(low, high))
                found = dict.fromkeys(tuple(point[part] // left[part] for part in own) for point in points)
                sides.append([dict(zip(own, at, strict=True)) for at in found])
                left = {rank: grain for rank, grain in left.items() if rank not in own}
        for rank, grain in left.items():
            low, high = thread.ranges[rank]
            sides.append([{rank: index} for index in range(low // grain, -(-high // grain))])
        for picked in product(*sides):
            yield {rank: index for one in picked for rank, index in one.items()}

    # Expansion.

    def expand(self, place: _Place, threads: list[_Thread], key: tuple[int, ...], loop: int) -> None:
        """Put the visits of a subtree into ``events``; ``loop`` is where in the key the innermost loop in time is."""
        node = place.node
        if isinstance(node, Loop):
            self._expand_loop(place, node, threads, key, loop)
        elif isinstance(node, Late):
            self.expand(place.below[0], threads, (*key[:loop], key[loop] + node.by, *key[loop + 1 :]), loop)
        elif isinstance(node, Last):
            kept = [thread for thread in threads if thread.last.get(node.rank, True)]
            if kept:
                self.expand(place.below[0], kept, key, loop)
        elif isinstance(node, Hold):
            self._expand_hold(place, node, threads, key, loop)
        elif isinstance(node, Compute):
            for operand, holds in self._spread_uses(place):
                for hold, thread in product(holds, threads):
                    visit = thread.stores[hold.number]
                    region = visit.regions.setdefault(visit.at(thread), {})
                    region.update(dict.fromkeys(self.region(hold, thread, operand.ranks)))
            self._event(key, "compute", place, threads)
        else:
            for number, child in enumerate(place.below):
                self.expand(child, threads, (*key, number), loop)

    def _event(self, key: tuple[int, ...], kind: str, place: _Place, threads: list[_Thread]) -> None:
        node = place.node
        memory = _where(place)
        fan = self.levels.fan_out(memory)
        if len({tuple((d, t.position.get(d, 0)) for d in fan) for t in threads}) < len(threads):
            raise Fault(f"{memory} cannot tell its positions apart")
        self.events.append((key, len(self.events), kind, place, threads))

    def _expand_hold(self, place: _Place, node: Hold, threads: list[_Thread], key: tuple[int, ...], loop: int) -> None:
        fan = sorted(self.levels.fan_out(node.memory))
        visits = [_Visit(thread, fan, place) for thread in threads]
        inside = [t.within(place.number, visit) for t, visit in zip(threads, visits, strict=True)]
        low, high = self.lateness(place)
        self.expand(place.below[0], inside, (*key, 0), loop)
        spread = []
        for thread, visit in zip(inside, visits, strict=True):
            if not self._is_spread(place):
                visit.regions = {visit.at(thread): dict.fromkeys(self.region(place, thread))}
            for at, region in visit.regions.items():
                visit.stores[at] = _Store(place, list(region))
                position = {**thread.position, **{d: i for d, i in zip(fan, at, strict=True) if i}}
                spread.append(_Thread(position, thread.ranges, thread.stores, thread.turns, thread.last))
        self._event((*key[:loop], key[loop] + low, *key[loop + 1 :], -1), "enter", place, spread)
        self._event((*key[:loop], key[loop] + high, *key[loop + 1 :], 1), "leave", place, spread)

    @cached_property
    def _is_spread(self) -> Callable[[_Place], bool]:
        """Whether spatial loops inside a hold run over dimensions of its own memory."""

        @cache
        def found(hold: _Place) -> bool:
            fan = self.levels.fan_out(_where(hold))
            return any(
                loop.node.over in fan  # type: ignore[union-attr]
                for place, _, _ in self.uses(hold)
                for loop in place.loops
                if hold.encloses(loop)
            )

        return found

    @cached_property
    def _spread_uses(self) -> Callable[[_Place], list[tuple[Operand, list[_Place]]]]:
        @cache
        def found(place: _Place) -> list[tuple[Operand, list[_Place]]]:
            uses = [
                (o, [h for h in self.chain(place, o) if self._is_spread(h)]) for p, o, _ in self._uses if p is place
            ]
            return [(operand, holds) for operand, holds in uses if holds]

        return found

    def _expand_loop(self, place: _Place, node: Loop, threads: list[_Thread], key: tuple[int, ...], loop: int) -> None:
        rank, tile = node.rank, int(node.tile)
        trips = max(-(-(t.ranges[rank][1] - t.ranges[rank][0]) // tile) for t in threads)
        place.trips = max(place.trips, trips)

        def at(number: int, over: str | None) -> list[_Thread]:
            found = []
            for thread in threads:
                low, high = thread.ranges[rank]
                low += number * tile
                if low < high:
                    where = {} if over is None else {over: thread.position.get(over, 0) * trips + number}
                    found.append(thread.cut(place, rank, low, min(low + tile, high), where))
            return found

        if node.over is None:
            for number in range(trips):
                self.expand(place.below[0], at(number, None), (*key, number), len(key))
            return
        spread = [thread for number in range(trips) for thread in at(number, node.over)]
        if any(t.position[node.over] >= self.levels.dimensions[node.over] for t in spread):
            raise Fault(f"{node.over} has too few positions")
        self.expand(place.below[0], spread, key, loop)

    def lateness(self, hold: _Place) -> tuple[int, int]:
        """The earliest and latest stage in which something in a hold uses it, in the pipeline around or in it."""
        found = [self._late(place, hold) for place, _, _ in self.uses(hold)] or [0]
        return min(found), max(found)

    def _late(self, place: _Place, hold: _Place) -> int:
        late = 0
        for above in reversed(place.around):
            if above is hold:
                return late
            if isinstance(above.node, Late):
                late += above.node.by
            elif isinstance(above.node, Loop) and above.node.over is None:
                late = 0
        raise AssertionError

    # Execution.

    def run(self) -> Executed:
        """Execute everything and check the results."""
        ranges = {rank: (0, int(size)) for rank, size in self.space.sizes.items()}
        ranges |= {rank: (0, prod(int(self.space.sizes[part]) for part in parts_of(rank))) for rank in self._joined}
        self.expand(self.root, [_Thread({}, ranges, {}, (), {})], (0,), 0)
        for _, _, kind, place, threads in sorted(self.events, key=lambda event: event[:2]):
            if kind == "compute":
                self._compute(place, threads)
            elif self._writes(place):
                if self._place_outside(place) and self.wanted(place):
                    (self._enter_results if kind == "enter" else self._leave)(place, threads)
                elif kind == "enter":
                    self._begin_state(place, threads)
            elif kind == "enter":
                self._enter(place, threads)
            if kind == "enter":
                place.room = max([place.room, *(len(self._own(place, thread).region) for thread in threads)])
        self._check_results()
        self._room()
        return self.found

    @cached_property
    def _writes(self) -> Callable[[_Place], bool]:
        return lru_cache(maxsize=None)(lambda hold: any(writes for _, _, writes in self.uses(hold)))

    def _place_outside(self, hold: _Place) -> bool:
        assert isinstance(hold.node, Hold)
        return self.outer(hold) is not None or hold.node.tensor.removesuffix("'") in self.at_home

    def _source(self, thread: _Thread, hold: _Place | None, tensor: str) -> _Store:
        if hold is None:
            return self.home[tensor]
        visit = thread.stores[hold.number]
        at = visit.at(thread)
        if at not in visit.stores:
            raise Fault(f"{tensor} is kept at another position")
        return visit.stores[at]

    def _own(self, hold: _Place, thread: _Thread) -> _Store:
        visit = thread.stores[hold.number]
        return visit.stores[visit.at(thread)]

    @cached_property
    def _ways(self) -> Callable[[_Place | None, str, bool], tuple[tuple[Level, ...], Way, str]]:
        @cache
        def found(outer: _Place | None, inner: str, inward: bool) -> tuple[tuple[Level, ...], Way, str]:
            memory = self.levels.home if outer is None else outer.node.memory  # type: ignore[union-attr]
            if memory not in self.levels.path(inner):
                raise Fault(f"{inner} gets nothing from {memory}")
            levels = self.levels.between(memory, inner)
            own = [tuple(f"{level.name}.{name}" for name, _ in level.dimensions) for level in levels]
            apart = [
                () if (level.multicast if inward else level.reduction) else dims
                for level, dims in zip(levels, own, strict=True)
            ]
            way = [sum(own[:i], ()) + sum(apart[i:], ()) for i in range(len(levels) + 1)]
            return levels, way, memory

        return found

    def _get(self, store: _Store, tensor: str, where: Coordinates, lag: int = 0) -> int:
        """Return the points summed into a value that is read, which must be all.

        ``lag`` is how many iterations older than the newest a state's value may be.
        """
        place, version = where
        if store.hold is None and tensor in self.space.cascade.inputs:
            return -1
        if version == -1:
            if store.hold is not None and store.hold.node.state and store.began not in (-1, None):  # type: ignore[union-attr]
                raise Fault(f"the first value of {tensor} is not there")
            self._aged(store, place, version, lag)
            return -1
        value = store.values.get(where)
        if value is None:
            raise Fault(f"{tensor}{where} is not there")
        if value.mask != -1 and value.mask != self._whole(tensor, where):
            raise Fault(f"{tensor}{where} is not complete")
        self._aged(store, place, version, lag)
        return value.mask

    def _aged(self, store: _Store, place: tuple[int, ...], version: int | None, lag: int) -> None:
        """Note how many iterations' values of a state are wanted at a time."""
        if store.hold is not None and store.hold.node.state and version is not None:  # type: ignore[union-attr]
            newest = store.newest.get(place, version)
            if newest - version > lag:
                raise Fault(f"a state keeps no value so old: {version}, and the newest is {newest}")
            store.hold.versions = max(store.hold.versions, newest - version + 1)

    def _inward(
        self,
        tensor: str,
        wanted: Iterable[tuple[_Thread, Coordinates]],
        outer: _Place | None,
        inner: str,
        lag: int = 0,
    ) -> Iterator[tuple[_Thread, Coordinates, int]]:
        """Count one visit's reads of an outer memory, links included."""
        levels, way, memory = self._ways(outer, inner, True)
        seen: list[set[Any]] = [set() for _ in way]
        for thread, where in wanted:
            store = self._source(thread, outer, tensor)
            mask = self._get(store, tensor, where, lag)
            for apart, found in zip(way, seen, strict=True):
                found.add((id(store), where, *(thread.position.get(d, 0) for d in apart)))
            yield thread, where, mask
        rows = self.found.rows
        rows[memory, tensor, "read"] += len(seen[0])
        for number, level in enumerate(levels):
            rows[level.name, tensor, "sent"] += len(seen[number])
            rows[level.name, tensor, "delivered"] += len(seen[number + 1])

    def _lag(self, reader: _Place, operand: Operand) -> int:
        """By how many iterations a state may have gone on when a reader comes: it is late, or wants the one before."""
        if operand.tensor not in self._carried:
            return 0
        makers = self.makers(operand.tensor)
        late = [self._total_late(reader) - self._total_late(maker) for maker in makers]
        return max(0, *late) + operand.carried

    def _total_late(self, place: _Place) -> int:
        return sum(above.node.by for above in place.around if isinstance(above.node, Late))

    def _enter(self, hold: _Place, threads: list[_Thread]) -> None:
        """Fetch what a hold of inputs keeps."""
        node = hold.node
        assert isinstance(node, Hold)
        tensor, outer = node.tensor.removesuffix("'"), self.outer(hold)
        if outer is None and tensor not in self.at_home:
            return
        wanted = []
        for thread in threads:
            for where in self._own(hold, thread).region:
                if node.state:
                    where = (where[0], self._entry_version(hold, thread))
                wanted.append((thread, where))
        lag = max((self._lag(reader, operand) for reader, operand, _ in self.uses(hold)), default=0)
        for thread, where, mask in self._inward(tensor, wanted, outer, node.memory, lag):
            store = self._own(hold, thread)
            store.values[where] = _Value(mask, ())
            if node.state:
                store.newest[where[0]] = where[1]  # type: ignore[assignment]
            self.found.rows[node.memory, tensor, "fill"] += 1

    def _entry_version(self, hold: _Place, thread: _Thread) -> int:
        tensor = hold.node.tensor.removesuffix("'")  # type: ignore[union-attr]
        rank = self._carried[tensor]
        return thread.ranges[rank][0] // self.grains(self.space.cascade.ranks_of[tensor])[rank] - 1

    def _begin_state(self, hold: _Place, threads: list[_Thread]) -> None:
        if hold.node.state:  # type: ignore[union-attr]
            for thread in threads:
                store = self._own(hold, thread)
                store.began = self._entry_version(hold, thread)
                for where, _ in self._own(hold, thread).region:
                    store.newest[where] = store.began

    def _same_run(self, value: _Value, hold: _Place, thread: _Thread) -> bool:
        """Whether what is further out is a part of the sum that goes on in a hold."""
        if not value.run:
            return False
        maker, turns = value.run
        return any(writes and place is maker for place, _, writes in self.uses(hold)) and all((loop, low) in thread.turns for loop, low in turns if loop in hold.loops)

    def _enter_results(self, hold: _Place, threads: list[_Thread]) -> None:
        """Fetch what was summed before into a hold in which more is."""
        node, outer = hold.node, self.outer(hold)
        assert isinstance(node, Hold)
        self._begin_state(hold, threads)
        levels, way, memory = self._ways(outer, node.memory, False)
        for thread in threads:
            store, source = self._own(hold, thread), self._source(thread, outer, node.tensor)
            for where in self._own(hold, thread).region:
                if node.state:
                    where = (where[0], store.began)
                    if store.began == -1:
                        continue
                value = source.values.get(where)
                if value is None:
                    if node.state:
                        raise Fault(f"the state {node.tensor}{where} is not there")
                    continue
                if value.taken or not (node.state or self._same_run(value, hold, thread)):
                    continue
                value.taken = not node.state
                store.values[where] = _Value(value.mask, value.run)
                store.fetched.add(where)
                self._back(node.tensor, memory, levels)
                self.found.rows[node.memory, node.tensor, "fill"] += 1

    def _back(self, tensor: str, memory: str, levels: tuple[Level, ...]) -> None:
        self.found.rows[memory, tensor, "read"] += 1
        for level in levels:
            self.found.rows[level.name, tensor, "sent"] += 1
            self.found.rows[level.name, tensor, "delivered"] += 1

    def _leave(self, hold: _Place, threads: list[_Thread]) -> None:
        """Write back what was made or added to."""
        node, outer = hold.node, self.outer(hold)
        assert isinstance(node, Hold)
        tensor = node.tensor
        items = []
        for thread in threads:
            store, source = self._own(hold, thread), self._source(thread, outer, tensor)
            for where in store.fetched:
                if where in source.values:
                    source.values[where].taken = False
            for where in sorted(store.dirty):
                if not node.state or where[1] == store.newest[where[0]] or self.each_wanted(hold):
                    items.append((thread, where))
        self._write(hold, items)

    @cached_property
    def _writes_through(self) -> Callable[[_Place], bool]:
        """Whether what a hold keeps is read inside it from further out, so that it is written on once it is complete."""

        @cache
        def found(hold: _Place) -> bool:
            if not (self._place_outside(hold) and self._writes(hold)):
                return False
            used = [(place, operand) for place, operand, _ in self.uses(hold)]
            return any(
                hold.encloses(place) and (made is None or made.encloses(hold))
                for place, operand, writes in self._uses
                if not writes and operand.tensor == hold.node.tensor and (place, operand) not in used  # type: ignore[union-attr]
                for made in [self._made_in(place, operand)]
            )

        return found

    def _write_on(self, thread: _Thread, store: _Store, where: Coordinates) -> None:
        hold = store.hold
        if hold is None or not self._writes_through(hold):
            return
        node = hold.node
        assert isinstance(node, Hold)
        if store.values[where].mask != self._whole(node.tensor, where):
            return
        if node.state and not self.each_wanted(hold) and where[1] != self._iterations(node.tensor) - 1:
            return
        before = self._source(thread, self.outer(hold), node.tensor).values.get(where)
        if before is not None:
            before.taken = False
        self._write(hold, [(thread, where)])
        store.dirty.discard(where)
        store.fetched.discard(where)

    def _write(self, hold: _Place, items: list[tuple[_Thread, Coordinates]]) -> None:
        node, outer = hold.node, self.outer(hold)
        assert isinstance(node, Hold)
        tensor, rows = node.tensor, self.found.rows
        levels, way, memory = self._ways(outer, node.memory, False)
        groups: dict[Any, list[tuple[_Thread, Coordinates]]] = {}
        seen: list[set[Any]] = [set() for _ in way]
        for thread, where in items:
            source = self._source(thread, outer, tensor)
            for apart, found in zip(way, seen, strict=True):
                found.add((id(source), where, *(thread.position.get(d, 0) for d in apart)))
            kept = (id(source), where, *(thread.position.get(d, 0) for d in way[0]))
            groups.setdefault(kept, []).append((thread, where))
            rows[node.memory, tensor, "drain"] += 1
        order = sorted(groups.values(), key=lambda group: not any(w in self._own(hold, t).fetched for t, w in group))
        for group in order:
            mask, run = 0, None
            for thread, where in group:
                value = self._own(hold, thread).values[where]
                mask, run = self._sum(tensor, where, mask, value.mask), run or value.run
            thread, where = group[0]
            source = self._source(thread, outer, tensor)
            before = source.values.get(where)
            fetched = any(where in self._own(hold, t).fetched for t, where in group)
            if not node.state and not fetched and before is not None and self._same_run(before, hold, thread):
                self._back(tensor, memory, levels)
                rows[node.memory, tensor, "fill"] += 1
                rows[node.memory, tensor, "read"] += 1
                mask = self._sum(tensor, where, mask, before.mask)
            assert run is not None
            self._put(source, where, mask, run, several=node.state)
            rows[memory, tensor, "update"] += 1
            self._write_on(thread, source, where)
        self._results_sent(tensor, levels, seen)

    def _results_sent(self, tensor: str, levels: tuple[Level, ...], seen: list[set[Any]]) -> None:
        for number, level in enumerate(levels):
            self.found.rows[level.name, tensor, "sent"] += len(seen[number + 1])
            self.found.rows[level.name, tensor, "delivered"] += len(seen[number])

    def _sum(self, tensor: str, where: Coordinates, a: int, b: int) -> int:
        if a & b:
            raise Fault(f"{tensor}{where} has a point summed into it twice")
        return a | b

    def _put(
        self, store: _Store, where: Coordinates, mask: int, run: tuple[Any, ...], *, several: bool = False
    ) -> None:
        store.values[where] = _Value(mask, run)
        store.dirty.add(where)
        place, version = where
        if version is not None and store.hold is not None and store.hold.node.state:  # type: ignore[union-attr]
            if not several and version not in (store.newest[place], store.newest[place] + 1):
                raise Fault(f"iterations of a state do not follow each other: {where} after {store.newest[place]}")
            store.newest[place] = version

    def _compute(self, place: _Place, threads: list[_Thread]) -> None:
        """Walk all points, those of all threads in lockstep."""
        node, step = place.node, self.step(place)
        assert isinstance(node, Compute)
        grains = self._walked(place)
        ranges = [{r: (t.ranges[r][0] // g, -(-t.ranges[r][1] // g)) for r, g in grains.items()} for t in threads]
        most = [max(own[r][1] - own[r][0] for own in ranges) for r in grains]
        sources = []
        for operand in step.inputs:
            chain = self.chain(place, operand)
            sources.append((operand, chain[-1] if chain else None, self._lag(place, operand)))
        chain = self.chain(place, step.output)
        into = chain[-1] if chain else None
        runs = [self._run_of(place, thread) for thread in threads]
        names = list(grains)
        for offset in product(*(range(n) for n in most)):
            here = []
            for thread, own, run in zip(threads, ranges, runs, strict=True):
                at = {r: own[r][0] + o for r, o in zip(names, offset, strict=True)}
                if all(at[r] < own[r][1] for r in names):
                    here.append((thread, self._point(at, grains), run))
            if not here:
                continue
            self.found.steps[place.number] += 1
            self.found.points[place.number] += len(here)
            for operand, outer, lag in sources:
                wanted = [(thread, self.address(operand, point)) for thread, point, _ in here]
                for _ in self._inward(operand.tensor, wanted, outer, node.unit, lag):
                    pass
            self._results(step, here, into, node.unit)

    def _walked(self, place: _Place) -> dict[str, int]:
        """Points per step, by the ranks that a compute walks: those that loops around it cut as one are one."""
        grains = self.grains(self.step(place).ranks)
        for joined in dict.fromkeys(loop.node.rank for loop in place.loops if loop.node.rank in self._joined):  # type: ignore[union-attr]
            own = [part for part in parts_of(joined) if part in grains]
            if own:
                if len(own) < len(parts_of(joined)) or any(grains[part] > 1 for part in own):
                    raise Fault(f"{joined} is not one rank here")
                grains = {**{r: g for r, g in grains.items() if r not in own}, joined: 1}
        return grains

    def _point(self, at: dict[str, int], grains: dict[str, int]) -> dict[str, int]:
        point = {}
        for rank, index in at.items():
            point.update(self._parted(rank, index) if rank in self._joined else {rank: index * grains[rank]})
        return point

    def _run_of(self, place: _Place, thread: _Thread) -> tuple[Any, ...]:
        """What tells the repetitions of a compute apart: loops over ranks that it lacks."""
        own = self.grains(self.step(place).ranks)
        return place, tuple((loop, low) for loop, low in thread.turns if own.keys().isdisjoint(parts_of(loop.node.rank)))

    def _results(self, step: Step, here: list[Any], into: _Place | None, unit: str) -> None:
        tensor = step.output.tensor
        levels, way, memory = self._ways(into, unit, False)
        groups: dict[Any, tuple[_Thread, _Store, Coordinates, int, tuple[Any, ...]]] = {}
        seen: list[set[Any]] = [set() for _ in way]
        for thread, point, run in here:
            store, where = self._source(thread, into, tensor), self.address(step.output, point)
            for apart, found in zip(way, seen, strict=True):
                found.add((id(store), where, *(thread.position.get(d, 0) for d in apart)))
            kept = (id(store), where, *(thread.position.get(d, 0) for d in way[0]))
            bit = self._bit(step, point)
            if kept in groups:
                bit = self._sum(tensor, where, groups[kept][3], bit)
            groups[kept] = (thread, store, where, bit, run)
        for thread, store, where, mask, run in groups.values():
            before = store.values.get(where)
            if before is not None and before.run == run:
                self._back(tensor, memory, levels)
                mask = self._sum(tensor, where, mask, before.mask)
            self._put(store, where, mask, run)
            self.found.rows[memory, tensor, "update"] += 1
            self._write_on(thread, store, where)
        self._results_sent(tensor, levels, seen)

    # Which points are summed into a value.

    def _parts(self, step: Step) -> list[tuple[str, int, int | None]]:
        out = self.grains(step.output.ranks)
        return [(r, g, out.get(r)) for r, g in self.grains(step.ranks).items() if out.get(r) != g]

    def _bit(self, step: Step, point: dict[str, int]) -> int:
        number = 0
        for rank, grain, out in self._parts(step):
            number = number * (int(self.space.sizes[rank]) + 1) + point[rank] // grain
        return 1 << number

    @cached_property
    def _whole(self) -> Callable[[str, Coordinates], int]:
        """All points that are summed into a value of a tensor."""

        @cache
        def found(tensor: str, where: Coordinates) -> int:
            step = next(s for s in self.space.steps.values() if s.output.tensor == tensor)
            grains = self.grains(step.output.ranks)
            rank = self._carried.get(tensor)
            at = dict(zip((r for r in grains if r != rank), where[0], strict=True))
            if rank is not None and rank in grains:
                at[rank] = where[1]  # type: ignore[assignment]
            sides = []
            for name, grain, out in self._parts(step):
                size = int(self.space.sizes[name])
                low, high = (0, size) if out is None else (at[name] * out, min(size, (at[name] + 1) * out))
                sides.append([(name, i * grain) for i in range(low // grain, -(-high // grain))])
            mask = 0
            for point in product(*sides):
                mask |= self._bit(step, dict(point))
            return mask

        return found

    def _check_results(self) -> None:
        run = {place.node.einsum for place in self.computes}  # type: ignore[union-attr]
        if missing := [name for name in self.space.steps if name not in run]:
            raise Fault(f"{missing[0]} is not run")
        for tensor in self.space.cascade.outputs:
            ranks = self.grains(self.space.cascade.ranks_of[tensor])
            rank = self._carried.get(tensor)
            sides = [range(-(-int(self.space.sizes[r]) // g)) for r, g in ranks.items() if r != rank]
            version = None if rank is None else self._iterations(tensor) - 1
            for where in product(*sides):
                self._get(self.home[tensor], tensor, (where, version))

    # Room.

    def _room(self) -> None:
        self.found.short = any(self._is_short(p) for p in self.root.all() if isinstance(p.node, Late))
        for memory in dict.fromkeys(_where(p) for p in self.sites if isinstance(p.node, Hold)):
            if memory != self.levels.home:
                self.found.bits[memory] = self._most(self._times(self.root, memory), 1)

    def _is_short(self, place: _Place) -> bool:
        late, trips = 0, 1
        for above in (*reversed(place.around), None):
            if above is None or (isinstance(above.node, Loop) and above.node.over is None):
                trips = 1 if above is None else above.trips
                break
            late += above.node.by if isinstance(above.node, Late) else 0
        return late + place.node.by >= trips  # type: ignore[union-attr]

    def _most(self, times: _Times, trips: int) -> int:
        """Most bits at a time in the epochs of a loop of so many iterations."""
        lates = {late for late, _, _ in times.runs} | {
            late for _, low, high, _, _ in times.kept for late in (low, high)
        }
        if not lates:
            return 0
        most = 0
        for at in range(times.length):
            live = dict.fromkeys(range(min(lates), max(lates) + 1), 0)
            for late, when, bits in times.runs:
                live[late] += bits * (at == when)
            for bits, low, high, begins, ends in times.kept:
                for late in range(low, high + 1):
                    live[late] += bits * ((late > low or at >= begins) and (late < high or at <= ends))
            for first in range(min(lates) - min(trips, len(live)) + 1, max(lates) + 1):
                most = max(most, sum(live.get(first + i, 0) for i in range(min(trips, len(live)))))
        return most

    def _times(self, place: _Place, memory: str) -> _Times:
        """What one iteration of the loop around keeps in a memory at the times of an epoch."""
        node = place.node
        parts = [self._times(child, memory) for child in place.below]
        if isinstance(node, Compute):
            return _Times(1, [], [])
        if isinstance(node, Loop) and node.over is None:
            return _Times(1, [(0, 0, self._most(parts[0], place.trips))], [])
        if isinstance(node, Late):
            by = node.by
            runs = [(late + by, at, bits) for late, at, bits in parts[0].runs]
            return _Times(parts[0].length, runs, [(b, low + by, high + by, *at) for b, low, high, *at in parts[0].kept])
        if isinstance(node, Hold):
            if node.memory == memory:
                self._keep(place, node, parts[0])
            return parts[0]
        if isinstance(node, Parallel):
            works = [any(_where(p) == memory for p in c.all() if isinstance(p.node, Compute)) for c in place.below]
            found = _in_turn([part for part, one in zip(parts, works, strict=True) if one])
            for part in (part for part, one in zip(parts, works, strict=True) if not one):
                kept = sum(bits * (high - low + 1) for bits, low, high, _, _ in part.kept)
                run = self._most(part, _MANY) - kept
                found.length = max(found.length, 1)
                found.runs += [(0, at, run) for at in range(found.length)]
                found.kept += [(bits, low, high, 0, found.length - 1) for bits, low, high, _, _ in part.kept]
            return found
        return _in_turn(parts)

    def _keep(self, place: _Place, node: Hold, inside: _Times) -> None:
        (low, high), copies = self.lateness(place), place.versions
        timed = any(loop.node.over is None for loop in place.loops)  # type: ignore[union-attr]
        if high == low and (node.double or (self.levels[node.memory].double_buffered and timed)):
            copies = max(copies, 2)
        own = self.bits(node.tensor.removesuffix("'")) * place.room * copies
        if high == low:
            inside.runs += [(low, at, own) for at in range(inside.length)]
        else:
            inside.kept.append((own, low, high, 0, inside.length - 1))


@dataclass
class _Times:
    """What a subtree keeps while it runs.

    Attributes:
        length: so many times one after another an epoch has.
        runs: how late, when, and how many bits.
        kept: bits that stay from epoch to epoch, from how late to how late, and from when in the first to when in the last.
    """

    length: int
    runs: list[tuple[int, int, int]]
    kept: list[tuple[int, int, int, int, int]]


def _in_turn(parts: Iterable[_Times]) -> _Times:
    found = _Times(0, [], [])
    for part in parts:
        found.runs += [(late, at + found.length, bits) for late, at, bits in part.runs]
        found.kept += [(b, lo, hi, x + found.length, y + found.length) for b, lo, hi, x, y in part.kept]
        found.length += part.length
    return found


def execute(tree: LoopTree, space: Space, levels: Levels, bits: Callable[[str], int] = lambda _: 1) -> Executed:
    """Execute a tree.

    Raises:
        Fault: it cannot be executed.
    """
    return Execution(tree, space, levels, bits).run()

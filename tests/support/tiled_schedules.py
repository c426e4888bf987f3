"""Every tiled schedule of a small cascade, and one of them executed point by point in a memory of fixed size.

A *schedule* is a tree. A loop walks the tiles of one rank in order, the last one ragged; a leaf is an Einsum at one
point, each Einsum is one leaf, and the loops around it are over its ranks, so that each value is computed once. A rank
is walked tile by tile and then value by value, or value by value alone. Where a loop ends several parts may follow one
another.

For each tensor that moves, an Einsum has a *scope*: an iteration of the loops down to some level. A value comes in at
its first use in the scope and goes at its last; a result of which only part is summed is written and read again in the
next scope. Two Einsums that read one tensor may do so in a common scope, each value coming in once for both. A tensor
between Einsums stays from its first partial sum to its last use, or it is written once and read in scopes, or stays for
some of its readers and is read for the others. A result may take the place of an operand whose last use it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from einsum_cascades.ir import Cascade, Einsum

Path = tuple[tuple[str, int], ...]
"""Loops around a leaf, outermost first: rank and values per tile."""
Value = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class Loop:
    """Tiles of ``tile`` values of a rank, one after another; ``name`` tells loops apart."""

    rank: str
    tile: int
    body: tuple[Node, ...]


Node = Loop | int
"""A loop, or the number of an Einsum."""


@dataclass(frozen=True)
class Item:
    """How a tensor moves, or stays, for some Einsums.

    Attributes:
        tensor: its name.
        readers: Einsums that read it.
        writer: the Einsum that writes it, if it does so here.
        depth: how many loops are around the scope; None where it stays on chip.
        stores: whether what is written goes off chip.
    """

    tensor: str
    readers: tuple[int, ...]
    writer: int | None
    depth: int | None
    stores: bool = False


@dataclass(frozen=True)
class Schedule:
    """A tree and how each tensor moves."""

    tree: tuple[Node, ...]
    items: tuple[Item, ...]
    moved: int
    peak: int


class Instance:
    """A cascade of plain Einsums with the size of each rank."""

    def __init__(self, cascade: Cascade, sizes: Mapping[str, int]) -> None:
        self.cascade, self.sizes = cascade, dict(sizes)
        self.einsums: tuple[Einsum, ...] = cascade.body
        self.written = {e.name: number for number, e in enumerate(self.einsums)}
        self.reads = [tuple(dict.fromkeys(a.tensor for a in e.inputs)) for e in self.einsums]
        self.readers: dict[str, tuple[int, ...]] = {}
        for tensor in cascade.ranks_of:
            self.readers[tensor] = tuple(n for n, tensors in enumerate(self.reads) if tensor in tensors)

    def edges(self, group: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        """Yield producers, consumers and the tensor between them."""
        for tensor, writer in self.written.items():
            for reader in self.readers[tensor]:
                if writer in group and reader in group:
                    yield writer, reader, tensor

    @cached_property
    def trees(self) -> tuple[tuple[Node, ...], ...]:
        """All trees."""
        everything = tuple(range(len(self.einsums)))
        return tuple(dict.fromkeys(self._bodies(everything, {r: (s, False) for r, s in self.sizes.items()})))

    def _bodies(self, group: tuple[int, ...], left: dict[str, tuple[int, bool]]) -> Iterator[tuple[Node, ...]]:
        """Yield what may stand inside some loops: one subtree, or several in a row."""
        for ordered in _ordered_partitions(group):
            before: set[int] = set()
            legal = True
            for part in ordered:
                before |= set(part)
                legal = legal and all(a in before for a, b, _ in self.edges(group) if b in part)
            if not legal:
                continue
            yield from itertools.product(*(list(self._subtrees(part, left)) for part in ordered))

    def _subtrees(self, group: tuple[int, ...], left: dict[str, tuple[int, bool]]) -> Iterator[Node]:
        common = [r for r in self.einsums[group[0]].ranks if all(r in self.einsums[n].ranks for n in group)]
        open_ranks = [r for r in common if left[r][0] > 1]
        if len(group) == 1 and not open_ranks:
            yield group[0]
        for rank in open_ranks:
            extent, tiled = left[rank]
            if any(rank not in self.cascade.ranks_of[t] for _, _, t in self.edges(group)):
                continue
            tiles = {1} if tiled else {-(-extent // trips) for trips in range(2, extent + 1)}
            for tile in tiles:
                inner = {**left, rank: (tile, True)}
                for body in self._bodies(group, inner):
                    if len(body) > 1 or not isinstance(body[0], int) or len(group) == 1:
                        yield Loop(rank, tile, body)


def _ordered_partitions(group: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Yield all ways to part a group into a sequence of groups."""
    if not group:
        yield ()
        return
    for size in range(1, len(group) + 1):
        for first in itertools.combinations(group, size):
            rest = tuple(n for n in group if n not in first)
            for others in _ordered_partitions(rest):
                yield (first, *others)


@dataclass(frozen=True)
class Touch:
    """An Einsum at one point: the loop iterations around it, and the values that it reads and writes."""

    einsum: int
    around: tuple[tuple[int, int], ...]
    reads: tuple[Value, ...]
    writes: Value


def touches(instance: Instance, tree: tuple[Node, ...]) -> list[Touch]:
    """The points of a tree in the order in which they run."""
    found: list[Touch] = []

    def value(tensor: str, at: Mapping[str, int]) -> Value:
        return tensor, tuple(at[r] for r in instance.cascade.ranks_of[tensor])

    def walk(node: Node, place: int, around: tuple[tuple[int, int], ...], box: Mapping[str, range]) -> None:
        if isinstance(node, int):
            at = {r: span.start for r, span in box.items()}
            reads = tuple(value(t, at) for t in instance.reads[node])
            found.append(Touch(node, around, reads, value(instance.einsums[node].name, at)))
            return
        span = box[node.rank]
        for number, start in enumerate(range(span.start, span.stop, node.tile)):
            inner = {**box, node.rank: range(start, min(span.stop, start + node.tile))}
            for child, body in enumerate(node.body):
                walk(body, child, (*around, (place, number)), inner)

    for place, node in enumerate(tree):
        walk(node, place, (), {r: range(s) for r, s in instance.sizes.items()})
    return found


def _identified(run: Sequence[Touch], item: Item) -> Iterator[tuple[int, tuple[object, Value], bool]]:
    """Yield when an item is touched: the time, the value with its scope, and whether it is written."""
    for time, touch in enumerate(run):
        depth = 0 if item.depth is None else item.depth
        if touch.einsum == item.writer:
            yield time, (touch.around[:depth], touch.writes), True
        if touch.einsum in item.readers:
            for value in touch.reads:
                if value[0] == item.tensor:
                    yield time, (touch.around[:depth], value), False


@dataclass(frozen=True)
class Profile:
    """An item over time: values there, whether one begins in the place of another, whether one ends; and moves."""

    item: Item
    there: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    moved: int


def profile(run: Sequence[Touch], item: Item) -> Profile:
    """Follow one item through a run."""
    first: dict[tuple[object, Value], int] = {}
    last: dict[tuple[object, Value], int] = {}
    known: set[Value] = set()
    begins = np.zeros(len(run), dtype=bool)
    ends = np.zeros(len(run), dtype=bool)
    for time, key, writes in _identified(run, item):
        if key not in first:
            first[key] = time
            if writes and key[1] not in known:
                begins[time] = True
            known.add(key[1])
        last[key] = time
    steps = np.zeros(len(run) + 1, dtype=int)
    for key, time in first.items():
        steps[time] += 1
        steps[last[key] + 1] -= 1
        ends[last[key]] |= run[last[key]].einsum in item.readers
    moved = len(first)
    if item.writer is not None:
        moved = 2 * len(first) - len(known) if item.depth is not None else len(known) * item.stores
    return Profile(item, np.cumsum(steps)[:-1], begins, ends, moved)


def _choices(instance: Instance, run: Sequence[Touch], tensor: str) -> Iterator[tuple[Item, ...]]:
    """All ways in which one tensor moves or stays."""
    paths = {touch.einsum: touch.around for touch in run}

    def scopes(readers: tuple[int, ...]) -> Iterator[tuple[Item, ...]]:
        for groups in _partitions(readers):
            depths = [range(_shared([paths[n] for n in group]) + 1) for group in groups]
            for chosen in itertools.product(*depths):
                yield tuple(Item(tensor, g, None, d) for g, d in zip(groups, chosen, strict=True))

    writer, readers = instance.written.get(tensor), instance.readers[tensor]
    if writer is None:
        yield from scopes(readers)
        return
    for size in range(len(readers) + 1):
        for staying in itertools.combinations(readers, size):
            others = tuple(n for n in readers if n not in staying)
            moves = list(scopes(others)) if others else [()]
            if staying:
                yield from ((Item(tensor, staying, writer, None, bool(others)), *more) for more in moves)
            else:
                depths = range(len(paths[writer]) + 1)
                yield from ((Item(tensor, (), writer, d, True), *more) for d in depths for more in moves)


def _partitions(members: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], ...]]:
    if not members:
        yield ()
        return
    first, *rest = members
    for size in range(len(rest) + 1):
        for others in itertools.combinations(rest, size):
            left = tuple(n for n in rest if n not in others)
            yield from (((first, *others), *more) for more in _partitions(left))


def _shared(paths: Sequence[tuple[tuple[int, int], ...]]) -> int:
    """How many loops are around all of some leaves."""
    places = [[place for place, _ in path] for path in paths]
    if len(paths) == 1:
        return len(places[0])
    count = 0
    while all(len(p) > count for p in places) and len({tuple(p[: count + 1]) for p in places}) == 1:
        count += 1
    return count


Joined = tuple[np.ndarray, np.ndarray, np.ndarray, int, tuple[Item, ...]]
"""Of one choice for a tensor: values there, whether one begins, whether one ends, what moves, and the choice."""


def _undominated(profiles: list[tuple[Profile, ...]]) -> list[Joined]:
    """Join the items of each choice and drop choices that another one beats at every time."""
    joined = []
    for parts in profiles:
        there = sum(p.there for p in parts)
        begins, ends = (np.any([getattr(p, name) for p in parts], axis=0) for name in ("begins", "ends"))
        joined.append((there, begins, ends, sum(p.moved for p in parts), tuple(p.item for p in parts)))
    joined.sort(key=lambda j: (j[3], int(j[0].sum())))
    kept: list[Joined] = []
    for one in joined:
        if not any((k[0] <= one[0]).all() and (k[1] >= one[1]).all() and (k[2] >= one[2]).all() for k in kept):
            kept.append(one)
    return kept


def tree_front(instance: Instance, tree: tuple[Node, ...]) -> list[Schedule]:
    """The schedules of one tree that no other beats in both peak and traffic."""
    run = touches(instance, tree)
    tensors = [t for t in instance.cascade.ranks_of if t in instance.written or instance.readers[t]]
    there = np.zeros((1, len(run)), dtype=int)
    begins = ends = np.zeros((1, len(run)), dtype=bool)
    moved = np.zeros(1, dtype=int)
    chosen: list[tuple[Item, ...]] = [()]
    for tensor in tensors:
        choices = _undominated([tuple(profile(run, i) for i in items) for items in _choices(instance, run, tensor)])
        there = np.concatenate([there + c[0] for c in choices])
        begins, ends = np.concatenate([begins | c[1] for c in choices]), np.concatenate([ends | c[2] for c in choices])
        moved = np.concatenate([moved + c[3] for c in choices])
        chosen = [items + c[4] for c in choices for items in chosen]
    peak = (there - (begins & ends)).max(axis=1)
    found: list[Schedule] = []
    for at in np.lexsort((moved, peak)):
        if not found or moved[at] < found[-1].moved:
            found.append(Schedule(tree, chosen[at], int(moved[at]), int(peak[at])))
    return found


def front(instance: Instance) -> list[Schedule]:
    """The schedules of all trees that no other beats, from the least peak on."""
    best: dict[int, Schedule] = {}
    for tree in instance.trees:
        for schedule in tree_front(instance, tree):
            if schedule.peak not in best or schedule.moved < best[schedule.peak].moved:
                best[schedule.peak] = schedule
    found: list[Schedule] = []
    for peak in sorted(best):
        if not found or best[peak].moved < found[-1].moved:
            found.append(best[peak])
    return found


class Memory:
    """A memory that holds so many values and no more, and counts what moves."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.moved = capacity, 0
        self.inside: dict[tuple[int, Value], None] = {}

    def put(self, key: tuple[int, Value]) -> None:
        """Take in a value."""
        assert key not in self.inside
        self.inside[key] = None
        assert len(self.inside) <= self.capacity, "does not fit"

    def load(self, key: tuple[int, Value]) -> None:
        """Take in a value from off chip."""
        self.moved += 1
        self.put(key)

    def drop(self, key: tuple[int, Value], *, store: bool = False) -> None:
        """Let go of a value that is there."""
        self.moved += store
        del self.inside[key]


def execute(instance: Instance, schedule: Schedule, capacity: int) -> int:
    """Run a schedule value by value in a memory of a capacity and return the values moved.

    Raises:
        AssertionError: it does not fit, a value is used that is not there, or one is computed twice.
    """
    memory, run = Memory(capacity), touches(instance, schedule.tree)
    last: dict[tuple[int, object, Value], int] = {}
    for number, item in enumerate(schedule.items):
        for time, (scope, value), _ in _identified(run, item):
            last[number, scope, value] = time
    begun: set[Value] = set()
    for time, touch in enumerate(run):
        ending, fresh, used = [], [], 0
        for number, item in enumerate(schedule.items):
            scope = touch.around[: item.depth or 0] if item.depth is not None else ()
            reads = touch.reads if touch.einsum in item.readers else ()
            value = next((v for v in reads if v[0] == item.tensor), None)
            if touch.einsum == item.writer:
                value = touch.writes
                if (number, value) not in memory.inside:
                    if value in begun:
                        assert item.depth is not None, "computed twice"
                        memory.load((number, value))
                    else:
                        fresh.append((number, value))
            elif value is not None:
                used += 1
                if (number, value) not in memory.inside:
                    assert item.depth is not None, "is not there"
                    memory.load((number, value))
            if value is not None and last[number, scope, value] == time:
                ending.append((number, value, touch.einsum == item.writer))
        assert used == len(touch.reads), "an operand is not there"
        operand = next((e for e in ending if not e[2]), None)
        if fresh and operand is not None:
            memory.drop(operand[:2])
            ending.remove(operand)
        for key in fresh:
            begun.add(key[1])
            memory.put(key)
        for number, value, writes in ending:
            memory.drop((number, value), store=writes and schedule.items[number].stores)
    stays = [i for i in schedule.items if i.depth is None and i.stores]
    return memory.moved + sum(len({v for t in run if t.einsum == i.writer for v in [t.writes]}) for i in stays)

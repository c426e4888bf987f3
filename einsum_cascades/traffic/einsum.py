"""The least traffic of one Einsum by itself: nested boxes in which its tensors stay.

Of each tensor one block at a time is on chip while loops over ranks that the tensor lacks walk a larger box. The boxes
of an Einsum's tensors lie one inside another; with the outermost tensor first, the box of tensor i has

    ranks that i lacks       as many values as a choice says; all there are where no tensor further out has the rank
    ranks that i has         as many values as the next box inside; one value of the innermost tensor
    traffic of i             size · Π ceil(N(r) / box(r)) over the ranks that it lacks; of a result size · (2 Π - 1)
    room                     the most that is on chip at some moments: during trips in the middle of all loops, and
                             between the two trips of loops that make no more

Any loops over tiles give such boxes: for each tensor the box that is walked while one block of it stays. A block is
fetched anew for each box along the ranks that the tensor lacks, so no such schedule moves less. And each moment says
which values were used before and will be again, so none needs less room. Where boxes are too many to try, several count
as one, with the room of the smallest and the trips of the largest.

Source: Huang et al., "Mind the Gap" (Orojenesis), ISCA 2024.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations, product

import numpy as np

from einsum_cascades.traffic.blocks import Block, Box, Numbers, ranges, repeats, room, trips


@dataclass(frozen=True)
class Free:
    """A tensor of an Einsum: its ranks, whether it is written, its values, and moves of these that do not count."""

    ranks: frozenset[str]
    written: bool
    size: int
    credit: int = 0


@dataclass(frozen=True)
class Task:
    """An Einsum by itself.

    Attributes:
        walks: its ranks.
        sizes: values of each.
        tensors: what it reads and writes.
    """

    walks: tuple[str, ...]
    sizes: Mapping[str, int]
    tensors: tuple[Free, ...]

    @property
    def in_place(self) -> bool:
        """Whether its result has all its ranks, so that a value of it may take the place of an operand."""
        return all(tensor.ranks >= set(self.walks) for tensor in self.tensors if tensor.written)


@dataclass(frozen=True)
class Front:
    """What an Einsum moves at least, by room: values on chip in rising order, and values moved with each."""

    rooms: Numbers
    moved: Numbers

    def least(self, capacity: int) -> float:
        """Values moved at least with a capacity in values; infinite where nothing fits."""
        at = int(np.searchsorted(self.rooms, capacity, side="right"))
        return float(self.moved[at - 1]) if at else np.inf


def front(task: Task, budget: int) -> Front:
    """Return the least traffic of an Einsum's tensors for every capacity.

    Args:
        budget: about how many sets of boxes may be looked at for each order of the tensors.
    """
    if not task.tensors:
        return Front(np.ones(1), np.zeros(1))
    rooms, totals = np.zeros(0), np.zeros(0)
    for boxes, order in _nests(task, budget):
        moved, needed = np.broadcast_arrays(_moved(task, boxes, order), _needed(task, boxes, order))
        rooms, totals = np.concatenate([rooms, needed.ravel()]), np.concatenate([totals, moved.ravel()])
        by_room = np.lexsort((totals, rooms))
        rooms, totals = rooms[by_room], totals[by_room]
        better = np.append(True, totals[1:] < np.minimum.accumulate(totals)[:-1])
        rooms, totals = rooms[better], totals[better]
    return Front(rooms, totals)


def _nests(task: Task, budget: int) -> Iterator[tuple[list[Box], tuple[Free, ...]]]:
    """Yield the boxes of the tensors, outermost first, for each order of them; then one candidate in all."""
    seen = set()
    for order in permutations(task.tensors):
        mark = tuple(t.ranks for t in order), tuple(t.written for t in order)
        if mark not in seen and _sorted_where_alike(order):
            seen.add(mark)
            lacked = [frozenset(task.walks) - tensor.ranks for tensor in order]
            for twice in doublings(lacked):
                yield _boxes(task, order, budget, twice), order


def _sorted_where_alike(order: Sequence[Free]) -> bool:
    """Whether neighbours with the same ranks, whose order does not matter, stand in one order."""
    return all(a.ranks != b.ranks or a.written >= b.written for a, b in pairwise(order))


def doublings(lacked: Sequence[frozenset[str]]) -> Iterator[tuple[str | None, ...]]:
    """Yield at which places two trips along one rank are made, though more of a rank would take no larger block.

    Two trips need less room than more. The innermost place is left out: one value needs no less.
    """
    options: list[tuple[str | None, ...]] = []
    for place, ranks in enumerate(lacked):
        free = [r for r in ranks if all(r in outer for outer in lacked[:place])]
        options.append((None, *sorted(ranks)) if free and place < len(lacked) - 1 else (None,))
    return product(*options)


def stack(
    walls: Box,
    start: Box,
    lacked: Sequence[frozenset[str]],
    twice: Sequence[str | None],
    axes: Mapping[tuple[int, str], Block],
) -> list[Box]:
    """Return the boxes of tensors that lack some ranks, outermost first, around a box that all contain."""
    inner, boxes = dict(start), list[Box]()
    for place in reversed(range(len(lacked))):
        for rank in lacked[place]:
            axis, wall = axes.get((place, rank)), walls[rank]
            if twice[place] is not None:
                double = Block(inner[rank].least + 1, 2 * inner[rank].most)
                inner[rank] = double.within(wall) if twice[place] == rank else inner[rank]
            else:
                inner[rank] = wall if axis is None else inner[rank].above(axis.within(wall))
        boxes.insert(0, dict(inner))
    return boxes


def axes_of(places: Sequence[tuple[int, str]], sizes: Mapping[str, int], each: int) -> dict[tuple[int, str], Block]:
    """Return for each choice of a rank's values all there are, each along an axis of its own after the first."""
    found = {}
    for number, (place, rank) in enumerate(places):
        pairs = np.array(ranges(sizes[rank], each), dtype=float)
        shape = [1] * (1 + len(places))
        shape[1 + number] = len(pairs)
        found[place, rank] = Block(pairs[:, 0].reshape(shape), pairs[:, 1].reshape(shape))
    return found


def chosen_places(lacked: Sequence[frozenset[str]], twice: Sequence[str | None]) -> list[tuple[int, str]]:
    """Places and ranks of which there is a choice: more of the rank takes a larger block of a tensor further out."""
    return [
        (place, rank)
        for place, ranks in enumerate(lacked)
        for rank in sorted(ranks)
        if twice[place] is None and not all(rank in outer for outer in lacked[:place])
    ]


def _boxes(task: Task, order: tuple[Free, ...], budget: int, twice: tuple[str | None, ...]) -> list[Box]:
    lacked = [frozenset(task.walks) - tensor.ranks for tensor in order]
    places = chosen_places(lacked, twice)
    each = max(4, int(budget ** (1 / len(places)))) if places else 1
    one = np.ones([1] * (1 + len(places)))
    walls = {rank: Block(one * task.sizes[rank], one * task.sizes[rank]) for rank in task.walks}
    start: Box = dict.fromkeys(task.walks, Block(one, one))
    return stack(walls, start, lacked, twice, axes_of(places, task.sizes, each))


def _moved(task: Task, boxes: Sequence[Box], order: Sequence[Free]) -> Numbers:
    total = np.zeros(1)
    for tensor, box in zip(order, boxes, strict=True):
        times = repeats((r for r in task.walks if r not in tensor.ranks), task.sizes, box)
        total = total + tensor.size * (2 * times - 1 if tensor.written else times) - tensor.credit
    return total


def sweeps(outer: Box, inner: Box, lacked: frozenset[str]) -> Numbers:
    """Fewest trips of the loops that walk from one box to the next."""
    found = np.ones(1)
    for rank in lacked:
        found = found * trips(outer[rank], inner[rank])
    return found


def touched(
    ranks: frozenset[str], boxes: Sequence[Box], lacked: Sequence[frozenset[str]], times: Sequence[Numbers]
) -> Numbers:
    """Fewest values of a tensor that are touched, of a box's first trip, before the trip that runs.

    Args:
        ranks: of the tensor.
        boxes: those inside, outermost first; one more than there are loops.
        lacked, times: of the loops from each box to the next; those of three trips or more are in the last but one,
            others in the first.
    """
    found, whole_box = np.zeros(1), np.zeros(1, dtype=bool)
    for place, missing in enumerate(lacked):
        before = np.where(times[place] >= 3, times[place] - 2, 0)
        again = sweeps(boxes[place], boxes[place + 1], missing - ranks)
        if missing & ranks:
            step = np.floor(before / again) * room(ranks, boxes[place + 1])
            found = found + np.where(whole_box, 0, step)
        else:
            every = (before >= 1) & (again >= 2) & ~whole_box
            found = found + np.where(every, room(ranks, boxes[place]), 0)
            whole_box = whole_box | every
    return found


@dataclass(frozen=True)
class Presence:
    """How much of a tensor is on chip, by level of loops.

    Attributes:
        within: while all loops down to the level are in the last but one of three trips or more, or the first of two.
        between: between the two trips of the level's loops, once all of the first has run.
    """

    within: tuple[Numbers, ...]
    between: tuple[Numbers, ...]


def presence(
    ranks: frozenset[str], at: int, boxes: Sequence[Box], lacked: Sequence[frozenset[str]], times: Sequence[Numbers]
) -> Presence:
    """Follow a tensor whose box is at a level through the loops from there on; boxes are one more than levels."""
    levels = len(lacked)
    within, between = ([np.zeros(1) for _ in range(levels)] for _ in range(2))
    settled = np.zeros(1, dtype=bool)
    for level in range(at, levels):
        again = sweeps(boxes[level], boxes[level + 1], lacked[level] - ranks)
        block = room(ranks, boxes[level + 1])
        here = ~settled & (again >= 2)

        def there(
            last: int, inside: int, level: int = level, again: Numbers = again, block: Numbers = block
        ) -> Numbers:
            loops = slice(level + 1, last)
            part = touched(ranks, boxes[level + 1 : last + 1], lacked[loops], times[loops])
            return np.where(again >= 3, block, np.minimum(part + room(ranks, boxes[inside]), block))

        for stop in range(level, levels):
            within[stop] = np.where(here, there(stop + 1, levels), within[stop])
            if stop > level:
                between[stop] = np.where(here, there(stop, stop + 1), between[stop])
        between[level] = np.where(here & (again == 2), block, between[level])
        settled = settled | here
    return Presence(tuple(within), tuple(between))


def _needed(task: Task, boxes: Sequence[Box], order: Sequence[Free]) -> Numbers:
    """Values on chip while it runs."""
    one = np.ones([1] * max((b.least.ndim for b in boxes[0].values()), default=1))
    walls: list[Box] = [*boxes, dict.fromkeys(task.walks, Block(one, one))]
    lacked = [frozenset(task.walks) - tensor.ranks for tensor in order]
    times = [sweeps(walls[at], walls[at + 1], lacked[at]) for at in range(len(order))]
    present = [presence(tensor.ranks, at, walls, lacked, times) for at, tensor in enumerate(order)]
    last = len(order) - 1
    found: Numbers = sum((np.maximum(p.within[last], 1) for p in present), np.zeros(1))
    for stop in range(last):
        total = sum((np.maximum(p.between[stop], 1) for p in present), np.zeros(1))
        found = np.maximum(found, np.where(times[stop] == 2, total, 0))
    return np.maximum(found - task.in_place, 1)

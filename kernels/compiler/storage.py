"""What of each tensor is kept, and for how long: the axes of every array that a compiled kernel allocates.

Along each rank a tensor keeps as little as its place in the loops allows:

- `ROW`: one entry per row of the rows that a worker has in hand;
- `BLOCK`: one entry per value of the block that a walk has in hand, where all that touch it are in this walk;
- `NONE`: a single entry, where all that touch it are in one walk that goes value by value;
- `RING`: the last few values of a tensor carried along an iterative rank, such as RM[m1] and RM[m1+1];
- `FULL`: every entry, where a value is read in another pass than the one that writes it.

A tensor that is written and read at every point of one nest is a scalar and takes no array. Results, and what
one region hands to another, are whole arrays, shared by all workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from einsum_cascades.ir import Access, Cascade, Const, Size, Subscript, Var
from kernels.compiler.plan import Fill, Region, Step, Walk


class Keep(StrEnum):
    """How much of a rank a tensor keeps."""

    FULL = "full"
    ROW = "row"
    BLOCK = "block"
    NONE = "none"
    RING = "ring"


@dataclass(frozen=True)
class Axis:
    """One axis of a stored tensor.

    Attributes:
        keep: how much is kept.
        position: place of the axis among the tensor's declared ranks.
        rank: the rank of the walk or of the rows, for `ROW` and `BLOCK`.
        depth: number of values kept by a `RING`.
    """

    keep: Keep
    position: int
    rank: str = ""
    depth: int = 0


@dataclass(frozen=True)
class Storage:
    """Where a tensor's values live.

    Attributes:
        tensor: its name.
        axes: the axes of its array, outermost first.
        region: the region whose workers each have one, or None for a shared array.
        scalar: whether it is a local variable of a nest instead.
    """

    tensor: str
    axes: tuple[Axis, ...]
    region: int | None = None
    scalar: bool = False


@dataclass(frozen=True)
class _Touch:
    """An access, with the region and the walks around it and the place in the order of the run."""

    access: Access
    writes: bool
    region: int
    path: tuple[Walk, ...]
    nest: int
    at: int


def storage_of(cascade: Cascade, regions: tuple[Region, ...], outputs: Iterable[str]) -> dict[str, Storage]:
    """Return the storage of every tensor of a normalised cascade, inputs included."""
    touches: dict[str, list[_Touch]] = {tensor: [] for tensor in cascade.ranks_of}
    plain_of = dict(cascade.views)
    viewed = {
        plain for tiled, plain in cascade.views if any(a.tensor == tiled for e in cascade.einsums for a in e.inputs)
    }
    for number, region in enumerate(regions):
        for touch in _touches(cascade, region.steps, number, ()):
            touches[touch.access.tensor].append(touch)
    written = {einsum.name for einsum in cascade.einsums}
    found = {}
    for tensor, ranks in cascade.ranks_of.items():
        if tensor not in written and plain_of.get(tensor) in cascade.ranks_of:
            continue
        whole = Storage(tensor, tuple(Axis(Keep.FULL, i) for i in range(len(ranks))))
        local = tensor in written and tensor not in {*outputs, *viewed} and touches[tensor]
        found[tensor] = _local(cascade, regions, tensor, touches[tensor]) if local else None
        found[tensor] = found[tensor] or whole
    return {tensor: storage for tensor, storage in found.items() if storage is not None}


def _touches(cascade: Cascade, steps: Iterable[Step], region: int, path: tuple[Walk, ...]) -> Iterator[_Touch]:
    for step in steps:
        if isinstance(step, Walk):
            yield from _touches(cascade, step.steps, region, (*path, step))
        elif isinstance(step, Fill):
            yield _Touch(cascade.einsums[step.einsum].output, True, region, path, -1, id(step))
        else:
            for index in step.einsums:
                einsum = cascade.einsums[index]
                yield _Touch(einsum.output, True, region, path, id(step), index)
                for access in einsum.inputs:
                    yield _Touch(access, False, region, path, id(step), index)


def _local(cascade: Cascade, regions: tuple[Region, ...], tensor: str, touches: list[_Touch]) -> Storage | None:
    """The storage of a tensor that only one region touches, or None."""
    if len({touch.region for touch in touches}) > 1:
        return None
    number = touches[0].region
    if _is_scalar(cascade, touches):
        return Storage(tensor, (), number, scalar=True)
    axes = [_axis(cascade, regions[number], touches, i) for i in range(len(cascade.ranks_of[tensor]))]
    kept = [axis for axis in axes if axis.keep is not Keep.NONE]
    if regions[number].rows is not None and not any(axis.keep is Keep.ROW for axis in kept):
        return None
    order = (Keep.ROW, Keep.RING)
    kept.sort(key=lambda axis: order.index(axis.keep) if axis.keep in order else len(order))
    return Storage(tensor, tuple(kept), number)


def _is_scalar(cascade: Cascade, touches: list[_Touch]) -> bool:
    """Whether a tensor is written by one Einsum without reductions and read at the same point of its nest."""
    writers = {touch.at for touch in touches if touch.writes}
    return (
        len(writers) == 1
        and len({touch.nest for touch in touches}) == 1
        and len({touch.access for touch in touches}) == 1
        and any(not touch.writes for touch in touches)
        and touches[0].nest != -1
        and not cascade.einsums[writers.pop()].reductions
    )


def _axis(cascade: Cascade, region: Region, touches: list[_Touch], position: int) -> Axis:
    """The least that must be kept along one rank."""
    subscripts = [touch.access.subscripts[position] for touch in touches]
    first = subscripts[0]
    if isinstance(first, Var) and all(subscript == first for subscript in subscripts):
        if first.rank == region.rows:
            return Axis(Keep.ROW, position, first.rank)
        if first.rank in region.batch:
            return Axis(Keep.NONE, position, first.rank)
        common = _common([touch.path for touch in touches])
        around = next((walk for walk in common if walk.rank == first.rank), None)
        if around is not None:
            return Axis(Keep.NONE if around.by_value else Keep.BLOCK, position, first.rank)
    depth = _ring(cascade, touches, position)
    return Axis(Keep.RING, position, depth=depth) if depth else Axis(Keep.FULL, position)


def _common(paths: list[tuple[Walk, ...]]) -> Iterator[Walk]:
    """Yield the walks that all paths begin with."""
    for steps in zip(*paths, strict=False):
        if any(step is not steps[0] for step in steps):
            return
        yield steps[0]


def _ring(cascade: Cascade, touches: list[_Touch], position: int) -> int:
    """How many values of a carried tensor are alive at once, or 0 where it is not carried by one walk.

    Inside the walk it is written at ``m1+s`` and read at ``m1+r``; before, init writes its first values, and
    after, the last one is read.
    """
    walks: list[Walk] = []
    inside: list[tuple[Var, bool]] = []
    outside: list[tuple[Subscript, bool]] = []
    for touch in touches:
        subscript = touch.access.subscripts[position]
        around = [w for w in touch.path if isinstance(subscript, Var) and w.rank == subscript.rank and w.by_value]
        if isinstance(subscript, Var) and around:
            walks += around
            inside.append((subscript, touch.writes))
        else:
            outside.append((subscript, touch.writes))
    if not walks or any(walk is not walks[0] for walk in walks):
        return 0
    rank = walks[0].rank
    bounds = {stop.bound for stop in cascade.stop if stop.rank == rank} | {Size(rank)}
    written = [subscript.shift for subscript, writes in inside if writes]
    read = [subscript.shift for subscript, writes in inside if not writes]
    last = [subscript for subscript, writes in outside if not writes]
    if not written or any(subscript not in bounds for subscript in last):
        return 0
    depth = max(written) - min([*written, *read]) + 1
    depth = max(depth, max(written)) if last else depth
    first = [subscript for subscript, writes in outside if writes]
    fits = all(isinstance(subscript, Const) and subscript.value < depth for subscript in first)
    return depth if fits else 0

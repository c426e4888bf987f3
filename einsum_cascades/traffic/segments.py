"""Segments: neighbouring Einsums that run fused, with what each tensor means to them.

A segment reads its inputs from off chip and writes its results there; everything between stays on chip, or is spilled
where it must wait for a later pass. The ranks of a family count as one rank here, since the size of its parts is for
the mapping to choose; ranks that every tensor of a segment has (batch, heads) only say how often it runs.

Source: Nayak et al., "FuseMax", MICRO 2024, section 3; Huang et al., "Mind the Gap: Attainable Data Movement and
Operational Intensity Bounds for Tensor Algorithms" (Orojenesis), ISCA 2024, for fused Einsums.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade, Einsum, Var
from einsum_cascades.passes import Family, Schedule
from einsum_cascades.traffic.moments import Split, moments_of

Gap = tuple[int, int]


@dataclass(frozen=True)
class Shape:
    """Extents of a tensor by rank (families as one).

    Attributes:
        ranks: those whose whole extent the tensor has; a tile of it has a tile of each.
        parts: (rank, extent) pairs where it keeps only some parts of a family, such as ``M1`` of ``M``; one that keeps
            none, or a single tile, lacks the rank.
    """

    ranks: tuple[str, ...]
    parts: tuple[tuple[str, int], ...] = ()

    @property
    def all_ranks(self) -> tuple[str, ...]:
        """All ranks, in part or in full."""
        return (*self.ranks, *(rank for rank, _ in self.parts))

    def size(self, sizes: Mapping[str, int]) -> int:
        """Values of the whole tensor."""
        return math.prod(sizes[r] for r in self.ranks) * math.prod(extent for _, extent in self.parts)


@dataclass(frozen=True)
class Crossing:
    """A tensor that waits from one pass over a rank to a later one.

    Attributes:
        tensor: its name.
        rank: the family whose passes it waits for.
        gaps: pairs of neighbouring slots between which it waits.
        moves: transfers of each value if it is spilled.
        tile: values of the fiber of one tile, if it waits only within a tile; None for the whole family.
    """

    tensor: str
    rank: str
    gaps: tuple[Gap, ...]
    moves: int
    tile: int | None = None


@dataclass(frozen=True)
class Segment:
    """Einsums run fused.

    Attributes:
        einsums: their names.
        sizes: size of each rank that they walk.
        shapes: by tensor.
        walked: per Einsum, its ranks.
        reads: per Einsum, the tensors that it reads from off chip.
        inputs: tensors read from off chip, each with all ranks that its readers walk.
        outputs: tensors written off chip, each with the ranks that are reduced into it.
        waits: tensors kept on chip, each with the ranks during whose loops it has to wait.
        crossings: tensors that wait for a later pass.
        uses: per Einsum, the tensors that it touches.
        walks: per Einsum, its ranks.
        splits: where passes part.
        repeats: how often the segment runs: once per value of its batch ranks. All else is of one run.
    """

    einsums: tuple[str, ...]
    sizes: Mapping[str, int]
    shapes: Mapping[str, Shape]
    reads: tuple[tuple[str, ...], ...]
    inputs: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, tuple[str, ...]]
    waits: Mapping[str, tuple[str, ...]]
    crossings: tuple[Crossing, ...]
    uses: tuple[tuple[str, ...], ...]
    walks: tuple[tuple[str, ...], ...]
    splits: tuple[Split, ...]
    repeats: int = 1

    def alone(self, number: int, free: Iterable[str]) -> Segment:
        """Return one Einsum by itself: of what it reads, only inputs of the segment are moved and take room.

        Args:
            free: inputs that are not counted.
        """
        name, walked = self.einsums[number], self.walks[number]
        reads = tuple(t for t in self.reads[number] if t not in free)
        return replace(
            self,
            einsums=(name,),
            sizes={rank: self.sizes[rank] for rank in walked},
            reads=(reads,),
            inputs=dict.fromkeys(reads, walked),
            outputs={name: tuple(rank for rank in walked if rank not in self.shapes[name].all_ranks)},
            waits={},
            crossings=(),
            uses=(self.uses[number],),
            walks=(walked,),
            splits=(),
        )

    @cached_property
    def moments(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the Einsums whose tiles are there together."""
        return moments_of(len(self.einsums), self.splits)

    @cached_property
    def compulsory(self) -> int:
        """Values that move in any case, in one run: each input in, each result out."""
        return sum(self.shapes[t].size(self.sizes) for t in (*self.inputs, *self.outputs))


class Segmenter:
    """Builds the segments of a cascade.

    Args:
        cascade: what runs.
        sizes: the size of each rank, parts and wholes.

    Raises:
        InputError: a rank has no size.
    """

    def __init__(self, cascade: Cascade, sizes: Mapping[str, int]) -> None:
        self.cascade = cascade
        self.given = sizes
        self.views = dict(cascade.views)
        self.whole = {part: p.rank for p in cascade.partitions for part in p.parts}
        init = [e for e in cascade.init if e.inputs]
        self.einsums: tuple[Einsum, ...] = (*init, *cascade.body, *cascade.final)
        self.sizes = {r: self._size(r) for e in self.einsums for r in self.ranks(e.ranks)}
        touched = {a.tensor for e in self.einsums for a in (e.output, *e.inputs)}
        self.shapes = {self.plain(t): self._shape(t) for t in cascade.ranks_of if t in touched}

    def ranks(self, ranks: Iterable[str]) -> tuple[str, ...]:
        """Ranks with each family as one."""
        return tuple(dict.fromkeys(self.whole.get(r, r) for r in ranks))

    def plain(self, tensor: str) -> str:
        """The tensor that a view shows."""
        return self.views.get(tensor, tensor)

    def cuts(self) -> tuple[int, ...]:
        """Where one segment may end and the next begin: around every contraction, at the start and at the end."""
        found = {0, len(self.einsums)}
        for index, einsum in enumerate(self.einsums):
            if self._contracts(einsum):
                found |= {index, index + 1}
        return tuple(sorted(found))

    @cached_property
    def _needs(self) -> dict[int, set[int]]:
        """The Einsums that read, directly or not, what each writes."""
        found: dict[int, set[int]] = {}
        for number in reversed(range(len(self.einsums))):
            name = self.einsums[number].name
            later = [
                n for n in range(number + 1, len(self.einsums)) if name in {a.tensor for a in self.einsums[n].inputs}
            ]
            found[number] = set(later).union(*(found[n] for n in later))
        return found

    def between(self, numbers: Collection[int]) -> set[int]:
        """Return the Einsums that need one of some Einsums, and that one of these needs."""
        after = set().union(*(self._needs[n] for n in numbers))
        return {n for n in after if self._needs[n] & set(numbers)}

    def segment(self, numbers: Collection[int]) -> Segment:
        """Return the segment of some Einsums, in the order listed."""
        inside = tuple(e for number, e in enumerate(self.einsums) if number in numbers)
        outside = tuple(e for number, e in enumerate(self.einsums) if number not in numbers)
        written = {e.name for e in inside}
        read = [tuple(dict.fromkeys(self.plain(a.tensor) for a in e.inputs)) for e in inside]
        shapes = self.shapes_in(inside)
        wanted = {self.plain(a.tensor) for e in outside for a in e.inputs} | set(self.cascade.outputs)
        inputs: dict[str, tuple[str, ...]] = {}
        outputs: dict[str, tuple[str, ...]] = {}
        waits: dict[str, tuple[str, ...]] = {}
        for einsum, tensors in zip(inside, read, strict=True):
            walked = self.ranks(einsum.ranks)
            for tensor in tensors:
                known = waits if tensor in written else inputs
                known[tensor] = tuple(dict.fromkeys([*known.get(tensor, ()), *walked]))
            if einsum.name in wanted:
                reduced = [r for r in walked if r not in shapes[einsum.name].all_ranks]
                outputs[einsum.name] = tuple(dict.fromkeys([*outputs.get(einsum.name, ()), *reduced]))
        for einsum in inside:
            if einsum.name in waits:
                waits[einsum.name] = tuple(dict.fromkeys([*waits[einsum.name], *self.ranks(einsum.ranks)]))
        carried = self._carried(inside)
        schedules = self._schedules(inside, written)
        crossings = tuple(self._crossings(inside, set(outputs), written, schedules))
        held = {
            t: tuple(r for r in ranks if r not in shapes[t].all_ranks or r in carried.get(t, ()))
            for t, ranks in waits.items()
            if t not in outputs
        }
        segment = Segment(
            einsums=tuple(e.name for e in inside),
            sizes={r: self.sizes[r] for e in inside for r in self.ranks(e.ranks)},
            shapes=shapes | {t: _without(shapes[t], ranks) for t, ranks in carried.items() if t in held},
            reads=tuple(tuple(t for t in tensors if t not in written) for tensors in read),
            inputs=inputs,
            outputs=outputs,
            waits={t: ranks for t, ranks in held.items() if ranks},
            crossings=crossings,
            uses=tuple(tuple(dict.fromkeys(self.plain(a.tensor) for a in (e.output, *e.inputs))) for e in inside),
            walks=tuple(self.ranks(e.ranks) for e in inside),
            splits=self._splits(inside, schedules),
        )
        return _without_batches(segment, [self.ranks(e.ranks) for e in inside])

    def shapes_in(self, inside: tuple[Einsum, ...]) -> dict[str, Shape]:
        """Shapes of the tensors that some Einsums touch; a rank that they touch at one place only is left out."""
        walked: dict[str, set[str]] = {}
        for einsum in inside:
            for access in (einsum.output, *einsum.inputs):
                walked.setdefault(self.plain(access.tensor), set()).update(self.ranks(access.ranks))
        return {
            tensor: Shape(
                tuple(r for r in self.shapes[tensor].ranks if r in ranks),
                tuple((r, extent) for r, extent in self.shapes[tensor].parts if r in ranks),
            )
            for tensor, ranks in walked.items()
        }

    def _carried(self, inside: tuple[Einsum, ...]) -> dict[str, tuple[str, ...]]:
        """Iterative ranks of each tensor of which only the last value is kept: it is written for the next iteration."""
        found: dict[str, tuple[str, ...]] = {}
        for einsum in inside:
            shifted = [s.rank for s in einsum.output.subscripts if isinstance(s, Var) and s.shift]
            ranks = self.ranks(r for r in shifted if r in self.cascade.iterative_ranks)
            if ranks:
                found[einsum.name] = ranks
        return found

    def _schedules(self, inside: tuple[Einsum, ...], written: set[str]) -> list[tuple[str, int | None, Schedule]]:
        """Return the passes over each rank, and over the tiles of a split one: (rank, values of a tile, passes)."""
        body = set(self.cascade.body)
        part = replace(
            self.cascade,
            init=tuple(e for e in self.cascade.init if e.name in written),
            body=tuple(e for e in inside if e in body),
            final=tuple(e for e in inside if e in self.cascade.final),
        )
        found = []
        for rank in dict.fromkeys(r for e in inside for r in self.ranks(e.ranks)):
            family = self.cascade.family(rank)
            for start in range(len(family)):
                tile = math.prod(self.given[r] for r in family[start:]) if start else None
                found.append((rank, tile, Schedule(part, Family(part, family[start:]))))
        return found

    def _crossings(
        self,
        inside: tuple[Einsum, ...],
        outputs: set[str],
        written: set[str],
        schedules: list[tuple[str, int | None, Schedule]],
    ) -> list[Crossing]:
        touched = {self.plain(a.tensor) for e in inside for a in (e.output, *e.inputs)}
        found: dict[str, Crossing] = {}
        for rank, tile, schedule in schedules:
            for name, slots in schedule.tensor_visits().items():
                tensor = self.plain(name)
                if len(slots) > 1 and tensor in touched and tensor not in found and tile != 1:
                    gaps = tuple((s, s + 1) for s in range(slots[0], slots[-1]))
                    moves = len(slots) - 1 + (tensor in written and tensor not in outputs)
                    found[tensor] = Crossing(tensor, rank, gaps, moves, tile)
        return list(found.values())

    def _splits(
        self, inside: tuple[Einsum, ...], schedules: list[tuple[str, int | None, Schedule]]
    ) -> tuple[Split, ...]:
        """Return where passes part Einsums."""
        found = []
        for rank, tile, schedule in schedules:
            slot_of = dict(zip(schedule.cascade.einsums, schedule.slots, strict=True))
            slots = tuple(slot_of[einsum] for einsum in inside)
            if len(set(slots)) > 1 and tile != 1:
                found.append(Split(rank, slots, tile is not None))
        return tuple(found)

    def _contracts(self, einsum: Einsum) -> bool:
        """Whether it folds a rank over a product of tensors of different ranks."""
        shapes = {self.shapes[self.plain(a.tensor)].all_ranks for a in einsum.inputs}
        return bool(einsum.reductions) and len({frozenset(s) for s in shapes if s}) > 1

    def _shape(self, tensor: str) -> Shape:
        ranks = self.cascade.ranks_of[tensor]
        full, parts = [], {}
        for whole in self.ranks(ranks):
            own = [r for r in ranks if self.whole.get(r, r) == whole]
            extent = self._size(whole) if whole in own else math.prod(self._size(r) for r in own)
            if extent == self._size(whole):
                full.append(whole)
            elif extent > 1:
                parts[whole] = extent
        return Shape(tuple(full), tuple(parts.items()))

    def _size(self, rank: str) -> int:
        if rank in self.given:
            return self.given[rank]
        shown = ", ".join(f"{r}={s}" for r, s in self.given.items()) or "none"
        raise InputError(f"rank {rank} has no size", hint=f"give the size of {rank}; sizes given: {shown}")


def _without_batches(segment: Segment, walked: list[tuple[str, ...]]) -> Segment:
    """Take out the ranks that every Einsum walks and every tensor has in full, and say how often the rest runs."""
    crossed = {crossing.rank for crossing in segment.crossings}
    batches = [
        rank
        for rank in segment.sizes
        if rank not in crossed
        and all(rank in own for own in walked)
        and all(rank in shape.ranks for shape in segment.shapes.values())
    ]

    def others(ranks: Iterable[str]) -> tuple[str, ...]:
        return tuple(rank for rank in ranks if rank not in batches)

    return replace(
        segment,
        sizes={rank: segment.sizes[rank] for rank in others(segment.sizes)},
        shapes={tensor: Shape(others(shape.ranks), shape.parts) for tensor, shape in segment.shapes.items()},
        inputs={tensor: others(ranks) for tensor, ranks in segment.inputs.items()},
        walks=tuple(others(ranks) for ranks in segment.walks),
        repeats=math.prod(segment.sizes[rank] for rank in batches),
    )


def _without(shape: Shape, ranks: tuple[str, ...]) -> Shape:
    parts = tuple((rank, 1 if rank in ranks else extent) for rank, extent in shape.parts)
    extra = tuple((rank, 1) for rank in shape.ranks if rank in ranks)
    return Shape(tuple(r for r in shape.ranks if r not in ranks), (*parts, *extra))

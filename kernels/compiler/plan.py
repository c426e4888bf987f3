"""The loops of a cascade: regions of independent rows, and inside them the passes as fused loops.

A *region* is a group of Einsums that all walk one rank, the *rows* (such as the queries P), so that no row needs
another; the rows are shared out among the workers, a few at a time. An Einsum that reduces the rows is folded
by each worker over its share, and the parts are joined at the end. Ranks that lead every tensor of a
region (B, H) are walked by the same parallel loop. Inside, a `Walk` is one pass over a rank that several
Einsums share. It goes value by value where one value needs the one before (iterative ranks) or where the
inner parts of the family are walked inside; else in blocks, so that an Einsum's innermost loop runs over a
block of contiguous values. `Nest` is the loops of one Einsum, or of several that meet at every point, over
what the walks around it leave; `Fill` starts a running fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from einsum_cascades.graph import execution_plan
from einsum_cascades.ir import Cascade, Var
from kernels.compiler.dependences import Edge, cycles, edges_of, groups, inside, postponed, slots


@dataclass(frozen=True)
class Nest:
    """Einsums evaluated together at each point of the ranks that the walks around them leave open."""

    einsums: tuple[int, ...]


@dataclass(frozen=True)
class Fill:
    """An Einsum's result is set to the identity of its reduction before the walk that folds into it."""

    einsum: int


@dataclass(frozen=True)
class Walk:
    """A loop over a rank: value by value, or by blocks."""

    rank: str
    by_value: bool
    steps: tuple[Step, ...]


Step = Nest | Fill | Walk


@dataclass(frozen=True)
class Region:
    """Steps run for every row, and for every value of the batch ranks, independently.

    Attributes:
        rows: the rank whose values are the rows, or None where nothing is independent.
        batch: ranks that lead every tensor.
        steps: what is done, in order.
    """

    rows: str | None
    batch: tuple[str, ...]
    steps: tuple[Step, ...]


def regions_of(cascade: Cascade) -> tuple[Region, ...]:
    """Return the loops of a normalised cascade.

    Raises:
        InputError: Einsums need each other in a circle that no iterative rank resolves.
    """
    execution_plan(cascade)
    planner = _Planner(cascade)
    return tuple(planner.regions(frozenset(range(len(cascade.einsums))), planner.edges))


def members(steps: Iterable[Step]) -> Iterator[int]:
    """Yield the Einsums of some steps in the order in which they run."""
    for step in steps:
        if isinstance(step, Walk):
            yield from members(step.steps)
        elif isinstance(step, Nest):
            yield from step.einsums


class _Planner:
    """Chooses which loops Einsums share."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.einsums = cascade.einsums
        self.edges = edges_of(cascade)

    # ---------------------------------------------------------------- regions

    def regions(self, group: AbstractSet[int], edges: tuple[Edge, ...]) -> Iterator[Region]:
        """Yield regions that run one after another."""
        if not group:
            return
        edges = inside(edges, group)
        chosen = self.rows(group, edges)
        if chosen is None:
            yield Region(None, (), tuple(self.fuse(group, edges, frozenset())))
            return
        rank, first = chosen
        loop = min(slot | 1 for slot in first.values())
        before = {i for i, slot in first.items() if slot < loop}
        now = {i for i, slot in first.items() if slot == loop}
        yield from self.regions(before, edges)
        if not now:
            yield from self.regions(group - before, edges)
            return
        batch = tuple(self.batch(now, rank))
        yield Region(rank, batch, tuple(self.fuse(now, inside(edges, now), frozenset({rank, *batch}))))
        yield from self.regions(group - before - now, edges)

    def rows(self, group: AbstractSet[int], edges: tuple[Edge, ...]) -> tuple[str, dict[int, int]] | None:
        """The rank over which one parallel loop takes the most Einsums, and the slots of its loops.

        Of several, one that fewer Einsums reduce, along which fewer inputs lie contiguous. A recurrence and what
        is fused with it stay together: a rank that would part them is none of rows.
        """
        best: tuple[tuple[int, ...], str, dict[int, int]] | None = None
        iterated = [{i for i in group if t in self.einsums[i].ranks} for t in self.iterated(group, edges)]
        for rank in dict.fromkeys(r for i in sorted(group) for r in self.einsums[i].output.ranks):
            found = slots(self.cascade, group, edges, rank, parallel=True)
            places = sorted(set((found or {}).values()))
            together = [{i for i, slot in (found or {}).items() if slot == place} for place in places]
            now = {i for i, slot in (found or {}).items() if slot == 1}
            parted = any(t - loop and t & loop for loop in together for t in iterated)
            if found is None or parted or all(rank not in self.einsums[i].output.ranks for i in now):
                continue
            largest = max(len(loop) for loop, slot in zip(together, places, strict=True) if slot & 1)
            folded = sum(rank in self.einsums[i].reduced_ranks for i in now)
            score = (largest, -folded, -self.contiguous(now, rank), len(tuple(self.batch(now, rank))))
            if best is None or score > best[0]:
                best = score, rank, postponed(self.cascade, edges, rank, found)
        return best and best[1:]

    def iterated(self, group: AbstractSet[int], edges: tuple[Edge, ...]) -> set[str]:
        """Iterative ranks over which some of the Einsums form a recurrence."""
        together = [set(cycle) for cycle in cycles(group, edges)]
        return {
            rank
            for edge in edges
            for rank, distance in edge.distances.items()
            if distance > 0 and any({edge.producer, edge.consumer} <= cycle for cycle in together)
        }

    def contiguous(self, group: AbstractSet[int], rank: str) -> int:
        """How many reads of inputs walk over a rank along the last axis."""
        touched = {a for i in group for a in self.einsums[i].inputs if a.tensor in self.cascade.inputs}
        return sum(a.subscripts[-1:] == (Var(rank),) for a in touched)

    def batch(self, group: AbstractSet[int], rows: str) -> Iterator[str]:
        """Yield the ranks that lead every tensor of a region."""
        touched = [a.subscripts for i in group for a in (self.einsums[i].output, *self.einsums[i].inputs)]
        while all(len(subscripts) > 1 and subscripts[0] == touched[0][0] for subscripts in touched):
            first = touched[0][0]
            if not isinstance(first, Var) or first.shift or first.rank == rows:
                return
            if any(Var(first.rank) in subscripts[1:] for subscripts in touched):
                return
            yield first.rank
            touched = [subscripts[1:] for subscripts in touched]

    # ---------------------------------------------------------------- walks

    def fuse(
        self, group: AbstractSet[int], edges: tuple[Edge, ...], opened: AbstractSet[str], last: str = ""
    ) -> list[Step]:
        """Return the steps of some Einsums inside loops over some ranks, and after a pass over the rank ``last``."""
        if not group:
            return []
        edges = inside(edges, group)
        chosen = self.shared(group, edges, opened, last)
        if chosen is None:
            return self.apart(group, edges, opened)
        rank, found = chosen
        loop = min(slot | 1 for slot in found.values())
        before = {i for i, slot in found.items() if slot < loop}
        now = {i for i, slot in found.items() if slot == loop}
        return [
            *self.fuse(before, edges, opened),
            *self.walk(rank, now, inside(edges, now), opened),
            *self.fuse(group - before - now, edges, opened, rank),
        ]

    def shared(
        self, group: AbstractSet[int], edges: tuple[Edge, ...], opened: AbstractSet[str], last: str
    ) -> tuple[str, dict[int, int]] | None:
        """The rank that the Einsums walk together, and its slots; None where none is worth a common loop."""
        needed = self.iterated(group, edges)
        ranks = [r for r in self.order(group) if r not in opened]
        if any(True for _ in cycles(group, edges)):
            ranks = [r for r in self.cascade.iterative_ranks if r in ranks and r in needed]
        scores = {r: sum(e.distances.get(r, -1) >= 0 for e in edges if self.both(e, r)) for r in ranks}
        for rank in sorted(ranks, key=lambda r: (-scores[r], r != last)):
            found = slots(self.cascade, group, edges, rank) if scores[rank] else None
            if found is not None:
                return rank, postponed(self.cascade, edges, rank, found)
        return None

    def both(self, edge: Edge, rank: str) -> bool:
        """Whether both ends of a dependence walk over a rank."""
        return rank in self.einsums[edge.producer].ranks and rank in self.einsums[edge.consumer].ranks

    def order(self, group: AbstractSet[int]) -> list[str]:
        """The ranks that some Einsums walk over, outer parts of a family first."""
        found = list(dict.fromkeys(r for i in sorted(group) for r in self.einsums[i].ranks))
        place = {part: i for p in self.cascade.partitions for i, part in enumerate(p.parts)}
        return sorted(found, key=lambda rank: place.get(rank, 0))

    def walk(self, rank: str, group: AbstractSet[int], edges: tuple[Edge, ...], opened: AbstractSet[str]) -> list[Step]:
        """Return one pass over a rank, after the starts of what it folds."""
        if not group:
            return []
        family = self.cascade.family(rank)
        inner = set(family[family.index(rank) + 1 :]) if rank in family else set()
        carried = tuple(e for e in edges if e.distances.get(rank, 0) > 0)
        by_value = bool(carried) or any(inner & (set(self.einsums[i].ranks) - opened) for i in group)
        steps = self.fuse(group, tuple(e for e in edges if e not in carried), opened | {rank})
        if not by_value and len(steps) == 1 and isinstance(steps[0], Nest):
            return steps
        started = [
            Fill(i)
            for i in sorted(group)
            if rank in self.einsums[i].reduced_ranks and not opened & set(self.einsums[i].reduced_ranks)
        ]
        return [*started, Walk(rank, by_value, tuple(steps))]

    def apart(self, group: AbstractSet[int], edges: tuple[Edge, ...], opened: AbstractSet[str]) -> list[Step]:
        """Return the Einsums one after another: recurrences as walks of their own, the others as nests."""
        steps: list[Step] = []
        open_nests: list[list[int]] = []

        def flush() -> None:
            steps.extend(Nest(tuple(nest)) for nest in open_nests)
            open_nests.clear()

        recurrences = {tuple(cycle) for cycle in cycles(group, edges)}
        for component in groups(group, edges):
            if tuple(component) in recurrences:
                flush()
                steps += self.recurrence(component, inside(edges, set(component)), opened)
            else:
                self.place(component[0], open_nests, edges)
        flush()
        return steps

    def recurrence(self, component: Sequence[int], edges: tuple[Edge, ...], opened: AbstractSet[str]) -> list[Step]:
        """Return the walk of a recurrence alone, over the rank that `execution_plan` takes."""
        for rank in self.cascade.iterative_ranks:
            distances = [e.distances.get(rank, -1) for e in edges]
            if rank not in opened and min(distances) >= 0 and max(distances) > 0:
                return self.walk(rank, set(component), edges, opened)
        raise AssertionError("execution_plan has found a rank for every recurrence")

    def place(self, index: int, nests: list[list[int]], edges: tuple[Edge, ...]) -> None:
        """Put an Einsum into the nest of one whose value it reads at the same point, or into a new nest."""
        needs = [e for e in edges if e.consumer == index]
        last = max((n for n, nest in enumerate(nests) if any(e.producer in nest for e in needs)), default=-1)
        if last >= 0 and all(self.meets(e) for e in needs if e.producer in nests[last]):
            nests[last].append(index)
        else:
            nests.append([index])

    def meets(self, edge: Edge) -> bool:
        """Whether two Einsums walk over the same ranks, and one reads at each point what the other wrote there."""
        producer, consumer = self.einsums[edge.producer], self.einsums[edge.consumer]
        return (
            not producer.reductions
            and producer.output.tensor != consumer.output.tensor
            and set(producer.ranks) == set(consumer.ranks)
            and edge.write == edge.read
        )

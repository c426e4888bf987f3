"""Which Einsums must run before which, and over which ranks two of them may share a loop.

Sharing a loop over a rank is possible when the consumer reads, at each value of the rank, what the producer
wrote at this value (distance 0) or at an earlier one (distance > 0, *carried*: the loop must then run in
order). It is impossible when the producer reduces the rank, since its result is complete only after the loop;
this is where a new pass begins. Loops over one rank are numbered by *slots*: odd ones are loops, even ones lie
between them, and every Einsum takes the earliest slot that its operands allow.

Source: Nayak et al., "FuseMax", MICRO 2024, section 3 (passes); Kennedy and McKinley, "Typed fusion with
applications to parallel and sequential code generation", 1993 (the greedy numbering).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from einsum_cascades.components import components
from einsum_cascades.graph import dependencies
from einsum_cascades.ir import Access, Cascade, Const, Einsum, Size, Var


@dataclass(frozen=True)
class Edge:
    """One Einsum must write before another one reads, or overwrites, the same tensor.

    Attributes:
        producer, consumer: indices into ``cascade.einsums``.
        write, read: the accesses that may meet.
        view: whether the consumer reads a tiled view of what is written.
    """

    producer: int
    consumer: int
    write: Access
    read: Access
    view: bool = False

    @cached_property
    def distances(self) -> dict[str, int]:
        """How many values of a rank earlier the value read was written, for ranks that both walk in one place."""
        if self.view:
            return {rank: 0 for rank in self.write.ranks if rank in self.read.ranks and self._plain(rank)}
        found: dict[str, int] = {}
        for w, r in zip(self.write.subscripts, self.read.subscripts, strict=False):
            if isinstance(w, Var) and isinstance(r, Var) and w.rank == r.rank:
                found[w.rank] = w.shift - r.shift
        return found

    def _plain(self, rank: str) -> bool:
        return Var(rank) in self.write.subscripts and Var(rank) in self.read.subscripts


def edges_of(cascade: Cascade) -> tuple[Edge, ...]:
    """Return every dependence: reads of computed values, and overwriting of one Einsum's values by another."""
    views = dict(cascade.views)
    found = [
        Edge(d.producer, d.consumer, d.write, d.read, view=views.get(d.read.tensor) == d.write.tensor)
        for d in dependencies(cascade)
    ]
    for (i, first), (j, second) in combinations(enumerate(cascade.einsums), 2):
        if first.name == second.name and _meet(first.output, second.output):
            found.append(Edge(i, j, first.output, second.output))
    return tuple(found)


def _meet(first: Access, second: Access) -> bool:
    for pair in zip(first.subscripts, second.subscripts, strict=False):
        for a, b in (pair, pair[::-1]):
            if isinstance(a, Const) and isinstance(b, Const) and a != b:
                return False
            if isinstance(a, Const) and (isinstance(b, Size) or (isinstance(b, Var) and b.shift > a.value)):
                return False
    return True


def inside(edges: Iterable[Edge], members: AbstractSet[int]) -> tuple[Edge, ...]:
    """Return the edges between members."""
    return tuple(e for e in edges if e.producer in members and e.consumer in members)


def groups(members: AbstractSet[int], edges: Iterable[Edge]) -> list[list[int]]:
    """Return the strongly connected components in an order that can run, by position where there is a choice."""
    needs: dict[int, list[int]] = {member: [] for member in sorted(members)}
    for edge in edges:
        needs[edge.consumer].append(edge.producer)
    return components(needs)


def cycles(members: AbstractSet[int], edges: Iterable[Edge]) -> Iterator[list[int]]:
    """Yield the recurrences: Einsums that need their own earlier results."""
    edges = tuple(edges)
    alone = {e.producer for e in edges if e.producer == e.consumer}
    for group in groups(members, edges):
        if len(group) > 1 or group[0] in alone:
            yield group


def slots(
    cascade: Cascade, members: AbstractSet[int], edges: Iterable[Edge], rank: str, *, parallel: bool = False
) -> dict[int, int] | None:
    """Return the earliest slot of each member, or None where no numbering exists (a recurrence split by loops).

    Args:
        cascade: whose Einsums are numbered.
        members: indices of the Einsums.
        edges: the dependences between them that the loops around have not resolved.
        rank: the rank looped over.
        parallel: whether the loop's values must not depend on each other; of the Einsums that reduce the rank,
            those that can be folded in parts (`folds_apart`) may stand in the loop, all others stand outside.
    """
    walks = {i: rank in cascade.einsums[i].ranks for i in members}
    if parallel:
        walks = {i: walks[i] and (rank in e.output.ranks or folds_apart(cascade, e)) for i, e in _of(cascade, members)}
    found = {i: int(walks[i]) for i in members}
    edges, changed = tuple(edges), True
    while changed:
        changed = False
        for edge in edges:
            start = found[edge.producer]
            distance = edge.distances.get(rank)
            shared = walks[edge.producer] and walks[edge.consumer] and distance is not None
            if not (shared and distance is not None and (distance == 0 if parallel else distance >= 0)):
                start += walks[edge.producer]
                start += walks[edge.consumer] and not start & 1
            if start > found[edge.consumer]:
                found[edge.consumer], changed = start, True
                if start > 2 * len(members) + 1:
                    return None
    return found


def _of(cascade: Cascade, members: AbstractSet[int]) -> list[tuple[int, Einsum]]:
    return [(i, cascade.einsums[i]) for i in sorted(members)]


def folds_apart(cascade: Cascade, einsum: Einsum) -> bool:
    """Whether each worker may fold its share of an Einsum's points into a result of its own, joined at the end.

    It can where no other Einsum writes the tensor, and this one writes all of it.
    """
    writers = sum(other.name == einsum.name for other in cascade.einsums)
    return writers == 1 and all(isinstance(s, Var) and not s.shift for s in einsum.output.subscripts)


def postponed(cascade: Cascade, edges: Iterable[Edge], rank: str, found: dict[int, int]) -> dict[int, int]:
    """Return slots in which an Einsum that only later loops read runs in the first of these.

    It moves only where no more values along the rank are kept from loop to loop; reductions, whose results are
    smaller than what they read, stay where they are.
    """
    edges, found = tuple(edges), dict(found)
    tied = {i for group in cycles(found.keys(), edges) for i in group}
    for index in reversed([i for group in groups(found.keys(), edges) for i in group]):
        einsum = cascade.einsums[index]
        kept = rank in einsum.output.ranks and not einsum.reductions
        reads = [e for e in edges if e.producer == index]
        first = min((found[e.consumer] for e in reads), default=0)
        shared = all(e.distances.get(rank, -1) >= 0 for e in reads if found[e.consumer] == first)
        if kept and shared and index not in tied and first & 1 and first > found[index]:
            moved = found | {index: first}
            found = moved if _kept(edges, rank, moved) <= _kept(edges, rank, found) else found
    return found


def _kept(edges: Iterable[Edge], rank: str, found: dict[int, int]) -> int:
    return len({e.producer for e in edges if rank in e.write.ranks and found[e.consumer] > found[e.producer]})

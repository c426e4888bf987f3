"""Where the stages of a pipeline stand, and in the iterations of which loops it goes on without emptying.

A pipeline goes on from one iteration of a loop around it to the next as far as nothing but loops and holds is between,
and each stage that reads what an earlier iteration of that loop hands on comes after the stage that makes it:

    (late - distance, slot) of the maker  <  (late, slot) of the reader

where the distance is how many of the pipeline's iterations one of the loop's has, at least. Else it empties there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from einsum_cascades.loops.arith import Number, chosen
from einsum_cascades.loops.measure import Measure
from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.tree import Compute, Hold, Late, Loop, Node, Parallel, Pipeline, nodes
from einsum_cascades.loops.turns import Cut, fewest


class Place(NamedTuple):
    """Where a stage of a pipeline stands: by how many iterations it is late, its slot, and the part of that it is."""

    late: int
    slot: int
    part: int


def parts_in(slot: Node) -> tuple[Node, ...]:
    """Return what runs side by side in a slot of a pipeline."""
    return slot.children if isinstance(slot, Parallel) else (slot,)


def lateness(part: Node) -> int:
    """Return by how many iterations a part of a slot is late."""
    while isinstance(part, Hold):
        part = part.body
    return part.by if isinstance(part, Late) else 0


def places(pipe: Pipeline) -> dict[int, Place]:
    """Return by the identity of a compute's node where in a pipeline it stands."""
    return {
        id(node): Place(lateness(part), slot, number)
        for slot, child in enumerate(pipe.children)
        for number, part in enumerate(parts_in(child))
        for node in nodes(part)
        if isinstance(node, Compute)
    }


def in_time(made: Place, used: Place, distance: Number) -> Any:
    """Return whether a value that is made so many iterations before is there in time for its use."""
    makes = made.late - distance
    ordered = made.slot < used.slot or (made.slot, made.part) == (used.slot, used.part)
    return (makes <= used.late) if ordered else (makes < used.late)


def goes_on(plan: Plan, pipe: Pipeline, rank: str, distance: Number) -> Any:
    """Return whether a pipeline goes on without emptying in the iterations of a loop around it.

    Args:
        rank: the loop's.
        distance: how many of the pipeline's iterations one of the loop's has, at least.
    """
    place, found = places(pipe), True
    for tensor, users in plan.users.items():
        if rank not in plan.carried_along(tensor):
            continue
        for reader, operand, writes in users:
            if writes or not operand.carried or id(reader.node) not in place:
                continue
            for maker, _, makes in users:
                if makes and id(maker.node) in place:
                    found = found & in_time(place[id(maker.node)], place[id(reader.node)], distance)
    return found


def iterations(plan: Plan, pipe: Pipeline, loops: Sequence[Loop], between: int, measure: Measure) -> Number:
    """Return how many iterations a pipeline has from one time that it is empty to the next; on average, rounded down.

    Args:
        loops: those around it.
        between: from which of them on nothing but loops and holds is between.
        measure: of the plan.
    """
    timed = [place for place, loop in enumerate(loops) if loop.over is None]
    *outer, own = timed
    everything = frozenset(plan.levels.dimensions)

    def turned(upto: int) -> Number:
        return measure.passing(loops[:upto], None, shared=everything)

    goes: Any = True
    distance, begins = _fewest(plan, loops[: own + 1]), turned(own)
    for place in reversed(outer):
        if place < between or goes is False:
            break
        goes = goes & goes_on(plan, pipe, loops[place].rank, distance)
        begins = chosen(goes, turned(place), begins)
        distance = distance * _fewest(plan, loops[: place + 1])
    return turned(own + 1) // begins


def _fewest(plan: Plan, loops: Sequence[Loop]) -> Number:
    """The fewest iterations of the last of some loops."""
    rank = loops[-1].rank
    cuts = [Cut(loop.tile, loop.over is not None) for loop in loops if loop.rank == rank]
    return fewest(plan.space.extent(rank), cuts)

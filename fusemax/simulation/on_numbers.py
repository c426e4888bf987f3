"""A mapping run on random numbers: is its result right, and are its accesses and its room what the engine says?

The functional simulator runs every point of every Einsum; the reference interpreter says what the result should be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from einsum_cascades.errors import InputError
from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.counts import count
from einsum_cascades.loops.space import Space
from einsum_cascades.rewrites.samples import random_inputs, shapes
from fusemax.evaluated import SpatialEvaluation
from fusemax.simulation.differences import Difference, of_accesses, totals
from hw_models.simulator.functional import Executed, max_error, reference, simulate
from hw_models.simulator.functional.layout import Ranks
from hw_models.spatial.activity import WITHIN_POINT

MOST_POINTS: Final = 3_000_000
"""Points that are run at most: some minutes' work."""
EXACT: Final = 1e-9
"""Largest error of a result that is right: sums may be added up in another order."""


@dataclass(frozen=True)
class Checked:
    """What running a mapping on numbers showed.

    Attributes:
        max_error: of the result, against the interpreter's; relative to values over 1.
        checked_reads: reads that found their value there, and complete.
        points: that were run.
        peak_bits: by memory, the most that one instance held.
        differences: counts that are not the engine's: accesses, points, steps, room.
    """

    max_error: float
    checked_reads: int
    points: int
    peak_bits: dict[str, int]
    differences: tuple[Difference, ...]

    @property
    def right(self) -> bool:
        """Whether the result is."""
        return self.max_error <= EXACT

    @property
    def passed(self) -> bool:
        """Whether the result is right and every count the engine's."""
        return self.right and not self.differences


def points_of(found: SpatialEvaluation) -> int:
    """Return how many points a mapping works on.

    Raises:
        InputError: they are too many to be run one by one.
    """
    points = sum(int(task.points) for task in found.activity.tasks.values())
    if points > MOST_POINTS:
        raise InputError(
            f"on numbers, {points:,} points would be run one by one, more than {MOST_POINTS:,}",
            hint="give smaller sizes: a shorter --seq-len, --batch 1 and --heads 1, or --set RANK=SIZE",
        )
    return points


def check_on_numbers(
    found: SpatialEvaluation, seed: int = 0, progress: Callable[[float], None] | None = None
) -> Checked:
    """Run an evaluation's mapping on random numbers.

    Args:
        progress: is told what part is done.

    Raises:
        InputError: it has too many points; or a read does not find its value, or a memory has no room.
    """
    points = points_of(found)
    space = found.activity.plan.space
    inputs = inputs_of(space, seed)
    done = simulate(found.mapping, space, found.architecture, inputs, progress=progress)
    differences = [*_accesses(found, done), *_work(found, done), *_room(found, done)]
    error = max_error(done.results, reference(space, inputs))
    return Checked(error, done.checked_reads, points, dict(done.peaks), tuple(differences))


def inputs_of(space: Space, seed: int) -> dict[str, Any]:
    """Return random inputs that suit a cascade, other ones for each instance, under the names of the plain tensors."""
    ranks = Ranks(space)
    used = {rank for own in shapes(space.cascade).values() for rank in own}
    sizes = {rank: ranks.sizes.get(rank) or ranks.part(rank).size for rank in used}
    seeds = np.random.SeedSequence(seed).generate_state(ranks.instances.size)
    drawn = [next(random_inputs(space.cascade, sizes, int(one), 1.0)) for one in seeds]
    return {tensor: np.stack([one[tensor] for one in drawn]) for tensor in drawn[0]}


def _accesses(found: SpatialEvaluation, done: Executed) -> list[Difference]:
    """What enters a link without dimensions leaves it, and goes by one name; a point's inside is the engine's alone."""
    plain = {node.name for node in found.architecture.nodes if not node.dimensions}
    engine = totals(row for row in found.activity.rows if row.tensor != WITHIN_POINT)
    accounts = [
        {at: n for at, n in counts.items() if not (at[0] in plain and at[2] == "delivered")}
        for counts in (engine, done.rows)
    ]
    return of_accesses(*accounts)


def _work(found: SpatialEvaluation, done: Executed) -> list[Difference]:
    steps = count(found.activity.plan).steps
    return [
        Difference(f"{what} of {task.name}", int(said), ran)
        for number, task in found.activity.tasks.items()
        for what, said, ran in (
            ("points", task.points, done.points[number]),
            ("steps", steps[number], done.steps[number]),
        )
        if said != ran
    ]


def _room(found: SpatialEvaluation, done: Executed) -> list[Difference]:
    """The engine's room with all copies, whatever the accounting counts; a short run may need less."""
    activity = found.activity
    said = live_bits(activity.plan, activity.bits, measure=activity.measure)
    return [
        Difference(f"bits of room in {memory}", int(said.get(memory, 0)), needed)
        for memory, needed in done.peaks.items()
        if said.get(memory, 0) < needed or (said.get(memory, 0) > needed and not done.short)
    ]

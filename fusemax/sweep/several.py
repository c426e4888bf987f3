"""Many points at once, whose trees differ: those of each tree are evaluated together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fusemax.sweep.batches import Points, columns_of, fill, refuse
from fusemax.sweep.results import Results
from hw_models.spatial.cost import label
from mappers.capacity import TooSmallError, too_small
from mappers.choose import Outcome, better, outcome, parts_of
from mappers.presets.named import IN_PARTS, preset_named

Array: TypeAlias = npt.NDArray[Any]
BLOCK: Final = 65536
"""Points evaluated together: many, as they are shared out among trees."""


def evaluate_several(points: Points, where: Array, results: Results) -> Array:
    """Evaluate points, each with the best of the trees that its preset has for it.

    Args:
        where: where the points stand in the results.

    Returns:
        Which points have none that fits, though the buffer is large enough.

    Raises:
        InputError: none of the points has a cost.
    """
    count, mapper = points.count, points.choice.mapper
    found = _Best(np.full(count, -1), np.zeros(count, bool), np.full(count, np.inf), np.zeros(count))
    parts, refused = parts_of(points.problem, preset_named(mapper), count)
    left, small, capacity = np.ones(count, bool), np.ones(count, bool), np.zeros(count, np.int64)
    for there, error in refused:
        if isinstance(error, TooSmallError):
            refuse(partial(_said, error), (error.room, 0), np.ones(there.shape, bool), where[there], results)
        else:
            results.fail(where[there], error.message)
        left[there] = False
    taken = [outcome(part.problem, part.tree, legal=part.legal) for part in parts]
    for number, (part, one) in enumerate(zip(parts, taken, strict=True)):
        buffer = part.problem.parts.buffer
        assert buffer.bytes is not None  # of memories, only the root may be endless
        found.improve(number, part.points, one)
        small[part.points] &= one.activity.peak_bits.get(buffer.name, 0) > 8 * buffer.bytes
        capacity[part.points] = buffer.bytes
    for number, (part, one) in enumerate(zip(parts, taken, strict=True)):
        there = found.fits[part.points] & (found.number[part.points] == number)
        if there.any():
            numbers = columns_of(one, part.problem) | {"fits": there, "tree": 0, "short": -1, "room": 0, "needed": 0}
            names = [label(name, one.cost) for name in one.cost.depends_s]
            fill((numbers, ([names], [])), where[part.points], results)
    left &= ~found.fits
    small &= left
    if small.any():
        name = parts[0].problem.parts.buffer.name
        refuse(lambda n, _: too_small(IN_PARTS[mapper], 0, n, name).message, (capacity, 0), small, where, results)
    return left & ~small


def _said(error: TooSmallError, room: int, _: int) -> str:
    return error.said.format(room)


@dataclass(frozen=True)
class _Best:
    """The best so far at each point: the number of its tree, whether it fits, its latency and off-chip traffic."""

    number: Array
    fits: Array
    seconds: Array
    moved: Array

    def improve(self, number: int, points: Array, one: Outcome) -> None:
        """Take a tree at those of its points where it is better."""
        able = np.broadcast_to(np.asarray(one.fits), points.shape)
        latency, traffic = (
            np.broadcast_to(np.asarray(x), points.shape) for x in (one.cost.latency_s, one.cost.dram_bytes)
        )
        seconds, moved = self.seconds[points], self.moved[points]
        ahead = able & (~self.fits[points] | better(latency, traffic, seconds, moved))
        at = points[ahead]
        self.number[at], self.fits[at] = number, True
        self.seconds[at], self.moved[at] = latency[ahead], traffic[ahead]

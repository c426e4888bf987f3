"""Many points at once: a preset's trees over arrays, through the same engine as one point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from einsum_cascades.loops.tree import INSTANCES, LoopTree
from fusemax.sweep.conditions import Names
from fusemax.sweep.machines import SpatialGroup
from fusemax.sweep.pointwise import Choice
from fusemax.sweep.results import Results
from hw_models.bound import TOLERANCE
from hw_models.prices import node_prices
from hw_models.spatial.cost import Cost, label
from mappers.capacity import too_small
from mappers.choose import Outcome, outcome
from mappers.presets.named import OVER_ARRAYS, preset_named
from mappers.presets.problem import Problem
from mappers.rows import passes_of

Array: TypeAlias = npt.NDArray[Any]
BLOCK: Final = 16384
"""Points evaluated together, so that their arrays stay in the cache and calls are few."""
WORD: Final = 2.0**62
"""Counts are evaluated in 64-bit integers where a bound on them stays below this."""
_MARGIN: Final = 64.0
"""By how much bits of a value, actions and cycles of a point raise a count, at most."""


@dataclass(frozen=True)
class Points:
    """Points that share all names, with their numbers.

    Attributes:
        sizes, instances: of the workload; numbers, or arrays over the points.
        count: how many points.
    """

    choice: Choice
    spatial: SpatialGroup
    sizes: Mapping[str, Any]
    instances: Any
    count: int

    @property
    def problem(self) -> Problem:
        """The problem, over arrays."""
        sizes = {**self.sizes, INSTANCES: self.instances}
        return Problem(self.choice.cascade, sizes, self.spatial.machine, self.choice.accounting)

    def wide(self) -> Array:
        """Return at which points a count may not fit 64 bits; the numbers are floats."""
        cascade = self.choice.cascade
        most: Any = 0.0
        for einsum in (*cascade.body, *cascade.final):
            points = _MARGIN * np.asarray(self.instances, float)
            for rank in dict.fromkeys(cascade.whole_rank(rank) for rank in einsum.ranks):
                points = points * np.asarray(self.sizes.get(rank, 1), float)
            most = np.maximum(most, points)
        return np.broadcast_to(np.asarray(most) >= WORD, (self.count,))


def is_batched(mapper: str) -> bool:
    """Whether a mapper takes arrays."""
    return mapper in OVER_ARRAYS


def evaluate_batch(points: Points, where: Array, results: Results) -> Array:
    """Evaluate points, each with the best of its preset's trees.

    Args:
        where: where the points stand in the results.

    Returns:
        Which points have none that fits, though the buffer is large enough.

    Raises:
        InputError: none of the points has a cost.
    """
    problem, count = points.problem, points.count
    trees = preset_named(points.choice.mapper)(problem)
    taken = [outcome(problem, tree) for tree in ((trees,) if isinstance(trees, LoopTree) else trees)]
    best, fits = _chosen(taken, count)
    for number, one in enumerate(taken):
        there = fits & (best == number)
        if there.any():
            results.fill(where[there], {k: _at(v, there) for k, v in _columns(one, problem, count).items()})
    buffer = problem.parts.buffer
    small = ~fits & np.all([one.activity.peak_bits[buffer.name] > 8 * buffer.bytes for one in taken], axis=0)
    if small.any():
        refuse(lambda n: too_small("fused", 0, n, buffer.name).message, buffer.bytes, small, where, results)
    left: Array = ~fits & ~small
    return left


def _chosen(taken: list[Outcome], count: int) -> tuple[Array, Array]:
    """Return the number of the best outcome at each point, and whether it fits."""
    best = np.zeros(count, np.int64)
    fits = np.broadcast_to(np.asarray(taken[0].fits), (count,)).copy()
    if len(taken) == 1:
        return best, fits
    seconds, moved = (np.broadcast_to(np.asarray(x), (count,)).copy() for x in _speed(taken[0].cost))
    for number, one in enumerate(taken[1:], 1):
        able = np.broadcast_to(np.asarray(one.fits), (count,))
        latency, traffic = (np.broadcast_to(np.asarray(x), (count,)) for x in _speed(one.cost))
        better = able & (~fits | (latency < seconds) | ((latency == seconds) & (traffic < moved)))
        best[better], fits[better] = number, True
        seconds[better], moved[better] = latency[better], traffic[better]
    return best, fits


def _speed(cost: Cost) -> tuple[Any, Any]:
    return cost.latency_s, cost.dram_bytes


def _columns(one: Outcome, problem: Problem, count: int) -> dict[str, Any]:
    found = one.cost
    return {
        "latency_s": found.latency_s,
        "energy_j": found.energy_j,
        "area_mm2": node_prices(problem.machine).area_mm2,
        "util_2d": found.utilization.get("array_2d"),
        "util_1d": found.utilization.get("array_1d"),
        "dram_bytes": found.dram_bytes,
        "buffer_bytes": found.peak_bytes.get(problem.parts.buffer.name, 0),
        "passes": passes_of(problem.cascade),
        "bound": bounds(found, count),
    }


def bounds(cost: Cost, count: int) -> Names:
    """Return what the latency depends on most at each point, as ``Cost.bound`` tells it for one."""
    most: Any = 0.0
    for seconds in cost.depends_s.values():
        most = np.maximum(most, seconds)
    code: Any = np.zeros(count, np.int64)
    for place, seconds in enumerate(cost.depends_s.values()):
        code = code | (np.greater_equal(seconds, (1 - TOLERANCE) * most).astype(np.int64) << place)
    distinct, which = np.unique(code, return_inverse=True)
    names = [label(name, cost) for name in cost.depends_s]
    texts = ["+".join(name for place, name in enumerate(names) if one >> place & 1) for one in distinct.tolist()]
    return Names(which.reshape(-1).astype(np.int32), tuple(texts))


def _at(value: Any, there: Array) -> Any:
    if isinstance(value, Names):
        return value.take(there)
    return value[there] if isinstance(value, np.ndarray) and value.ndim else value


def refuse(reason: Callable[[int], str], capacity: Any, refused: Array, where: Array, results: Results) -> None:
    """Say of each point refused which capacity was too small."""
    capacities = np.broadcast_to(np.asarray(capacity), refused.shape)[refused]
    distinct, which = np.unique(capacities, return_inverse=True)
    codes = np.asarray([results.code("status", reason(int(c))) for c in distinct], np.int32)
    results.columns["status"][where[refused]] = codes[which.reshape(-1)]


__all__ = ["BLOCK", "InputError", "Points", "evaluate_batch", "is_batched", "refuse"]

"""Many points at once: a preset's trees over arrays, through the same engine as one point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.loops.arith import chosen
from einsum_cascades.loops.tree import INSTANCES
from fusemax.sweep.conditions import Names
from fusemax.sweep.machines import SpatialGroup
from fusemax.sweep.pointwise import Choice
from fusemax.sweep.replay import Found
from fusemax.sweep.results import Results
from fusemax.sweep.wide import is_wide
from hw_models.bound import TOLERANCE
from hw_models.prices import node_prices
from hw_models.spatial.cost import label
from mappers.capacity import TooSmallError
from mappers.choose import Limit, Outcome, better, limits, outcome, trees_of
from mappers.presets.apart import apart_from_columns
from mappers.presets.named import OVER_ARRAYS, preset_named
from mappers.presets.problem import Problem
from mappers.rows import passes_of

Array: TypeAlias = npt.NDArray[Any]
BLOCK: Final = 16384
"""Points evaluated together, so that their arrays stay in the cache and calls are few."""
Reason: TypeAlias = Callable[[int, int], str]
"""From what is there and what is needed to why a point has no cost."""


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
        found = is_wide(self.choice.cascade, self.spatial.machine, self.sizes, self.instances)
        return np.broadcast_to(found, (self.count,))


def is_batched(mapper: str, cascade: Cascade) -> bool:
    """Whether a mapper takes arrays for a cascade; what runs apart from a fused nest is searched point by point."""
    if mapper not in OVER_ARRAYS:
        return False
    try:
        return apart_from_columns(cascade)[0] is None
    except InputError:
        return True


def evaluated(points: Points) -> Found:
    """Return what the best of a preset's trees costs at each point.

    Beside costs, by name: ``fits``, whether one does; ``bound``, a bit for each of the resources that the latency
    depends on most; ``tree``, the number of the tree; and where none fits, ``short``, the number of the reason, with
    its numbers ``room`` and ``needed``. Beside these the names of the resources of each tree, and the reasons.

    Raises:
        InputError: none of the points has a cost.
    """
    problem = points.problem
    try:
        trees = preset_named(points.choice.mapper)(problem)
    except TooSmallError as error:
        why = error.said
        return {"fits": False, "tree": 0, "bound": 0, "short": 0, "room": error.room, "needed": 0}, (
            [[]],
            [lambda room, _: why.format(room)],
        )
    taken = [outcome(problem, tree) for tree in trees_of(trees)]
    found = columns_of(taken[0], problem) | {"fits": taken[0].fits, "tree": 0}
    for number, one in enumerate(taken[1:], 1):
        other = columns_of(one, problem) | {"tree": number}
        key = ("latency_s", "dram_bytes")
        ahead = better(*(other[name] for name in key), *(found[name] for name in key))
        ahead = one.fits & (ahead | np.logical_not(found["fits"]))
        found |= {name: chosen(ahead, value, found[name]) for name, value in other.items()}
        found["fits"] = found["fits"] | one.fits
    short: dict[str, Any] = {"short": -1, "room": 0, "needed": 0}
    lacking = limits(taken[0].activity, problem.accounting)
    for number, limit in reversed(list(enumerate(lacking))):
        mine = {"short": number, "room": limit.room, "needed": limit.needed}
        short = {name: chosen(limit.needed > limit.room, value, short[name]) for name, value in mine.items()}
    names = [[label(name, one.cost) for name in one.cost.depends_s] for one in taken]
    return found | short, (names, [partial(_said, limit) for limit in lacking])


def _said(limit: Limit, room: int, needed: int) -> str:
    return limit._replace(room=0, needed=0).said(room, needed).message


def fill(found: Found, where: Array, results: Results) -> None:
    """Set the results of points; ``where`` says where they stand in them."""
    numbers, (names, reasons) = found
    numbers = dict(numbers)
    fits, tree, bits, short, room, needed = (
        np.broadcast_to(numbers.pop(name), where.shape) for name in ("fits", "tree", "bound", "short", "room", "needed")
    )
    if fits.any():
        there = slice(None) if fits.all() else fits
        costs = {name: value[there] if np.ndim(value) else value for name, value in numbers.items()}
        results.fill(where[there], costs | {"bound": _bounds(tree[there], bits[there], names)})
    for number, reason in enumerate(reasons):
        refuse(reason, (room, needed), ~fits & (short == number), where, results)


def columns_of(one: Outcome, problem: Problem) -> dict[str, Any]:
    """Return what a tree costs, by column; of what the latency depends on most, a bit for each resource."""
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
        "bound": _bits(list(found.depends_s.values())),
    }


def _bits(depends_s: list[Any]) -> Any:
    """A bit for each resource that a latency depends on most, as ``hw_models.bound`` has it."""
    longest = depends_s[0]
    for seconds in depends_s[1:]:
        longest = np.maximum(longest, seconds)
    code: Any = 0
    for place, seconds in enumerate(depends_s):
        code = code + (seconds >= (1 - TOLERANCE) * longest) * (1 << place)
    return code


def _bounds(tree: Array, bits: Array, names: list[list[str]]) -> Names:
    """What latencies depend on most, in words."""
    distinct, which = np.unique(len(names) * bits + tree, return_inverse=True)
    texts = []
    for one in distinct.tolist():
        mask, number = divmod(one, len(names))
        texts.append("+".join(name for place, name in enumerate(names[number]) if mask >> place & 1))
    return Names(which.reshape(-1).astype(np.int32), tuple(texts))


def refuse(reason: Reason, said: tuple[Any, Any], refused: Array, where: Array, results: Results) -> None:
    """Say of each point refused why, with two numbers of its own."""
    if not refused.any():
        return
    numbers = np.stack([np.broadcast_to(np.asarray(number), refused.shape)[refused] for number in said])
    distinct, which = np.unique(numbers, axis=1, return_inverse=True)
    codes = np.asarray([results.code("status", reason(a, b)) for a, b in distinct.T.tolist()], np.int32)
    results.columns["status"][where[refused]] = codes[which.reshape(-1)]


__all__ = ["BLOCK", "InputError", "Points", "columns_of", "evaluated", "fill", "is_batched", "refuse"]

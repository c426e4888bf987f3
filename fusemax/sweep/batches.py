"""Many points at once: which strategies are evaluated over arrays, and what their outcomes mean for the points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from fusemax.evaluation import check_dtype
from fusemax.sweep.conditions import Names
from fusemax.sweep.machines import SpatialGroup
from fusemax.sweep.pointwise import Choice
from fusemax.sweep.results import Results
from hw_models.batched import BOUNDS
from mappers.batched.batch import Batch
from mappers.batched.flat import flat_batch
from mappers.batched.fused import fused_batch, fused_bound
from mappers.batched.phases import phase_bound
from mappers.batched.unfused import unfused_batch
from mappers.batched.values import WORD

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Batched:
    """A strategy over arrays.

    Attributes:
        run: returns the costs of many points.
        bound: returns a bound on the counts at each point.
        block: points evaluated together, so that their arrays stay in the cache and calls are few.
    """

    run: Callable[..., Batch]
    bound: Callable[..., Any]
    block: int


def _fused(*, interleaved: bool) -> Batched:
    run, bound = (partial(f, interleaved=interleaved) for f in (fused_batch, fused_bound))
    return Batched(run, bound, 16384)


BATCHED: Final[dict[str, Batched]] = {
    "unfused": Batched(unfused_batch, phase_bound, 65536),
    "flat": Batched(partial(flat_batch, from_table=True), phase_bound, 65536),
    "flat-searched": Batched(partial(flat_batch, from_table=False), phase_bound, 65536),
    "fusemax-serial": _fused(interleaved=False),
    "fusemax-interleaved": _fused(interleaved=True),
}


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

    def size(self, rank: str) -> Any:
        """Return the size of a rank.

        Raises:
            InputError: the workload does not give it.
        """
        if rank not in self.sizes:
            raise InputError(f"rank {rank} has no size")
        return self.sizes[rank]

    def wide(self) -> Array:
        """Return at which points a count may not fit 64 bits.

        Raises:
            InputError: none of the points has a cost.
        """
        bound = BATCHED[self.choice.mapper].bound
        found = bound(self.choice.cascade, self.size, self.instances, self.spatial.architecture)
        return np.broadcast_to(np.asarray(found) >= WORD, (self.count,))


def evaluate_batch(points: Points, where: Array, results: Results) -> None:
    """Evaluate points.

    Args:
        where: where the points stand in the results.

    Raises:
        InputError: none of the points has a cost.
    """
    choice, count, architecture = points.choice, points.count, points.spatial.architecture
    if choice.dtype is not None:
        check_dtype(choice.dtype, architecture)
    run = BATCHED[choice.mapper].run
    batch = run(choice.cascade, points.size, points.instances, architecture, choice.accounting, count)
    if batch.fits.any():
        bound = Names(np.broadcast_to(np.asarray(batch.costs["bound"]), (count,)), BOUNDS)
        costs = {name: _chosen(value, batch.fits) for name, value in {**batch.costs, "bound": bound}.items()}
        results.fill(where[batch.fits], costs)
    if not batch.fits.all():
        refuse(batch.refusal, batch.capacity, ~batch.fits, where, results)


def _chosen(value: Any, there: Array) -> Any:
    if isinstance(value, Names):
        return value.take(there)
    return value[there] if isinstance(value, np.ndarray) and value.ndim else value


def refuse(reason: Callable[[int], str], capacity: Any, refused: Array, where: Array, results: Results) -> None:
    """Say of each point refused which capacity was too small."""
    capacities = np.broadcast_to(np.asarray(capacity), refused.shape)[refused]
    distinct, which = np.unique(capacities, return_inverse=True)
    codes = np.asarray([results.code("status", reason(int(c))) for c in distinct], np.int32)
    results.columns["status"][where[refused]] = codes[which]

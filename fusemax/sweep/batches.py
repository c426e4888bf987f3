"""Many points at once: which strategies are evaluated over arrays, and what their outcomes mean for the points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from fusemax.evaluation import check_dtype
from fusemax.sweep.conditions import Names
from fusemax.sweep.machines import SpatialGroup
from fusemax.sweep.pointwise import LARGEST, Choice
from fusemax.sweep.results import Results
from hw_models.batched import BOUNDS
from mappers.batched.fused import Batch, fused_batch

Array: TypeAlias = npt.NDArray[Any]

BLOCK: Final = 16384
"""Points evaluated together: their arrays stay in the cache."""

BATCHED: Final[dict[str, Callable[..., Batch]]] = {
    "fusemax-serial": partial(fused_batch, interleaved=False),
    "fusemax-interleaved": partial(fused_batch, interleaved=True),
}


def evaluate_batch(
    choice: Choice,
    spatial: SpatialGroup,
    sizes: Mapping[str, Any],
    instances: Any,
    where: Array,
    results: Results,
) -> None:
    """Evaluate the points of a batch.

    Args:
        sizes, instances: of the workload; numbers, or arrays over the points.
        where: where the points stand in the results.

    Raises:
        InputError: none of the points has a cost.
    """
    architecture = spatial.architecture
    if choice.dtype is not None:
        check_dtype(choice.dtype, architecture)

    def size(rank: str) -> Any:
        if rank not in sizes:
            raise InputError(f"rank {rank} has no size")
        return sizes[rank]

    batch = BATCHED[choice.mapper](choice.cascade, size, instances, architecture, choice.accounting, len(where))
    count = len(where)
    row_fits = np.broadcast_to(spatial.row_fits, (count,))
    there = batch.fits & row_fits
    costs = dict(batch.costs)
    costs["bound"] = Names(np.broadcast_to(np.asarray(costs["bound"]), (count,)), BOUNDS)
    for column in ("dram_bytes", "buffer_bytes"):
        within = np.broadcast_to(np.asarray(costs[column] <= LARGEST), (count,))
        for_others = there & ~within
        if for_others.any():
            results.fail(where[for_others], f"{column} passes 2^63 - 1")
            there = there & within
    results.fill(where[there], {name: _chosen(value, there) for name, value in costs.items()})
    _refuse(batch.refusal, batch.capacity, row_fits & ~batch.fits, where, results)
    buffer = architecture.global_buffer.bytes
    _refuse(lambda n: f"the global buffer has {n} bytes, less than one row", buffer, ~row_fits, where, results)


def _chosen(value: Any, there: Array) -> Any:
    if isinstance(value, Names):
        return value.take(there)
    return value[there] if isinstance(value, np.ndarray) and value.ndim else value


def _refuse(reason: Callable[[int], str], capacity: Any, refused: Array, where: Array, results: Results) -> None:
    """Say of each point refused which capacity was too small."""
    if not refused.any():
        return
    capacities = np.broadcast_to(np.asarray(capacity), refused.shape)[refused]
    distinct, which = np.unique(capacities, return_inverse=True)
    codes = np.asarray([results.code("status", reason(int(c))) for c in distinct], np.int32)
    results.columns["status"][where[refused]] = codes[which]

"""The strategies ``fusemax-serial`` and ``fusemax-interleaved`` for many points at once (``mappers/fused.py``)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from einsum_cascades.ir import Cascade
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture, Array, Memory, StatedCost, Unit
from hw_models.batched import Number, Totals, batch_cost
from mappers.batched.batch import Batch, Size
from mappers.batched.divisors import largest_divisors
from mappers.batched.nest import Tally, phase_cycles_of
from mappers.batched.values import Values, product_bound
from mappers.capacity import least, most
from mappers.fused import COLUMN_GROUP, COLUMN_GROUPS, COLUMN_TILES, ROWS, FusedPlan
from mappers.fused_plan import fused_plans


def fused_batch(
    cascade: Cascade,
    size: Size,
    instances: Number,
    architecture: Architecture,
    accounting: Accounting,
    count: int,
    *,
    interleaved: bool,
) -> Batch:
    """Map a cascade at many points, each as ``best_fused`` would, and return what that costs.

    Args:
        size: size of a rank; it raises InputError for a rank without one.
        instances: B·H.
        architecture: its numbers may be arrays over the points.
        count: number of points.

    Raises:
        InputError: the cascade cannot be fused on this machine, or a rank has no size.
    """
    best: Batch | None = None
    for plan in fused_plans(cascade, structure(architecture), interleaved):
        found = _planned(plan, size, instances, architecture, accounting, count)
        best = found if best is None else _better(best, found)
    assert best is not None
    return best


def structure(architecture: Architecture) -> Architecture:
    """Return the machine with every number replaced by 1: all that the structure of a mapping depends on."""

    def plain(array: Array) -> Array:
        units = tuple((work, Unit(unit.component)) for work, unit in array.units)
        return replace(array, rows=1, columns=1, registers=1, units=units, register_file=StatedCost())

    return replace(
        architecture,
        array_2d=plain(architecture.array_2d),
        array_1d=plain(architecture.array_1d),
        global_buffer=Memory("global_buffer", 1, 1, 1, 1),
        frequency_hz=1.0,
        bandwidth_bytes_per_s=1.0,
        technology_nm=1,
        dram_j_per_byte=None,
    )


def fused_bound(
    cascade: Cascade, size: Size, instances: Number, architecture: Architecture, *, interleaved: bool
) -> Any:
    """Return a bound on every count at each point, as floats.

    Raises:
        InputError: as ``fused_batch``.
    """
    plans = fused_plans(cascade, structure(architecture), interleaved)
    return sum(_bound(plan, size, instances, architecture) for plan in plans)


def _bound(plan: FusedPlan, size: Size, instances: Number, architecture: Architecture) -> Any:
    """No count of an Einsum exceeds the points of its nest, as often as they are counted."""
    extents: dict[str, Any] = plan.extents(size, instances, architecture)  # type: ignore[arg-type]
    extents |= {COLUMN_GROUP: 1, COLUMN_GROUPS: extents[COLUMN_TILES]}
    found = product_bound(extents, (*plan.visit_keys, ROWS)) * max(plan.drains, 1)
    for piece in plan.pieces:
        actions = np.asarray(_unit_sum(piece.work, piece.array, architecture, "actions"), float)
        cycles = np.asarray(_unit_sum(piece.work, piece.array, architecture, "cycles"), float)
        accesses = len(piece.shape.operands) + 1
        often = np.maximum(np.maximum(accesses + 2 * actions, accesses * architecture.value_bytes), cycles)
        found = found + product_bound(extents, piece.keys) * often
    return found


def _unit_sum(work: Any, array: str, architecture: Architecture, what: str) -> Any:
    units = architecture.array(array).unit_of
    return sum(number * getattr(units[kind], what) for kind, number in work)


def _planned(
    plan: FusedPlan,
    size: Size,
    instances: Number,
    architecture: Architecture,
    accounting: Accounting,
    count: int,
) -> Batch:
    extents: dict[str, Any] = plan.extents(size, instances, architecture)  # type: ignore[arg-type]
    capacity = plan.capacity(architecture, accounting)
    sizes = Values(extents)
    fixed, growing = 0, 0
    for _, keys in plan.tiles:
        tile = sizes[sizes.product(k for k in keys if k != COLUMN_GROUP)] * architecture.value_bytes
        if COLUMN_GROUP in keys:
            growing = growing + tile
        else:
            fixed = fixed + tile
    fits = np.broadcast_to(np.asarray(fixed + growing <= capacity), (count,))
    tiles = extents[COLUMN_TILES]
    room = most(capacity - fixed, growing) // growing if np.any(growing) else tiles
    group = _divisors(tiles, most(least(tiles, room), 1))
    extents |= {COLUMN_GROUP: group, COLUMN_GROUPS: tiles // group}
    totals = plan_totals(plan, extents, architecture, accounting, fixed + growing * group)
    return Batch(batch_cost(totals, architecture, accounting), fits, capacity, "fused")


def _divisors(numbers: Any, bounds: Any) -> Any:
    """The largest divisors, as plain numbers where all points have the same."""
    if isinstance(numbers, np.ndarray) or (isinstance(bounds, np.ndarray) and bounds.ndim):
        numbers, bounds = np.broadcast_arrays(numbers, bounds)
        return largest_divisors(numbers, bounds)
    return int(largest_divisors(np.asarray([numbers]), np.asarray([bounds]))[0])


def plan_totals(
    plan: FusedPlan, extents: dict[str, Any], architecture: Architecture, accounting: Accounting, live: Number
) -> Totals:
    """Return what a plan with all its extents does."""
    tally = Tally(Values(extents), accounting)
    for piece in plan.pieces:
        tally.einsum(
            piece.name,
            piece.array,
            piece.shape.compiled,
            piece.keys,
            piece.work,
            _unit_sum(piece.work, piece.array, architecture, "cycles"),
            _unit_sum(piece.work, piece.array, architecture, "actions"),
            piece.points,
        )
    values = tally.values
    drain = plan.drains * values[values.product((*plan.visit_keys, ROWS))] if plan.drains else 0
    cycles, waits_2d, waits_1d = phase_cycles_of(tally, {p.name: p.array for p in plan.pieces}, plan.epochs, drain)
    phases = [(cycles, tally.moved(p.name for p in plan.pieces) * architecture.value_bytes, waits_2d, waits_1d)]
    return tally.totals(phases, live, plan.passes, tiled=True)


def _better(best: Batch, found: Batch) -> Batch:
    """Choose at each point the mapping with the least latency, then the least off-chip traffic; of equals the first."""
    latency, traffic = (np.asarray(found.costs[c]) for c in ("latency_s", "dram_bytes"))
    best_latency, best_traffic = (np.asarray(best.costs[c]) for c in ("latency_s", "dram_bytes"))
    less = (latency < best_latency) | ((latency == best_latency) & (traffic < best_traffic))
    chosen = found.fits & (~best.fits | less)
    costs: dict[str, Number] = {name: np.where(chosen, found.costs[name], value) for name, value in best.costs.items()}
    return Batch(costs, best.fits | found.fits, found.capacity, found.what)

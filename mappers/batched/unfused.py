"""The strategy ``unfused`` for many points at once: searched once for each structure and range of rates.

A search (``mappers/contraction.py``) is repeated only where its outcome may differ. Points that differ in frequency and
bandwidth alone have the same candidates, with cycles c and off-chip bytes v, and the search wants the least of
max(c / frequency, v / bandwidth), then of v, then of c. So it sees the rates only in their ratio x, frequency over
bandwidth, as max(c, v · x). A candidate that is best at two ratios is best at every ratio between: if v · x decides
there, another that is better has fewer bytes and would be better at the upper ratio too; if c decides, it has fewer
cycles and would be better at the lower one. Ratios between two with one outcome need no search, the others are halved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from hw_models.batched import Number, batch_cost, totals_of
from mappers.activity import activity_of
from mappers.batched.batch import Batch, Size
from mappers.batched.subsets import arrays_in, single
from mappers.batched.totals import Table
from mappers.mapping import Mapping
from mappers.phases import sizes_of_ranks
from mappers.unfused import unfused

Array: TypeAlias = npt.NDArray[Any]

_NEAR = 1e-9
"""Ratios closer than this, relatively, are searched each: rounding may decide between candidates."""


def unfused_batch(
    cascade: Cascade, size: Size, instances: Number, architecture: Architecture, accounting: Accounting, count: int
) -> Batch:
    """Map a cascade at many points, each as ``unfused`` would, and return what that costs.

    Raises:
        InputError: no array offers an Einsum's operators, or a rank has no size.
    """
    ranks = {p.rank for p in cascade.partitions} | sizes_of_ranks(cascade, size, architecture).keys()
    parts = {part for p in cascade.partitions for part in (p.parts[0], p.parts[-1])}
    sizes = {rank: size(rank) for rank in sorted(ranks - parts)}
    ratio = np.broadcast_to(np.asarray(architecture.frequency_hz / architecture.bandwidth_bytes_per_s), (count,))
    fits = np.zeros(count, bool)
    table = Table(count)

    def mapped(point: int) -> Mapping | None:
        given = tuple((rank, int(single(number, point))) for rank, number in sizes.items())
        workload = Workload(given, int(single(instances, point)), value_bytes=architecture.value_bytes)
        try:
            return unfused(cascade, workload, single(architecture, point), accounting)
        except InputError as error:
            if " is too small for any unfused mapping" in error.message:
                return None
            raise

    rates = (architecture.frequency_hz, architecture.bandwidth_bytes_per_s)
    structure = [
        a for a in (*arrays_in(architecture), *arrays_in((sizes, instances))) if not any(a is r for r in rates)
    ]
    for points in _alike(structure, count):
        ordered = points[np.argsort(ratio[points], kind="stable")]
        for mapping, some in _outcomes(ordered, ratio[ordered], mapped):
            if mapping is not None:
                fits[some] = True
                table.put(totals_of(activity_of(mapping, accounting), accounting), some)
    costs = batch_cost(table.totals(), architecture, accounting) if fits.any() else {}
    return Batch(costs, fits, architecture.global_buffer.bytes, "unfused")


def _alike(columns: list[Array], count: int) -> Iterator[Array]:
    """Points with the same values in all columns."""
    code = np.zeros(count, np.int64)
    for column in columns:
        _, inverse = np.unique(column, return_inverse=True)
        code = np.unique(code * (int(inverse.max()) + 1) + inverse, return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(code[order])) + 1)


def _outcomes(
    points: Array, ratios: Array, mapped: Callable[[int], Mapping | None]
) -> Iterator[tuple[Mapping | None, Array]]:
    """Outcomes at points in rising order of the ratio, each with the points that have it."""
    last = len(points) - 1
    known = {place: mapped(int(points[place])) for place in {0, last}}
    yield known[0], points[:1]
    if last:
        yield known[last], points[last:]
    ranges = [(0, last)]
    while ranges:
        low, high = ranges.pop()
        if high - low < 2:
            continue
        if known[low] == known[high]:
            inside = np.arange(low + 1, high)
            apart = (ratios[inside] > ratios[low] * (1 + _NEAR)) & (ratios[inside] < ratios[high] * (1 - _NEAR))
            same = (ratios[inside] == ratios[low]) | (ratios[inside] == ratios[high])
            yield known[low], points[inside[apart | same]]
            for place in inside[~(apart | same)].tolist():
                yield mapped(int(points[place])), points[place : place + 1]
            continue
        middle = (low + high) // 2
        known[middle] = mapped(int(points[middle]))
        yield known[middle], points[middle : middle + 1]
        ranges += [(low, middle), (middle, high)]

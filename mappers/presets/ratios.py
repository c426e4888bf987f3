"""Presets that search at one point, over many points: once for each structure and range of rates.

Points that differ in the clock and the off-chip bandwidth alone have the same candidates, with cycles c and off-chip
bits v. A search for the least of max(c / clock, v / bandwidth), then of v, then of what no rate changes, sees the rates
only in their ratio x, clock over bandwidth, as max(c, v · x). A candidate that is best at two ratios is best at every
ratio between: if v · x decides there, another that is better has fewer bits and would be better at the upper ratio too;
if c decides, it has fewer cycles and would be better at the lower one. Ratios between two with one outcome need no
search, the others are halved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.loops.tree import LoopTree
from mappers.choose import Part
from mappers.points import arrays_in, same
from mappers.presets.problem import Problem

Points: TypeAlias = npt.NDArray[np.int64]
_NEAR = 1e-9
"""Ratios closer than this, relatively, are searched each: rounding may decide between candidates."""


def over_points(problem: Problem, search: Callable[[Problem], LoopTree]) -> tuple[Part, ...]:
    """Return the trees that a search finds at many points.

    Args:
        search: minimises as said above, phase by phase.

    Raises:
        InputError: it finds none.
    """
    machine, count = problem.machine, problem.count or 1
    inner = [rate for memory in machine.memories[1:] for rate in memory.rates]
    others = [rate for rate in (*inner, *(n.link.bandwidth_bytes_per_s for n in machine.nodes)) if rate is not None]
    rates = [machine.frequency_hz, *(rate for rate in machine.root.rates if rate is not None)]
    if others or len(rates) != 2:
        rates = []
    columns = [a for a in arrays_in((dict(problem.sizes), machine)) if not any(a is rate for rate in rates)]
    ratio = np.broadcast_to(np.asarray(rates[0] / rates[1]) if rates else np.array(1.0), (count,))
    found: list[Part] = []
    for points in same(columns, count):
        ordered = points[np.argsort(ratio[points], kind="stable")]
        for tree, there in _outcomes(ordered, ratio[ordered], lambda point: search(problem.single(point))):
            found.append(Part(there, _shared(problem, there, rates), tree, legal=len(there) > 1))
    return tuple(found)


def _shared(problem: Problem, points: Points, rates: list[Any]) -> Problem:
    """The problem at points that differ in rates alone."""
    one = problem.single(int(points[0]))
    if len(points) == 1 or not rates:
        return one
    frequency, bandwidth = (rate[points] if isinstance(rate, np.ndarray) else rate for rate in rates)
    root = one.machine.root
    shared, reads, writes = (None if rate is None else bandwidth for rate in root.rates)
    root = replace(root, shared_bytes_per_s=shared, read_bytes_per_s=reads, write_bytes_per_s=writes)
    nodes = (root, *one.machine.nodes[1:])
    return replace(one, machine=replace(one.machine, nodes=nodes, frequency_hz=frequency))


def _outcomes(
    points: Points, ratios: npt.NDArray[Any], search: Callable[[int], LoopTree]
) -> Iterator[tuple[LoopTree, Points]]:
    """Outcomes at points in rising order of the ratio, each with the points that have it."""
    last = len(points) - 1
    known = {place: search(int(points[place])) for place in {0, last}}
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
            alike = (ratios[inside] == ratios[low]) | (ratios[inside] == ratios[high])
            if (apart | alike).any():
                yield known[low], points[inside[apart | alike]]
            for place in inside[~(apart | alike)].tolist():
                yield search(int(points[place])), points[place : place + 1]
            continue
        middle = (low + high) // 2
        known[middle] = search(int(points[middle]))
        yield known[middle], points[middle : middle + 1]
        ranges += [(low, middle), (middle, high)]

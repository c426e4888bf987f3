"""The least off-chip traffic of a cascade, for a buffer of any capacity: two lower bounds, of which the larger counts.

*Einsums one by one* (`alone.py`). The points of any tiled schedule that belong to one Einsum are a schedule of it
alone, in which values that pass between Einsums move for free. So what Einsums move by themselves beyond each tensor
once adds up, however they are fused. This holds for any number of ranks, and `separate_bound` gives it for a search.

*Fused groups* (`search.py`). Of all ways to part the cascade into groups of Einsums, in any order that its dependencies
allow, to order the loops over tiles around each group (`nest`) and to size the tiles, the one that moves the fewest
values: with a large buffer each input is read and each result written once; with a smaller one tiles are read again,
fibers that wait for a later pass are spilled, or tensors between groups go off chip. A tile's own values count as free,
and so does the room for the values of one point, which a schedule may take one after another and in each other's place;
tensors need room together only where they are there at the same time (`moments`), and candidates taken together count
as the best of them. A group has one order and one size of tiles for all its Einsums. Groups that walk more than
five ranks beside their batch ranks count what their Einsums move one by one.

Every value is computed once, and the copies of a cascade (batch, heads) run one after another; a mapping that computes
a value again instead of spilling it may move less.

Source: Huang et al., "Mind the Gap: Attainable Data Movement and Operational Intensity Bounds for Tensor Algorithms"
(Orojenesis), ISCA 2024.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.operations import complete_sizes
from einsum_cascades.traffic.alone import Alone
from einsum_cascades.traffic.search import Best, SegmentSearch
from einsum_cascades.traffic.segments import Segmenter

_PER_OCTAVE = 3
_MOST_SPLITS = 4
_MOST_OCTAVES = 56
_MOST_UNITS = 6


@dataclass(frozen=True)
class SegmentPlan:
    """How one segment attains the bound.

    Attributes:
        einsums: their names.
        loops: (rank, values per tile, tiles) outermost first; ranks of one tile left out.
        dram_bytes: its traffic.
        spilled_bytes: the part of it that moves fibers which wait for a later pass.
        fused: whether that is a mapping of them; else the sum of what they move one by one.
    """

    einsums: tuple[str, ...]
    loops: tuple[tuple[str, int, int], ...]
    dram_bytes: int
    spilled_bytes: int
    fused: bool = True


@dataclass(frozen=True)
class TrafficBound:
    """The least traffic with one capacity.

    Attributes:
        buffer_bytes: the capacity.
        dram_bytes: the least traffic of all instances.
        compulsory_bytes: the traffic with a buffer of any size.
        segments: the mapping that attains it.
    """

    buffer_bytes: int
    dram_bytes: int
    compulsory_bytes: int
    segments: tuple[SegmentPlan, ...]


@dataclass(frozen=True)
class CurvePoint:
    """One point of the curve."""

    buffer_bytes: int
    dram_bytes: int


def compulsory_bytes(cascade: Cascade, sizes: Mapping[str, int], *, value_bytes: int = 2, instances: int = 1) -> int:
    """Return the traffic that no buffer avoids: every input in once, every result out once.

    Raises:
        InputError: a rank has no size, or sizes contradict each other.
    """
    wholes = [s.segment(range(len(s.einsums))) for s in _segmenters(cascade, sizes)]
    return min(whole.compulsory * whole.repeats for whole in wholes) * value_bytes * instances


def traffic_bound(
    cascade: Cascade, sizes: Mapping[str, int], buffer_bytes: int, *, value_bytes: int = 2, instances: int = 1
) -> TrafficBound:
    """Return the least traffic that any mapping of fused tiles needs with a buffer.

    Args:
        cascade: what runs.
        sizes: the size of each rank; of a split rank the whole is enough, as its tiles are for the mapping to choose.
        buffer_bytes: the buffer's capacity. One that holds a value, but not those of one point together, moves no less
            than one that does.
        value_bytes: bytes per value.
        instances: how many independent copies run, such as batch times heads.

    Raises:
        InputError: a rank has no size, sizes contradict each other, or not even one value fits in the buffer.
    """
    search = _search(cascade, sizes)
    capacity = buffer_bytes // value_bytes
    scale = value_bytes * instances
    compulsory = compulsory_bytes(cascade, sizes, value_bytes=value_bytes, instances=instances)
    (found,) = search.least([capacity], compulsory // scale)
    if found is None and capacity:
        (found,) = search.least([search.smallest()], compulsory // scale)
    if found is None:
        raise InputError(
            f"a buffer of {buffer_bytes} bytes is too small for any mapping of {cascade.name}",
            hint=f"{search.smallest() * value_bytes} bytes are enough",
        )
    total, groups = found
    names = tuple(dict.fromkeys(einsum.name for einsum in search.alone.segmenter.einsums))
    segments = tuple(_plan(best, scale) for best in groups) or (SegmentPlan(names, (), total * scale, 0, fused=False),)
    return TrafficBound(buffer_bytes, total * scale, compulsory, segments)


def separate_bound(
    cascade: Cascade,
    sizes: Mapping[str, int],
    buffer_bytes: int,
    *,
    einsums: Collection[str] | None = None,
    value_bytes: int = 2,
    instances: int = 1,
) -> int:
    """Return a lower bound in bytes that is cheap to ask for again: Einsums one by one, however they are fused.

    Args:
        cascade, sizes, buffer_bytes, value_bytes, instances: as for `traffic_bound`.
        einsums: names of those that count, with the inputs and results that they touch; all if not given.

    Raises:
        InputError: a rank has no size, sizes contradict each other, or not even single values fit in the buffer.
    """
    alone = _alone(cascade, tuple(sorted(sizes.items())))
    surplus = alone.surplus(buffer_bytes // value_bytes, einsums)
    if math.isinf(surplus):
        raise InputError(f"a buffer of {buffer_bytes} bytes is too small for any mapping of {cascade.name}")
    return (alone.compulsory(einsums) + int(surplus)) * value_bytes * instances


@lru_cache(maxsize=64)
def _alone(cascade: Cascade, sizes: tuple[tuple[str, int], ...]) -> Alone:
    return Alone(_segmenters(cascade, dict(sizes))[0])


def traffic_curve(
    cascade: Cascade,
    sizes: Mapping[str, int],
    *,
    value_bytes: int = 2,
    instances: int = 1,
    capacities: Sequence[int] = (),
) -> tuple[CurvePoint, ...]:
    """Return the least traffic against capacity, from the smallest buffer that works to where no larger one helps.

    Args:
        cascade, sizes, value_bytes, instances: as for `traffic_bound`.
        capacities: bytes at which to state it; evenly spaced on a logarithmic scale if not given.

    Raises:
        InputError: a rank has no size, or sizes contradict each other.
    """
    search = _search(cascade, sizes)
    scale = value_bytes * instances
    compulsory = compulsory_bytes(cascade, sizes, value_bytes=value_bytes, instances=instances)
    values = [c // value_bytes for c in capacities] or search.capacities(compulsory // scale)
    totals = search.least(values, compulsory // scale)
    pairs = zip(values, totals, strict=True)
    return tuple(CurvePoint(capacity * value_bytes, found[0] * scale) for capacity, found in pairs if found is not None)


def _traffic(sequence: Sequence[Best]) -> int:
    return sum(best.traffic for best in sequence)


def _plan(best: Best, scale: int) -> SegmentPlan:
    tiles, nest = best.tiles, best.nest
    loops = tuple((r, tiles.values[r], tiles.trips[r]) for r in nest.order if tiles.trips[r] > 1)
    fused = bool(nest.order) or len(nest.segment.einsums) == 1
    return SegmentPlan(nest.segment.einsums, loops, best.traffic * scale, best.spilled * scale, fused=fused)


def _segmenters(cascade: Cascade, sizes: Mapping[str, int]) -> list[Segmenter]:
    """One per way to split the ranks whose parts have no size: into the smallest tiles, and into one."""
    complete = complete_sizes(cascade, sizes)
    choices = []
    for partition in cascade.partitions:
        unknown = [part for part in partition.parts if part not in complete]
        if unknown and partition.rank in complete:
            choices.append([dict.fromkeys(unknown[1:], 1), dict.fromkeys(unknown[:-1], 1)])
    splits: list[dict[str, int]] = [dict(complete)]
    for choice in choices:
        splits = [split | parts for split in splits for parts in choice][:_MOST_SPLITS]
    return [Segmenter(cascade, complete_sizes(cascade, split)) for split in splits]


@lru_cache(maxsize=32)
def _cached_search(cascade: Cascade, sizes: tuple[tuple[str, int], ...]) -> _Search:
    return _Search(_segmenters(cascade, dict(sizes)))


def _search(cascade: Cascade, sizes: Mapping[str, int]) -> _Search:
    return _cached_search(cascade, tuple(sorted(complete_sizes(cascade, sizes).items())))


class _Search:
    """All groups of a cascade's Einsums that may be fused, and the cheapest choice of them for each capacity."""

    def __init__(self, segmenters: Sequence[Segmenter]) -> None:
        self.alone = Alone(segmenters[0])
        cuts = segmenters[0].cuts()
        units = [tuple(range(a, b)) for a, b in pairwise(cuts)]
        whole = SegmentSearch(segmenters[0].segment(range(cuts[-1])))
        if not whole.searchable or len(units) > _MOST_UNITS:  # its Einsums count one by one
            units = [tuple(range(cuts[-1]))]
        self.units = len(units)
        self.searches: list[dict[int, SegmentSearch]] = []
        for segmenter in segmenters:
            groups = {}
            for members in range(1, 1 << self.units):
                numbers = {n for place, unit in enumerate(units) if members >> place & 1 for n in unit}
                if segmenter.between(numbers) - numbers:
                    continue
                groups[members] = SegmentSearch(segmenter.segment(numbers), alone=len(units) == 1 < len(cuts) - 1)
            self.searches.append(groups)

    def best(self, capacities: Sequence[int]) -> list[tuple[Best, ...] | None]:
        """Return the cheapest groups of Einsums for each capacity in values; None where none fits."""
        found: list[list[tuple[Best, ...]]] = [[] for _ in capacities]
        for searches in self.searches:
            bests = {members: search.best(capacities) for members, search in searches.items()}
            for i, options in enumerate(found):
                groups = self._groups({members: best[i] for members, best in bests.items()})
                options += [groups] if groups is not None else []
        return [min(options, key=_traffic, default=None) for options in found]

    def _groups(self, bests: Mapping[int, Best | None]) -> tuple[Best, ...] | None:
        """The cheapest way to part the Einsums into groups, whichever and in whatever order."""
        cheapest: list[tuple[Best, ...] | None] = [()]
        for members in range(1, 1 << self.units):
            options, group = [], members
            lowest = members & -members
            while group:
                before, best = cheapest[members ^ group], bests.get(group)
                if group & lowest and before is not None and best is not None:
                    options.append((best, *before))
                group = (group - 1) & members
            cheapest.append(min(options, key=lambda s: (_traffic(s), len(s)), default=None))
        return cheapest[-1]

    def least(self, capacities: Sequence[int], compulsory: int) -> list[tuple[int, tuple[Best, ...]] | None]:
        """Return for each capacity the larger bound in values: of fused groups, with these, or of Einsums apart."""
        found: list[tuple[int, tuple[Best, ...]] | None] = []
        for capacity, groups in zip(capacities, self.best(capacities), strict=True):
            surplus = self.alone.surplus(capacity)
            if math.isinf(surplus):
                found.append(None)
                continue
            apart = compulsory + int(surplus)
            fused = _traffic(groups) if groups is not None else 0
            found.append((fused, groups) if groups is not None and fused >= apart else (apart, ()))
        return found

    def smallest(self) -> int:
        """The least power of two in values with which some mapping works."""
        return 1 << bisect_left(
            range(_MOST_OCTAVES), True, key=lambda step: math.isfinite(self.alone.surplus(1 << step))
        )

    def capacities(self, compulsory: int) -> list[int]:
        """Capacities in values from the smallest that works to the least power of two that no larger one improves."""
        powers = [1 << step for step in range(_MOST_OCTAVES)]
        works = [(c, f[0]) for c, f in zip(powers, self.least(powers, compulsory), strict=True) if f is not None]
        first, (_, least) = works[0][0], works[-1]
        last = next(c for c, traffic in works if traffic <= max(least, compulsory))
        steps = max(1, (last // first).bit_length() - 1) * _PER_OCTAVE
        return sorted({round(first * 2 ** (step / _PER_OCTAVE)) for step in range(steps + 1)})

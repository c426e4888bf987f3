"""The least off-chip traffic of a cascade, for a buffer of any capacity: the ski-slope curve of fused tiles.

Of all ways to cut the cascade into segments of neighbouring Einsums, to order the loops over tiles around each (`nest`)
and to size the tiles, the one that moves the fewest values. Every value is computed once; the copies of a cascade
(batch, heads) run one after another. With a large buffer each input is read and each result written once; with a
smaller one tiles are read again, fibers that wait for a later pass are spilled, or tensors between segments go off
chip.

It is the least over this class of mappings, in which a tile's own values count as free, tensors need room together only
where they are there at the same time (`moments`), and candidates that are taken together count as the best of them.
Outside it are mappings that compute a value again instead of spilling it, and those that fuse Einsums which the cascade
does not list side by side. Segments that walk more than five ranks beside their batch ranks count what their Einsums
move one by one, tensors between them apart.

Source: Huang et al., "Mind the Gap: Attainable Data Movement and Operational Intensity Bounds for Tensor Algorithms"
(Orojenesis), ISCA 2024.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.operations import complete_sizes
from einsum_cascades.traffic.search import Best, SegmentSearch
from einsum_cascades.traffic.segments import Segmenter

_PER_OCTAVE = 3
_MOST_SPLITS = 4
_MOST_OCTAVES = 56


@dataclass(frozen=True)
class SegmentPlan:
    """How one segment attains the bound.

    Attributes:
        einsums: their names.
        loops: (rank, values per tile, tiles) outermost first; ranks of one tile left out.
        dram_bytes: its traffic.
        spilled_bytes: the part of it that moves fibers which wait for a later pass.
    """

    einsums: tuple[str, ...]
    loops: tuple[tuple[str, int, int], ...]
    dram_bytes: int
    spilled_bytes: int


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
    wholes = [s.segment(0, len(s.einsums)) for s in _segmenters(cascade, sizes)]
    return min(whole.compulsory * whole.repeats for whole in wholes) * value_bytes * instances


def traffic_bound(
    cascade: Cascade, sizes: Mapping[str, int], buffer_bytes: int, *, value_bytes: int = 2, instances: int = 1
) -> TrafficBound:
    """Return the least traffic that any mapping of fused tiles needs with a buffer.

    Args:
        cascade: what runs.
        sizes: the size of each rank; of a split rank the whole is enough, as its tiles are for the mapping to choose.
        buffer_bytes: the buffer's capacity.
        value_bytes: bytes per value.
        instances: how many independent copies run, such as batch times heads.

    Raises:
        InputError: a rank has no size, sizes contradict each other, or not even single values fit in the buffer.
    """
    search = _search(cascade, sizes)
    capacity = buffer_bytes // value_bytes
    (plans,) = search.best([capacity])
    if plans is None:
        raise InputError(
            f"a buffer of {buffer_bytes} bytes is too small for any mapping of {cascade.name}",
            hint=f"{search.smallest() * value_bytes} bytes are enough",
        )
    scale = value_bytes * instances
    compulsory = compulsory_bytes(cascade, sizes, value_bytes=value_bytes, instances=instances)
    segments = tuple(_plan(best, scale) for best in plans)
    total = max(compulsory, sum(s.dram_bytes for s in segments))
    return TrafficBound(buffer_bytes, total, compulsory, segments)


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
    found = []
    for capacity, plans in zip(values, search.best(values), strict=True):
        if plans is not None:
            total = max(compulsory, _traffic(plans) * scale)
            found.append(CurvePoint(capacity * value_bytes, total))
    return tuple(found)


def _traffic(sequence: Sequence[Best]) -> int:
    return sum(best.traffic for best in sequence)


def _plan(best: Best, scale: int) -> SegmentPlan:
    tiles, nest = best.tiles, best.nest
    loops = tuple((r, tiles.values[r], tiles.trips[r]) for r in nest.order if tiles.trips[r] > 1)
    return SegmentPlan(nest.segment.einsums, loops, best.traffic * scale, best.spilled * scale)


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
    """All segments of a cascade, and the cheapest sequence of them for each capacity."""

    def __init__(self, segmenters: Sequence[Segmenter]) -> None:
        self.cuts = segmenters[0].cuts()
        self.searches: list[dict[tuple[int, int], SegmentSearch]] = []
        for segmenter in segmenters:
            whole = SegmentSearch(segmenter.segment(0, self.cuts[-1]))
            if not whole.searchable:  # its Einsums count one by one: no sequence of shorter ones is cheaper
                self.cuts = (0, self.cuts[-1])
            ends = [(a, b) for b in range(1, len(self.cuts)) for a in range(b)]
            searches = {(a, b): SegmentSearch(segmenter.segment(self.cuts[a], self.cuts[b])) for a, b in ends}
            self.searches.append(searches)

    def best(self, capacities: Sequence[int]) -> list[tuple[Best, ...] | None]:
        """Return the cheapest sequence of segments for each capacity in values; None where none fits."""
        found: list[list[tuple[Best, ...]]] = [[] for _ in capacities]
        for searches in self.searches:
            bests = {ends: search.best(capacities) for ends, search in searches.items()}
            for i, options in enumerate(found):
                sequence = self._sequence({ends: best[i] for ends, best in bests.items()})
                options += [sequence] if sequence is not None else []
        return [min(options, key=_traffic, default=None) for options in found]

    def _sequence(self, bests: Mapping[tuple[int, int], Best | None]) -> tuple[Best, ...] | None:
        sequences: list[tuple[Best, ...] | None] = [()]
        for stop in range(1, len(self.cuts)):
            options = []
            for start in range(stop):
                before, best = sequences[start], bests[start, stop]
                if before is not None and best is not None:
                    options.append((*before, best))
            sequences.append(min(options, key=lambda s: (_traffic(s), len(s)), default=None))
        return sequences[-1]

    def smallest(self) -> int:
        """The least power of two in values with which some mapping works."""
        return 1 << bisect_left(range(_MOST_OCTAVES), True, key=lambda step: self.best([1 << step])[0] is not None)

    def capacities(self, compulsory: int) -> list[int]:
        """Capacities in values from the smallest that works to the least power of two that no larger one improves."""
        powers = [1 << step for step in range(_MOST_OCTAVES)]
        works = [(c, _traffic(plans)) for c, plans in zip(powers, self.best(powers), strict=True) if plans is not None]
        first, (_, least) = works[0][0], works[-1]
        last = next(c for c, traffic in works if traffic <= max(least, compulsory))
        steps = max(1, (last // first).bit_length() - 1) * _PER_OCTAVE
        return sorted({round(first * 2 ** (step / _PER_OCTAVE)) for step in range(steps + 1)})

"""The ranges that positions of a machine have of one rank, all in lockstep, and how loops cut them.

A loop in time gives each position its next tile; one over a dimension gives each position a tile of its own. Positions
whose ranges are as long and as early along their dimensions are one *piece*. What an access at a place amounts to, per
visit, is a product over ranks of sums over pieces, found by walking the cuts inside the visit one after another:

    a cut that parts a tensor's values   all of its tiles count
    a cut of what the tensor lacks       in time each tile counts again; of positions that one access serves, the first
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

Piece: TypeAlias = tuple[int, frozenset[tuple[str, int]]]
"""Points of a range, and the (dimension, tile) of the loops at whose first position it is not."""
Pieces: TypeAlias = tuple[tuple[Piece, int], ...]
"""Pieces and how many positions have each; none is a range that is used up."""


@dataclass(frozen=True)
class Cut:
    """A loop over one rank: in time, or over a dimension."""

    tile: int
    over: str | None = None


def whole(size: int) -> Pieces:
    """Return the range of a rank at the root."""
    return (((size, frozenset()), 1),)


@lru_cache(maxsize=65536)
def spread(pieces: Pieces, cut: Cut) -> Pieces:
    """Return the ranges at the positions of a loop over a dimension."""
    assert cut.over is not None
    found: Counter[Piece] = Counter()
    for (extent, later), times in pieces:
        found[min(extent, cut.tile), later] += times
        full, rest = divmod(extent, cut.tile)
        behind = later | {(cut.over, cut.tile)}
        if full > 1:
            found[cut.tile, behind] += (full - 1) * times
        if rest and full:
            found[rest, behind] += times
    return _ordered(found)


@lru_cache(maxsize=65536)
def turns(pieces: Pieces, tile: int) -> tuple[tuple[int, Pieces], ...]:
    """Return the iterations of a loop in time: runs of (how many, the ranges in each)."""
    ends = sorted({n for (extent, _), _ in pieces for n in (extent // tile, -(-extent // tile)) if n})
    found, begin = [], 0
    for end in ends:
        inside: Counter[Piece] = Counter()
        for (extent, later), times in pieces:
            left = extent - begin * tile
            if left > 0:
                inside[min(left, tile), later] += times
        found.append((end - begin, _ordered(inside)))
        begin = end
    return tuple(found)


def largest(pieces: Pieces) -> int:
    """Return the points of the longest range."""
    return max(extent for (extent, _), _ in pieces)


def _ordered(found: Mapping[Piece, int]) -> Pieces:
    return tuple(sorted(found.items(), key=lambda item: (-item[0][0], sorted(item[0][1]))))


@lru_cache(maxsize=65536)
def accesses(
    pieces: Pieces,
    cuts: tuple[Cut, ...],
    grain: int | None,
    shared: frozenset[str],
    first: frozenset[str] | None = None,
    only: frozenset[str] = frozenset(),
) -> int:
    """Return what one rank contributes to the accesses of a visit.

    Args:
        cuts: the loops over the rank inside the visit, outermost first; what a compute walks is one in time.
        grain: points per value of the tensor along the rank; None if it lacks it.
        shared: dimensions whose positions one access serves if they want the same value.
        first: if what is repeated counts at its first time only, the dimensions whose positions have a time each.
        only: dimensions of whose positions the first alone counts.
    """
    together = _Together(shared, first)
    found: Counter[Piece] = Counter()
    for (extent, later), times in pieces:
        if any(over in only for over, _ in later):
            continue
        if not any(together(over) and (grain is None or tile < grain) for over, tile in later):
            found[extent, frozenset()] += times
    parted = grain is None
    for cut in cuts:
        if grain is not None and cut.tile < grain and not parted:
            found, parted = _tiles(found, grain), True
        alone = cut.over in only or (parted and together(cut.over))
        found = _first(found, cut.tile) if alone else _tiles(found, cut.tile)
    if parted or grain is None:
        return sum(times for (extent, _), times in found.items() if extent)
    return sum(-(-extent // grain) * times for (extent, _), times in found.items())


@dataclass(frozen=True)
class _Together:
    """Whether one access serves all iterations of a loop, in time (None) or over a dimension."""

    shared: frozenset[str]
    first: frozenset[str] | None

    def __call__(self, over: str | None) -> bool:
        if over is None:
            return self.first is not None
        return over in self.shared or (self.first is not None and over not in self.first)


def _tiles(pieces: Mapping[Piece, int], tile: int) -> Counter[Piece]:
    found: Counter[Piece] = Counter()
    for (extent, later), times in pieces.items():
        full, rest = divmod(extent, tile)
        if full:
            found[tile, later] += full * times
        if rest:
            found[rest, later] += times
    return found


def _first(pieces: Mapping[Piece, int], tile: int) -> Counter[Piece]:
    found: Counter[Piece] = Counter()
    for (extent, later), times in pieces.items():
        found[min(extent, tile), later] += times
    return found


@lru_cache(maxsize=65536)
def steps(pieces: Pieces, cuts: tuple[Cut, ...]) -> int:
    """Return how many steps in time the positions take together along one rank: as many as the first of them."""
    left = {largest(pieces): 1}
    for cut in cuts:
        inside: Counter[int] = Counter()
        for extent, times in left.items():
            if cut.over is not None:
                inside[min(extent, cut.tile)] += times
                continue
            full, rest = divmod(extent, cut.tile)
            if full:
                inside[cut.tile] += full * times
            if rest:
                inside[rest] += times
        left = dict(inside)
    return sum(left.values())


def positions(pieces: Pieces, cuts: Iterable[Cut]) -> int:
    """Return the product of the positions that loops over dimensions use."""
    found = sum(times for _, times in pieces)
    for cut in cuts:
        if cut.over is not None:
            found *= -(-largest(pieces) // cut.tile)
    return found

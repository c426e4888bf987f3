"""Products of turns: how many values pass a place in a tree, in all iterations and all instances together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from einsum_cascades.loops.arith import Number, everywhere, steps
from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.tree import INSTANCES, Loop
from einsum_cascades.loops.turns import Cut, first, turns

Grain = tuple[str, ...]


class Measure:
    """Counts at the places of one plan; what several counts share is evaluated once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.space = plan.space
        self._turns: dict[tuple[object, ...], Number] = {}
        self._lengths: dict[Grain, Number] = {}

    def passing(
        self,
        loops: Sequence[Loop],
        ranks: Iterable[str] | None,
        *,
        shared: Collection[str] = (),
        walked: Iterable[str] | None = None,
        last: Collection[str] = (),
        without: Collection[str] = (),
    ) -> Number:
        """Return how many values of a tensor pass a place.

        Args:
            loops: the loops around it.
            ranks: along which the tensor changes, the instances left out; None for none, not even these.
            shared: dimensions whose positions one access serves where they want the same value.
            walked: ranks that a compute walks there point by point.
            last: whole ranks of which only the last iteration counts.
            without: whole ranks that are left out.
        """
        tensor = {} if ranks is None else {INSTANCES: (), **self.space.grains(ranks)}
        points = {} if walked is None else {INSTANCES: (), **self.space.grains(walked)}
        found: Number = 1
        for rank in dict.fromkeys([*(loop.rank for loop in loops), *tensor, *points]):
            if rank not in last and rank not in without:
                around = tuple(loop for loop in loops if loop.rank == rank)
                found = found * self._rank(rank, around, tensor.get(rank), points.get(rank), shared)
        return found

    def _rank(
        self, rank: str, loops: tuple[Loop, ...], grain: Grain | None, point: Grain | None, shared: Collection[str]
    ) -> Number:
        if grain == ():
            return self.space.sizes[rank]
        together = tuple(loop.over is not None and loop.over in shared for loop in loops)
        key = (rank, tuple(map(id, loops)), grain, point, together)
        if key not in self._turns:
            cuts = [Cut(loop.tile, one) for loop, one in zip(loops, together, strict=True)]
            if grain is not None:
                length = self.length(grain)
                coarse = [i for i, loop in enumerate(loops) if self.coarse(loop, grain)]
                upto = coarse[-1] + 1 if coarse else 0
                cuts = [*(Cut(loop.tile) for loop in loops[:upto]), Cut(length), *cuts[upto:]]
            if point is not None and point != grain:
                cuts.append(Cut(self.length(point)))
            self._turns[key] = turns(self.space.sizes[rank], cuts)
        return self._turns[key]

    def length(self, grain: Grain) -> Number:
        """Return how many points a grain has."""
        if grain not in self._lengths:
            self._lengths[grain] = self.space.length(grain)
        return self._lengths[grain]

    def coarse(self, loop: Loop, grain: Grain) -> bool:
        """Whether a loop's tiles are whole grains."""
        return everywhere(loop.tile >= self.length(grain))

    def region(self, site: Site, ranks: Iterable[str]) -> Number:
        """Return how many values of a tensor the ranges at a place select, where tiles are largest."""
        found: Number = 1
        for rank, grain in {INSTANCES: (), **self.space.grains(ranks)}.items():
            if rank not in site.last:
                tiles = [loop.tile for loop in self.plan.loops(site) if loop.rank == rank]
                found = found * steps(first(self.space.sizes[rank], tiles), self.length(grain))
        return found

"""Products of turns: how many values pass a place in a tree, in all iterations and all instances together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from einsum_cascades.loops.arith import Number, everywhere, steps
from einsum_cascades.loops.sites import WITHIN, Plan, Site
from einsum_cascades.loops.tree import INSTANCES, JOIN, Loop, parts_of
from einsum_cascades.loops.turns import Cut, first, turns

Grain: TypeAlias = tuple[str, ...]
Key: TypeAlias = tuple[Any, ...]


class Measure:
    """Counts at the places of one plan; what several counts share is evaluated once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.space = plan.space
        self._turns: dict[Key, Number] = {}
        self._regions: dict[Key, Number] = {}
        self._products: dict[tuple[Key, ...], Number] = {}
        self._kept: list[Number] = []  # so that no other array takes the identity of one that is gone
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
        joint = joined(loops)
        tensor = {} if ranks is None else self._grains(ranks, joint)
        points = {} if walked is None else self._grains(walked, joint)
        around: dict[str, list[Loop]] = {}
        for loop in loops:
            around.setdefault(loop.rank, []).append(loop)
        factors: set[Key] = set()
        for rank in {**around, **tensor, **points}:
            if rank not in last and rank not in without:
                key = self._factor(rank, around.get(rank, ()), tensor.get(rank), points.get(rank), shared)
                if key is not None:
                    factors.add(key)
        return self._product(tuple(sorted(factors, key=repr)))

    def _product(self, factors: tuple[Key, ...]) -> Number:
        """The product of factors, those before the last taken together, as other counts have them too."""
        if not factors:
            return 1
        if factors not in self._products:
            self._products[factors] = self._product(factors[:-1]) * self._turns[factors[-1]]
        return self._products[factors]

    def _factor(
        self, rank: str, loops: Sequence[Loop], grain: Grain | None, point: Grain | None, shared: Collection[str]
    ) -> Key | None:
        """Evaluate the turns of one rank, once for loops of the same tiles, and return by what they are known."""
        if grain == () or (point == () and grain is None and not any(_together(loop, shared) for loop in loops)):
            if (rank,) not in self._turns:
                self._turns[rank,] = self.space.extent(rank)
            return (rank,)
        cuts: list[tuple[Number, bool]] = [(loop.tile, _together(loop, shared)) for loop in loops]
        if grain is not None:
            length = self.length(grain)
            upto = next((i for i, loop in enumerate(loops) if not self.coarse(loop, grain)), len(loops))
            cuts = [(length, False), *cuts[upto:]]  # what is coarser does not change how many grains there are
        if point is not None and point != grain:
            cuts.append((self.length(point), False))
        if not cuts:
            return None
        key = (rank, *((tile if isinstance(tile, int) else id(tile), one) for tile, one in cuts))
        if key not in self._turns:
            self._kept += [tile for tile, _ in cuts]
            self._turns[key] = turns(self.space.extent(rank), [Cut(tile, one) for tile, one in cuts])
        return key

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
        loops = self.plan.loops(site)
        for rank, grain in self._grains(ranks, joined(loops)).items():
            if rank in site.last:
                continue
            own = [loop for loop in loops if loop.rank == rank]
            key = (rank, grain, *((x.over == WITHIN, x.tile if isinstance(x.tile, int) else id(x.tile)) for x in own))
            if key not in self._regions:
                self._kept += [loop.tile for loop in own]
                self._regions[key] = self._largest(rank, own, grain)
            found = found * self._regions[key]
        return found

    def _largest(self, rank: str, loops: Sequence[Loop], grain: Grain) -> Number:
        """Values along a rank in the first instance of a hold, where its range is largest."""
        start = next((i for i, loop in enumerate(loops) if loop.over == WITHIN), len(loops))
        size = first(self.space.extent(rank), [loop.tile for loop in loops[:start]])
        if start == len(loops):
            return steps(size, self.length(grain)) if grain else size
        coarse = [loop for loop in loops[start:] if self.coarse(loop, grain)]  # within a grain there is one value
        return turns(size, [*(Cut(loop.tile, loop.over != WITHIN) for loop in coarse), Cut(self.length(grain))])

    def _grains(self, ranks: Iterable[str], joint: Mapping[str, str]) -> dict[str, Grain]:
        """Grains by the ranks that loops cut: ranks that they join count as one."""
        grains = {INSTANCES: (), **self.space.grains(ranks)}
        return {joint.get(rank, rank): grain for rank, grain in grains.items()} if joint else grains


def joined(loops: Iterable[Loop]) -> dict[str, str]:
    """Return by rank the joined rank of loops that it is a part of."""
    return {part: loop.rank for loop in loops if JOIN in loop.rank for part in parts_of(loop.rank)}


def _together(loop: Loop, shared: Collection[str]) -> bool:
    """Whether the positions of a loop count once together; of one in time inside a hold, the iterations do."""
    return loop.over is not None and (loop.over == WITHIN or loop.over in shared)

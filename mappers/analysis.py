"""Loop-nest analysis: from any Einsum's nest to exact access counts, per memory and tensor.

A tile of a tensor stays where it is held while only loops over ranks that the tensor lacks advance. So the tile held
at depth ``d`` is replaced ``times(d)`` times: the product of the temporal extents down to the last loop outside ``d``
that moves the tensor (loops of extent 1 move nothing). Every replacement moves one tile per instance inwards; one read
of the outer memory serves all instances that want the same value (multicast). Results move outwards when their tile is
replaced, summed over instances that differ only in reduced ranks (spatial reduction), and partial sums come back when
a tile is visited again: reads = updates - size, because the first visit finds nothing to read.

Source of the model: Parashar et al., "Timeloop", ISPASS 2019, section V (tile analysis); the counts are exact for
tiles that do not overlap, which is every subscript that the notation has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod

from hw_models.activity import Count
from mappers.nest import Hold, LoopNest, Operand

FirstReads = Callable[[int, int], int]


def every_first_read(size: int, tile: int) -> int:
    """Return how many first reads of a tensor of ``size`` values are free: all of them."""
    return size


@dataclass(frozen=True, slots=True)
class Boundary:
    """Indices into the extents that give the traffic between two neighbouring holds of one tensor."""

    movers: tuple[int, ...]  # temporal loops that replace the inner tile, innermost first
    inner: tuple[int, ...]  # tile times instances, as the inner memory sees it
    outer: tuple[int, ...]  # the same values as the outer memory sees them
    distinct: tuple[int, ...]  # distinct values of the tensor in the outer memory
    outer_tile: tuple[int, ...]  # tile that one instance of the outer memory holds


@dataclass(frozen=True, slots=True)
class Chain:
    tensor: str
    output: bool
    memories: tuple[str, ...]
    boundaries: tuple[Boundary, ...]
    distinct: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CompiledNest:
    """A nest without its extents: the structure is analysed once and evaluated for any sizes."""

    chains: tuple[Chain, ...]
    temporal: tuple[bool, ...]
    scope: int

    def counts(self, extents: Sequence[int], first_reads: FirstReads = every_first_read) -> tuple[Count, ...]:
        """Return the accesses of every tensor in every memory that holds it.

        Args:
            extents: of the loops, outermost first.
            first_reads: how many of a tensor's first reads are free, given its size and the tile held.
        """
        steps = [1]
        for temporal, extent in zip(self.temporal, extents, strict=True):
            steps.append(steps[-1] * extent if temporal else steps[-1])
        points = prod(extents)
        result: list[Count] = []
        for chain in self.chains:
            if chain.output:
                result += self._output(chain, extents, steps, points, first_reads)
            else:
                result += self._input(chain, extents, steps, points)
        return tuple(result)

    def home_values(self, extents: Sequence[int]) -> int:
        """Return the values read from and written to the tensors' homes: what ``counts`` says of them, sooner."""
        steps = [1]
        for temporal, extent in zip(self.temporal, extents, strict=True):
            steps.append(steps[-1] * extent if temporal else steps[-1])
        values = 0
        for chain in self.chains:
            if not chain.boundaries:
                values += next(c.reads + c.updates for c in self.counts(extents) if c.tensor == chain.tensor)
                continue
            boundary = chain.boundaries[0]
            moved = self._times(boundary, extents, steps) * prod([extents[i] for i in boundary.outer])
            values += 2 * moved - prod([extents[i] for i in boundary.distinct]) if chain.output else moved
        return values

    def _times(self, boundary: Boundary, extents: Sequence[int], steps: list[int]) -> int:
        for position in boundary.movers:
            if extents[position] > 1:
                return steps[max(position + 1, self.scope)]
        return steps[self.scope]

    def _input(self, chain: Chain, extents: Sequence[int], steps: list[int], points: int) -> list[Count]:
        result = []
        fills = 0
        for memory, boundary in zip(chain.memories, chain.boundaries, strict=False):
            times = self._times(boundary, extents, steps)
            reads = times * prod([extents[i] for i in boundary.outer])
            result.append(Count(memory, chain.tensor, reads, fills))
            fills = times * prod([extents[i] for i in boundary.inner])
        result.append(Count(chain.memories[-1], chain.tensor, points, fills))
        return result

    def _output(
        self, chain: Chain, extents: Sequence[int], steps: list[int], points: int, first_reads: FirstReads
    ) -> list[Count]:
        result = []
        fills = drains = 0
        for memory, boundary in zip(chain.memories, chain.boundaries, strict=False):
            times = self._times(boundary, extents, steps)
            updates = times * prod([extents[i] for i in boundary.outer])
            size = prod([extents[i] for i in boundary.distinct])
            free = size
            if memory == "global_buffer":
                free = first_reads(size, prod([extents[i] for i in boundary.outer_tile]))
            result.append(Count(memory, chain.tensor, updates - free, fills, updates, drains))
            fills, drains = updates - size, times * prod([extents[i] for i in boundary.inner])
        fresh = drains - fills if chain.boundaries else prod([extents[i] for i in chain.distinct])
        result.append(Count(chain.memories[-1], chain.tensor, points - fresh, fills, points, drains))
        return result


def _boundary(
    operand: Operand, outer: int, inner: int, ranks: tuple[str, ...], spatial: tuple[bool, ...], shared: bool
) -> Boundary:
    positions = range(len(ranks))
    moves = [rank in operand.ranks for rank in ranks]
    tile = [i for i in positions if i >= inner and moves[i]]
    above = [i for i in positions if i < outer and spatial[i]]
    between = [i for i in positions if outer <= i < inner and spatial[i]]
    seen = [i for i in between if moves[i] or not shared]
    return Boundary(
        movers=tuple(i for i in reversed(range(inner)) if moves[i] and not spatial[i]),
        inner=tuple(above + between + tile),
        outer=tuple(above + seen + tile),
        distinct=tuple(i for i in positions if moves[i] or i in above or i in seen),
        outer_tile=tuple(i for i in positions if i >= outer and moves[i]),
    )


@lru_cache(maxsize=4096)
def compile_nest(
    operands: tuple[Operand, ...],
    ranks: tuple[str, ...],
    spatial: tuple[bool, ...],
    holds: tuple[Hold, ...],
    scope: int = 0,
    multicast: bool = True,
    spatial_reduction: bool = True,
) -> CompiledNest:
    """Analyse the structure of a nest; see ``LoopNest`` for the arguments."""
    chains = []
    for operand in operands:
        chain = [h for h in holds if h.tensor == operand.tensor]
        depths = [h.depth for h in chain]
        if not chain or depths != sorted(depths) or depths[-1] > len(ranks):
            raise ValueError(
                f"{operand.tensor} is held at depths {depths}: they start with its home and never decrease"
            )
        if any(depth < scope for depth in depths[1:]):
            raise ValueError(
                f"{operand.tensor} is held at depths {depths}, across tiles that the scope {scope} separates"
            )
        shared = spatial_reduction if operand.output else multicast
        boundaries = [_boundary(operand, o, i, ranks, spatial, shared) for o, i in pairwise(depths)]
        chains.append(
            Chain(
                operand.tensor,
                operand.output,
                tuple(h.memory for h in chain),
                tuple(boundaries),
                tuple(i for i, r in enumerate(ranks) if r in operand.ranks or spatial[i]),
            )
        )
    return CompiledNest(tuple(chains), tuple(not s for s in spatial), scope)


def analyse(nest: LoopNest) -> tuple[Count, ...]:
    """Return exact access counts of a loop nest, in values, per memory and tensor.

    Raises:
        ValueError: a tensor has no home, or its holds are not listed from the outside in.
    """
    compiled = compile_nest(
        nest.operands,
        tuple(loop.rank for loop in nest.loops),
        tuple(loop.spatial for loop in nest.loops),
        nest.holds,
        nest.scope,
        nest.multicast,
        nest.spatial_reduction,
    )
    return compiled.counts([loop.extent for loop in nest.loops])

"""Which values a hold keeps, by the ranges of the loops around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from math import prod

from einsum_cascades.loops.space import Operand, Space
from einsum_cascades.loops.tree import Loop, parts_of
from einsum_cascades.order import carried
from hw_models.simulator.functional.layout import Address, Layout, Ranks
from hw_models.simulator.functional.once import once
from hw_models.simulator.functional.places import Place
from hw_models.simulator.functional.wiring import Wiring, tensor_of


class Regions:
    """Addresses of accesses, and what ranges select of them."""

    def __init__(self, wiring: Wiring, space: Space, ranks: Ranks) -> None:
        self.wiring, self.space, self.ranks = wiring, space, ranks
        self.layouts = {tensor: Layout.of(tensor, ranks) for tensor in space.cascade.ranks_of}
        self.slots = {rank: slot for slot, rank in enumerate((*ranks.sizes, *self.joined))}

    @cached_property
    def joined(self) -> tuple[str, ...]:
        """Ranks of loops that cut several ranks as one."""
        found = (place.loop.rank for place in self.wiring.root.all() if isinstance(place.node, Loop))
        return tuple(rank for rank in dict.fromkeys(found) if len(parts_of(rank)) > 1)

    def length(self, rank: str) -> int:
        """Return the points of a rank, or of several that are cut as one."""
        return prod(self.ranks.sizes[part] for part in parts_of(rank))

    @property
    def whole(self) -> tuple[tuple[int, int], ...]:
        """The ranges of all ranks, uncut, by slot."""
        return tuple((0, self.length(rank)) for rank in self.slots)

    def parted(self, joined: str, index: int) -> dict[str, int]:
        """Return where a point of ranks that are cut as one is in each; the last one is walked fastest."""
        found = {}
        for part in reversed(parts_of(joined)):
            index, found[part] = divmod(index, self.ranks.sizes[part])
        return found

    @once
    def addresses(self, place: Place, operand: Operand, writes: bool) -> tuple[Address, ...]:
        """Return where the accesses are that an operand of a compute stands for."""
        einsum = self.wiring.step(place).einsum
        layout = self.layouts[operand.tensor]
        if writes:
            return (Address(einsum.output, layout, self.ranks),)
        in_body = einsum in self.space.cascade.body
        return tuple(
            Address(access, layout, self.ranks)
            for access in einsum.inputs
            if (access.tensor, access.ranks) == (operand.tensor, operand.ranks)
            and (in_body and carried(access, self.space.cascade)) == operand.carried
        )

    @once
    def _kept(self, hold: Place, use: int | None) -> _Kept:
        """What a hold keeps, or what one use of it touches there."""
        uses = self.wiring.used_in(hold)
        named = [one for one in uses if one.operand.name == hold.hold.tensor] or uses
        some = named if use is None else [self.wiring.uses[use]]
        addresses = [address for one in some for address in self.addresses(*one)]
        if any(not address.last for address in addresses):  # the last one of some iterations is among these
            addresses = [address for address in addresses if not address.last]
        later = 0 if some[0] in named else 1  # what reads the iteration before finds it among those that are made
        return _Kept(addresses, self.layouts[tensor_of(hold)], hold.hold.state, later, self)

    def region(self, hold: Place, ranges: Sequence[tuple[int, int]], use: int | None = None) -> list[int]:
        """Return the values that ranges of all ranks select of what a hold keeps, or one use of it touches."""
        kept = self._kept(hold, use)
        return kept.region(tuple([ranges[slot] for slot in kept.slots]))


class _Kept:
    """What some addresses select of a tensor: one value for each point of the ranks that they walk."""

    def __init__(self, addresses: list[Address], layout: Layout, state: bool, later: int, regions: Regions) -> None:
        self.state, self.versions, self.later, self.regions = state, layout.versions, later, regions
        along = None if layout.iterative is None or not state else layout.axes[layout.iterative].part.whole
        self.parts = [
            (address, {rank: grain for rank, grain in sorted(address.grains.items()) if rank != along})
            for address in addresses
        ]
        own = dict.fromkeys(rank for _, grains in self.parts for rank in grains)
        self.joined = [joined for joined in regions.joined if not own.keys().isdisjoint(parts_of(joined))]
        self.names = [*own, *self.joined]
        self.slots = [regions.slots[rank] for rank in self.names]

    @once
    def region(self, ranges: tuple[tuple[int, int], ...]) -> list[int]:
        """Return the values at some ranges of these ranks."""
        by_rank = dict(zip(self.names, ranges, strict=True))
        keys: dict[int, None] = {}
        for address, grains in self.parts:
            sides = self._sides(address, grains, by_rank)
            keys.update(dict.fromkeys(address.base + self.later + sum(picked) for picked in product(*sides)))
        if self.state:
            return list(dict.fromkeys(key // self.versions * self.versions for key in keys))
        return list(keys)

    def _sides(
        self, address: Address, grains: Mapping[str, int], ranges: Mapping[str, tuple[int, int]]
    ) -> Iterator[list[int]]:
        """For each rank, or ranks that are cut as one, what its points add to a value's number."""
        left = dict(grains)
        for joined in self.joined:
            own = [part for part in parts_of(joined) if part in left]
            low, high = ranges[joined]
            if own and high - low < self.regions.length(joined):
                points = (self.regions.parted(joined, index) for index in range(low, high))
                yield list(dict.fromkeys(sum(address.add(rank, point[rank]) for rank in own) for point in points))
                left = {rank: grain for rank, grain in left.items() if rank not in own}
        for rank, grain in left.items():
            low, high = ranges[rank]
            yield address.along(rank, grain, low // grain, -(-high // grain))

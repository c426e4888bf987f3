"""Which points are summed into a value: each has a bit, by where it is along the ranks that the Einsum folds."""

from __future__ import annotations

from einsum_cascades.ir import Const
from einsum_cascades.loops.space import Step
from hw_models.simulator.functional.layout import Layout, Ranks
from hw_models.simulator.functional.once import once


class Folded:
    """The ranks that an Einsum folds, whole or in part (a value of ``LM[m1]`` is that of several points of M)."""

    base = 0

    def __init__(self, step: Step, layout: Layout, ranks: Ranks) -> None:
        self.step, self.layout = step, layout
        own, self.out = ranks.grains(step.ranks), ranks.grains(step.output.ranks)
        self.sizes = ranks.sizes
        self.ranks = [(rank, grain) for rank, grain in own.items() if self.out.get(rank) != grain]
        self.strides: dict[str, int] = {}
        stride = 1
        for rank, grain in reversed(self.ranks):
            self.strides[rank] = stride
            stride *= -(-ranks.sizes[rank] // grain)

    def changes(self, rank: str) -> bool:
        """Whether points of a whole rank have bits of their own."""
        return rank in self.strides

    @once
    def along(self, rank: str, grain: int, low: int, high: int) -> list[int]:
        """Return what points of a whole rank in steps of a grain add to the number of a bit."""
        stride = self.strides.get(rank, 0)
        return [index * stride for index in range(low, high)]

    def add(self, rank: str, point: int) -> int:
        """Return what a point of a whole rank adds to the number of a bit."""
        return next((point // grain * self.strides[rank] for own, grain in self.ranks if own == rank), 0)

    def makes(self, key: int) -> bool:
        """Whether it is this Einsum that makes a value, and not another one that gives the tensor's first values."""
        at = self.layout.indices(key)[1:]
        return all(
            subscript.value == index
            for subscript, index in zip(self.step.einsum.output.subscripts, at, strict=True)
            if isinstance(subscript, Const)
        )

    @once
    def whole(self, key: int) -> int:
        """Return the bits of all points that are summed into a value."""
        found = 1
        starts: dict[str, int] = {}
        at = self.layout.indices(key)
        shifts = (0, *(getattr(s, "shift", 0) for s in self.step.einsum.output.subscripts))
        for axis, index, shift in zip(self.layout.axes, at, shifts, strict=True):
            starts[axis.part.whole] = starts.get(axis.part.whole, 0) + (index - shift) * axis.part.unit
        for rank, grain in reversed(self.ranks):
            size = self.sizes[rank]
            low, high = 0, size
            if rank in self.out:
                low = starts[rank]
                high = min(size, low + self.out[rank])
            stride, row = self.strides[rank], 0
            for index in range(low // grain, -(-high // grain)):
                row |= found << index * stride
            found = row
        return found

"""Where the values of a tensor are: each has a number, its place in the array that the tensor is.

A tensor's array has an axis for the instances, then its ranks as declared, but the iterative rank of a tensor that is
carried comes last: what iteration i - 1 made is at i there, and the first value at 0. Parts of a split rank are axes of
their own, of which the last tile may be ragged: a point of the whole rank beyond its end does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from math import prod
from typing import NamedTuple

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Access, Const, Size, Var
from einsum_cascades.loops.space import Space, whole_ranks
from einsum_cascades.loops.tree import INSTANCES
from hw_models.simulator.functional.once import once


class Part(NamedTuple):
    """A rank of the cascade as a part of a whole one.

    Attributes:
        whole: the rank that loops cut.
        unit: points of that rank for each of this one's.
        wrap: after how many this one begins anew; 0 is never.
        size: how many it has.
    """

    rank: str
    whole: str
    unit: int
    wrap: int
    size: int

    def at(self, point: int) -> int:
        """Return where a point of the whole rank is along this one."""
        at = point // self.unit
        return at % self.wrap if self.wrap else at


class Ranks:
    """The ranks of a cascade, with their sizes."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.sizes = {rank: int(size) for rank, size in space.sizes.items()}
        self.instances = Part(INSTANCES, INSTANCES, 1, 0, self.sizes[INSTANCES])
        self._wholes = whole_ranks(space.cascade)

    @once
    def part(self, rank: str) -> Part:
        """Return a rank as a part of its whole rank."""
        whole = self.space.whole(rank)
        (inner,) = self.space.grains([rank]).values()
        unit = int(self.space.length(inner))
        if whole == rank or self._wholes[whole][0] == rank:
            return Part(rank, whole, unit, 0, -(-self.sizes[whole] // unit))
        own = int(self.space.split[rank])
        return Part(rank, whole, unit, own, own)

    @once
    def _grains(self, ranks: tuple[str, ...]) -> dict[str, int]:
        found = {INSTANCES: 1}
        for rank, inner in self.space.grains(ranks).items():
            found[rank] = int(self.space.length(inner))
        return dict(sorted(found.items()))

    def grains(self, ranks: Iterable[str]) -> dict[str, int]:
        """Return points per value by whole rank; the instances are a rank of everything."""
        return self._grains(tuple(ranks))

    @cached_property
    def carried(self) -> Mapping[str, str]:
        """Tensors that are carried from iteration to iteration, and the whole rank along which."""
        found = {}
        for step in self.space.steps.values():
            for operand in step.inputs:
                if operand.carried:
                    along = {self.space.whole(r) for r in self.space.cascade.ranks_of[operand.tensor]}
                    along &= self.space.iterative
                    if len(along) != 1:
                        raise InputError(
                            f"{operand.tensor} is carried along {', '.join(sorted(along)) or 'no rank'}",
                            hint="the simulator carries a tensor along one iterative rank",
                        )
                    (found[operand.tensor],) = along
        return found


class Axis(NamedTuple):
    """An axis of a tensor's array."""

    part: Part
    size: int
    stride: int


class Layout:
    """The array of a tensor.

    Attributes:
        axes: of its ranks, as declared; the instances' first.
        versions: entries along the iterative rank of a tensor that is carried; else 1.
        size: of the array.
    """

    def __init__(self, tensor: str, ranks: Ranks, accesses: Iterable[Access]) -> None:
        self.tensor = tensor
        own = [ranks.part(rank) for rank in ranks.space.cascade.ranks_of[tensor]]
        reached = [part.size for part in own]
        for access in accesses:
            for i, subscript in enumerate(access.subscripts):
                reached[i] = max(reached[i], _reach(subscript, ranks))
        parts, sizes = [ranks.instances, *own], [ranks.instances.size, *reached]
        along = ranks.carried.get(tensor)
        iterative = {part.rank for part in parts if part.whole == along} & set(ranks.space.cascade.iterative_ranks)
        last = [i for i, part in enumerate(parts) if part.rank in iterative]
        order = [i for i in range(len(parts)) if i not in last] + last
        if along is not None and sum(part.whole == along for part in parts) > 1:
            raise InputError(f"{tensor} is carried along a part of {along}, and has another part of it")
        strides = [prod(sizes[j] for j in order[order.index(i) + 1 :]) for i in range(len(parts))]
        self.axes = tuple(map(Axis, parts, sizes, strides))
        self.iterative = last[0] if last else None
        self.versions = sizes[last[0]] if last else 1
        self.size = prod(sizes)

    @classmethod
    def of(cls, tensor: str, ranks: Ranks) -> Layout:
        """Return the layout of a tensor, long enough for all accesses of it."""
        einsums = ranks.space.cascade.einsums
        return cls(tensor, ranks, [a for e in einsums for a in (e.output, *e.inputs) if a.tensor == tensor])

    def indices(self, key: int) -> tuple[int, ...]:
        """Return the index along each axis of a value."""
        return tuple(key // axis.stride % axis.size for axis in self.axes)

    def text(self, key: int) -> str:
        """Return a value in the notation, such as ``LM[3, 0]``."""
        instance, *at = self.indices(key)
        said = f"{self.tensor}[{', '.join(map(str, at))}]" if at else self.tensor
        return f"{said} of instance {instance}" if self.axes[0].size > 1 else said

    def shape(self) -> tuple[int, ...]:
        """Return the lengths of the axes in declared order."""
        return tuple(axis.size for axis in self.axes)


def _reach(subscript: Var | Const | Size, ranks: Ranks) -> int:
    if isinstance(subscript, Const):
        return subscript.value + 1
    part = ranks.part(subscript.rank)
    return part.size + (1 if isinstance(subscript, Size) else subscript.shift)


class Address:
    """Where an access of an Einsum is, by its point.

    Attributes:
        last: whether it is that of the last iteration, such as ``RM[M1, p]``.
    """

    def __init__(self, access: Access, layout: Layout, ranks: Ranks) -> None:
        self.access, self.layout = access, layout
        self.base = 0
        self.last = any(isinstance(subscript, Size) for subscript in access.subscripts)
        self.grains = {INSTANCES: 1}
        self.terms: dict[str, list[tuple[Part, int, int]]] = {INSTANCES: [(ranks.instances, 0, layout.axes[0].stride)]}
        for subscript, axis in zip(access.subscripts, layout.axes[1:], strict=True):
            if isinstance(subscript, Const):
                self.base += subscript.value * axis.stride
            elif isinstance(subscript, Size):
                self.base += ranks.part(subscript.rank).size * axis.stride
            else:
                part = ranks.part(subscript.rank)
                self.terms.setdefault(part.whole, []).append((part, subscript.shift, axis.stride))
                self.grains[part.whole] = min(part.unit, self.grains.get(part.whole, part.unit))

    def changes(self, whole: str) -> bool:
        """Whether the value changes along a whole rank."""
        return whole in self.terms

    def add(self, whole: str, point: int) -> int:
        """Return what a point of a whole rank adds to the value's number."""
        return sum((part.at(point) + shift) * stride for part, shift, stride in self.terms.get(whole, ()))

    @once
    def along(self, whole: str, grain: int, low: int, high: int) -> list[int]:
        """Return what points of a whole rank in steps of a grain add to the value's number."""
        if whole not in self.terms:
            return [0] * (high - low)
        return [self.add(whole, index * grain) for index in range(low, high)]

"""The least traffic of Einsums one by one: a lower bound however they are fused, cheap enough for a search.

The points of a schedule that belong to one Einsum are a schedule of that Einsum by itself (`einsum.py`), in which a
value that another Einsum makes or needs may come in, and go out, once for free. So what each Einsum moves by itself
beyond every tensor once adds up over Einsums, if an input of several counts in one of them only: whatever the order of
the Einsums, the loops that they share, and what stays on chip between them. Any number of ranks will do.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from einsum_cascades.ir import Einsum
from einsum_cascades.traffic.einsum import Free, Front, Task, front
from einsum_cascades.traffic.segments import Segmenter

_BUDGET = 10_000


@dataclass(frozen=True)
class One:
    """An Einsum by itself.

    Attributes:
        name: the tensor that it writes.
        front: what it moves at least, by room.
        once: values that move in any case.
        times: how often it runs: once per value of the ranks that all its tensors have.
    """

    name: str
    front: Front
    once: int
    times: int

    def surplus(self, capacity: int) -> float:
        """Values moved beyond each tensor once; infinite where nothing fits."""
        return max(0.0, self.front.least(capacity) - self.once) * self.times


class Alone:
    """The Einsums of a cascade one by one.

    Args:
        segmenter: what knows the cascade and its sizes.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        read = {segmenter.plain(access.tensor) for e in segmenter.einsums for access in e.inputs}
        self.writers = [e.name for e in segmenter.cascade.einsums]
        self.outside = {tensor for tensor in read if tensor not in self.writers} | set(segmenter.cascade.outputs)

    @cached_property
    def each(self) -> tuple[One, ...]:
        """Every Einsum; those of most points have the inputs that several read."""
        sizes, ranks = self.segmenter.sizes, self.segmenter.ranks
        order = sorted(self.segmenter.einsums, key=lambda e: -math.prod(sizes[r] for r in ranks(e.ranks)))
        counted: set[str] = set()
        found = []
        for einsum in order:
            found.append(self._one(einsum, counted))
            counted |= self._reads(einsum)
        return tuple(found)

    def surplus(self, capacity: int, names: Collection[str] | None = None) -> float:
        """Values that Einsums, all or those of some names, move beyond each tensor once."""
        return sum(one.surplus(capacity) for one in self.each if names is None or one.name in names)

    def compulsory(self, names: Collection[str] | None = None) -> int:
        """Values of the inputs and results that Einsums, all or those of some names, read and write."""
        chosen = [e for e in self.segmenter.einsums if names is None or e.name in names]
        touched = {t for e in chosen for t in (self._reads(e) | {e.name}) if t in self.outside}
        shapes = self.segmenter.shapes_in(tuple(chosen))
        return sum(shapes[tensor].size(self.segmenter.sizes) for tensor in touched)

    def _reads(self, einsum: Einsum) -> set[str]:
        return {self.segmenter.plain(access.tensor) for access in einsum.inputs}

    def _one(self, einsum: Einsum, counted: Collection[str]) -> One:
        sizes, walks = self.segmenter.sizes, self.segmenter.ranks(einsum.ranks)
        shapes = self.segmenter.shapes_in((einsum,))
        names = [t for t in sorted(self._reads(einsum)) if t not in counted] + [einsum.name]
        plain = [t for t in names if not shapes[t].parts and self.writers.count(t) <= 1]
        batches = set(walks).intersection(*(shapes[t].ranks for t in plain))
        times = math.prod(sizes[r] for r in batches)
        tensors = []
        for name in plain:
            ranks = frozenset(shapes[name].ranks) - batches
            size = math.prod(sizes[r] for r in ranks)
            tensors.append(Free(ranks, name == einsum.name, size, 0 if name in self.outside else size))
        inner = tuple(r for r in walks if r not in batches)
        task = Task(inner, {r: sizes[r] for r in inner}, tuple(tensors))
        return One(einsum.name, front(task, _BUDGET), sum(t.size - t.credit for t in tensors), times)

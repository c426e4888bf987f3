"""The stated space: all mappings that the search is about.

    a mapping   = a preset's tree, or segments one after another (``cuts.py``), each a tree of a frame (``frames/``)
    partitions  = cut alike in all segments: as the rows of a visit are where the cascade can be fused, or as phases by
                  themselves have them

Between segments tensors are in the off-chip memory; within one, where its frame says.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from einsum_cascades.errors import InputError
from einsum_cascades.loops.space import Space
from mappers.presets.axes import split_of
from mappers.presets.problem import Problem
from mappers.search.cuts import Cuts
from mappers.search.floors import Floors
from mappers.search.frames.block import BlockFrame
from mappers.search.frames.frame import Frame
from mappers.search.frames.fused import FusedFrame, row_splits
from mappers.search.frames.phase import PhaseFrame
from mappers.search.segment import Segment

FRAMES: Final[dict[str, Frame]] = {frame.name: frame for frame in (FusedFrame(), BlockFrame(), PhaseFrame())}
Split = tuple[tuple[str, int], ...]
"""How the cascade's partitions are cut: (part, its size)."""


@dataclass(frozen=True, eq=False)
class MappingSpace:
    """The mappings of one problem."""

    problem: Problem

    @cached_property
    def cuts(self) -> Cuts:
        """How the cascade may be cut into segments."""
        return Cuts(self.problem.cascade)

    @cached_property
    def splits(self) -> tuple[Split, ...]:
        """How the cascade's partitions may be cut."""
        found = {_split(dict(split_of(self.problem))): None}
        with suppress(InputError):  # it cannot be fused
            found |= {_split(dict(split)): None for split in row_splits(self.problem)}
        return tuple(found)

    @cached_property
    def cut(self) -> dict[Split, CutSpace]:
        """What is left to choose for each of them."""
        return {split: CutSpace(self, split) for split in self.splits}


@dataclass(frozen=True, eq=False)
class CutSpace:
    """The mappings of one problem whose partitions are cut in one way."""

    whole: MappingSpace
    split: Split

    @cached_property
    def space(self) -> Space:
        """The sizes of all ranks."""
        problem = self.whole.problem
        return Space.of(problem.cascade, problem.sizes, self.split)

    @cached_property
    def floors(self) -> Floors:
        """Bounds of segments."""
        return Floors(self.whole.problem, self.space)

    def segment(self, units: int) -> Segment:
        """Return the segment of some units."""
        if units not in self._segments:
            self._segments[units] = Segment(self.whole.problem, self.space, self.whole.cuts.names(units), self.floors)
        return self._segments[units]

    @cached_property
    def _segments(self) -> dict[int, Segment]:
        return {}


def _split(parts: Mapping[str, object]) -> Split:
    return tuple((part, int(str(size))) for part, size in parts.items())

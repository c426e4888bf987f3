"""A mapping: per Einsum its array, loop nest and residency; for the cascade the schedule of phases and epochs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod

from einsum_cascades.operators import WorkClass
from hw_models.activity import ArrayName
from mappers.analysis import CompiledNest, compile_nest
from mappers.nest import Hold, Loop, LoopNest, Operand


@dataclass(frozen=True, slots=True)
class NestShape:
    """A loop nest without its extents, analysed once."""

    operands: tuple[Operand, ...]
    ranks: tuple[str, ...]
    spatial: tuple[bool, ...]
    holds: tuple[Hold, ...]
    scope: int
    compiled: CompiledNest

    @classmethod
    def of(
        cls,
        operands: tuple[Operand, ...],
        ranks: tuple[str, ...],
        spatial: tuple[bool, ...],
        holds: tuple[Hold, ...],
        *,
        scope: int = 0,
        multicast: bool = True,
        spatial_reduction: bool = True,
    ) -> NestShape:
        """Build and analyse a shape."""
        compiled = compile_nest(operands, ranks, spatial, holds, scope, multicast, spatial_reduction)
        return cls(operands, ranks, spatial, holds, scope, compiled)


@dataclass(frozen=True, slots=True)
class MappedEinsum:
    """One Einsum on one array.

    Attributes:
        name: the Einsum.
        array: where it runs.
        shape, extents: its loop nest, padded to whole tiles.
        work: (class, number) of operations at each point of the nest.
        cycles_per_point: cycles that a PE takes for one point.
        points: points of the iteration space that are not padding.
        actions_per_point: how often a PE's units act for one point, one after another.
    """

    name: str
    array: ArrayName
    shape: NestShape
    extents: tuple[int, ...]
    work: tuple[tuple[WorkClass, int], ...]
    cycles_per_point: int
    points: int
    actions_per_point: int = 1

    @property
    def steps(self) -> int:
        """Steps that the loops take in time."""
        return prod([x for x, spatial in zip(self.extents, self.shape.spatial, strict=True) if not spatial])

    @property
    def nest(self) -> LoopNest:
        """The nest with its loops spelled out."""
        loops = zip(self.shape.ranks, self.extents, self.shape.spatial, strict=True)
        return LoopNest(
            self.shape.operands, tuple(Loop(r, x, s) for r, x, s in loops), self.shape.holds, self.shape.scope
        )


@dataclass(frozen=True, slots=True)
class ScheduledPhase:
    """Epochs that run one after another; in an epoch the two arrays run side by side.

    Attributes:
        name: of the phase.
        epochs: the Einsums of each epoch.
        drain_cycles: cycles in which both arrays wait for results to leave the 2D array.
    """

    name: str
    epochs: tuple[tuple[str, ...], ...]
    drain_cycles: int = 0


@dataclass(frozen=True, slots=True)
class Mapping:
    """A cascade mapped onto an architecture.

    Attributes:
        strategy: who made it.
        einsums: per Einsum, in execution order.
        phases: the schedule; phases do not overlap.
        buffer_bytes: peak live bytes in the global buffer.
        passes: passes that it makes over the reduced rank.
        tiled: whether it runs tile by tile.
        value_bytes: bytes per value.
        spilled: fraction of the accesses to the tensors named that go to DRAM instead of the buffer.
        tiles: (rank, tile size) chosen, for people.
    """

    strategy: str
    einsums: tuple[MappedEinsum, ...]
    phases: tuple[ScheduledPhase, ...]
    buffer_bytes: int
    passes: int
    tiled: bool
    value_bytes: int
    spilled: tuple[tuple[str, Fraction], ...] = ()
    tiles: tuple[tuple[str, int], ...] = ()

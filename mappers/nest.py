"""Loop nests: one Einsum's loops over named ranks, and which memory holds which tensor at which depth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loop:
    """``for rank in extent``; a spatial loop runs on as many PEs at once."""

    rank: str
    extent: int
    spatial: bool = False


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor of the Einsum and the ranks that index it.

    Several loops may share a rank (its tiles); a tensor depends on all of them.
    """

    tensor: str
    ranks: tuple[str, ...]
    output: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """A memory holds the tile of a tensor that the loops from ``depth`` inwards walk over.

    Depth 0 is the whole tensor; a depth of the number of loops is a single value per instance. The memory has one
    instance for each combination of the spatial loops outside ``depth``.
    """

    memory: str
    tensor: str
    depth: int


@dataclass(frozen=True, slots=True)
class LoopNest:
    """The loops, outermost first, the tensors, and where each is held.

    Attributes:
        operands: inputs and one output.
        loops: outermost first.
        holds: per tensor from the outermost memory (its home, depth 0) to the innermost; a memory that is
            not named for a tensor is bypassed by it.
        scope: nothing is reused across iterations of this many outermost loops: they are tiles of a fused group,
            and each starts with empty memories (below the homes).
        multicast: one read serves all instances further in that want the same value.
        spatial_reduction: results of instances that differ only in reduced ranks are combined on the way out.
    """

    operands: tuple[Operand, ...]
    loops: tuple[Loop, ...]
    holds: tuple[Hold, ...]
    scope: int = 0
    multicast: bool = True
    spatial_reduction: bool = True

"""Live footprints: the values of each fiber that must be kept under any mapping, and what it costs not to keep them.

A tensor that is visited in k > 1 passes over a rank family has its whole fiber live between the first and the last:
its algorithmic minimum live footprint is the size of the family. One that is visited once over the whole family may
still be visited twice within a tile (the outer parts fixed); then the fiber of that tile is live. Any other tensor
streams: one value at a time. A fiber is the values along the family with all other coordinates fixed.

A fiber that does not fit is spilled: an input is loaded again in each pass that visits it, an intermediate is written
in the first and loaded in the others.

Source: Nayak et al., "FuseMax", MICRO 2024, section 3 (algorithmic minimum live footprint).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.operations import complete_sizes
from einsum_cascades.passes import Family, Schedule, analyse_passes, slot_name

if TYPE_CHECKING:
    import sympy


@dataclass(frozen=True)
class Footprint:
    """What must be kept of one tensor.

    Attributes:
        tensor: its name.
        passes: how many passes over the whole family visit it.
        ranks: the ranks whose whole extent is live; none where one value at a time is enough.
        visits: when it is visited, as slots; more than ``passes`` where a tile is visited again.
        is_input, is_output: whether it comes from outside, and whether it is a result.
    """

    tensor: str
    passes: int
    ranks: tuple[str, ...]
    visits: tuple[int, ...]
    is_input: bool
    is_output: bool

    @property
    def symbolic(self) -> sympy.Expr:
        """Values per fiber as an expression over rank sizes (positive integer symbols, as the ranks are named)."""
        import sympy

        return sympy.Mul(*(sympy.Symbol(rank, positive=True, integer=True) for rank in self.ranks))

    def values(self, sizes: Mapping[str, int]) -> int:
        """Return values per fiber.

        Raises:
            InputError: a rank has no size.
        """
        return math.prod(_size(rank, sizes, self.tensor) for rank in self.ranks)


@dataclass(frozen=True)
class Visit:
    """Traffic of one visit to a tensor, all its fibers together.

    Attributes:
        when: the pass, such as ``pass 2``.
        kept_bytes: traffic when the fiber is kept on chip.
        spilled_bytes: traffic when it is not.
    """

    when: str
    kept_bytes: int
    spilled_bytes: int


@dataclass(frozen=True)
class Consequence:
    """What a buffer means for one tensor.

    Attributes:
        tensor: its name.
        fiber_bytes: bytes of one live fiber.
        fits: whether one fiber fits in the buffer.
        visits: traffic of each visit, kept or spilled.
    """

    tensor: str
    fiber_bytes: int
    fits: bool
    visits: tuple[Visit, ...]

    @property
    def dram_bytes(self) -> int:
        """Traffic of all visits, given whether the fiber fits."""
        return sum(v.kept_bytes if self.fits else v.spilled_bytes for v in self.visits)


def footprints(cascade: Cascade, rank: str = "M") -> tuple[Footprint, ...]:
    """Return the footprint of every tensor with a rank of the family, in declaration order.

    Args:
        cascade: what is analysed.
        rank: a rank, or a family by any of its names.

    Raises:
        InputError: as `analyse_passes`.
    """
    analysis = analyse_passes(cascade, rank)
    order = analysis.family
    inner = [Schedule(cascade, Family(cascade, order[start:])).tensor_visits() for start in range(1, len(order))]
    views = dict(cascade.views)
    inputs = {tensor for tensor in cascade.inputs if views.get(tensor) not in {e.name for e in cascade.einsums}}
    found = []
    for declaration in cascade.declarations:
        tensor = declaration.tensor
        if tensor not in analysis.tensor_visits:
            continue
        visits = analysis.tensor_visits[tensor]
        live: tuple[str, ...] = ()
        for start, by_tensor in enumerate((analysis.tensor_visits, *inner)):
            slots = by_tensor.get(tensor, ())
            if len(slots) > 1:
                family = Family(cascade, order[start:])
                live = tuple(r for r in declaration.ranks if family.parts([r]))
                visits = visits if start == 0 else (*visits, *visits[-1:] * (len(slots) - 1))
                break
        passes = analysis.tensor_passes[tensor]
        found.append(Footprint(tensor, passes, live, visits, tensor in inputs, tensor in cascade.outputs))
    return tuple(found)


def consequences(
    cascade: Cascade,
    rank: str,
    sizes: Mapping[str, int],
    buffer_bytes: int,
    *,
    value_bytes: int = 2,
    instances: int = 1,
) -> tuple[Consequence, ...]:
    """Return what a buffer means for every tensor whose fiber is live.

    Args:
        cascade: what runs.
        rank: a rank, or a family by any of its names.
        sizes: the size of each rank; of a split one, all parts but one are enough.
        buffer_bytes: the buffer's capacity.
        value_bytes: bytes per value.
        instances: how many independent copies run (batch and heads); their traffic adds up.

    Raises:
        InputError: a rank has no size, or sizes contradict each other.
    """
    complete = complete_sizes(cascade, sizes)
    found = []
    for footprint in footprints(cascade, rank):
        if not footprint.ranks:
            continue
        fiber = footprint.values(complete) * value_bytes
        ranks = cascade.ranks_of[footprint.tensor]
        size = math.prod(_size(r, complete, footprint.tensor) for r in ranks) * value_bytes * instances
        visits = tuple(
            Visit(slot_name(slot), size if _moves_once(footprint, number) else 0, size)
            for number, slot in enumerate(footprint.visits)
        )
        found.append(Consequence(footprint.tensor, fiber, fiber <= buffer_bytes, visits))
    return tuple(found)


def _moves_once(footprint: Footprint, number: int) -> bool:
    """Whether a visit moves a tensor that stays on chip: inputs come in and results go out once."""
    return number == 0 and (footprint.is_input or footprint.is_output)


def _size(rank: str, sizes: Mapping[str, int], tensor: str) -> int:
    if rank not in sizes:
        shown = ", ".join(f"{r}={s}" for r, s in sizes.items()) or "none"
        raise InputError(f"rank {rank} of {tensor} has no size", hint=f"give the size of {rank}; sizes given: {shown}")
    return sizes[rank]

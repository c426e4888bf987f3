"""What a mapped cascade makes a GPU do: kernels of thread blocks, each a row of trips with plain counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from hw_models.gpu.machine import ProductUnit

Sharing = Literal["blocks", "free", "alternating"]
"""What goes its own way on an SM: a block, whose workers meet at barriers; each worker; or all in turns they keep."""
Dispatch = Literal["dynamic", "snake"]
"""Who takes the next block: the SM that has room first, or each SM in turn, there and back."""


class Product(NamedTuple):
    """Matrix products of one shape, rows×depth by depth×columns.

    Attributes:
        einsum: whose work it is.
        calls: how many there are.
    """

    einsum: str
    rows: int
    columns: int
    depth: int
    calls: int = 1

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.rows * self.columns * self.depth * self.calls


class Loop(NamedTuple):
    """A loop over values in registers, whose instructions for different pipes overlap.

    Attributes:
        einsum: whose work it is.
        special, fma, alu: instructions of each pipe (``machine.Vector``), counted per lane.
        reduces: whether the lanes of a warp reduce values together at its end, and wait for the result.
    """

    einsum: str
    special: int
    fma: int
    alu: int
    reduces: bool = False


class Transfer(NamedTuple):
    """Bytes of a tensor that a block reads from or writes to a memory."""

    tensor: str
    store: str
    bytes: int


Work: TypeAlias = Product | Loop


@dataclass(frozen=True, slots=True)
class Trip:
    """One round of a block's loop over the keys.

    Attributes:
        work: products and loops, in order.
        shared_bytes: that the block reads from and writes to shared memory beside what tensor units read there.
        transfers: loads and stores.
        awaited: loads that it cannot begin without, and that nobody makes ahead.
        awaits: loads from the L2 cache, one after another, that it waits for each time.
        first: whether it opens a row of trips: it waits for all its loads unless the kernel is persistent, and no
            work of a trip before it runs under its own.
        times: how often the block repeats it.
    """

    work: tuple[Work, ...] = ()
    shared_bytes: int = 0
    transfers: tuple[Transfer, ...] = ()
    awaited: tuple[Transfer, ...] = ()
    awaits: int = 0
    first: bool = False
    times: int = 1


@dataclass(frozen=True, slots=True)
class Block:
    """What one thread block does: its trips, one after another."""

    trips: tuple[Trip, ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel.

    Attributes:
        name: such as ``attention`` or ``combine``.
        blocks: of one instance, in the order in which they start, as (block, how many in a row).
        instances: independent instances, whose blocks follow each other.
        last: blocks that follow those of all instances.
        unit: what multiplies its tiles.
        workers: groups of warps of a block that each do all the work on rows of their own.
        resident: blocks that an SM holds at a time.
        sharing: how the workers of an SM share its units.
        pipelined: whether a worker's later products run under the vector loops of its next trip.
        dispatch: who takes the next block.
        persistent: whether blocks that follow each other on an SM load ahead across their ends.
        launches: of this kernel and of those that clear what it counts in.
        in_flight_bytes: that a block asks for before it uses them.
        hbm_bytes: traffic to and from the memory.
    """

    name: str
    blocks: tuple[tuple[Block, int], ...]
    instances: int
    unit: ProductUnit
    workers: int
    resident: int
    sharing: Sharing
    pipelined: bool
    dispatch: Dispatch
    persistent: bool
    in_flight_bytes: int
    hbm_bytes: int
    launches: int = 1
    last: tuple[tuple[Block, int], ...] = ()

    @property
    def number(self) -> int:
        """How many blocks there are."""
        return self.instances * sum(count for _, count in self.blocks) + sum(count for _, count in self.last)

    @property
    def counted(self) -> tuple[tuple[Block, int], ...]:
        """All blocks and how many of each, in no order."""
        return (*((block, count * self.instances) for block, count in self.blocks), *self.last)


@dataclass(frozen=True, slots=True)
class GpuActivity:
    """Everything that a mapped cascade does.

    Attributes:
        kernels: one after another.
        live_bytes: shared memory of the blocks that run at a time, and what lies between kernels.
        passes: passes over the row rank.
    """

    kernels: tuple[Kernel, ...]
    live_bytes: int
    passes: int

    @property
    def dram_bytes(self) -> int:
        """Traffic to and from the memory."""
        return sum(kernel.hbm_bytes for kernel in self.kernels)

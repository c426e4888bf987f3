"""A GPU as its microbenchmarks or its data sheet describe it: units of a multiprocessor, memories, overheads.

Rates are those of the whole chip, sustained; each of its multiprocessors (SMs) has an equal part. A product of tiles
runs on the tensor units, fed from shared memory by groups of four warps (``warpgroup``, Hopper's wgmma) or from
registers warp by warp (``warp``, mma.sync); 32-bit products run on the vector lanes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

ProductUnit = Literal["warpgroup", "warp", "vector"]
"""What multiplies tiles."""


@dataclass(frozen=True)
class Tensor:
    """The tensor units, for 16-bit operands and 32-bit sums.

    Attributes:
        warpgroup_flops_per_s: from shared memory, a group of four warps at a time; None where there is no such thing.
        warp_flops_per_s: from registers, warp by warp.
        latency_s: from the issue of products to their first result, beyond the time that the units are busy.
        clock: of the chip while products of warp groups keep it busy, of that at which its other units were measured:
            its power is limited.
    """

    warpgroup_flops_per_s: float | None
    warp_flops_per_s: float
    latency_s: float
    clock: float = 1.0

    def rate(self, unit: ProductUnit) -> float:
        """Flops per second where nothing else runs; without products of warp groups they go warp by warp."""
        return self.warp_flops_per_s if unit == "warp" or not self.warpgroup_flops_per_s else self.warpgroup_flops_per_s

    def load(self, unit: ProductUnit) -> float:
        """Part of the chip's products per cycle that a unit makes, u, all of them those of warp groups.

        The clock falls with it: a rate is u · (1 - (1 - clock) · u) of that of warp groups at the others' clock.
        """
        part = self.rate(unit) * self.clock / self.rate("warpgroup")
        lost = 1.0 - self.clock
        return 2.0 * part / (1.0 + sqrt(max(0.0, 1.0 - 4.0 * lost * part)))

    def clock_at(self, unit: ProductUnit, busy: float) -> float:
        """Clock of the chip while a unit is busy for a part of the time: linear, from 1 to what full load leaves."""
        return 1.0 - (1.0 - self.clock) * self.load(unit) * busy


@dataclass(frozen=True)
class Vector:
    """The vector lanes and the special-function units: what their three pipes do per second, lane by lane.

    Attributes:
        special_per_s: special functions, such as powers of two.
        fma_per_s: 32-bit multiplications, additions, and both at once; also what warps issue at most.
        alu_per_s: 32-bit maxima, comparisons, selections, and conversions to 16 bits.
        product_flops_per_s: matrix products of 32-bit values.
        latency_s: until a value that the lanes of a warp reduced together can be used.
    """

    special_per_s: float
    fma_per_s: float
    alu_per_s: float
    product_flops_per_s: float
    latency_s: float


@dataclass(frozen=True)
class Store:
    """A memory that all multiprocessors share.

    Attributes:
        name: ``L2`` or ``HBM``.
        bytes: capacity.
        bytes_per_s: sustained by all multiprocessors together.
        latency_s: of a read that nothing is ahead of.
    """

    name: str
    bytes: int
    bytes_per_s: float
    latency_s: float


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        sms: streaming multiprocessors.
        tensor, vector: units, of all SMs together.
        registers: 32-bit registers of an SM.
        threads, blocks: that an SM holds at a time, at most.
        shared_bytes: shared memory of an SM that blocks can have.
        shared_bytes_per_s: of all SMs together.
        l2, hbm: memories.
        launch_s: a kernel that does nothing, as it is timed between others.
        block_s: from the end of a thread block to the first load of the next one in its place.
        value_bytes: bytes per value that the tensor units work on.
        device: what of a device's name tells that it is one of these; empty if nothing does.
        title, measured, citation: what it is, and where the figures come from.
    """

    name: str
    sms: int
    tensor: Tensor
    vector: Vector
    registers: int
    threads: int
    blocks: int
    shared_bytes: int
    shared_bytes_per_s: float
    l2: Store
    hbm: Store
    launch_s: float
    block_s: float
    value_bytes: int = 2
    device: str = ""
    title: str = ""
    measured: str = ""
    citation: str = ""

    @property
    def kind(self) -> Literal["gpu"]:
        """What sort of machine it is."""
        return "gpu"

    @property
    def stores(self) -> tuple[Store, Store]:
        """The memories, nearest first."""
        return self.l2, self.hbm

    def flops_per_s(self, unit: ProductUnit) -> float:
        """Rate of products on a unit; a GPU without warp-group products does them warp by warp."""
        if unit == "vector":
            return self.vector.product_flops_per_s
        return self.tensor.rate(unit)

    def resident(self, *, threads: int, registers: int, shared_bytes: int) -> int:
        """Return how many blocks an SM holds at a time.

        Args:
            threads: of a block.
            registers: of a thread.
            shared_bytes: of a block.
        """
        limits = (
            self.registers // (threads * registers),
            self.threads // threads,
            self.shared_bytes // max(1, shared_bytes),
            self.blocks,
        )
        return max(1, min(limits))

"""The two ways of counting: as the published evaluation did, slips included, and as the hardware would.

Source of the slips: the FuseMax artifact (Nayak et al., MICRO 2024) and the toolchain it drives (Timeloop, Accelergy).
"""

from __future__ import annotations

from dataclasses import dataclass

from einsum_cascades.errors import check_name
from einsum_cascades.loops.arith import Number


@dataclass(frozen=True)
class Accounting:
    """One explicit choice for each place where the published evaluation and the hardware part ways.

    Attributes:
        name: ``published`` or ``physical``.
        phase_subtraction_cycles: whether the subtraction inside ``exp(x - max)`` takes a cycle of its own
            where softmax runs as a phase (strategies ``unfused`` and ``flat``); tiles always count it.
        tile_capacity_bytes: the capacity by which tiles are sized where score tiles pass through the
            buffer, if smaller than the buffer; None for the buffer itself.
        exp_unit_energy_in_tiles: whether exponentials on a dedicated unit cost energy in tiled cascades.
        all_register_files: whether each PE's register file is charged, or one PE's and one lane's.
        partition_size_bits: width of the integers in which the size of a tensor, for free first reads,
            is computed and wraps around; None for exact integers.
        spilled_accesses_in_buffer: whether accesses that go to DRAM because a tile overflows the buffer are
            charged at the buffer as well.
        drain_reads: whether a result that leaves a memory for the next one out is read from it.
        leakage: whether memories leak while the chip runs.
        pipeline_ends: whether the first and last epochs of a pipeline, which lack parts, take time.
        fibers_in_registers: whether a lane's registers hold a fiber of values whatever their number.
        groups_divide: whether tiles that divide a size evenly are grouped evenly too, where half as many as fit or more
            do so.
        pipeline_copies: whether what crosses the stages of a pipeline takes room for each iteration that is under way.
        clock_technology_nm: process node of the design whose clock gives the latency; None for the node of the
            component tables, so that latency and energy describe one chip (the clock itself is the architecture's).
    """

    name: str
    phase_subtraction_cycles: bool
    tile_capacity_bytes: int | None
    exp_unit_energy_in_tiles: bool
    all_register_files: bool
    partition_size_bits: int | None
    spilled_accesses_in_buffer: bool
    drain_reads: bool
    leakage: bool
    clock_technology_nm: int | None
    pipeline_ends: bool
    fibers_in_registers: bool
    groups_divide: bool
    pipeline_copies: bool

    def free_first_reads(self, size: Number, tile: Number) -> Number:
        """Return how many first reads of an output are free: nothing is there to read yet.

        The published evaluation computes this number from the product of the tensor's size and the tile that the
        memory holds, in 64-bit integers that wrap around, so that some free reads are charged after all.

        Args:
            size: values of the tensor.
            tile: values of the tensor that the memory holds at a time.
        """
        bits = self.partition_size_bits
        if bits is None:
            return size
        if isinstance(size, int) and isinstance(tile, int):
            return (size * tile % (1 << bits)) // tile
        import numpy as np

        if np.max(size).astype(float) * np.max(tile).astype(float) < 2.0 ** min(bits - 1, 62):
            return size
        exact = np.asarray(size, object) * tile % (1 << bits) // tile
        return exact.astype(np.int64) if getattr(size, "dtype", None) == np.int64 else exact


PUBLISHED = Accounting(
    name="published",
    phase_subtraction_cycles=False,
    tile_capacity_bytes=16 * 2**20,
    exp_unit_energy_in_tiles=False,
    all_register_files=False,
    partition_size_bits=64,
    spilled_accesses_in_buffer=True,
    drain_reads=False,
    leakage=False,
    clock_technology_nm=16,
    pipeline_ends=False,
    fibers_in_registers=True,
    groups_divide=True,
    pipeline_copies=False,
)

PHYSICAL = Accounting(
    name="physical",
    phase_subtraction_cycles=True,
    tile_capacity_bytes=None,
    exp_unit_energy_in_tiles=True,
    all_register_files=True,
    partition_size_bits=None,
    spilled_accesses_in_buffer=False,
    drain_reads=True,
    leakage=True,
    clock_technology_nm=None,
    pipeline_ends=True,
    fibers_in_registers=False,
    groups_divide=False,
    pipeline_copies=True,
)

ACCOUNTINGS: dict[str, Accounting] = {a.name: a for a in (PUBLISHED, PHYSICAL)}


def accounting_named(name: str) -> Accounting:
    """Return an accounting by name.

    Raises:
        InputError: no accounting has that name.
    """
    check_name("accounting", name, ACCOUNTINGS)
    return ACCOUNTINGS[name]

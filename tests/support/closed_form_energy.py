"""Energies that the published attention evaluation charges, as closed forms, in picojoules.

Access counts of each configuration by hand, slips included: register files are charged as those of one PE,
and first reads that an overflow fails to elide are charged as reads. Component energies (45 nm, 16 bit) are
as the public artifact's tools give them. Source and preconditions as in ``closed_forms``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from closed_forms import FlatMapping, Machine, Shape, architecture, cascade, flat_traffic

MAC, ADD, MAX, DIVIDE, EXP = 17.1645, 8.3395, 0.028036, 36.251153, 94.6475
DRAM_PER_VALUE = 249.6 / 4


@dataclass(frozen=True)
class Energies:
    """Per value read and written in the buffer and in the register files of a 2D PE and a 1D lane."""

    buffer: tuple[float, float]
    pe: tuple[float, float]
    lane: tuple[float, float]


FLAT = Energies((23854.664592 / 256, 27097.564592 / 256), (2.182395, 1.894395), (2.190435, 1.902435))
FUSEMAX = Energies((12512.760572 / 256, 15751.460572 / 256), (2.190435, 1.902435), (2.194455, 1.906455))


def _charge(energies: tuple[float, float], reads: Fraction | int, writes: Fraction | int) -> float:
    return float(reads) * energies[0] + float(writes) * energies[1]


def unelided_first_reads(tensor_size: int, tile_size: int) -> int:
    """First reads that come back as charged: the tool divides a product that wraps at 2^64."""
    return tensor_size - tensor_size * tile_size % 2**64 // tile_size


def fusemax_energy_pj(shape: Shape, machine: Machine) -> float:
    """Configurations architecture and binding, register files of PEs and lanes (2e-5) left out."""
    E, F, u = shape.E, shape.F, shape.pairs
    a, b, D = u // machine.rows, shape.B * shape.H * shape.P, shape.size("FP")
    result = architecture(shape, machine)
    key_values = result.query_tiles * (shape.size("EM") + shape.size("FM"))
    running = shape.P // result.query_tiles * F
    reads = 2 * a * E + a * F + a + a + a * F + D + b + unelided_first_reads(a * F, running)
    writes = shape.size("EP") + key_values + 2 * a + a * F
    operations = MAC * (u * (E + F + 6) + a * (6 + 1 + F)) + MAX * (u + a) + ADD * (2 * u + a * (2 + F)) + DIVIDE * D
    staging = _charge(FUSEMAX.pe, a + a * F - D, 2 * a + a * F)
    dram = float(result.dram_bytes) / 2 * DRAM_PER_VALUE
    return operations + dram + staging + _charge(FUSEMAX.buffer, reads, writes)


def cascade_energy_pj(shape: Shape, machine: Machine) -> float:
    """Configuration cascade: exponentials dropped; register files (5e-5) left out."""
    E, F, u = shape.E, shape.F, shape.pairs
    a, b, D = u // machine.rows, shape.B * shape.H * shape.P, shape.size("FP")
    result = cascade(shape, machine)
    queries = shape.P // result.query_tiles
    overflow = 2 * unelided_first_reads(u, queries * machine.rows) + unelided_first_reads(a * F, queries * F)
    reads = 2 * a * E + 2 * u + 2 * a * F + 2 * a + D + b + overflow
    key_values = result.query_tiles * (shape.size("EM") + shape.size("FM"))
    writes = shape.size("EP") + key_values + 2 * u + 2 * a + a * F
    operations = MAC * (u * (E + F) + a + a * F) + MAX * (u + a) + ADD * (2 * u + 2 * a + a * F) + DIVIDE * D
    dram = float(result.dram_bytes) / 2 * DRAM_PER_VALUE
    return operations + dram + _charge(FLAT.buffer, reads, writes)


def _softmax(shape: Shape, lanes: int, *, scores_on_chip: bool, weights_on_chip: bool) -> float:
    """Buffer, lanes and operations; keys are spread over the lanes, SD takes SN from its lane's registers."""
    u, b = shape.pairs, shape.B * shape.H * shape.P
    again = unelided_first_reads(u, shape.M)
    reads = 3 * u + 2 * b + again * (1 + weights_on_chip)
    writes = 2 * b + u * (1 + weights_on_chip) + u * (not scores_on_chip)
    per_lane, again_per_lane = Fraction(u, lanes), Fraction(2 * again, lanes)
    lane = _charge(FLAT.lane, 8 * per_lane - 2 * b + again_per_lane, 7 * per_lane + 2 * b + again_per_lane)
    return _charge(FLAT.buffer, reads, writes) + lane + u * (MAX + EXP + 2 * ADD + DIVIDE)


def flat_energy_pj(shape: Shape, machine: Machine, mapping: FlatMapping) -> float:
    """Configuration flat, register files included; spilled accesses are charged in the buffer and at DRAM."""
    u = shape.pairs
    traffic = flat_traffic(shape, machine, mapping)
    reads = writes = 0
    for tensor in mapping.on_chip:
        moved, once = traffic.arrivals[tensor], traffic.once[tensor]
        if tensor in ("QK", "AV"):
            writes += moved
            reads += moved - once
        else:
            writes += once if tensor != "A" else 0
            reads += moved
    queries = shape.P // traffic.fused_tiles
    again = unelided_first_reads(u, queries * shape.M)
    reads += again if "QK" in mapping.on_chip else 0
    total = MAC * u * (shape.E + shape.F) + _charge(FLAT.buffer, reads, writes)
    total += float(sum(traffic.dram.values())) * DRAM_PER_VALUE
    total += _flat_registers(shape, machine, mapping, traffic.fused_tiles, again)
    return total + _softmax(
        shape, machine.columns, scores_on_chip="QK" in mapping.on_chip, weights_on_chip="A" in mapping.on_chip
    )


def _flat_registers(shape: Shape, machine: Machine, mapping: FlatMapping, tiles: int, again: int) -> float:
    """The register file of one PE (E and F at most the array's rows), both products."""
    u, pes = shape.pairs, machine.rows * machine.columns
    if mapping.stationary == "output":
        qk, av = Fraction(u * shape.E, pes), Fraction(u, machine.columns)
        scores = Fraction(u - again, pes)
        reads = 3 * qk - scores + 3 * av - Fraction(shape.size("FP"), machine.columns * shape.F)
        writes = 3 * qk + Fraction(again, pes) + 3 * av
        return _charge(FLAT.pe, reads, writes)
    av, again_per_pe = Fraction(u, machine.rows), Fraction(again, machine.rows)
    partial = 3 * av - shape.B * shape.H * shape.P
    keys = Fraction(2 * shape.B * shape.H * shape.M * tiles, machine.rows)
    return _charge(FLAT.pe, 2 * av + again_per_pe + partial, 2 * av + again_per_pe + partial + keys)


def unfused_energy_pj(shape: Shape, machine: Machine, *, query_tiles: int = 1) -> float:
    """Configuration unfused: every phase through DRAM; K and V come once per query tile.

    QK is output stationary with Q and K in the buffer; AV keeps A in the PEs, its partial sums in the buffer.
    """
    u, pes = shape.pairs, machine.rows * machine.columns
    D, x = shape.size("FP"), Fraction(shape.pairs * shape.E, pes)
    key_values = query_tiles * (shape.size("EM") + shape.size("FM"))
    once = shape.size("EP") + key_values
    streamed = Fraction(u * shape.E, machine.columns) + Fraction(u * shape.F, machine.columns)
    partial = Fraction(u * shape.F, machine.rows)
    buffer = _charge(FLAT.buffer, Fraction(u * shape.E, machine.rows) + streamed + partial - D, once + partial)
    again = Fraction(unelided_first_reads(u, machine.rows * shape.M), pes)
    y = Fraction(u * shape.F, pes)
    moved = 3 * x + 3 * y - Fraction(D, machine.columns) + again
    registers = _charge(FLAT.pe, moved - Fraction(u, pes), moved + Fraction(u, pes))
    softmax = _softmax(shape, machine.columns, scores_on_chip=False, weights_on_chip=False)
    dram = (4 * u + once + D) * DRAM_PER_VALUE
    return MAC * u * (shape.E + shape.F) + buffer + registers + softmax + dram


def linear_energy_pj(rows: int, layers: list[tuple[int, int]], machine: Machine, energies: Energies) -> float:
    """Matrix products rows x k by k x n, output stationary, each tensor once through DRAM."""
    total = 0.0
    for k, n in layers:
        macs, outputs = rows * k * n, rows * n
        inputs = rows * k + k * n
        per_pe = Fraction(macs, machine.rows * machine.columns)
        first = Fraction(outputs, machine.rows * machine.columns)
        arrivals = Fraction(macs, machine.rows) + Fraction(macs, machine.columns)
        total += MAC * macs + (inputs + outputs) * DRAM_PER_VALUE
        total += _charge(energies.buffer, arrivals, inputs) + _charge(energies.pe, 3 * per_pe - first, 3 * per_pe)
    return total

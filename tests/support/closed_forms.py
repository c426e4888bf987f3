"""Closed forms of the published attention evaluation: an independent check of the engine.

Everything here follows from counting tiles by hand; nothing is shared with the engine. Sizes must divide:
M by the array's rows, P by its columns.

Source: N. Nayak, X. Wu, T. O. Odemuyiwa, M. Pellauer, J. S. Emer, C. W. Fletcher, "FuseMax: Leveraging
Extended Einsums to Optimize Attention Accelerator Design", MICRO 2024 (arXiv:2406.10491), and its artifact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

WORD_BYTES = 2
EXP_CYCLES = 6


@dataclass(frozen=True)
class Shape:
    """B batches of H heads; P queries and M keys of E values, M values of F."""

    B: int
    H: int
    E: int
    F: int
    M: int
    P: int

    @property
    def pairs(self) -> int:
        """(query, key) pairs."""
        return self.B * self.H * self.M * self.P

    def size(self, ranks: str) -> int:
        """Values of the tensor with these ranks, over all batches and heads."""
        values = self.B * self.H
        for rank in ranks:
            values *= getattr(self, rank)
        return values


@dataclass(frozen=True)
class Machine:
    """A rows x columns array above a row of ``columns`` lanes."""

    rows: int = 256
    columns: int = 256
    buffer_bytes: int = 16 * 2**20
    bandwidth_bytes_per_s: float = 400 * 2**30
    frequency_hz: float = 940e6


@dataclass(frozen=True)
class Result:
    """Latency in seconds; utilization of both arrays; share of latency per Einsum on the 2D array."""

    dram_bytes: Fraction
    latency_s: float
    util_2d: float
    util_1d: float
    fractions: Mapping[str, float] = field(default_factory=dict)
    query_tiles: int = 0


def _result(
    machine: Machine,
    dram_values: Fraction | int,
    cycles: int,
    busy_1d: Fraction | int,
    busy_2d: Mapping[str, Fraction | int],
    query_tiles: int = 0,
) -> Result:
    dram_bytes = Fraction(dram_values) * WORD_BYTES
    memory_s = float(dram_bytes) / machine.bandwidth_bytes_per_s
    latency = max(memory_s, cycles / machine.frequency_hz)
    share = {name: float(busy) / machine.frequency_hz / latency for name, busy in busy_2d.items()}
    return Result(
        dram_bytes,
        latency,
        sum(share.values()),
        float(busy_1d) / machine.frequency_hz / latency,
        share,
        query_tiles,
    )


def queries_per_column(shape: Shape, machine: Machine, *, scores_in_buffer: bool = False) -> int:
    """FuseMax's P1: the largest divisor of P / columns whose live data fit in the buffer (0: none fits).

    Live are one K and V tile, and per query Q, RM, RD, RNV; with ``scores_in_buffer`` also one tile's scores
    and numerators.
    """
    per_query = shape.E + 1 + 1 + shape.F + (2 * machine.rows if scores_in_buffer else 0)
    key_tile = machine.rows * (shape.E + shape.F)
    tiles = shape.P // machine.columns
    fits = [
        p1
        for p1 in range(1, tiles + 1)
        if tiles % p1 == 0 and WORD_BYTES * (key_tile + machine.columns * p1 * per_query) <= machine.buffer_bytes
    ]
    return max(fits, default=0)


def _streamed_dram_values(shape: Shape, query_tiles: int) -> int:
    once = shape.size("EP") + shape.size("FP")
    return once + query_tiles * (shape.size("EM") + shape.size("FM"))


def _fusemax(shape: Shape, machine: Machine, *, interleaved: bool) -> Result:
    E, F = shape.E, shape.F
    T = shape.pairs // (machine.rows * machine.columns)
    D = shape.size("FP") // machine.columns
    exp = 1 + EXP_CYCLES
    if interleaved:
        cycles = max(T * (E + 1), T * (1 + F) + D) + T + T * (exp + 1) + T * F
    else:
        cycles = max(T * (E + 1), T + D) + T * machine.rows + T + T * (exp + 1) + T * 2 * F
    query_tiles = shape.P // machine.columns // queries_per_column(shape, machine)
    return _result(
        machine,
        _streamed_dram_values(shape, query_tiles),
        cycles,
        T * (1 + exp + 1 + F + 1 + F) + D,
        {"QK": T * E, "LM": T, "SLN": T * exp, "SLD": T, "SLNV": T * F},
        query_tiles,
    )


def binding(shape: Shape, machine: Machine) -> Result:
    """FuseMax with neighbouring tiles interleaved on both arrays."""
    return _fusemax(shape, machine, interleaved=True)


def architecture(shape: Shape, machine: Machine) -> Result:
    """FuseMax with tiles one after another; the array drains row by row before the running maximum."""
    return _fusemax(shape, machine, interleaved=False)


def cascade(shape: Shape, machine: Machine) -> Result:
    """The 1-pass cascade on FLAT's array: only the products on the 2D array, exponentials of SLN two cycles.

    The published evaluation sizes P1 with 16 MiB although its buffer has 32 MiB: say so in ``machine``.
    """
    E, F = shape.E, shape.F
    T = shape.pairs // (machine.rows * machine.columns)
    busy_1d = T * (machine.rows * (1 + 2 + 1) + 1 + 2 + 1 + F + 1 + F) + shape.size("FP") // machine.columns
    query_tiles = shape.P // machine.columns // queries_per_column(shape, machine, scores_in_buffer=True)
    return _result(
        machine,
        _streamed_dram_values(shape, query_tiles),
        max(T * (E + F), busy_1d),
        busy_1d,
        {"QK": T * E, "SLNV": T * F},
        query_tiles,
    )


@dataclass(frozen=True)
class FlatMapping:
    """A row of FLAT's mapping table; 0 fused queries are the whole head."""

    on_chip: frozenset[str]
    stationary: str = "output"
    fused_queries: int = 0
    spilled: Fraction = Fraction(0)


@dataclass(frozen=True)
class _Product:
    """Loops around the array for one fused tile, outermost first: two tiled in space, one in time."""

    space: tuple[str, str]
    time: str


_PRODUCTS = {
    "input": (_Product(("P", "E"), "M"), _Product(("P", "M"), "F")),
    "weight": (_Product(("M", "E"), "P"), _Product(("M", "F"), "P")),
    "output": (_Product(("P", "M"), "E"), _Product(("P", "F"), "M")),
}


@dataclass(frozen=True)
class FlatTraffic:
    """Values of all fused tiles together.

    Attributes:
        arrivals: per tensor, values that reach (inputs) or leave (outputs) the array.
        once: each tensor's fused tiles, once.
        dram: per tensor, values off chip, the softmax's and spills included.
    """

    arrivals: Mapping[str, int]
    once: Mapping[str, int]
    dram: Mapping[str, Fraction]
    fused_tiles: int
    cycles: Mapping[str, int]


_RANKS = {"Q": "EP", "K": "EM", "QK": "MP", "A": "MP", "V": "FM", "AV": "FP"}
_OPERANDS = (("Q", "K", "QK"), ("A", "V", "AV"))


def flat_traffic(shape: Shape, machine: Machine, mapping: FlatMapping) -> FlatTraffic:
    """What FLAT's fused mapping moves. A square array: ``rows`` PEs along each spatial rank."""
    queries = mapping.fused_queries or shape.P
    tiles = shape.B * shape.H * (shape.P // queries)
    extent = {"E": shape.E, "F": shape.F, "M": shape.M, "P": queries}
    arrivals, once, cycles = {}, {}, {}
    for name, product, operands in zip(("QK", "AV"), _PRODUCTS[mapping.stationary], _OPERANDS, strict=True):
        loops = [(r, -(-extent[r] // machine.rows)) for r in product.space]
        loops.append((product.time, extent[product.time]))
        cycles[name] = tiles * loops[0][1] * loops[1][1] * loops[2][1]
        for tensor in operands:
            ranks = _RANKS[tensor]
            arrivals[tensor] = tiles * _arrivals(ranks, loops, extent)
            once[tensor] = tiles * extent[ranks[0]] * extent[ranks[1]]
    dram = _flat_dram(shape, mapping, arrivals, once)
    return FlatTraffic(arrivals, once, dram, shape.P // queries, cycles)


def _arrivals(ranks: str, loops: list[tuple[str, int]], extent: Mapping[str, int]) -> int:
    """Values per fused tile: innermost loops over ranks that the tensor lacks give reuse."""
    kept = list(loops)
    while kept and (kept[-1][0] not in ranks or kept[-1][1] == 1):
        kept.pop()
    values = 1
    for rank, trips in kept:
        values *= trips if rank not in ranks else extent[rank]
    for rank, trips in loops[len(kept) :]:
        values *= extent[rank] if rank in ranks and trips == 1 else 1
    return values


def _flat_dram(
    shape: Shape, mapping: FlatMapping, arrivals: Mapping[str, int], once: Mapping[str, int]
) -> dict[str, Fraction]:
    """A spilled access goes off chip instead of to the buffer."""
    spilled, u = mapping.spilled, shape.pairs
    dram = {}
    for tensor, moved in arrivals.items():
        off_chip = 2 * moved - once[tensor] if tensor in ("QK", "AV") else moved
        on_chip = 0 if tensor in ("QK", "A") else once[tensor]
        share = spilled if tensor in mapping.on_chip else Fraction(1)
        dram[tensor] = (1 - share) * on_chip + share * off_chip
    dram["softmax"] = spilled * 5 * u if "QK" in mapping.on_chip else Fraction(u)
    dram["softmax"] += 0 if "A" in mapping.on_chip else u
    return dram


def unfused_latency_s(shape: Shape, machine: Machine, *, query_tiles: int = 1) -> float:
    """QK, softmax and AV one after another, each through DRAM; K and V come once per query tile."""
    u, pes = shape.pairs, machine.rows * machine.columns
    phases = (
        (u + shape.size("EP") + query_tiles * shape.size("EM"), u * shape.E / pes),
        (2 * u, 4 * u / machine.columns),
        (u + shape.size("FP") + query_tiles * shape.size("FM"), u * shape.F / pes),
    )
    return sum(_slower(values, cycles, machine) for values, cycles in phases)


def linear_latency_s(rows: int, layers: list[tuple[int, int]], machine: Machine) -> float:
    """Matrix products rows x k by k x n one after another, each tensor once through DRAM."""
    pes = machine.rows * machine.columns
    return sum(_slower(rows * (k + n) + k * n, rows * k * n / pes, machine) for k, n in layers)


def _slower(dram_values: int, cycles: float, machine: Machine) -> float:
    return max(WORD_BYTES * dram_values / machine.bandwidth_bytes_per_s, cycles / machine.frequency_hz)


def flat(shape: Shape, machine: Machine, mapping: FlatMapping) -> Result:
    """FLAT's fused 3-pass attention: the slowest of memory, 2D array and 1D array (4 cycles per score)."""
    traffic = flat_traffic(shape, machine, mapping)
    pes = machine.rows * machine.columns
    busy_1d = Fraction(4 * shape.pairs, machine.columns)
    return _result(
        machine,
        sum(traffic.dram.values(), Fraction(0)),
        max(int(busy_1d), sum(traffic.cycles.values())),
        busy_1d,
        {"QK": Fraction(shape.pairs * shape.E, pes), "AV": Fraction(shape.pairs * shape.F, pes)},
        traffic.fused_tiles,
    )

"""From a mapping to the activity it causes: what every memory and array does, in exact integers."""

from __future__ import annotations

from fractions import Fraction
from math import prod

from hw_models.accounting import Accounting
from hw_models.activity import Activity, Count, EinsumActivity, Phase
from mappers.analysis import every_first_read
from mappers.mapping import MappedEinsum, Mapping

# Register accesses of the second and further actions at a point: two operands and a result each.
WITHIN_POINT = "(within a point)"


def activity_of(mapping: Mapping, accounting: Accounting) -> Activity:
    """Return what a mapping makes the machine do.

    The cycles of an epoch are those of the busier array; the off-chip traffic of a phase is that of its Einsums.
    """
    spilled = dict(mapping.spilled)
    einsums = [einsum_activity(m, accounting, spilled) for m in mapping.einsums]
    return Activity(
        einsums=tuple(einsums),
        phases=_phases(mapping, einsums),
        buffer_bytes=mapping.buffer_bytes,
        passes=mapping.passes,
        tiled=mapping.tiled,
    )


def einsum_activity(mapped: MappedEinsum, accounting: Accounting, spilled: dict[str, Fraction]) -> EinsumActivity:
    """Return what one mapped Einsum does."""
    first_reads = accounting.free_first_reads if accounting.partition_size_bits else every_first_read
    counts = mapped.shape.compiled.counts(mapped.extents, first_reads)
    if spilled:
        counts = _spill(counts, mapped.shape.compiled.counts(mapped.extents), spilled, accounting)
    points = prod(mapped.extents)
    if mapped.actions_per_point > 1:
        further = (mapped.actions_per_point - 1) * points
        counts += (Count(mapped.array, WITHIN_POINT, reads=2 * further, updates=further),)
    return EinsumActivity(
        mapped.name,
        mapped.array,
        mapped.steps * mapped.cycles_per_point,
        mapped.points * mapped.cycles_per_point,
        tuple([(work, n * points) for work, n in mapped.work]),
        counts,
    )


def dram_values(einsum: EinsumActivity) -> int:
    """Return how many values an Einsum moves to or from DRAM."""
    return sum([c.reads + c.updates for c in einsum.counts if c.memory == "dram"])


def _phases(mapping: Mapping, einsums: list[EinsumActivity]) -> tuple[Phase, ...]:
    done = {e.name: e for e in einsums}
    phases = []
    for phase in mapping.phases:
        cycles = waits_2d = phase.drain_cycles
        waits_1d = values = 0
        for epoch in phase.epochs:
            on = {"array_2d": 0, "array_1d": 0}
            for name in epoch:
                einsum = done[name]
                on[einsum.array] += einsum.cycles
                values += dram_values(einsum)
            busier = max(on.values())
            cycles += busier
            waits_2d += busier * (on["array_2d"] == busier)
            waits_1d += busier * (on["array_1d"] == busier)
        phases.append(Phase(phase.name, cycles, values * mapping.value_bytes, waits_2d, waits_1d))
    return tuple(phases)


def _spill(
    counts: tuple[Count, ...], exact: tuple[Count, ...], spilled: dict[str, Fraction], accounting: Accounting
) -> tuple[Count, ...]:
    """Send the part of a tensor that overflows its buffer tile to DRAM, with all (exact) accesses to that part.

    The rest is fetched once; of the part that is not there every buffer access is an off-chip access.
    """
    found = []
    for count, true in zip(counts, exact, strict=True):
        part = spilled.get(count.tensor)
        if not part or count.memory not in ("dram", "global_buffer"):
            found.append(count)
        elif count.memory == "dram":
            found.append(_scaled(true, 1 - part, "dram"))
        else:
            found.append(count if accounting.spilled_accesses_in_buffer else _scaled(true, 1 - part, count.memory))
            found.append(_scaled(true._replace(fills=0, drains=0), part, "dram"))
    return tuple(found)


def _scaled(count: Count, part: Fraction, memory: str) -> Count:
    values = (count.reads, count.fills, count.updates, count.drains)
    return Count(memory, count.tensor, *(round(v * part) for v in values))

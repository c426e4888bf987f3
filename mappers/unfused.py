"""Each phase by itself, all tensors through DRAM, its own best loop nest (the published configuration ``unfused``).

Contractions are searched (``contraction.py``); the Einsums between them run as vector phases (``vector.py``).
"""

from __future__ import annotations

from einsum_cascades.ir import Cascade, Einsum
from einsum_cascades.workload import Workload
from hw_models.accounting import Accounting
from hw_models.architecture import Architecture
from mappers.capacity import fits
from mappers.contraction import INSTANCES, best_contraction, product_of
from mappers.mapping import MappedEinsum, Mapping, ScheduledPhase
from mappers.phases import phase_groups, rank_sizes
from mappers.rows import row_sections
from mappers.vector import VectorPhase


def unfused(cascade: Cascade, workload: Workload, architecture: Architecture, accounting: Accounting) -> Mapping:
    """Map every phase of a cascade by itself.

    Raises:
        InputError: a rank has no size, no array offers an Einsum's operators, or the buffer is too small.
    """
    sizes = {INSTANCES: workload.instances, **rank_sizes(cascade, workload, architecture)}
    family, sections = row_sections(cascade)
    einsums: list[MappedEinsum] = []
    phases: list[ScheduledPhase] = []
    live = 0
    for group in phase_groups(cascade):
        if group.contraction and architecture.array_2d.offers(("mac",)):
            mapped, held = _contraction(group.einsums[0], cascade, workload, architecture, accounting, sizes)
        else:
            phase = VectorPhase(group, cascade, sections, family, frozenset())
            held = phase.live_bytes(sizes, workload.value_bytes)
            if not fits(held, architecture.global_buffer.bytes):
                phase = VectorPhase(group, cascade, sections, family, frozenset(), fibers_fit=False)
                held = 0
            mapped = phase.map(sizes, architecture, accounting)
        live = max(live, held)
        einsums += mapped
        phases.append(ScheduledPhase(group.name, (tuple(m.name for m in mapped),)))
    return Mapping(
        strategy="unfused",
        einsums=tuple(einsums),
        phases=tuple(phases),
        buffer_bytes=live,
        passes=max(k for k, _ in sections.values()),
        tiled=False,
        value_bytes=workload.value_bytes,
    )


def _contraction(
    einsum: Einsum,
    cascade: Cascade,
    workload: Workload,
    architecture: Architecture,
    accounting: Accounting,
    sizes: dict[str, int],
) -> tuple[tuple[MappedEinsum, ...], int]:
    joined = dict(sizes)
    for partition in cascade.partitions:
        joined[partition.rank] = workload.size(partition.rank)
    product = product_of(einsum, cascade, tuple(sorted(joined.items())))
    used = {INSTANCES: sizes[INSTANCES], **{r: joined[r] for r in (*product.ranks, *product.others)}}
    mapped, live = best_contraction(product, used, architecture, accounting, workload.value_bytes)
    return (mapped,), live

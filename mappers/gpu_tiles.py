"""The strategy ``gpu-tiles``: thread blocks of queries, each of which passes over tiles of keys.

A block is one tile of queries of one instance. It makes the passes that the cascade's dependencies force, tile by tile
of keys (``gpu_program.py``); inputs of a tile come from the L2 cache, where one of the blocks that share them has
brought them from the memory. Under a causal mask a block ends with the last tile of keys that any of its queries sees,
and compares scores with the mask only in tiles that the mask's edge crosses. Where one pass suffices and queries make
too few blocks to fill the machine, keys are split among blocks, and a second kernel combines what they found.

Off-chip traffic is what must be read and written, and the keys' inputs again for each wave of blocks whose instances'
inputs do not fit in the L2 cache together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from math import prod
from typing import Final, NamedTuple

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from hw_models.gpu.activity import Block, GpuActivity, Kernel, Loop, Transfer, Trip
from hw_models.gpu.machine import Gpu
from mappers.gpu_counts import SUM_BYTES, GpuCounter
from mappers.gpu_generated import Visible, generated_of
from mappers.gpu_kernels import GpuKernel, own
from mappers.gpu_mapping import GpuMapping
from mappers.gpu_program import GpuProgram, gpu_program_of

DISTINCT: Final = 2048
"""Tiles of queries that are told apart; of more, neighbours count as equal."""
LOADER_REGISTERS: Final = 24


class Span(NamedTuple):
    """What one block covers.

    Attributes:
        queries: queries that there are.
        full: tiles of keys that all queries see whole.
        masked: tiles that some queries see in part.
        keys: keys in all these tiles.
    """

    queries: int
    full: int
    masked: int
    keys: int


def gpu_tiles(
    cascade: Cascade,
    workload: Workload,
    gpu: Gpu,
    *,
    causal: bool = False,
    kernel: GpuKernel | None = None,
    scalars: Mapping[str, float] | None = None,
) -> GpuMapping:
    """Map any cascade that reduces a rank beside another one.

    Args:
        cascade: what runs.
        workload: the sizes.
        gpu: the machine.
        causal: query p sees only the keys m <= p + (M - P).
        kernel: what runs it; this package's own if None.
        scalars: values of scalar inputs that masks depend on, such as the width of a window, where they are known.

    Raises:
        InputError: the cascade has nothing to tile, a rank has no size, or a mask that it cannot have.
    """
    generated = generated_of(cascade) if kernel is None else None
    cascade = generated.cascade if generated else cascade
    program = gpu_program_of(cascade)
    if causal and not program.has_scores:
        raise InputError(f"cascade '{cascade.name}' has no scores to mask", hint="leave --causal out: every key counts")
    roles = program.program.roles
    queries, keys = workload.size(roles.column), workload.size(roles.source)
    visible = generated.visible(dict(workload.sizes), scalars or {}) if generated else Visible()
    if causal:
        visible = visible.also(Visible.causal(queries, keys))
    if kernel is None:
        name, number = ("attention-1-pass", len(generated.streams)) if generated else (cascade.name, 1)
        sizes = queries, keys, *widths(cascade, program, workload)
        kernel = own(name, workload.instances, sizes, gpu, causal=causal, streams=number)
    number = -(-queries // kernel.queries)
    counter = GpuCounter(cascade, program, workload, gpu, kernel, sharers=number)
    resident = resident_blocks(counter)
    splits = kernel.splits if program.splittable else 1
    spans = tuple(query_spans(queries, keys, kernel, visible, splits=splits))
    streams = tuple(
        replace(counter, cascade=one, program=gpu_program_of(one)) for one in (generated.streams if generated else ())
    )
    found = [_fused(counter, streams or (counter,), spans, resident, splits)]
    if splits > 1:
        found.append(_combine(counter, splits))
    tiles = (
        (roles.column, kernel.queries),
        (roles.row, min(kernel.keys, keys)),
        *((("splits", splits),) * (splits > 1)),
    )
    live = resident * min(gpu.sms, found[0].number) * shared_bytes(counter) + _partial_bytes(counter, splits)
    return GpuMapping(
        "gpu-tiles", kernel.name, tiles, GpuActivity(tuple(found), live, program.program.number_of_passes)
    )


def widths(cascade: Cascade, program: GpuProgram, workload: Workload) -> tuple[int, int]:
    """Return the values that each query has of an input and of a result, the most of any."""
    roles, family = program.program.roles, program.program.family

    def width(tensors: tuple[str, ...]) -> int:
        own_ranks = [cascade.ranks_of[t] for t in tensors if roles.column in cascade.ranks_of[t]]
        kept = [[r for r in ranks if r != roles.column and r not in family] for ranks in own_ranks]
        return max((prod(workload.size(r) for r in ranks) for ranks in kept), default=1)

    return width(cascade.inputs), width(cascade.outputs)


def shared_bytes(counter: GpuCounter) -> int:
    """Return the shared memory of a block: its queries, and the tiles of keys that it holds at a time."""
    tiles = max((counter.tile_bytes(one) for one in counter.program.passes), default=0)
    queries = sum(counter.bytes(counter.cascade.ranks_of[t]) for t in counter.queried)
    return queries + max(1, counter.kernel.stages) * tiles


def resident_blocks(counter: GpuCounter) -> int:
    """Return how many blocks an SM holds at a time."""
    kernel = counter.kernel
    threads = kernel.threads + 32 * kernel.loaders
    registers = (kernel.threads * kernel.registers + 32 * kernel.loaders * LOADER_REGISTERS) // threads
    return counter.gpu.resident(threads=threads, registers=registers, shared_bytes=shared_bytes(counter))


def query_spans(
    queries: int, keys: int, kernel: GpuKernel, visible: Visible, *, splits: int = 1
) -> Iterator[tuple[Span, int]]:
    """Yield (span, how many in a row) of one instance's blocks, in the order in which they start."""
    number = -(-queries // kernel.queries)
    merged = -(-number // DISTINCT) if visible.bounds else number
    starts = range(0, number, max(1, merged))
    spans = []
    for start in starts:
        end = min(start + merged, number)
        spans.append((_span(start, end, queries, keys, kernel, visible, splits=splits), end - start))
    if not visible.bounds and queries % kernel.queries:
        whole, last = _span(0, 1, queries, keys, kernel, visible, splits=splits), spans[-1][0]
        spans = [(whole, number - 1), (last._replace(queries=queries % kernel.queries), 1)]
    if kernel.longest_first:
        spans.reverse()
    for span, group in groupby((item for item in spans if item[1]), key=lambda item: item[0]):
        yield span, splits * sum(count for _, count in group)


def _span(start: int, end: int, queries: int, keys: int, kernel: GpuKernel, visible: Visible, *, splits: int) -> Span:
    """The span of the tiles of queries from ``start`` to ``end``, as the first and the last of them are on average."""
    there = min(kernel.queries, queries - start * kernel.queries)
    ends = [_seen(number, keys, kernel, visible) for number in (start, end - 1)]
    full, tiles, seen = (sum(pair) // 2 for pair in zip(*ends, strict=True))
    masked = max(0, tiles - full)
    if splits > 1:
        tiles = -(-(full + masked) // splits)
        return Span(there, max(0, tiles - bool(masked)), int(bool(masked)), -(-seen // splits))
    return Span(there, full, masked, seen)


def _seen(number: int, keys: int, kernel: GpuKernel, visible: Visible) -> tuple[int, int, int]:
    """Tiles of keys that all queries of a tile see whole, tiles that any sees, and the keys from first to last seen."""
    start = number * kernel.queries
    low, high, every_low, every_high = visible.span(start, start + kernel.queries - 1, keys)
    whole = max(0, every_high // kernel.keys - -(-every_low // kernel.keys))
    return (0 if visible.masked else whole), -(-high // kernel.keys) - low // kernel.keys, high - low


def _fused(
    counter: GpuCounter,
    streams: tuple[GpuCounter, ...],
    spans: tuple[tuple[Span, int], ...],
    resident: int,
    splits: int,
) -> Kernel:
    """The kernel; ``streams`` count what its blocks run one after another."""
    kernel, instances = counter.kernel, counter.workload.instances
    together = 1
    if kernel.heads_together:
        shared = sum(counter.tile_bytes(one) for one in counter.program.passes[:1]) * -(-counter.keys // kernel.keys)
        together = max(1, min(instances, kernel.heads_together // max(1, shared)))
    blocks = tuple((_block(streams, span, splits), count) for span, count in spans)
    sections, rest = divmod(instances, together)
    return Kernel(
        name=kernel.name,
        blocks=tuple((block, count * together) for block, count in blocks),
        instances=sections,
        last=tuple((block, count * rest) for block, count in blocks) if rest else (),
        unit=kernel.unit,
        workers=kernel.workers,
        resident=resident,
        sharing=kernel.sharing,
        pipelined=kernel.pipelined,
        dispatch=kernel.dispatch,
        persistent=kernel.persistent,
        in_flight_bytes=max(1, kernel.stages)
        * max((counter.tile_bytes(one) for one in counter.program.passes), default=0),
        hbm_bytes=_hbm_bytes(counter, spans, resident) + _partial_bytes(counter, splits),
        launches=kernel.launches,
    )


def _block(streams: tuple[GpuCounter, ...], span: Span, splits: int) -> Block:
    trips = [trip for counter in streams for trip in _trips(counter, span)]
    closing = streams[-1].closing(span.queries)
    if splits > 1:
        wider = SUM_BYTES // streams[-1].gpu.value_bytes
        closing = Trip(transfers=tuple(t._replace(bytes=t.bytes * wider) for t in closing.transfers))
    return Block((*trips, closing))


def _trips(counter: GpuCounter, span: Span) -> Iterator[Trip]:
    for index, one in enumerate(counter.program.passes):
        found = [
            counter.trip(one, span.queries, counter.kernel.keys, masked=masked, times=times)
            for masked, times in ((False, span.full), (True, span.masked))
            if times
        ]
        if not found:
            continue
        opening = counter.opening(span.queries) if index == 0 else ()
        first = found[0]
        yield replace(first, awaited=opening, first=True, times=1)
        if first.times > 1:
            yield replace(first, times=first.times - 1)
        yield from found[1:]
        yield counter.after(one, span.queries)


def _hbm_bytes(counter: GpuCounter, spans: tuple[tuple[Span, int], ...], resident: int) -> int:
    """Traffic to and from the memory, partial results of split keys not counted."""
    cascade, gpu, column = counter.cascade, counter.gpu, counter.program.program.roles.column
    ranks_of = {t: cascade.ranks_of[t] for t in (*counter.inputs, *cascade.outputs)}
    once = sum(counter.whole_bytes(ranks) for ranks in ranks_of.values())
    number = sum(count for _, count in spans)
    at_once = gpu.sms * resident
    together = min(counter.workload.instances, -(-at_once // number) + 1)
    swept = [[ranks for _, ranks in counter.key_inputs(one)] for one in counter.program.passes]
    shared = [sum(counter.whole_bytes(r) for r in ranks if column not in r) for ranks in swept]
    own = [sum(counter.whole_bytes(r) for r in ranks if column in r) for ranks in swept]
    again = 0
    if max(shared) * together > gpu.l2.bytes // 2:
        inputs = sum(counter.whole_bytes(r) for r in set().union(*swept) if column not in r)
        again += sum(shared) * max(1, -(-number // at_once)) - inputs
    if max(own) * at_once // number > gpu.l2.bytes // 2:
        again += sum(own) - sum(counter.whole_bytes(r) for r in set().union(*swept) if column in r)
    return counter.workload.instances * (once + again)


def _partial_bytes(counter: GpuCounter, splits: int) -> int:
    """Bytes of the partial results of split keys, written by one kernel and read by the next."""
    if splits == 1:
        return 0
    return counter.workload.instances * splits * _partial_values(counter) * SUM_BYTES


def _partial_values(counter: GpuCounter) -> int:
    """Values that one split leaves: the results, a maximum and a sum per query."""
    results = sum(counter.extent(counter.cascade.ranks_of[t], queries=counter.queries) for t in counter.results)
    return results + 2 * counter.queries


def _combine(counter: GpuCounter, splits: int) -> Kernel:
    """The kernel that combines the results of split keys, a block per query and instance."""
    instances, queries = counter.workload.instances, counter.queries
    values = splits * -(-_partial_values(counter) // queries)
    work = (Loop("combine", splits, 2 * values, values),)
    read = Transfer("partial", "L2", values * SUM_BYTES)
    block = Block((Trip(work, transfers=(read,), first=True),))
    written = sum(counter.bytes(counter.cascade.ranks_of[t], queries=queries) for t in counter.results)
    return Kernel(
        *("combine", ((block, queries),), instances, "vector", 1, counter.gpu.blocks, "free", False, "dynamic", False),
        in_flight_bytes=values * SUM_BYTES,
        hbm_bytes=instances * written,
    )

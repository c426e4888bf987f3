"""The strategy ``cpu-tiles``: tiles of queries shared out to threads, tiles of keys passed over by each.

A task is one tile of queries of one instance; threads take tasks as they become free, the last queries first. A task
makes the passes that the cascade's dependencies force (``cpu_program.py``), tile by tile of keys. A value per query and
key that more than one pass touches fills a fiber of all keys, which lies in the nearest level that holds it; others
fill a tile. Tile sizes are those of the kernels (``kernels.cpu.tiles``), for any cascade.

Few queries are one tile, in which the keys lie along the vector unit: its products are vectorised loops, under which K
and V stream past, and its keys may be split into parts, each a task.

Inputs without a query rank (K, V) are read by each task from the level that holds those of one instance; one reading
of them per instance, the queries and the result come from the level that holds all that the run reads and writes.
Off-chip traffic is that of a run that finds its caches cold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from math import prod
from typing import Final

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.workload import Workload
from hw_models.cpu.activity import CpuActivity, Task
from hw_models.cpu.machine import Cpu
from kernels.cpu.caches import Caches
from kernels.cpu.tiles import LANES, AttentionShape, Tiles, tiles_for
from mappers.cpu_counts import Counter, Span
from mappers.cpu_mapping import CpuMapping
from mappers.cpu_program import ProductPiece, Program, program_of

DISTINCT: Final = 1024
"""Tasks of one instance that are told apart; of more, neighbours count as equal."""
BALANCED: Final = 2**17
"""Queries beyond which their number no longer changes the tiles: there are enough to keep all threads busy."""


def cpu_tiles(cascade: Cascade, workload: Workload, cpu: Cpu, *, causal: bool = False) -> CpuMapping:
    """Map any cascade that reduces a rank beside another one.

    Args:
        cascade: what runs.
        workload: the sizes.
        cpu: the machine.
        causal: query p sees only the keys m <= p + (M - P), as the kernels' masks have it.

    Raises:
        InputError: the cascade has nothing to tile, a rank has no size, or a mask that it cannot have.
    """
    program = program_of(cascade)
    if causal and not any(isinstance(p, ProductPiece) and program.in_tile(p.einsum.output) for p in program.pieces):
        raise InputError(f"cascade '{cascade.name}' has no scores to mask", hint="leave --causal out: every key counts")
    tiles = tiles_of(cascade, program, workload, cpu)
    counter = Counter(cascade, program, workload, cpu, tiles)
    whole = query_tiles(workload.size(program.roles.column), counter.keys, tiles.queries, causal=causal)
    spans = tuple(part for span, count in whole for part in key_parts(span, count, tiles.parts))
    number = sum(count for _, count in spans)
    first_share = tiles.parts / number
    activity = CpuActivity(
        tasks=tuple((Task(tuple(counter.steps(span, first_share))), count) for span, count in spans),
        instances=workload.instances,
        threads=cpu.threads,
        live_bytes=min(cpu.threads, number * workload.instances) * live_bytes(counter),
        dram_bytes=dram_bytes(counter, spans),
        passes=program.number_of_passes,
    )
    chosen = ((program.roles.column, tiles.queries), (program.roles.row, min(tiles.keys, counter.keys)))
    return CpuMapping("cpu-tiles", chosen, activity)


def tiles_of(cascade: Cascade, program: Program, workload: Workload, cpu: Cpu) -> Tiles:
    """Return the tiles that the kernels would choose on a machine for these sizes."""
    roles = program.roles

    def width(tensors: tuple[str, ...]) -> int:
        """Values per query of the tensors that have the queries' rank and not the keys'."""
        ranks = [cascade.ranks_of[t] for t in tensors]
        own = [r for r in ranks if roles.column in r and not program.family & set(r)]
        return max((prod(workload.size(rank) for rank in r if rank != roles.column) for r in own), default=1)

    shape = AttentionShape(
        workload.instances,
        min(workload.size(roles.column), BALANCED),
        workload.size(roles.source),
        width(cascade.inputs),
        width(cascade.outputs),
    )
    sizes = {f"l{n}_bytes": level.bytes for n, level in enumerate(cpu.levels, start=1) if level.bytes}
    return tiles_for(
        cascade.name,
        shape,
        Caches(**sizes),
        threads=cpu.threads,
    )


def query_tiles(queries: int, keys: int, tile: int, *, causal: bool) -> Iterator[tuple[Span, int]]:
    """Yield (span, how many in a row) of one instance's tasks, the last queries first.

    Under a mask the query p sees ``p + 1 + keys - queries`` keys. Fewer queries than lanes in a tile are not padded.
    """
    whole, rest = divmod(queries, tile)
    if not causal:
        for size, number in ((rest, 1), (tile, whole)):
            if size and number:
                yield Span(size, _padded(size, tile), keys), number
        return
    number = whole + bool(rest)
    merged = -(-number // DISTINCT)
    ends = range(number, 0, -merged)
    spans = ((_seen(end, max(0, end - merged), queries, keys, tile), min(merged, end)) for end in ends)
    for span, group in groupby(spans, key=lambda item: item[0]):
        yield span, sum(count for _, count in group)


def key_parts(span: Span, count: int, parts: int) -> Iterator[tuple[Span, int]]:
    """Yield (span, how many) of the tasks that some equal tiles of queries are when their keys are split into parts."""
    least, longer = divmod(span.keys, parts)
    for keys, number in ((least + 1, longer), (least, parts - longer)):
        if number:
            yield replace(span, keys=keys), number * count


def _seen(end: int, start: int, queries: int, keys: int, tile: int) -> Span:
    """The span of the tiles of queries from ``start`` to ``end``, as each of them is on average."""
    first, last = min((start + 1) * tile, queries), min(end * tile, queries)
    seen = [min(keys, max(0, query + keys - queries)) for query in (first, last)]
    size = last - (end - 1) * tile
    return Span(size, _padded(size, tile), sum(seen) // 2)


def _padded(queries: int, tile: int) -> int:
    return queries if tile < LANES else -(-queries // LANES) * LANES


def live_bytes(counter: Counter) -> int:
    """Return the most bytes that a task's intermediate values take at any time, besides its inputs.

    A result takes the place of an operand of its shape that nothing reads afterwards.
    """
    order = [einsum for piece in counter.program.pieces for einsum in piece.parts]
    last = {access.tensor: index for index, einsum in enumerate(order) for access in einsum.inputs}
    last |= dict.fromkeys(counter.cascade.outputs, len(order))
    live: dict[str, int] = {}
    most = 0
    for index, einsum in enumerate(order):
        if einsum.name not in live:
            dying = [t for t in (a.tensor for a in einsum.inputs) if t in live and last[t] == index]
            size = counter.live(einsum.output)
            replaced = next((t for t in dying if live[t] == size), None)
            if replaced is not None:
                del live[replaced]
            live[einsum.name] = size
        most = max(most, sum(live.values()))
        for tensor in [t for t in live if last.get(t, -1) <= index]:
            del live[tensor]
    return most + counter.queried_tile_bytes


def dram_bytes(counter: Counter, spans: tuple[tuple[Span, int], ...]) -> int:
    """Return the traffic to and from the memory of a run with cold caches."""
    memory = counter.cpu.levels[-1].name
    moved = counter.instance_bytes + counter.queried_bytes
    readings = sum(count for _, count in spans) // counter.tiles.parts
    read = sum(count * counter.shared_bytes(span) for span, count in spans)
    moved += round(dict(counter.near).get(memory, 0.0) * (read - read // readings))
    fibers = sum(count * counter.fiber_bytes(span) for span, count in spans)
    return counter.workload.instances * (moved + round(dict(counter.fiber).get(memory, 0.0) * fibers))

"""``cpu-tiles`` against brute-force counts of what the kernels' loops do, and on every cascade of the library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_cpu import plain_cpu

from einsum_cascades.errors import InputError
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from einsum_cascades.operations import operations
from einsum_cascades.passes import analyse_passes
from einsum_cascades.workload import Workload
from fusemax.workloads import settable_ranks
from hw_models.cpu.activity import CpuActivity, Step
from hw_models.cpu.cost import cpu_cost
from hw_models.cpu.machine import Cpu
from kernels.cpu.caches import Caches
from kernels.cpu.tiles import FEW_QUERIES, LANES, AttentionShape, tiles_for
from mappers.cpu_program import LoopPiece, ProductPiece, program_of
from mappers.cpu_tiles import DISTINCT, cpu_tiles, query_tiles

SMALL = plain_cpu()
KERNELS = ("attention-1-pass", "attention-2-pass", "attention-3-pass", "attention-3-pass-deferred")


class Sizes(NamedTuple):
    """An attention."""

    batch: int
    heads: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int

    def workload(self) -> Workload:
        return Workload.attention(
            batch=self.batch,
            heads=self.heads,
            head_dim=self.head_dim,
            value_dim=self.value_dim,
            seq_len=self.queries,
            kv_len=self.keys,
            value_bytes=4,
        )


SIZES = st.builds(
    Sizes, *[st.integers(1, 3)] * 2, *[st.integers(1, 700)] * 2, *[st.sampled_from([1, 8, 32, 80, 128])] * 2
)


def steps(activity: CpuActivity) -> Iterator[tuple[Step, int]]:
    """Every step of a run, and how often it is done."""
    for task, count in activity.tasks:
        for step in task.steps:
            yield step, step.times * count * activity.instances


def products(activity: CpuActivity) -> Counter[tuple[int, int, int]]:
    found: Counter[tuple[int, int, int]] = Counter()
    for step, times in steps(activity):
        for one in step.products:
            found[one.rows, one.columns, one.depth] += one.calls * times
    return found


def vectors(activity: CpuActivity) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for step, times in steps(activity):
        for one in step.vectors:
            found[one.einsum, one.operator] += one.operations * times
    return found


def spans(sizes: Sizes, cascade: str, cpu: Cpu, causal: bool) -> Iterator[tuple[int, int, list[int]]]:
    """Per task the queries, their padded width and the keys of each tile, as the kernels' loops have them."""
    caches = Caches(*(level.bytes or 0 for level in cpu.levels[:3]))
    shape = AttentionShape(sizes.batch * sizes.heads, *sizes[2:])
    tiles = tiles_for(cascade, shape, caches, threads=cpu.threads)
    for _ in range(shape.heads):
        for start in range(0, sizes.queries, tiles.queries):
            end = min(start + tiles.queries, sizes.queries)
            seen = start + sizes.keys - sizes.queries + 1 if causal else sizes.keys
            keys = min(sizes.keys, seen + end - start - 1)
            padded = end - start if sizes.queries <= FEW_QUERIES else (end - start + LANES - 1) // LANES * LANES
            for part in range(tiles.parts):
                low, high = keys * part // tiles.parts, keys * (part + 1) // tiles.parts
                yield end - start, padded, [min(tiles.keys, high - at) for at in range(low, high, tiles.keys)]


@settings(max_examples=30, deadline=None)
@given(SIZES, st.booleans(), st.sampled_from(KERNELS), st.integers(1, 4))
def test_products_and_exponentials_are_those_of_the_kernels_loops(
    sizes: Sizes, causal: bool, cascade: str, threads: int
) -> None:
    cpu = replace(SMALL, threads=threads)
    activity = cpu_tiles(load_cascade(cascade), sizes.workload(), cpu, causal=causal).activity
    multiplied: Counter[tuple[int, int, int]] = Counter()
    exponentials, scores = 0, 0
    for _, width, tiles in spans(sizes, cascade, cpu, causal):
        for keys in tiles:
            multiplied[width, keys, sizes.head_dim] += 1
            multiplied[width, sizes.value_dim, keys] += 1
            exponentials += width * keys
            scores += width * keys
            if cascade in ("attention-1-pass", "attention-2-pass"):
                exponentials += width
    done = vectors(activity)
    if sizes.queries <= FEW_QUERIES:
        assert not products(activity)
        names = {p.einsum.name for p in program_of(load_cascade(cascade)).pieces if isinstance(p, ProductPiece)}
        number = sum(rows * columns * depth * calls for (rows, columns, depth), calls in multiplied.items())
        assert sum(done[name, "mul"] for name in names) == sum(done[name, "add"] for name in names) == number
    else:
        assert products(activity) == multiplied
    assert sum(number for (_, operator), number in done.items() if operator == "exp") == exponentials
    assert done.get(("LM", "max"), done.get(("GM", "max"), 0)) == scores
    assert sum(count for _, count in activity.tasks) * activity.instances == len(
        list(spans(sizes, cascade, cpu, causal))
    )


def test_decoding_streams_keys_and_values_once_whatever_the_heads() -> None:
    for heads, threads in ((1, 4), (3, 2), (8, 2)):
        workload = Sizes(1, heads, 2, 2**20, 64, 64).workload()
        activity = cpu_tiles(load_cascade("attention-1-pass"), workload, replace(SMALL, threads=threads)).activity
        read: Counter[str] = Counter()
        for step, times in steps(activity):
            assert not step.products
            for transfer in step.streamed:
                read[transfer.tensor] += transfer.bytes * times if transfer.level == "memory" else 0
        assert read["BK"] == pytest.approx(heads * 2**20 * 64 * 4, rel=0.1)
        assert read["BV"] == pytest.approx(heads * 2**20 * 64 * 4, rel=0.1)
        assert activity.dram_bytes == heads * 4 * (2 * 2**20 * 64 + 2 * 2 * 64)
        tasks = activity.instances * sum(count for _, count in activity.tasks)
        assert tasks % threads == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from([16, 32, 128]), st.booleans())
def test_query_tiles_cover_the_queries_the_last_first(queries: int, keys: int, tile: int, causal: bool) -> None:
    found = [span for span, count in query_tiles(queries, keys, tile, causal=causal) for _ in range(count)]
    assert sum(span.queries for span in found) == queries
    start = queries
    for span in found:
        start -= span.queries
        seen = keys - queries + start + span.queries if causal else keys
        assert span.keys == min(keys, max(0, seen))
        assert span.width % LANES == 0
        assert 0 <= span.width - span.queries < LANES


def test_of_very_many_masked_tiles_neighbours_count_as_equal() -> None:
    found = list(query_tiles(2**40, 2**40, 128, causal=True))
    assert len(found) <= DISTINCT
    assert sum(count for _, count in found) == 2**33
    keys = sum(span.keys * count for span, count in found)
    assert keys == pytest.approx(2**33 * (2**40 + 128) / 2, rel=1e-6)


def test_what_the_kernels_do_in_which_order() -> None:
    shown = {}
    for name in KERNELS:
        program = program_of(load_cascade(name))
        shown[name] = [
            [
                ("product " if isinstance(piece, ProductPiece) else "") + "+".join(e.name for e in piece.parts)
                for piece in pieces
            ]
            for pieces in program.passes
        ]
    assert shown["attention-3-pass"] == [["product QK", "GM"], ["SN+SD"], ["A", "product AV"]]
    assert shown["attention-3-pass-deferred"] == [["product QK", "GM"], ["SN+SD", "product SNV", "AV"]]
    assert shown["attention-2-pass"][0][:3] == ["product BQK", "LM", "GM"]
    assert "SLN+SLD" in shown["attention-2-pass"][0]
    assert shown["attention-2-pass"][1] == ["SN", "A", "product AV"]
    (one,) = shown["attention-1-pass"]
    assert [x for x in one if x.startswith("product")] == ["product BQK", "product SLNV"]
    assert "RNV" not in one  # the product SLNV accumulates in it


def test_fibers_lie_where_they_fit_and_tiles_stay_near() -> None:
    def levels(cascade: str, keys: int) -> dict[str, set[str]]:
        workload = Sizes(1, 4, 256, keys, 64, 64).workload()
        found: dict[str, set[str]] = {}
        for step, _ in steps(cpu_tiles(load_cascade(cascade), workload, SMALL).activity):
            for transfer in (*step.streamed, *step.copied):
                if transfer.bytes:
                    found.setdefault(transfer.tensor, set()).add(transfer.level)
        return found

    assert levels("attention-3-pass", 400)["QK"] == {"L2"}
    assert levels("attention-3-pass", 4000)["QK"] == {"L2", "L3"}
    assert levels("attention-3-pass", 400_000)["QK"] == {"L2", "L3", "memory"}
    assert levels("attention-1-pass", 400_000)["BQK"] == {"L2"}


def test_traffic_and_live_bytes() -> None:
    def run(cascade: str, keys: int) -> CpuActivity:
        return cpu_tiles(load_cascade(cascade), Sizes(2, 3, 256, keys, 64, 32).workload(), SMALL).activity

    compulsory = 6 * 4 * (256 * (64 + 32) + 1024 * (64 + 32))
    for cascade in KERNELS:
        assert run(cascade, 1024).dram_bytes == compulsory
    one, three = run("attention-1-pass", 2**20), run("attention-3-pass", 2**20)
    assert one.live_bytes == run("attention-1-pass", 2**16).live_bytes
    assert three.live_bytes > 2 * 4 * 32 * 2**20
    assert three.dram_bytes > one.dram_bytes + 6 * 4 * 4 * 256 * 2**20


@pytest.mark.parametrize("name", library_names())
def test_every_cascade_of_the_library(name: str) -> None:
    cascade = load_cascade(name)
    sizes = {rank: 96 + 32 * number for number, rank in enumerate(settable_ranks(cascade))}
    mapping = cpu_tiles(cascade, Workload(tuple(sizes.items()), heads=2, value_bytes=4), SMALL)
    program = program_of(cascade)
    assert mapping.activity.passes == analyse_passes(cascade, program.roles.row).passes
    named = {e.name for piece in program.pieces for e in piece.parts}
    folded = {e.name for e in (*cascade.body, *cascade.final)} - named
    assert folded <= {"RNV"}
    for piece in program.pieces:
        if isinstance(piece, LoopPiece):
            assert all("mac" not in [o.operator for o in operations(e)] or len(e.inputs) < 3 for e in piece.einsums)
    cost = cpu_cost(mapping.activity, SMALL)
    assert 0 < cost.latency_s < 1
    assert cost.dram_bytes > 0


def test_a_matrix_product_written_out() -> None:
    cascade = parse_cascade(
        "declaration: {X: [N, K], W: [K, D], Z: [N, D]}\nexpressions: ['Z[n, d] = X[n, k] * W[k, d]']"
    )
    workload = Workload((("N", 256), ("K", 300), ("D", 80)), value_bytes=4)
    activity = cpu_tiles(cascade, workload, SMALL).activity
    assert sum(m * n * k * calls for (m, n, k), calls in products(activity).items()) == 256 * 300 * 80


@settings(max_examples=30, deadline=None)
@given(SIZES, st.booleans(), st.sampled_from(KERNELS), st.integers(1, 300))
def test_more_keys_or_heads_are_never_faster(sizes: Sizes, causal: bool, cascade: str, more: int) -> None:
    """On one thread and with fixed tiles: no tile choice, no idle thread, no mask that ends elsewhere."""
    cpu = replace(SMALL, threads=1)

    def latency(changed: Sizes) -> float:
        found = cpu_tiles(load_cascade(cascade), changed.workload(), cpu, causal=causal)
        return cpu_cost(found.activity, cpu).latency_s

    least = latency(sizes)
    assert latency(sizes._replace(heads=sizes.heads + more)) >= least * (1 - 1e-9)
    if cascade == "attention-1-pass" and min(sizes.keys, sizes.queries) > 256:
        assert latency(sizes._replace(keys=sizes.keys + more)) >= least * (1 - 1e-9)


def test_refusals() -> None:
    workload = Workload((("M", 64), ("P", 64)), value_bytes=4)
    with pytest.raises(InputError, match="has no scores to mask"):
        cpu_tiles(load_cascade("log-sum-exp"), workload, SMALL, causal=True)
    plain = parse_cascade("declaration: {A: [K], Z: [K]}\nexpressions: ['Z[k] = A[k] * 2']")
    with pytest.raises(InputError, match="reduces no rank"):
        cpu_tiles(plain, Workload((("K", 64),), value_bytes=4), SMALL)
    with pytest.raises(InputError, match="rank E has no size"):
        cpu_tiles(load_cascade("attention-3-pass"), workload, SMALL)


def test_any_size_is_quick() -> None:
    huge = Sizes(2**20, 2**20, 2**50, 2**50, 128, 128)
    for causal in (False, True):
        found = cpu_tiles(load_cascade("attention-2-pass"), huge.workload(), SMALL, causal=causal)
        assert cpu_cost(found.activity, SMALL).latency_s > 1e20

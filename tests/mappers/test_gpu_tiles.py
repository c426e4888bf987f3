"""``gpu-tiles`` against brute-force counts over every tile of every block, and on every cascade of the library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import ceil
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_gpu import plain_gpu

from einsum_cascades.errors import InputError
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from einsum_cascades.passes import analyse_passes
from einsum_cascades.workload import Workload
from fusemax.workloads import settable_ranks
from hw_models.gpu.activity import GpuActivity, Loop, Product, Trip
from hw_models.gpu.cost import gpu_cost
from hw_models.load import load_machine
from mappers.cpu_program import ProductPiece
from mappers.gpu_generated import generated_of
from mappers.gpu_kernels import GpuKernel, cudnn, efficient, flash, flash_splits, own
from mappers.gpu_mapping import GpuMapping
from mappers.gpu_program import gpu_program_of
from mappers.gpu_tiles import gpu_tiles
from mappers.gpu_unfused import gpu_unfused

GPU = plain_gpu()
KERNELS = ("attention-1-pass", "attention-2-pass", "attention-3-pass", "attention-3-pass-deferred")
PLAIN = GpuKernel("plain", 128, 64, 1, 128, 2, "warpgroup", "free")


class Sizes(NamedTuple):
    """An attention."""

    batch: int
    heads: int
    queries: int
    keys: int
    head_dim: int

    def workload(self) -> Workload:
        return Workload.attention(
            batch=self.batch, heads=self.heads, head_dim=self.head_dim, seq_len=self.queries, kv_len=self.keys
        )

    def mapped(self, cascade: str, *, causal: bool = False, kernel: GpuKernel | None = PLAIN) -> GpuMapping:
        return gpu_tiles(load_cascade(cascade), self.workload(), GPU, causal=causal, kernel=kernel)


SIZES = st.builds(
    Sizes, st.integers(1, 3), st.integers(1, 3), st.integers(1, 700), st.integers(1, 700), st.sampled_from([16, 64, 80])
)
TILES = st.builds(
    lambda queries, keys, longest: replace(PLAIN, queries=queries, keys=keys, longest_first=longest),
    st.sampled_from([16, 64, 128]),
    st.sampled_from([32, 64, 128]),
    st.booleans(),
)


def trips(activity: GpuActivity) -> Iterator[tuple[Trip, int]]:
    """Every trip of the first kernel, and how often it is made."""
    kernel = activity.kernels[0]
    for block, count in kernel.blocks:
        for trip in block.trips:
            yield trip, trip.times * count * kernel.instances


def flops(activity: GpuActivity) -> Counter[str]:
    found: Counter[str] = Counter()
    for trip, times in trips(activity):
        for work in trip.work:
            if isinstance(work, Product):
                found[work.einsum] += work.flops * times
    return found


def tiles_seen(sizes: Sizes, kernel: GpuKernel, causal: bool) -> list[tuple[int, int]]:
    """(tiles that all queries see whole, tiles that some see in part) of each block of a head, by the mask itself."""
    found = []
    for start in range(0, sizes.queries, kernel.queries):
        first, last = start, min(start + kernel.queries, sizes.queries) - 1
        if causal:
            # a block is compared as a whole one: rows past the end would see more keys
            last = start + kernel.queries - 1
        full = partly = 0
        for tile in range(0, sizes.keys, kernel.keys):
            seen = [
                tile + kernel.keys <= sizes.keys
                and (not causal or tile + kernel.keys - 1 <= query + sizes.keys - sizes.queries)
                for query in (first, last)
            ]
            any_seen = not causal or tile <= last + sizes.keys - sizes.queries
            full += all(seen)
            partly += any_seen and not all(seen)
        found.append((full, partly))
    return found


@settings(max_examples=30, deadline=None)
@given(SIZES, TILES, st.booleans())
def test_tiles_are_those_of_a_walk_over_the_mask(sizes: Sizes, kernel: GpuKernel, causal: bool) -> None:
    activity = sizes.mapped("attention-1-pass", causal=causal, kernel=kernel).activity
    (one,) = activity.kernels
    expected = tiles_seen(sizes, kernel, causal)
    found = []
    for block, count in one.blocks:
        masks = [(trip, any(isinstance(w, Loop) and w.einsum == "BQK" for w in trip.work)) for trip in block.trips]
        products = [(t, m) for t, m in masks if any(isinstance(w, Product) for w in t.work)]
        pair = sum(t.times for t, m in products if not m), sum(t.times for t, m in products if m)
        found += [pair] * count
    assert sorted(found) == sorted(expected)
    if causal:
        assert found == (expected[::-1] if kernel.longest_first else expected)
    assert one.number == len(expected) * sizes.batch * sizes.heads
    width = -(-sizes.head_dim // 16) * 16
    tiles = sum(full + partly for full, partly in expected) * sizes.batch * sizes.heads
    per_tile = 2 * kernel.queries * kernel.keys * width
    assert flops(activity) == Counter({"BQK": tiles * per_tile, "SLNV": tiles * per_tile})


def test_what_a_tile_of_the_one_pass_cascade_takes() -> None:
    """Instructions of lanes, as the kernel's machine code has them per score: an exponential, a maximum, and so on."""
    activity = Sizes(1, 1, 128, 128, 64).mapped("attention-1-pass").activity
    scores, rows, width = 128 * 64, 128 * 4, 64
    first = next(trip for trip, _ in trips(activity) if trip.work)
    loops = {w.einsum: w for w in first.work if isinstance(w, Loop)}
    order = [w.einsum for w in first.work]
    assert order == ["BQK", "LM", "RM", "SLN", "SLN", "SLNV", "PRM", "SPD", "RD", "SPNV"]
    assert (loops["LM"].alu, loops["LM"].reduces) == (scores, True)
    assert loops["RM"].alu == rows
    assert (loops["PRM"].special, loops["PRM"].fma) == (rows, rows)
    assert loops["SPNV"].fma == 128 * width
    exponentials, conversion = (w for w in first.work if isinstance(w, Loop) and w.einsum == "SLN")
    assert exponentials == Loop("SLN", scores, 2 * scores, 0, reduces=True)
    assert conversion == Loop("SLN", 0, 0, scores)


def test_passes_make_scores_again() -> None:
    shown = {}
    for name in KERNELS:
        program = gpu_program_of(load_cascade(name))
        shown[name] = [
            ["*" * isinstance(piece, ProductPiece) + "+".join(e.name for e in piece.parts) for piece in one.trip]
            for one in program.passes
        ]
        assert len(shown[name]) == analyse_passes(load_cascade(name), "M").passes
    assert shown["attention-3-pass"] == [["*QK", "GM"], ["*QK", "SN+SD"], ["*QK", "SN", "A", "*AV"]]
    assert shown["attention-3-pass-deferred"] == [["*QK", "GM"], ["*QK", "SN+SD", "*SNV"]]
    assert shown["attention-2-pass"][1] == ["*BQK", "SN", "A", "*AV"]
    merged = gpu_program_of(load_cascade("attention-2-pass")).passes[1].trip[1].parts[0]
    assert [access.tensor for access in merged.inputs] == ["BQK", "GM"]
    assert gpu_program_of(load_cascade("attention-1-pass")).splittable
    assert not gpu_program_of(load_cascade("attention-2-pass")).splittable


@settings(max_examples=20, deadline=None)
@given(SIZES, st.sampled_from(KERNELS), st.booleans())
def test_more_passes_multiply_more(sizes: Sizes, cascade: str, causal: bool) -> None:
    one, more = (sum(flops(sizes.mapped(c, causal=causal).activity).values()) for c in ("attention-1-pass", cascade))
    passes = analyse_passes(load_cascade(cascade), "M").passes
    assert more * 2 == one * (passes + 1)


def test_traffic() -> None:
    """K and V are read once while they fit in the cache, and once per wave if they do not."""
    gpu = replace(GPU, l2=replace(GPU.l2, bytes=2**20))

    def traffic(keys: int) -> int:
        workload = Workload.attention(batch=1, heads=2, head_dim=64, seq_len=4096, kv_len=keys)
        return gpu_tiles(load_cascade("attention-1-pass"), workload, gpu, kernel=PLAIN).activity.dram_bytes

    def once(keys: int) -> int:
        return 2 * 2 * 64 * (2 * 4096 + 2 * keys)

    assert traffic(512) == once(512)
    resident = 4
    waves = ceil(4096 / 128 / (4 * resident))
    assert traffic(2**16) == once(2**16) + (waves - 1) * 2 * 2 * 64 * 2 * 2**16


def test_keys_are_split_where_queries_are_few() -> None:
    h200 = load_machine("h200")
    workload = Workload.attention(batch=1, heads=16, head_dim=128, seq_len=1, kv_len=2**17)
    mapping = gpu_tiles(load_cascade("attention-1-pass"), workload, h200)  # type: ignore[arg-type]
    splits = dict(mapping.tiles)["splits"]
    main, combine = mapping.activity.kernels
    assert main.number == 16 * splits
    assert combine.number == 16
    values = 2 * 16 * 2**17 * 128 * 2
    assert values < mapping.activity.dram_bytes < 1.02 * values
    cost = gpu_cost(mapping.activity, h200)  # type: ignore[arg-type]
    assert cost.bound == "memory"
    assert cost.latency_s == pytest.approx(values / h200.hbm.bytes_per_s, rel=0.1)  # type: ignore[union-attr]
    long = gpu_tiles(load_cascade("attention-3-pass"), workload, h200)  # type: ignore[arg-type]
    assert "splits" not in dict(long.tiles)


def test_how_flash_attention_splits() -> None:
    assert flash_splits(16, 16384, 16384, 128, 132) == 1
    assert flash_splits(1, 1, 128, 128, 132) == 1
    for instances in (1, 4, 16, 100):
        lengths = [ceil(2**10 / n) for n in range(129) if n]
        shorter = [n for n in range(1, 129) if n == 1 or lengths[n - 1] < lengths[n - 2]]
        used = {n: n * instances / 264 / ceil(n * instances / 264) for n in shorter}
        splits = flash_splits(instances, 1, 2**17, 128, 132)
        assert used[splits] >= 0.85 * max(used.values())


@pytest.mark.parametrize("name", library_names())
@pytest.mark.parametrize("arch", ["h200", "a100"])
def test_every_cascade_of_the_library(name: str, arch: str) -> None:
    cascade, gpu = load_cascade(name), load_machine(arch)
    sizes = {rank: 96 + 32 * number for number, rank in enumerate(settable_ranks(cascade))}
    mapping = gpu_tiles(cascade, Workload(tuple(sizes.items()), heads=2), gpu)  # type: ignore[arg-type]
    fused = generated_of(cascade)
    assert mapping.activity.passes == (1 if fused else gpu_program_of(cascade).program.number_of_passes)
    cost = gpu_cost(mapping.activity, gpu)  # type: ignore[arg-type]
    assert 0 < cost.latency_s < 1
    assert cost.dram_bytes > 0
    assert cost.live_bytes > 0


def test_a_matrix_product_written_out() -> None:
    cascade = parse_cascade(
        "declaration: {X: [N, K], W: [K, D], Z: [N, D]}\nexpressions: ['Z[n, d] = X[n, k] * W[k, d]']"
    )
    workload = Workload((("N", 256), ("K", 320), ("D", 384)))
    activity = gpu_tiles(cascade, workload, GPU, kernel=PLAIN).activity
    assert sum(flops(activity).values()) == 2 * 256 * 320 * 384


@settings(max_examples=25, deadline=None)
@given(SIZES, st.booleans(), st.sampled_from(KERNELS), st.integers(1, 300))
def test_more_keys_or_heads_are_never_faster(sizes: Sizes, causal: bool, cascade: str, more: int) -> None:
    """With one block on a multiprocessor, so that none ends earlier because another one ends later.

    Keys come in whole tiles: one that is filled in part has to be masked, and costs more than a full one.
    """
    kernel = replace(PLAIN, registers=255, workers=4)
    sizes = sizes._replace(keys=-(-sizes.keys // kernel.keys) * kernel.keys)

    def latency(changed: Sizes) -> float:
        return gpu_cost(changed.mapped(cascade, causal=causal, kernel=kernel).activity, GPU).latency_s

    least = latency(sizes)
    assert latency(sizes._replace(heads=sizes.heads + more)) >= least * (1 - 1e-9)
    if not causal:
        assert latency(sizes._replace(keys=sizes.keys + more * kernel.keys)) >= least * (1 - 1e-9)


@pytest.mark.parametrize("head_dim", [64, 128])
def test_masks_skip_about_half(head_dim: int) -> None:
    h200 = load_machine("h200")
    for kernel in (None, flash(head_dim), cudnn(head_dim), efficient(head_dim)):
        workload = Workload.attention(batch=1, heads=16, head_dim=head_dim, seq_len=16384)
        full, masked = (
            gpu_cost(
                gpu_tiles(load_cascade("attention-1-pass"), workload, h200, causal=c, kernel=kernel).activity,  # type: ignore[arg-type]
                h200,  # type: ignore[arg-type]
            ).latency_s
            for c in (False, True)
        )
        assert 0.48 < masked / full < 0.62


def test_unfused_attention_moves_all_scores() -> None:
    h200 = load_machine("h200")
    workload = Workload.attention(batch=2, heads=8, head_dim=64, seq_len=4096)
    plain, masked = (gpu_unfused(workload, h200, causal=c).activity for c in (False, True))  # type: ignore[arg-type]
    scores = 4 * 16 * 4096**2
    inputs = 16 * 4096 * 64
    assert 9 * scores < plain.dram_bytes < 9 * scores + 60 * inputs
    assert masked.dram_bytes - plain.dram_bytes == 3 * scores + (1 + 4) * 4096**2
    assert sum(flops(replace(plain, kernels=(k,)))["QK"] for k in plain.kernels) == 2 * 16 * 4096**2 * 64


def test_refusals() -> None:
    with pytest.raises(InputError, match="has no scores to mask"):
        gpu_tiles(load_cascade("log-sum-exp"), Workload((("M", 64), ("P", 64))), GPU, causal=True)
    plain = parse_cascade("declaration: {A: [K], Z: [K]}\nexpressions: ['Z[k] = A[k] * 2']")
    with pytest.raises(InputError, match="reduces no rank"):
        gpu_tiles(plain, Workload((("K", 64),)), GPU)
    with pytest.raises(InputError, match="rank E has no size"):
        gpu_tiles(load_cascade("attention-3-pass"), Workload((("M", 64), ("P", 64))), GPU)


def test_any_size_is_quick() -> None:
    huge = Sizes(2**20, 2**20, 2**50, 2**50, 128)
    for causal in (False, True):
        found = huge.mapped("attention-2-pass", causal=causal, kernel=None)
        assert gpu_cost(found.activity, GPU).latency_s > 1e20


def test_a_gpu_without_products_of_warp_groups_multiplies_warp_by_warp() -> None:
    a100, h200 = load_machine("a100"), load_machine("h200")
    sizes = (4096, 4096, 128, 128)
    assert own("attention-1-pass", 16, sizes, h200, causal=False).unit == "warpgroup"  # type: ignore[arg-type]
    assert own("attention-1-pass", 16, sizes, a100, causal=False).unit == "warp"  # type: ignore[arg-type]

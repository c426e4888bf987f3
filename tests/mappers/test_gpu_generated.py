"""What a generated kernel runs, against the cascade that it comes from: results, keys that are seen, tiles."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades import Cascade, library_names, load_cascade, parse_cascade, run
from einsum_cascades.workload import Workload
from hw_models.gpu.activity import Loop, Product
from hw_models.load import load_machine
from kernels.gpu.attention import CASCADES
from mappers.gpu_generated import Affine, Generated, Visible, generated_of
from mappers.gpu_kernels import GpuKernel
from mappers.gpu_tiles import gpu_tiles, query_spans

SIZES = {"P": 5, "M": 7, "E": 3, "F": 4}
SCALARS = {"CAP": 3.0, "LAMBDA": 0.3, "SLOPE": 0.25, "W": 3.0}
BIASED = """
declaration: {Q: [E, P], K: [E, M], V: [F, M], B: [M], T: [P], G: [M, P], QK: [M, P], X: [M, P], GM: [P], SN: [M, P],
  SD: [P], AV: [F, P]}
expressions:
  - QK[m, p] = Q[e, p] * K[e, m]
  - X[m, p] = QK[m, p] * T[p] + B[m] + G[m, p] + 0.1 * (m - p)
  - 'GM[p] = X[m, p] :: reduce(m) max'
  - SN[m, p] = exp(X[m, p] - GM[p])
  - SD[p] = SN[m, p]
  - AV[f, p] = SN[m, p] / SD[p] * V[f, m]
"""


def fused(cascade: Cascade) -> Generated:
    found = generated_of(cascade)
    assert found is not None
    return found


def inputs(cascade: Cascade) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    views, whole = dict(cascade.views), {part: p.rank for p in cascade.partitions for part in p.parts}
    found = {}
    for tensor in cascade.inputs:
        ranks = dict.fromkeys(whole.get(rank, rank) for rank in cascade.ranks_of[tensor])
        shape = [SIZES[rank] for rank in ranks]
        found[views.get(tensor, tensor)] = rng.standard_normal(shape) if shape else SCALARS[tensor]
    return found


UNMASKED = ("attention-differential", "attention-relu", "attention-sigmoid", "attention-soft-cap", "attention-split-k")


@pytest.mark.parametrize("name", [*UNMASKED, "attention-softmax-unstable", "biased"])
@pytest.mark.parametrize("tile", [1, 7])
def test_the_one_pass_gives_what_the_cascade_gives(name: str, tile: int) -> None:
    """The number of a key is that in its tile, so where it counts there must be one tile."""
    cascade = parse_cascade(BIASED) if name == "biased" else load_cascade(name)
    tile = 7 if name == "biased" else tile
    made = fused(cascade)
    given_inputs = inputs(cascade)
    parts = [{p.parts[0]: SIZES["M"] // tile, p.parts[1]: tile} for c in (cascade, made.cascade) for p in c.partitions]
    tiles = {rank: size for part in parts for rank, size in part.items()}
    used = {r for d in cascade.declarations for r in d.ranks}
    expected = run(cascade, given_inputs, sizes={r: n for r, n in tiles.items() if r in used})["AV"]
    used = {r for d in made.cascade.declarations for r in d.ranks}
    found = run(made.cascade, given_inputs, sizes={r: n for r, n in tiles.items() if r in used})["AV"]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert parse_cascade(str(made.cascade)) == made.cascade


def test_which_cascades_of_the_library() -> None:
    generated = {name for name in library_names() if generated_of(load_cascade(name))}
    masked = {"attention-alibi", "attention-causal", "attention-sliding-window"}
    assert generated == {*UNMASKED, "attention-softmax-unstable", *masked}
    assert not generated & set(CASCADES)
    assert generated_of(replace(load_cascade("attention-causal"), name="attention-3-pass"))


@settings(deadline=None)
@given(
    bounds=st.lists(st.builds(Affine, st.booleans(), st.integers(-2, 2), st.integers(-40, 40)), max_size=2),
    queries=st.integers(1, 60),
    keys=st.integers(1, 60),
    tile=st.tuples(st.sampled_from([4, 8]), st.sampled_from([4, 16])),
)
def test_tiles_against_every_pair(bounds: list[Affine], queries: int, keys: int, tile: tuple[int, int]) -> None:
    """A tile that a query sees is there, and one counted as full is seen whole by all queries that there are."""
    visible = Visible(tuple(bounds))
    kernel = GpuKernel("plain", *tile, 1, 128, 2, "warpgroup", "free")
    spans = [span for span, count in query_spans(queries, keys, kernel, visible) for _ in range(count)]
    assert len(spans) == ceil(queries / tile[0])
    for number, span in enumerate(spans):
        rows = range(number * tile[0], min(queries, (number + 1) * tile[0]))
        assert span.queries == len(rows) or (visible.bounds and number < len(spans) - 1)
        seen = [[all((m <= b.slope * p + b.constant) if b.upper else (m >= b.slope * p + b.constant) for b in bounds)
                 for m in range(keys)] for p in rows]  # fmt: skip
        columns = [[row[start : start + tile[1]] for row in seen] for start in range(0, keys, tile[1])]
        needed = sum(any(map(any, column)) for column in columns)
        whole = sum(all(map(all, c)) and len(c[0]) == tile[1] for c in columns)
        assert span.full + span.masked >= needed
        if len(rows) == tile[0]:
            assert span.full <= whole


@pytest.mark.parametrize(("queries", "keys"), [(300, 300), (100, 500), (500, 100)])
def test_causal_is_what_the_option_says(queries: int, keys: int) -> None:
    gpu: Any = load_machine("h100")
    workload = Workload.attention(batch=2, heads=8, head_dim=64, seq_len=queries, kv_len=keys)
    ours = gpu_tiles(load_cascade("attention-causal"), workload, gpu).activity
    option = gpu_tiles(load_cascade("attention-1-pass"), workload, gpu, causal=True).activity
    both = gpu_tiles(load_cascade("attention-causal"), workload, gpu, causal=True).activity
    for block, other, twice in zip(
        ours.kernels[0].blocks, option.kernels[0].blocks, both.kernels[0].blocks, strict=True
    ):
        assert block[1] == other[1] == twice[1]
        for trip, same, again in zip(block[0].trips, other[0].trips, twice[0].trips, strict=True):
            assert trip.times == same.times == again.times
            assert trip.transfers == same.transfers == again.transfers


def test_two_streams_are_run_one_after_another() -> None:
    gpu: Any = load_machine("h100")
    workload = Workload.attention(batch=1, heads=16, head_dim=64, seq_len=2048, kv_len=2048)
    one = gpu_tiles(load_cascade("attention-softmax-unstable"), workload, gpu).activity.kernels[0]
    two = gpu_tiles(load_cascade("attention-differential"), workload, gpu).activity.kernels[0]

    def flops(kernel: Any) -> int:
        return sum(
            work.flops * trip.times * count
            for block, count in kernel.blocks
            for trip in block.trips
            for work in trip.work
            if isinstance(work, Product)
        )

    assert flops(two) == 2 * flops(one)
    assert sum(trip.first for trip in two.blocks[0][0].trips) == 2


def test_elementwise_work_on_scores_counts() -> None:
    gpu: Any = load_machine("h100")
    workload = Workload.attention(batch=1, heads=16, head_dim=64, seq_len=2048, kv_len=2048)

    def special(name: str) -> int:
        block, _ = gpu_tiles(load_cascade(name), workload, gpu).activity.kernels[0].blocks[0]
        return sum(w.special * t.times for t in block.trips for w in t.work if isinstance(w, Loop))

    assert special("attention-soft-cap") - special("attention-softmax-unstable") == pytest.approx(
        1.5 * 128 * 2048, rel=0.01
    )


BOUNDS = st.builds(Affine, st.booleans(), st.integers(-3, 3), st.integers(-40, 40))


@settings(max_examples=25, deadline=None)
@given(
    listed=st.lists(BOUNDS, max_size=3), first=st.integers(0, 30), queries=st.integers(1, 8), keys=st.integers(1, 40)
)
def test_spans_hold_all_keys_that_are_seen(listed: list[Affine], first: int, queries: int, keys: int) -> None:
    def sees(p: int, m: int) -> bool:
        return all((m - b.slope * p - b.constant) * (1 if b.upper else -1) <= 0 for b in listed)

    seen = [[sees(p, m) for p in range(first, first + queries)] for m in range(keys)]
    low, high, every_low, every_high = Visible(tuple(listed)).span(first, first + queries - 1, keys)
    assert all(low <= m < high for m in range(keys) if any(seen[m]))
    assert all(all(seen[m]) for m in range(max(0, every_low), every_high))
    if len(listed) < 2:
        assert {m for m in range(keys) if all(seen[m])} == set(range(every_low, every_high))
        assert {m for m in range(keys) if any(seen[m])} == set(range(low, high))


def test_a_window_whose_width_is_known_leaves_tiles_out() -> None:
    gpu: Any = load_machine("h100")
    workload = Workload.attention(batch=1, heads=4, head_dim=64, seq_len=4096, kv_len=4096)
    cascade = load_cascade("attention-sliding-window")

    def tiles(**scalars: float) -> int:
        kernel = gpu_tiles(cascade, workload, gpu, scalars=scalars).activity.kernels[0]
        worked = [
            (t.times, n) for b, n in kernel.blocks for t in b.trips if any(isinstance(w, Product) for w in t.work)
        ]
        return kernel.instances * sum(times * number for times, number in worked) // workload.instances

    def seen(width: float) -> int:
        spans = ((max(0, 128 * n - width + 1) // 128, n + 1) for n in range(32))
        return sum(int(last - first) for first, last in spans)

    assert tiles() == tiles(W=1e9) == sum(range(1, 33))
    assert tiles(W=1024) == seen(1024) < tiles() / 2

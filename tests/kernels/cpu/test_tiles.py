"""Caches as the system tells them, and tile sizes as laws over all shapes."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernels.cpu.attention import CASCADES
from kernels.cpu.caches import Caches, _from_sysfs, caches_from, machine_caches
from kernels.cpu.tiles import FEW_QUERIES, LANES, AttentionShape, tiles_for

SIZES = st.integers(1, 5000)
SHAPES = st.builds(AttentionShape, st.integers(1, 64), SIZES, SIZES, st.integers(1, 600), st.integers(1, 600))
CACHES = st.builds(
    Caches,
    l1_bytes=st.integers(8 * 1024, 256 * 1024),
    l2_bytes=st.integers(64 * 1024, 16 * 2**20),
    l3_bytes=st.integers(0, 2**28),
)


def write_cache(folder, index, kind, level, size):
    (folder / f"index{index}").mkdir()
    for name, text in (("type", kind), ("level", level), ("size", size)):
        (folder / f"index{index}" / name).write_text(f"{text}\n")


def test_linux_caches(tmp_path):
    write_cache(tmp_path, 0, "Data", 1, "48K")
    write_cache(tmp_path, 1, "Instruction", 1, "32K")
    write_cache(tmp_path, 2, "Unified", 2, "2M")
    write_cache(tmp_path, 3, "Unified", 3, "nonsense")
    (tmp_path / "index4").mkdir()
    assert _from_sysfs(tmp_path) == {1: 48 * 1024, 2: 2 * 2**20}
    assert caches_from(_from_sysfs(tmp_path)) == Caches(48 * 1024, 2 * 2**20, 0)


def test_caches_that_nobody_tells_have_defaults(tmp_path):
    assert _from_sysfs(tmp_path / "absent") == {}
    assert caches_from({}) == caches_from({1: 0, 2: 0, 4: 2**30}) == Caches()
    assert machine_caches().l1_bytes >= 8 * 1024


@pytest.mark.parametrize("kernel", CASCADES)
@given(shape=SHAPES, caches=CACHES, threads=st.integers(1, 128))
def test_tiles_fit_shape_and_caches(kernel, shape, caches, threads):
    assume(shape.queries > FEW_QUERIES)
    tiles = tiles_for(kernel, shape, caches, threads=threads)
    assert tiles.keys_per_row == 1
    assert tiles.queries % LANES == 0
    assert LANES <= tiles.queries < shape.queries + LANES
    assert 1 <= tiles.product_keys <= tiles.keys <= shape.keys
    assert 4 * tiles.queries * tiles.product_keys <= max(caches.l1_bytes, 4 * tiles.queries)
    assert 4 * tiles.queries * tiles.keys <= max(caches.l2_bytes // 4, caches.l1_bytes)
    if kernel != "attention-1-pass" and tiles.queries > 32:
        assert 4 * tiles.queries * shape.keys <= max(caches.l2_bytes, caches.l3_bytes / threads)


@given(keys=st.integers(4096, 10**7), shape=SHAPES, caches=CACHES)
def test_tiles_of_the_one_pass_kernel_do_not_depend_on_many_keys(keys, shape, caches):
    def tiles(m):
        of = AttentionShape(shape.heads, shape.queries, m, shape.head_dim, shape.value_dim)
        return tiles_for("attention-1-pass", of, caches)

    enough = max(tiles(10**8).keys, 4096)
    assert tiles(max(keys, enough)) == tiles(10**8)


@given(shape=SHAPES, threads=st.integers(1, 16))
def test_threads_are_kept_busy(shape, threads):
    assume(shape.queries > FEW_QUERIES)
    tiles = tiles_for("attention-1-pass", shape, Caches(), threads=threads)
    tasks = shape.heads * math.ceil(shape.queries / tiles.queries)
    whole = tiles_for("attention-1-pass", shape, Caches())
    alone = shape.heads * math.ceil(shape.queries / whole.queries)
    schedule = math.ceil(tasks / threads) * tiles.queries
    assert schedule <= 1.05 * math.ceil(alone / threads) * whole.queries


@pytest.mark.parametrize("kernel", CASCADES)
@given(shape=SHAPES, caches=CACHES, queries=st.integers(1, FEW_QUERIES), threads=st.integers(1, 128))
def test_few_queries_are_one_tile_of_rows_of_keys(kernel, shape, caches, queries, threads):
    tiles = tiles_for(kernel, replace(shape, queries=queries), caches, threads=threads)
    assert (tiles.queries, tiles.keys_per_row, tiles.width) == (queries, LANES, queries * LANES)
    assert tiles.keys == shape.keys or tiles.keys % LANES == 0
    assert 1 <= tiles.keys <= shape.keys


@given(shape=SHAPES, threads=st.integers(1, 64), keys=st.integers(2**18, 2**20))
def test_keys_are_split_where_that_keeps_threads_busy(shape, threads, keys):
    shape = replace(shape, keys=keys)
    tiles = tiles_for("attention-1-pass", shape, Caches(), threads=threads)
    tasks = shape.heads * math.ceil(shape.queries / tiles.queries)
    busy = {parts: tasks * parts / threads / math.ceil(tasks * parts / threads) for parts in range(1, threads + 1)}
    assert 1 <= tiles.parts <= threads
    assert busy[tiles.parts] * 1.0501 >= max(busy.values())
    assert all(busy[parts] < busy[tiles.parts] for parts in range(1, tiles.parts))
    assert tiles_for("attention-3-pass", shape, Caches(), threads=threads).parts == 1

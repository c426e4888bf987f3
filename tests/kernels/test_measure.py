"""The harness: turns, tables of measurements, merged machines. Nothing here depends on how fast anything is."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_cpu import plain_cpu

from einsum_cascades.errors import InputError
from hw_models.cpu.product_rates import ProductRates
from kernels.measure.attention import kernels_for, time_kernels
from kernels.measure.levels import _hits
from kernels.measure.machine import median_of
from kernels.measure.products import _rising
from kernels.measure.shapes import SHAPES, Shape
from kernels.measure.table import COLUMNS, FOLDER, Measurement, format_table, parse_table, read_table
from kernels.measure.timing import Timing, in_turns

ROW = Measurement(
    "a CPU, fast", "flash", "", "float32", 1, 2, 3, 4, 5, True, 0.1, 1 / 3, 7, 'numpy 2 "x", 2 threads', "2026-01-02"
)
TEXT = format_table([ROW, replace(ROW, kernel="attention-1-pass", cascade="attention-1-pass", causal=False)]).decode()


def test_turns_alternate_and_warm_up() -> None:
    calls: list[str] = []
    found = in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, 3, round_s=1e-9)
    assert calls == ["a", "a", "b", "b", *["a", "a", "b", "b"] * 3]
    assert all(len(timing.seconds) == 3 for timing in found.values())


def test_median_and_least() -> None:
    timing = Timing((3.0, 1.0, 5.0, 4.0))
    assert (timing.median_s, timing.min_s) == (3.5, 1.0)


def test_tables_read_back() -> None:
    assert parse_table(TEXT, "t.csv") == (
        ROW,
        replace(ROW, kernel="attention-1-pass", cascade="attention-1-pass", causal=False),
    )
    assert tuple(TEXT.splitlines()[0].split(",")) == COLUMNS


@settings(deadline=None)
@given(
    st.builds(
        Measurement,
        *[st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=8)] * 4,
        *[st.integers(1, 10**9)] * 5,
        st.booleans(),
        *[st.floats(1e-9, 1e9)] * 2,
        st.integers(1, 99),
        *[st.text("abc 1,\"'", max_size=8)] * 2,
    )
)
def test_any_measurement_reads_back(row: Measurement) -> None:
    assert parse_table(format_table([row]).decode(), "t.csv") == (row,)


DAMAGED = {
    "": "the table is empty",
    TEXT[:-1]: "the last line has no end",
    TEXT.splitlines()[0] + "\n": "the table has no rows",
    TEXT.replace("median_s", "median"): "unknown column 'median'",
    TEXT.replace("median_s,", ""): "the column 'median_s' is missing",
    TEXT.replace("min_s", "median_s"): "the column 'median_s' stands twice",
    TEXT.replace(",0.1,", ",0.1,0.2,"): "expected 15 fields, found 16",
    TEXT.replace(",0.1,", ",fast,"): "'fast' in column 'median_s' is not a number",
    TEXT.replace(",0.1,", ",-0.1,"): "is not a time from 1e-12 to 1e+09 seconds",
    TEXT.replace(",0.1,", ",nan,"): "is not a time from 1e-12 to 1e+09 seconds",
    TEXT.replace(",1,2,3,", ",0,2,3,"): "'0' in column 'batch' is not a whole number",
    TEXT.replace(",1,2,3,", ",1,2.5,3,"): "'2.5' in column 'heads' is not a whole number",
    TEXT.replace("True", "yes"): "'yes' in column 'causal' is not True or False",
    TEXT.replace("flash", ""): "in column 'kernel' is not a kernel's name",
    TEXT.replace('"a CPU', '"a "CPU'): "t.csv:",
}


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_tables(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_table(text, "t.csv")
    assert DAMAGED[text] in str(caught.value)
    assert str(caught.value).startswith("t.csv:")
    assert caught.value.hint


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    for name, message in (("none.csv", "no such file"), ("binary.csv", "not UTF-8"), (".", "a directory")):
        with pytest.raises(InputError, match=message):
            read_table(tmp_path / name)


def test_recorded_measurements() -> None:
    rows = read_table(FOLDER / "cpu.csv")
    assert {row.shape for row in rows} == {(s.batch, s.heads, s.q_len, s.kv_len, s.head_dim, s.causal) for s in SHAPES}
    kernels = {row.kernel for row in rows if row.cascade}
    assert len(kernels) == 4
    assert all(row.cascade in ("", row.kernel) and row.min_s <= row.median_s for row in rows)
    assert len({(row.kernel, row.shape) for row in rows}) == len(rows)


def test_shapes_cover_what_is_compared() -> None:
    assert len(set(SHAPES)) == 12
    assert {s.causal for s in SHAPES} == {True, False}
    assert (min(s.q_len for s in SHAPES), max(s.q_len for s in SHAPES)) == (256, 16384)
    assert {32, 128} <= {s.head_dim for s in SHAPES}
    assert (min(s.batch * s.heads for s in SHAPES), max(s.batch * s.heads for s in SHAPES)) == (1, 32)
    assert any(s.q_len != s.kv_len for s in SHAPES)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_flops_are_those_of_the_scores_that_are_seen(queries: int, keys: int) -> None:
    mask = np.tril(np.ones((queries, keys)), k=keys - queries)
    assert Shape(2, 3, queries, keys, 8, causal=True).flops == 4 * 6 * 8 * mask.sum()
    assert Shape(2, 3, queries, keys, 8).flops == 4 * 6 * 8 * queries * keys


def test_kernels_that_are_compared_compute_the_same() -> None:
    for shape in (Shape(1, 2, 20, 20, 8, causal=True), Shape(2, 1, 9, 30, 8)):
        results = {name: np.asarray(run()) for name, run in kernels_for(shape, 1).items()}
        assert {"attention-1-pass", "attention-2-pass", "attention-3-pass"} <= set(results)
        for result in results.values():
            np.testing.assert_allclose(result, results["attention-3-pass"], rtol=2e-5, atol=2e-6)


def test_measurements_say_what_ran() -> None:
    shape = Shape(1, 1, 16, 16, 8)
    told: list[str] = []
    rows = list(time_kernels([shape], 1, repeats=2, report=told.append))
    assert len(told) == 1
    assert {row.shape for row in rows} == {(1, 1, 16, 16, 8, False)}
    assert all(row.repeats == 2 and row.min_s <= row.median_s and "1 threads" in row.software for row in rows)


def test_medians_of_machines() -> None:
    speeds = (1.0, 3.0, 2.0)
    machines = [
        plain_cpu(
            launch_s=1e-6 * speed,
            operators=tuple((name, 1e9 * speed) for name, _ in plain_cpu().operators),
            products=ProductRates.of({(1, 1, 1): 1e9 * speed}),
            levels=tuple(
                replace(level, thread_bytes_per_s=speed * level.thread_bytes_per_s) for level in plain_cpu().levels
            ),
        )
        for speed in speeds
    ]
    found = median_of(machines)
    assert (found.launch_s, found.rate_of["exp"], found.products.flops_per_s) == (2e-6, 2e9, (2e9,))
    assert found.level_of["L2"].thread_bytes_per_s == 2 * plain_cpu().level_of["L2"].thread_bytes_per_s
    assert median_of([plain_cpu()]) == plain_cpu()


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=18, max_size=18))
def test_seconds_never_fall_when_a_size_grows(seconds: list[float]) -> None:
    grid = list(product((1, 2), (1, 2, 4), (1, 8, 9)))
    found = _rising(dict(zip(grid, seconds, strict=True)))
    for one, other in product(grid, grid):
        if all(a <= b for a, b in zip(one, other, strict=True)):
            assert found[one] <= found[other]
    assert all(found[sizes] >= given for sizes, given in zip(grid, seconds, strict=True))
    assert all(found[sizes] in seconds for sizes in grid)
    assert prod(len({s[axis] for s in found}) for axis in range(3)) == len(grid)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(2, 50))
def test_hits_explain_the_time_of_reading(share: float, faster: float) -> None:
    memory, cache = 1e9, 1e9 * faster
    assert _hits(1 / (share / cache + (1 - share) / memory), cache, memory) == pytest.approx(share, abs=1e-9)
    assert _hits(memory / 2, cache, memory) == 0
    assert _hits(2 * cache, cache, memory) == 1
    assert _hits(memory, memory / 2, memory) == 1

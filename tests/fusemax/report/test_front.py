"""The front against a comparison of all pairs: ties, duplicates, gaps, both directions, one to four objectives."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sweep_results import brute_front, sweep_table

from einsum_cascades.errors import InputError
from fusemax.report.front import Objective, front_rows, missing, ties

FEW = st.sampled_from([None, float("nan"), float("inf"), -0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 1e-300, 1e300])
ANY = st.one_of(FEW, st.floats(allow_nan=True, allow_infinity=True))


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[float | None]], list[bool]]:
    width = draw(st.integers(1, 4))
    kind = draw(st.sampled_from([FEW, ANY]))
    rows = draw(st.lists(st.lists(kind, min_size=width, max_size=width), max_size=40))
    return rows, draw(st.lists(st.booleans(), min_size=width, max_size=width))


@settings(deadline=None)
@given(problems())
@example(([], [False, True]))
@example(([[1.0], [1.0], [2.0], [None]], [False]))
@example(([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0], [2.0, 1.0]], [False, False]))
@example(([[0.0, 1.0], [-0.0, 1.0]], [False, True]))
def test_front_is_that_of_all_pairs(problem: tuple[list[list[float | None]], list[bool]]) -> None:
    rows, maximize = problem
    names = "abcd"[: len(maximize)]
    columns = {n: pa.array([row[i] for row in rows], pa.float64()) for i, n in enumerate(names)}
    found = front_rows(pa.table(columns), [Objective(n, m) for n, m in zip(names, maximize, strict=True)])
    points = np.array(rows, dtype=np.float64).reshape(len(rows), len(maximize))
    assert found.tolist() == brute_front(points, maximize)


@pytest.mark.parametrize("width", [2, 3, 4])
def test_many_points(width: int) -> None:
    """Beyond the size at which moocore changes its algorithm, with many ties."""
    points = np.random.default_rng(width).integers(0, 40, (1500, width)).astype(float)
    names = "abcd"[:width]
    table = pa.table({n: points[:, i] for i, n in enumerate(names)})
    maximize = [i == 1 for i in range(width)]
    found = front_rows(table, [Objective(n, m) for n, m in zip(names, maximize, strict=True)])
    assert found.tolist() == brute_front(points, maximize)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 4)), max_size=40))
def test_each_group_has_its_own(rows: list[tuple[int, int, int]]) -> None:
    groups = np.array([g for g, _, _ in rows], dtype=np.int64)
    points = np.array([row[1:] for row in rows], dtype=float).reshape(-1, 2)
    table = pa.table({"a": points[:, 0], "b": points[:, 1]})
    expected = []
    for g in set(groups.tolist()):
        members = np.flatnonzero(groups == g)
        expected += members[brute_front(points[members], [False, True])].tolist()
    assert front_rows(table, [Objective("a"), Objective("b", True)], groups).tolist() == sorted(expected)


def test_large_whole_numbers_are_not_rounded() -> None:
    table = pa.table({"a": pa.array([2**60 + 1, None, 2**60, 2**60 + 2]), "b": [1, 1, 1, 1]})
    assert front_rows(table, [Objective("a"), Objective("b")]).tolist() == [2]
    assert front_rows(table, [Objective("a", True), Objective("b")]).tolist() == [3]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float32(), pa.decimal128(25, 2)])
def test_every_kind_of_number(kind: pa.DataType) -> None:
    table = pa.table({"a": pa.array([3, 1, None, 2]).cast(kind, safe=False)})
    assert front_rows(table, [Objective("a")]).tolist() == [1]


def test_a_table_in_chunks() -> None:
    table = sweep_table(100, failed=0.0)
    chunked = pa.concat_tables([table.slice(0, 30), table.slice(30)])
    goals = [Objective("latency_s"), Objective("util_2d", True)]
    assert front_rows(chunked, goals).tolist() == front_rows(table, goals).tolist()


def test_what_is_missing_is_counted() -> None:
    table = pa.table({"a": [1.0, None, float("nan"), float("inf")], "b": [1, 2, 3, 4]})
    assert missing(table, [Objective("a"), Objective("b")]) == {"a": 3}


def test_columns_that_are_no_objectives() -> None:
    table = sweep_table(10)
    for names, message in (
        (["latency"], "did you mean 'latency_s'"),
        (["cascade"], "holds no numbers"),
        ([], "needs an objective"),
    ):
        with pytest.raises(InputError, match=message):
            front_rows(table, [Objective(name) for name in names])


def test_without_moocore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moocore", None)
    with pytest.raises(InputError, match=r"\[report\]'"):
        front_rows(pa.table({"a": pd.Series([1.0])}), [Objective("a")])


def test_the_usual_direction() -> None:
    assert Objective.natural("util_2d") == Objective("util_2d", True)
    assert Objective.natural("latency_s") == Objective("latency_s", False)
    assert str(Objective("util_2d", True)) == "util_2d (highest)"


def test_ties_are_counted_group_by_group() -> None:
    table = pa.table({"a": [1, 1, 2, 1, 2**60, 2**60 + 1], "b": [3.0, 3.0, 1.0, 3.0, 0.0, 0.0]})
    first, counts = ties(table, [Objective("a"), Objective("b")], np.array([0, 0, 0, 1, 0, 0]))
    assert (first.tolist(), counts.tolist()) == ([0, 2, 3, 4, 5], [2, 1, 1, 1, 1])

"""Axes, objectives and colours chosen for a table, and the rows that a page holds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sweep_results import brute_front, sweep_table

from einsum_cascades.errors import InputError
from fusemax.report.choose import Choice, choose, colour_column
from fusemax.report.columns import common_reasons, encode, group, label, numeric_columns
from fusemax.report.front import Objective, front_rows
from fusemax.report.sample import sample_rows

TABLE = sweep_table(50)
LATENCY, AREA, ENERGY = map(Objective, ("latency_s", "area_mm2", "energy_j"))
UTIL = Objective("util_2d", True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, Choice(AREA, LATENCY, (LATENCY, AREA))),
        ({"x": "latency_s"}, Choice(LATENCY, AREA, (AREA, LATENCY))),
        ({"y": "util_2d"}, Choice(LATENCY, UTIL, (UTIL, LATENCY))),
        ({"objectives": ["energy_j", "area_mm2", "latency_s"]}, Choice(AREA, ENERGY, (ENERGY, AREA, LATENCY))),
        ({"objectives": ["energy_j"]}, Choice(LATENCY, ENERGY, (ENERGY,))),
        ({"objectives": ["latency_s"], "maximize": ["util_2d"]}, Choice(UTIL, LATENCY, (LATENCY, UTIL))),
        (
            {"maximize": ["area_mm2"]},
            Choice(Objective("area_mm2", True), LATENCY, (LATENCY, Objective("area_mm2", True))),
        ),
        ({"maximize": ["util_2d"]}, Choice(AREA, LATENCY, (LATENCY, AREA, UTIL))),
        ({"x": "array_2d.rows", "objectives": ["latency_s"]}, Choice(Objective("array_2d.rows"), LATENCY, (LATENCY,))),
    ],
)
def test_choices(arguments: dict[str, object], expected: Choice) -> None:
    chosen = choose(TABLE, **arguments)  # type: ignore[arg-type]
    assert chosen == expected
    assert chosen.over_axes == (set(expected.objectives) == {expected.x, expected.y})


def test_workloads_have_fronts_of_their_own() -> None:
    lengths = pa.array([1024 << n % 2 for n in range(50)])
    table = TABLE.append_column("seq_len", lengths).append_column("M", lengths).append_column("heads", [[8] * 50])
    assert choose(table).by == ("seq_len", "M")
    assert choose(table, by=["cascade"]).by == ("cascade",)
    assert choose(table, by=[]).by == ()
    assert choose(table, x="seq_len").by == ("M",)
    assert colour_column(table, ("seq_len", "M")) == "seq_len"
    with pytest.raises(InputError, match="did you mean 'seq_len'"):
        choose(table, by=["seqlen"])


def test_groups() -> None:
    table = pa.table({"a": ["x", "y", "x", None], "b": [1, 1, 1, 2], "c": [1.0, 1.0, 2.0, 1.0]})
    assert group(table, []).tolist() == [0, 0, 0, 0]
    assert group(table, ["a", "b"]).tolist()[0] == group(table, ["a", "b"]).tolist()[2]
    assert len(set(group(table, ["a", "b"]).tolist())) == 3
    assert len(set(group(table, ["a", "b", "c"]).tolist())) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": "latency"}, "did you mean 'latency_s'"),
        ({"maximize": ["cascade"]}, "'cascade' holds no numbers"),
        ({"x": "latency_s", "y": "latency_s"}, "both axes"),
    ],
)
def test_what_cannot_be_chosen(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose(TABLE, **arguments)  # type: ignore[arg-type]


def test_a_table_with_one_column_of_numbers() -> None:
    with pytest.raises(InputError, match=r"two columns of numbers\n.*latency_s"):
        choose(pa.table({"latency_s": [1.0], "name": ["a"], "empty": pa.nulls(1, pa.float64())}))


def test_colours() -> None:
    assert colour_column(TABLE) == "cascade"
    assert colour_column(TABLE.select(["accounting", "latency_s"])) is None


def test_names_and_units() -> None:
    assert [label(c) for c in ("latency_s", "area_mm2", "dram_bytes", "array_2d.rows", "head_dim", "s", "x_hz")] == [
        "Latency (s)",
        "Chip area (mm²)",
        "Off-chip traffic (B)",
        "array_2d.rows",
        "Head dim",
        "S",
        "X (Hz)",
    ]
    assert "point" not in numeric_columns(TABLE)


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ("bandwidth_bytes_per_s", "Bandwidth (B/s)"),
        ("dram.bandwidth_bytes_per_s", "dram.bandwidth (B/s)"),
        ("l2.bytes_per_s", "l2.bytes_per_s (B/s)"),
        ("product_flops_per_s", "Product (flop/s)"),
        ("tokens_per_s", "Tokens (/s)"),
        ("read_pj_per_bit", "Read (pJ/bit)"),
        ("global_buffer.bytes", "global_buffer.bytes (B)"),
        ("edp_js", "Edp (J·s)"),
        ("technology_nm", "Technology (nm)"),
        ("rows", "Rows"),
        ("status", "Status"),
        ("W", "W"),
    ],
)
def test_a_unit_per_another_is_not_the_other(column: str, shown: str) -> None:
    assert label(column) == shown


def test_reasons_are_ranked() -> None:
    assert common_reasons([("a", 1), ("b", 3), ("c", 2), ("d", 1)], 2) == [("b", 3), ("c", 2), ("2 other reasons", 2)]


def test_codes_of_values() -> None:
    texts = pa.chunked_array([["a", None], ["b", "a"]])
    codes, count = encode(pa.table({"t": texts, "n": [1.0, float("nan"), 2.0, 1.0]}), "t")
    assert count == 3
    assert codes[0] == codes[3]
    assert len(set(codes.tolist())) == 3
    assert encode(pa.table({"n": [1.0, float("nan"), 2.0, 1.0]}), "n")[1] == 3
    assert encode(pa.table({"n": [[1], [2]]}), "n")[1] == 1


def test_a_sample_holds_the_fronts() -> None:
    table = sweep_table(4000, failed=0.0)
    choice = Choice(AREA, LATENCY, (LATENCY, AREA, ENERGY, UTIL))
    front = front_rows(table, choice.objectives)
    shown = sample_rows(table, front, choice, 700)
    assert len(shown) == 700
    assert (np.diff(shown) > 0).all()
    assert set(front) <= set(shown)
    points = np.column_stack([table["area_mm2"].to_numpy(), table["latency_s"].to_numpy()])
    for column in ("cascade", "array_2d.rows", "bound"):
        found = np.array(table[column].to_pylist())
        for value in set(found.tolist()):
            rows = np.flatnonzero(found == value)
            assert set(rows[brute_front(points[rows], [False, False])]) <= set(shown), value
    assert set(front_rows(table, [ENERGY, Objective("dram_bytes")])) <= set(shown)
    assert sample_rows(table, front, choice, 700).tolist() == shown.tolist()


def test_a_front_larger_than_a_sample() -> None:
    table = pa.table({"a": np.arange(300.0), "b": -np.arange(300.0), "c": np.zeros(300)})
    axes = Objective("a"), Objective("b")
    choice = Choice(*axes, axes)
    assert len(set(sample_rows(table, front_rows(table, axes), choice, 20))) == 20
    assert sample_rows(table, np.array([7]), choice, 500).tolist() == list(range(300))

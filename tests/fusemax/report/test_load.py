"""Results from a sweep's folder, whole, unfinished, empty and damaged, and from single tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sweep_results import SPEC, TOO_SMALL, sweep_table, write_sweep

from einsum_cascades.errors import InputError
from fusemax.report.load import narrow, read_results
from fusemax.sweep.store import open_store
from fusemax.tables import write_table
from hw_models.load import load_architecture
from hw_models.prices import node_prices


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_results(path)
    return str(error.value)


def test_a_finished_sweep(tmp_path: Path) -> None:
    table = sweep_table(250)
    folder = write_sweep(tmp_path / "mine", table)
    results = read_results(folder)
    ok = table.filter(pc.equal(table["status"], "ok")).drop_columns(["status"])
    assert results.name == "mine"
    assert results.table.equals(ok)
    assert results.left_out == ((TOO_SMALL, 250 - ok.num_rows),)
    assert (results.points, results.done, results.filtered, results.finished) == (250, 250, 0, True)
    assert results.spec == SPEC
    assert ("digest", open_store(folder).header.digest) in results.facts


def test_an_unfinished_sweep_with_filters(tmp_path: Path) -> None:
    table = sweep_table(300)
    folder = write_sweep(tmp_path / "s", pa.concat_tables([table.slice(0, 295)]), points=500)
    sorted((folder / "points").iterdir())[1].unlink()
    (folder / "points" / ".part-000000000300-000000000400.parquet.tmp").write_text("half")
    results = read_results(folder)
    assert (results.points, results.done, results.filtered, results.finished) == (500, 200, 5, False)
    assert results.table.num_rows + sum(n for _, n in results.left_out) == 195


def test_text_may_be_encoded_by_dictionaries(tmp_path: Path) -> None:
    table = sweep_table(200)
    for name in ("cascade", "status"):
        coded = table[name].combine_chunks().dictionary_encode()
        table = table.set_column(table.column_names.index(name), name, coded)
    results = read_results(write_sweep(tmp_path / "s", table))
    assert set(results.table["cascade"].to_pylist()) == {"attention-1-pass", "attention-3-pass"}
    assert results.left_out[0][0] == TOO_SMALL


def test_nothing_to_report(tmp_path: Path) -> None:
    empty = write_sweep(tmp_path / "empty", sweep_table(0), points=90)
    assert "no points yet: 0 of 90" in refused(empty)
    failed = write_sweep(tmp_path / "failed", sweep_table(20, failed=1.0))
    assert "none of the 20 points" in refused(failed)
    assert f"20 times: {TOO_SMALL}" in refused(failed)
    nothing = tmp_path / "filtered.parquet"
    pq.write_table(sweep_table(0), nothing)
    assert "no points yet" in refused(nothing)


@pytest.mark.parametrize("change", ["empty", "short", "shorter", "byte", "other"])
def test_a_damaged_part_is_named(tmp_path: Path, change: str) -> None:
    folder = write_sweep(tmp_path / "s", sweep_table(200))
    first, part = sorted((folder / "points").iterdir())
    data = bytearray(part.read_bytes())
    if change == "byte":
        data[len(data) // 2] ^= 1
    kept = {"empty": b"", "short": data[:-1], "shorter": data[:400], "byte": data, "other": first.read_bytes()}
    part.write_bytes(kept[change])
    message = refused(folder)
    assert str(part) in message
    assert "run the sweep again" in message


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    table = sweep_table(200)
    folder = write_sweep(tmp_path / "s", table)
    other = write_sweep(tmp_path / "t", table.set_column(1, "cascade", pa.array(range(200))))
    part = sorted((folder / "points").iterdir())[1]
    part.write_bytes((other / "points" / part.name).read_bytes())
    message = refused(folder)
    assert str(part) in message
    assert "other sweep" in message or "other columns" in message


def test_places_without_results(tmp_path: Path) -> None:
    assert "holds no sweep" in refused(tmp_path)
    pq.write_table(sweep_table(3), tmp_path / "mine.parquet")
    assert "give one of its tables: mine.parquet" in refused(tmp_path)
    assert "there is no" in refused(tmp_path / "nowhere")
    assert "did you mean 'mine.parquet'" in refused(tmp_path / "mina.parquet")
    (tmp_path / "notes.txt").write_text("hello")
    assert "not a result table" in refused(tmp_path / "notes.txt")
    (tmp_path / "sweep.json").write_text("{")
    assert "sweep.json" in refused(tmp_path)


def test_a_single_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"model": ["BERT", None], "latency_s": [1.5, 2.0], "big": [2**70, 1]})
    for path in write_table(frame, tmp_path / "pareto"):
        results = read_results(path)
        assert (results.name, results.points, results.done, results.left_out) == ("pareto", 2, 2, ())
        assert results.table["model"].to_pylist() == ["BERT", None]
        assert results.table["big"].to_pylist() == [float(2**70), 1.0]
    path.write_bytes(path.read_bytes()[:-9])
    assert str(path) in refused(path)


FLAT_EDGE_MM2 = node_prices(load_architecture("flat-edge")).area_mm2
CONDITIONS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "area_mm2 <= 30": lambda row: row["area_mm2"] <= 30,
    "cascade != 'attention-1-pass'; 32 <= array_2d.rows": lambda row: (
        "3" in row["cascade"] and row["array_2d.rows"] > 16
    ),
    "not (bound == 'memory' or util_2d > 0.7)": lambda row: row["bound"] != "memory" and row["util_2d"] <= 0.7,
    "big; energy_j > 0.5": lambda row: bool(row["big"] and row["energy_j"] and row["energy_j"] > 0.5),
    "area_mm2 < area_of('flat-edge')": lambda row: row["area_mm2"] < FLAT_EDGE_MM2,
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_conditions(tmp_path: Path, text: str) -> None:
    table = sweep_table(200, failed=0.0)
    gaps = pa.array([None if n % 9 == 0 else e for n, e in enumerate(table["energy_j"].to_pylist())])
    table = table.set_column(6, "energy_j", gaps)
    table = table.append_column("big", pa.array([None if n % 5 == 0 else n % 2 == 0 for n in range(200)]))
    results = read_results(write_sweep(tmp_path / "s", table))
    conditions = text.split("; ")
    found = narrow(results, conditions)
    expected = [r["point"] for r in table.to_pylist() if CONDITIONS[text](r)]
    assert 0 < len(expected) < 200
    assert found.table["point"].to_pylist() == expected
    assert (found.where, found.elsewhere) == (tuple(conditions), 200 - len(expected))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("area <= 3", "did you mean 'area_mm2'"),
        ("area_mm2 <=", "this is no condition"),
        ("area_mm2 + 1", "is a number, not a condition"),
        ("latency_s < 0", "no point of 's' holds latency_s < 0"),
        ("__import__('os')", "unknown function"),
    ],
)
def test_conditions_that_are_none(tmp_path: Path, condition: str, message: str) -> None:
    results = read_results(write_sweep(tmp_path / "s", sweep_table(20)))
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        narrow(results, [condition])

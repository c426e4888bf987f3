"""Results from a sweep's folder, whole, unfinished, empty and damaged, and from single tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sweep_results import SPEC, TOO_SMALL, sweep_table, write_sweep

from einsum_cascades.errors import InputError
from fusemax.report.load import read_results
from fusemax.tables import write_table


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_results(path)
    return str(error.value)


def test_a_finished_sweep(tmp_path: Path) -> None:
    table = sweep_table(200)
    results = read_results(write_sweep(tmp_path / "mine", table))
    ok = table.filter(pa.compute.equal(table["status"], "ok")).drop_columns(["status"])
    assert results.name == "mine"
    assert results.table.equals(ok)
    assert results.left_out == ((TOO_SMALL, 200 - ok.num_rows),)
    assert (results.points, results.done, results.filtered, results.finished) == (200, 200, 0, True)
    assert results.spec == SPEC
    assert ("digest", "ab12") in results.facts


def test_an_unfinished_sweep_with_filters(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", sweep_table(200), points=500)
    part = sorted((folder / "points").iterdir())[1]
    pq.write_table(pq.read_table(part).slice(5), part)
    sorted((folder / "points").iterdir())[2].unlink()
    (folder / "points" / ".part-000000000300-000000000400.parquet.tmp").write_text("half")
    results = read_results(folder)
    assert (results.points, results.done, results.filtered, results.finished) == (500, 133, 5, False)
    assert results.table.num_rows + sum(n for _, n in results.left_out) == 128


def test_text_may_be_encoded_by_dictionaries(tmp_path: Path) -> None:
    table = sweep_table(60)
    coded = table.set_column(1, "cascade", table["cascade"].combine_chunks().dictionary_encode())
    results = read_results(write_sweep(tmp_path / "s", coded))
    assert set(results.table["cascade"].to_pylist()) == {"attention-1-pass", "attention-3-pass"}


def test_nothing_to_report(tmp_path: Path) -> None:
    empty = write_sweep(tmp_path / "empty", sweep_table(0), points=90, parts=0)
    assert "no points yet: 0 of 90" in refused(empty)
    failed = write_sweep(tmp_path / "failed", sweep_table(20, failed=1.0))
    assert "none of the 20 points" in refused(failed)
    assert f"20 times: {TOO_SMALL}" in refused(failed)
    filtered = write_sweep(tmp_path / "filtered", sweep_table(20), parts=1)
    part = next((filtered / "points").iterdir())
    pq.write_table(pq.read_table(part).slice(20), part)
    assert "leave out all 20 points" in refused(filtered)


@pytest.mark.parametrize("keep", [0, 3, 400, -1])
def test_a_damaged_part_is_named(tmp_path: Path, keep: int) -> None:
    folder = write_sweep(tmp_path / "s", sweep_table(200))
    part = sorted((folder / "points").iterdir())[1]
    part.write_bytes(part.read_bytes()[:keep])
    message = refused(folder)
    assert str(part) in message
    assert f"delete {part.name}" in message


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", sweep_table(200))
    part = sorted((folder / "points").iterdir())[1]
    table = pq.read_table(part)
    pq.write_table(table.drop_columns(["bound"]), part)
    assert f"'{part}' has other columns" in refused(folder)
    pq.write_table(table.set_column(1, "cascade", pa.array(range(table.num_rows))), part)
    assert "columns of different types" in refused(folder)


def test_facts_that_are_none(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", sweep_table(20))
    for text, message in (("{", "no JSON"), ("[1]", "a JSON object"), ("\xff", "no JSON")):
        (folder / "sweep.json").write_text(text)
        assert message in refused(folder)
        assert "sweep.json" in refused(folder)
    (folder / "sweep.json").write_bytes(b"\xff")
    assert "cannot read" in refused(folder)
    (folder / "sweep.json").unlink()
    assert read_results(folder).points == 20


def test_places_without_results(tmp_path: Path) -> None:
    assert "holds no sweep" in refused(tmp_path)
    pq.write_table(sweep_table(3), tmp_path / "mine.parquet")
    assert "give one of its tables: mine.parquet" in refused(tmp_path)
    assert "there is no" in refused(tmp_path / "nowhere")
    assert "did you mean 'mine.parquet'" in refused(tmp_path / "mina.parquet")
    (tmp_path / "notes.txt").write_text("hello")
    assert "not a result table" in refused(tmp_path / "notes.txt")


def test_a_single_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"model": ["BERT", None], "latency_s": [1.5, 2.0], "big": [2**70, 1]})
    for path in write_table(frame, tmp_path / "pareto"):
        results = read_results(path)
        assert (results.name, results.points, results.done, results.left_out) == ("pareto", 2, 2, ())
        assert results.table["model"].to_pylist() == ["BERT", None]
        assert results.table["big"].to_pylist() == [float(2**70), 1.0]
    path.write_bytes(path.read_bytes()[:-9])
    assert str(path) in refused(path)

"""``fusemax report``: what it writes and prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sweep_results import TOO_SMALL, brute_front, sweep_table, write_sweep
from typer.testing import CliRunner, Result

from fusemax.cli import app
from fusemax.report import make
from fusemax.report.load import read_results
from fusemax.tables import read_table, write_table

ONE_PICTURE = ("--format", "png")
"""Where pictures are not what is tested: all of them take a second."""
runner = CliRunner(env={"COLUMNS": "160", "NO_COLOR": "1"})
FILES = ["pareto.csv", "pareto.pdf", "pareto.png", "report.html"]


def run(*arguments: object) -> Result:
    return runner.invoke(app, ["report", *map(str, arguments)])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return sweep_table(300)


@pytest.fixture
def sweep(tmp_path: Path, table: pa.Table) -> Path:
    return write_sweep(tmp_path / "sweep", table, points=450)


def test_what_is_written_and_told(sweep: Path, table: pa.Table) -> None:
    result = run(sweep)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (sweep / "report").iterdir()) == FILES
    costs = np.column_stack([table[c].to_numpy() for c in ("latency_s", "area_mm2")])
    best = brute_front(costs, [False, False])
    written = read_table(sweep / "report" / "pareto.csv")
    assert sorted(written["point"]) == best
    assert written["latency_s"].is_monotonic_increasing
    assert "status" not in written
    fails = table["status"].to_pylist().count(TOO_SMALL)
    for text in (
        "Unfinished: 300 of 450 points",
        f"{fails} points have no cost",
        f"{fails}: {TOO_SMALL}",
        f"{len(best)} are on the front over latency_s (lowest), area_mm2 (lowest)",
        "report.html",
    ):
        assert text in result.stdout
    first = int(written["point"].iloc[0])
    row = next(line for line in result.stdout.splitlines() if line.split()[:1] == [str(first)])
    assert table["cascade"][first].as_py() in row


def test_json(sweep: Path, table: pa.Table, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere"
    goals = ("latency_s", "area_mm2", "energy_j", "util_2d")
    result = run(
        *(sweep, "--objectives", "latency_s,area_mm2,energy_j", "--maximize", "util_2d", "--json"),
        *("--out", out, "--format", "pdf,svg", "--x", "energy_j"),
    )
    data: dict[str, Any] = json.loads(result.stdout)
    assert sorted(p.name for p in out.iterdir()) == ["pareto.csv", "pareto.pdf", "pareto.svg", "report.html"]
    assert sorted(data["files"]) == sorted(str(p) for p in out.iterdir())
    costs = np.column_stack([table[c].to_numpy() for c in goals])
    assert sorted(row["point"] for row in data["front"]) == brute_front(costs, [False, False, False, True])
    assert data["objectives"] == [{"column": c, "maximize": c == "util_2d"} for c in goals]
    assert (data["x"], data["y"]) == ("energy_j", "latency_s")
    assert (data["points"], data["evaluated"], data["filtered"]) == (450, 300, 0)
    assert data["left_out"] == [{"reason": TOO_SMALL, "points": 300 - data["compared"]}]


def test_fronts_by_workload_and_conditions(tmp_path: Path, table: pa.Table) -> None:
    lengths = pa.array([1024 << n % 3 for n in range(300)])
    sweep = write_sweep(tmp_path / "s", table.append_column("seq_len", lengths))
    costs = np.column_stack([table[c].to_numpy() for c in ("latency_s", "area_mm2")])
    expected = []
    for first in (1, 2):
        rows = np.flatnonzero((np.arange(300) % 3 == first) & (table["array_2d.rows"].to_numpy() < 64))
        expected += rows[brute_front(costs[rows], [False, False])].tolist()
    where = ("--where", "seq_len > 1024", "--where", "array_2d.rows < 64")
    where += ONE_PICTURE
    data = json.loads(run(sweep, *where, "--json").stdout)
    assert data["by"] == ["seq_len"]
    assert [row["point"] for row in data["front"]] == sorted(
        expected, key=lambda p: (lengths[p].as_py(), costs[p].tolist())
    )
    assert data["where"] == ["seq_len > 1024", "array_2d.rows < 64"]
    shown = run(sweep, *where).stdout
    assert "one for each seq_len, 2 in all" in shown
    assert "left out by the conditions:" in shown
    assert json.loads(run(sweep, *ONE_PICTURE, "--by", "none", "--json").stdout)["by"] == []
    assert json.loads(run(sweep, *ONE_PICTURE, "--by", "cascade,bound", "--json").stdout)["by"] == ["cascade", "bound"]


def test_same_results_same_bytes(sweep: Path) -> None:
    run(sweep)
    before = {name: (sweep / "report" / name).read_bytes() for name in FILES}
    run(sweep)
    assert before == {name: (sweep / "report" / name).read_bytes() for name in FILES}
    assert before["pareto.png"].startswith(b"\x89PNG")
    assert before["pareto.pdf"].startswith(b"%PDF-")


def test_a_single_table(tmp_path: Path, table: pa.Table) -> None:
    frame = table.drop_columns(["point", "status"]).to_pandas()
    write_table(frame, tmp_path / "pareto")
    result = run(tmp_path / "pareto.csv", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["name"] == "pareto"
    assert sorted(p.name for p in (tmp_path / "pareto-report").iterdir()) == FILES
    assert "points have no latency_s and are not compared" in run(tmp_path / "pareto.csv", *ONE_PICTURE).stdout


def test_a_table_with_columns_of_any_kind(tmp_path: Path) -> None:
    """Lists and times are no axes, and no trouble."""
    found = pa.table(
        {
            "latency_s": [1.0, 2.0],
            "area_mm2": [2.0, 1.0],
            "Tiles": [[1], [2, 3]],
            "when": pa.array([0, 1], pa.timestamp("s")),
            "flag": [True, None],
        }
    )
    pq.write_table(found, tmp_path / "some.parquet")
    result = run(tmp_path / "some.parquet", "--format", "png")
    assert result.exit_code == 0, result.output
    assert "2 points, of which 2 are on the front" in result.stdout
    assert "1970-01-01" in result.stdout


def test_many_points_make_a_small_page(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "MOST_POINTS", 120)
    run(sweep, *ONE_PICTURE)
    page = (sweep / "report" / "report.html").read_text()
    total = read_results(sweep).table.num_rows
    assert f"This page shows 120 of {total} points" in page
    assert '"wholeFront":true' in page
    monkeypatch.setattr(make, "MOST_POINTS", 2)
    run(sweep, *ONE_PICTURE)
    page = (sweep / "report" / "report.html").read_text()
    assert "This page shows 2 of the " in page
    assert '"wholeFront":false' in page
    monkeypatch.setattr(make, "MOST_POINTS", 120)
    monkeypatch.setattr(make, "MOST_BYTES", 5000)
    run(sweep, *ONE_PICTURE)
    page = (sweep / "report" / "report.html").read_text()
    assert f"of {total} points" in page
    assert f"shows 120 of {total}" not in page
    data = page.split('id="data">')[1].split("</script>")[0]
    assert len(data) < 5500


def test_refused(sweep: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (("--x", "latency"), "did you mean 'latency_s'"),
        (("--objectives", "latency_s,,area_mm2"), "empty name"),
        (("--objectives", "latency_s,latency_s"), "names a column twice"),
        (("--maximize", "cascade"), "holds no numbers"),
        (("--by", "casc"), "did you mean 'cascade'"),
        (("--where", "area_mm2 <"), "this is no condition"),
        (("--format", "gif"), "unknown format 'gif'"),
        (("--out", sweep / "sweep.json"), "is a file, not a folder"),
    ):
        assert message in refused(sweep, *arguments)
    assert not (sweep / "report").exists()
    part = sorted((sweep / "points").iterdir())[0]
    part.write_bytes(part.read_bytes()[:100])
    assert str(part) in refused(sweep)
    assert "there is no" in refused(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_equally_good_points_are_a_row_and_what_has_no_room_is_named(tmp_path: Path) -> None:
    table = pa.table(
        {
            "point": range(6),
            "latency_s": [1.0, 1.0, 1.0, 2.0, 2.0, 9.0],
            "area_mm2": [5.0, 5.0, 5.0, 4.0, 4.0, 9.0],
            "dram.bandwidth_bytes_per_s": [4.3e11, 8e9, 9e9, 1e9, 2e9, 3e9],
            "a_column_with_a_very_long_name_indeed": [2, 3, 4, 5, 6, 7],
        }
    )
    folder = write_sweep(tmp_path / "tied", table.append_column("status", pa.array(["ok"] * 6)))
    shown = runner.invoke(app, ["report", str(folder)], env={"COLUMNS": "70"}).stdout
    rows = [line.split() for line in shown.splitlines() if line.split()[:1] in (["0"], ["3"])]
    assert [(row[0], row[-1]) for row in rows] == [("0", "×3"), ("3", "×2")]
    assert " 430 GB/s " in shown
    left_out = " ".join(shown.split()).partition("no room here: ")[2]
    assert left_out.startswith("a_column_with_a_very_long_name_indeed")
    front = json.loads(run(folder, "--json", *ONE_PICTURE).stdout)["front"]
    assert front[0]["point"] == 0
    assert len(front) == 5

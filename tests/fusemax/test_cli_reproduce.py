"""``fusemax reproduce``: its files, its summary, its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import fusemax
from fusemax.cli import app
from fusemax.comparison import TABLES, compare, headline
from fusemax.conclusions import conclusions
from fusemax.experiments import steps
from fusemax.figures import FIGURES
from fusemax.tables import check_folder, read_table

NAMES = ("attention", "utilization_2d", "end_to_end", "pareto", "linear", "comparison", "headline")
ROOT = Path(fusemax.__file__).parents[1]
runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"})

Reproduced = Callable[[str], dict[str, pd.DataFrame]]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, reproduced: Reproduced) -> None:
    """Evaluate nothing again that this session has evaluated."""
    monkeypatch.setattr("fusemax.experiments.reproduce", lambda accounting, progress: reproduced(accounting))


def run(out: Path, *arguments: str) -> Result:
    return runner.invoke(app, ["reproduce", "--out", str(out), *arguments])


def in_a_process(out: Path, seed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return subprocess.run(
        [sys.executable, "-m", "fusemax", "reproduce", "--out", str(out), *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
        timeout=600,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.usefixtures("quick")
def test_tables_are_written_and_the_summary_printed(tmp_path: Path, reproduced: Reproduced) -> None:
    result = run(tmp_path / "new" / "results", "--no-figures")
    assert (result.exit_code, result.stderr) == (0, "")
    folder = tmp_path / "new" / "results"
    assert sorted(contents(folder)) == sorted(f"{name}.{kind}" for name in NAMES for kind in ("csv", "parquet"))
    tables = reproduced("published")
    for name in NAMES[:5]:
        for suffix in ("csv", "parquet"):
            pd.testing.assert_frame_equal(
                read_table(folder / f"{name}.{suffix}"), tables[name], check_exact=True, check_dtype=False
            )
    assert len(read_table(folder / "comparison.csv")) == len(compare({name: tables[name] for name in TABLES}))
    assert all(len(line) <= 80 for line in result.stdout.splitlines()[:-1])
    (line,) = (x for x in result.stdout.splitlines() if "attention speedup binding over flat" in x)
    assert line.split()[-3:] == ["6.72", "6.723", "+0.04%"]
    assert f"14 files in {folder}" in " ".join(result.stdout.split())
    assert "missed" not in result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_same_bytes_from_another_process(tmp_path: Path) -> None:
    assert run(tmp_path / "one", "--no-figures").exit_code == 0
    result = in_a_process(tmp_path / "two", "7", "--no-figures")
    assert (result.returncode, result.stderr) == (0, "")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.slow
def test_the_same_bytes_twice_with_figures(tmp_path: Path) -> None:
    for name, seed in (("one", "1"), ("two", "2")):
        assert in_a_process(tmp_path / name, seed).returncode == 0
    one = contents(tmp_path / "one")
    assert len(one) == 2 * len(NAMES) + 2 * len(FIGURES)
    assert one == contents(tmp_path / "two")


@pytest.mark.usefixtures("quick")
def test_figures_are_drawn_into_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(iter(FIGURES))
    monkeypatch.setattr("fusemax.figures.FIGURES", {first: FIGURES[first]})
    assert run(tmp_path).exit_code == 0
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == [f"{first}.pdf", f"{first}.png"]


@pytest.mark.usefixtures("quick")
def test_json(tmp_path: Path, reproduced: Reproduced) -> None:
    result = run(tmp_path, "--no-figures", "--json")
    data = json.loads(result.stdout)
    assert data["accounting"] == "published"
    assert data["failures"] == []
    assert "conclusions" not in data
    assert data["headline"] == headline(reproduced("published")).to_dict("records")
    assert {d["table"] for d in data["deviations"]} == set(TABLES)
    assert all(Path(file).is_file() for file in data["files"])


@pytest.mark.usefixtures("quick")
def test_physical_shows_how_the_conclusions_move(tmp_path: Path, reproduced: Reproduced) -> None:
    result = run(tmp_path, "--no-figures", "--accounting", "physical")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "under the accounting 'physical'" in result.stdout
    assert "The published figures are those of 'published'" in result.stdout
    moved = conclusions(reproduced("published"), reproduced("physical"))
    assert result.stdout.count("end to end energy binding over unfused") == 2
    assert "How the conclusions move" in result.stdout
    written = read_table(tmp_path / "conclusions.csv")
    pd.testing.assert_frame_equal(written, moved, check_exact=True, check_dtype=False)
    row = moved.set_index("metric").loc["attention_speedup_binding_over_flat"]
    assert row["published"] == pytest.approx(6.72, rel=0.01)
    assert row["change"] == pytest.approx(row["physical"] / row["published"] - 1)


@pytest.mark.usefixtures("quick")
def test_physical_as_json_is_held_to_nothing(tmp_path: Path) -> None:
    data = json.loads(run(tmp_path, "--no-figures", "--accounting", "physical", "--json").stdout)
    assert data["failures"] == []
    assert [row["metric"] for row in data["conclusions"]] == [row["metric"] for row in data["headline"]]


def test_a_missed_figure_is_status_1_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reproduced: Reproduced
) -> None:
    tables = reproduced("published")
    off = (tables["attention"]["config"] == "flat") & (tables["attention"]["model"] == "T5")
    tables["attention"].loc[off & (tables["attention"]["seq_len"] == 4096), "latency_s"] *= 1 + 1e-8
    monkeypatch.setattr("fusemax.experiments.reproduce", lambda *_: tables)
    result = run(tmp_path, "--no-figures")
    assert result.exit_code == 1
    assert "1 published figure missed" in result.stdout
    (line,) = (x for x in result.stdout.splitlines() if "attention flat T5 4096 latency_s" in x)
    assert line.endswith("±1e-09")
    assert result.stderr == "error: 1 published figure missed\n"
    assert (tmp_path / "attention.csv").is_file()
    report = run(tmp_path, "--no-figures", "--json")
    assert report.exit_code == 1
    (failure,) = json.loads(report.stdout)["failures"]
    assert (failure["row"], failure["metric"]) == ("flat T5 4096", "latency_s")


@pytest.mark.parametrize("arguments", [["--accounting", "fysical"], ["--accounting", ""]])
def test_an_unknown_accounting(tmp_path: Path, arguments: list[str]) -> None:
    result = run(tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert "unknown accounting" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at once, before anything is computed."""
    monkeypatch.setattr("fusemax.experiments.reproduce", lambda *_: pytest.fail("computed in vain"))
    taken = tmp_path / "taken"
    taken.write_text("")
    for out in (taken, taken / "below"):
        result = run(out)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"'{taken}' is a file, not a folder" in result.stderr
    assert run(Path("x" * 300)).exit_code == 2


@pytest.mark.usefixtures("quick")
def test_a_folder_in_a_files_place_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "pareto.csv").mkdir()
    result = run(tmp_path, "--no-figures")
    assert result.exit_code == 2
    assert "pareto.csv' is a folder, not a file" in result.stderr
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".tmp"]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    result = run(tmp_path / "out")
    assert result.exit_code == 2
    assert f"cannot write in '{tmp_path}'" in result.stderr


def test_folders_that_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "a" / "b", Path("results"), Path(".")):
        check_folder(folder)
    assert list(tmp_path.iterdir()) == []


def test_no_progress_bar_where_nobody_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fusemax.cli.output import progress

    with progress(steps()) as step:
        step("ignored")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress(1) as step:
        step("shown")
    assert capsys.readouterr().err != ""

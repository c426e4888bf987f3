"""``fusemax sweep``: real specs, from the command line to the rows on the disk."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyarrow.dataset as pads
import pytest
from small_sweep import environment, gone
from typer.testing import CliRunner

from fusemax.cli import app
from fusemax.cli.sweep import duration
from fusemax.studies import study_path
from fusemax.sweep import open_store
from fusemax.sweep.evaluate import evaluate_points
from fusemax.sweep.executors import Crew, crew
from fusemax.sweep.spec import read_sweep

SPEC = """
axes:
  cascade: attention-1-pass
  arch: fusemax-cloud
  mapper: [fusemax-serial, fusemax-interleaved]
  model: BERT
  seq_len: [1024, 4096]
  array_2d.rows: {range: [64, 512, 64]}
  array_2d.columns: {range: [64, 512, 64]}
filter:
  - array_2d.rows <= array_2d.columns
"""
runner = CliRunner()


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads instead of processes, which take a second each to start."""

    @contextmanager
    def crew_of_threads(workers: int) -> Iterator[Crew]:
        with ThreadPoolExecutor(workers) as executor:
            yield crew(executor, workers)

    monkeypatch.setattr("fusemax.sweep.runner.processes", crew_of_threads)


def sweep(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "fusemax", "sweep", *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)


def test_rows_on_disk_are_those_of_the_evaluation(tmp_path: Path, spec: Path) -> None:
    out = tmp_path / "out"
    first = sweep(spec, "--out", out, "--workers", "2")
    assert (first.returncode, first.stderr) == (0, "")
    lines = first.stdout.splitlines()
    assert re.fullmatch(r"256 points; they take (about [\d.]+ s|under a second) on 2 workers", lines[0])
    assert re.fullmatch(rf"256 points in [\d.]+ s, [\d,]+ points/s; {out} holds 144 rows of 256 points", lines[1])
    assert lines[2] == "best for seq_len=1024"
    found = read_sweep(spec)
    expected = evaluate_points(found, 0, found.points)
    assert open_store(out).table().to_pylist() == expected.to_pylist()
    assert pads.dataset(out / "points").to_table().sort_by("point") == expected
    assert (out / "sweep.yaml").read_text() == found.text
    assert read_sweep(out / "sweep.yaml").text == found.text
    again = runner.invoke(app, ["sweep", str(spec), "--out", str(out), "--json"])
    assert (again.exit_code, again.stderr) == (0, "")
    report = json.loads(again.stdout)
    assert (report["points"], report["rows"], report["computed"]) == (256, 144, 0)
    assert report["status"] == {"ok": 144}
    best = {(row["workload"]["seq_len"], row["objective"]): row for row in report["best"]}
    frame = expected.to_pandas()
    for length, group in frame.groupby("seq_len"):
        assert best[length, "latency_s"]["latency_s"] == group["latency_s"].min()
        assert best[length, "energy_j"]["energy_j"] == group["energy_j"].min()


@pytest.mark.usefixtures("threads")
def test_one_point_that_a_filter_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    axes = "{cascade: attention-1-pass, arch: fusemax-cloud, mapper: fusemax-serial, model: BERT, seq_len: 64}"
    path.write_text(f"axes: {axes}\nfilter: seq_len > 64\n")
    done = runner.invoke(app, ["sweep", str(path), "--out", str(tmp_path / "out")])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("1 point; it takes under a second on 1 worker\n1 point in ")
    assert done.stdout.rstrip().endswith("holds 0 rows of 1 point")


@pytest.mark.usefixtures("threads")
def test_changed_spec_is_refused_with_a_diff(tmp_path: Path, spec: Path) -> None:
    out = tmp_path / "out"
    arguments = ["sweep", str(spec), "--out", str(out), "--workers", "1"]
    assert runner.invoke(app, arguments).exit_code == 0
    spec.write_text(SPEC.replace("[1024, 4096]", "[1024, 8192]"))
    refused = runner.invoke(app, arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"error: '{out}' holds another sweep: the spec has changed\n")
    assert "\n  -  seq_len: [1024, 4096]\n  +  seq_len: [1024, 8192]\n" in refused.stderr
    assert set(open_store(out).frame(["seq_len"])["seq_len"]) == {1024, 4096}
    os.truncate(min((out / "points").iterdir()), 100)
    assert runner.invoke(app, [*arguments, "--on-change", "restart"]).exit_code == 0
    assert set(open_store(out).frame(["seq_len"])["seq_len"]) == {1024, 8192}


@pytest.mark.slow
def test_damaged_part_is_named_on_standard_error(tmp_path: Path, spec: Path) -> None:
    out = tmp_path / "out"
    assert sweep(spec, "--out", out, "--workers", "1").returncode == 0
    path = sorted((out / "points").iterdir())[1]
    os.truncate(path, 100)
    mended = sweep(spec, "--out", out, "--json")
    assert mended.returncode == 0
    assert mended.stderr.startswith(f"warning: '{path}' is damaged: ")
    assert json.loads(mended.stdout)["recomputed_files"] == [str(path)]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("group", [True, False])
def test_interrupted_run_says_how_to_go_on(tmp_path: Path, number: signal.Signals, status: int, group: bool) -> None:
    """A terminal sends its signal to all processes of a group, ``kill`` to one; none is left."""
    spec, out = tmp_path / "space.yaml", tmp_path / "out"
    spec.write_text(SPEC.replace("512, 64]", "1024, 1]"))
    strict = ["-W", "error", "-W", "ignore::ResourceWarning"]  # a file may be open and not yet in its ``with``
    command = [sys.executable, *strict, "-m", "fusemax", "sweep", str(spec), "--out", str(out)]
    running = subprocess.Popen(
        [*command, "--batch-points", "500"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not list(out.glob("points/part-*")):
            assert running.poll() is None, running.communicate()
            time.sleep(0.01)
        started = [child.pid for child in psutil.Process(running.pid).children(recursive=True)]
        (os.killpg if group else os.kill)(running.pid, number)
        _, errors = running.communicate(timeout=300)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
    assert running.returncode == status
    assert gone(started)
    told = r"stopped: ([\d,]+) of 3,694,084 points are in .*/out; the same command goes on from there\n"
    match = re.fullmatch(told, errors)
    assert match, errors
    assert int(match[1].replace(",", "")) == open_store(out).points_done > 0


@pytest.mark.slow
def test_progress_shows_on_a_terminal_only(tmp_path: Path, spec: Path) -> None:
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "fusemax", "sweep", str(spec), "--out", str(tmp_path / "out"), "--workers", "1"]
    environ = environment() | {"TERM": "xterm-256color"}
    running = subprocess.Popen([*command, "--json"], env=environ, stdout=subprocess.PIPE, stderr=terminal, text=True)
    output, _ = running.communicate(timeout=600)
    os.close(terminal)
    with open(controller, "rb", closefd=True) as shown:
        text = b""
        try:
            while chunk := shown.read1(4096):
                text += chunk
        except OSError:
            pass  # what Linux says at the end of a terminal
    assert json.loads(output)["points"] == 256
    assert b"256/256" in text
    assert b"points/s" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "--workers and --scheduler are both given"),
        (["--scheduler", ""], "no Dask scheduler answers at ''"),
        (["--workers", "0"], "greater than or equal to 1"),
        (["--on-change", "merge"], "'merge' is not one of"),
    ],
)
def test_wrong_options(tmp_path: Path, spec: Path, arguments: list[str], message: str) -> None:
    result = runner.invoke(app, ["sweep", str(spec), "--out", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_wrong_specs_make_no_folder(tmp_path: Path, spec: Path) -> None:
    spec.write_text(SPEC.replace("seq_len", "seqlen"))
    for path in (spec, tmp_path / "missing.yaml"):
        result = runner.invoke(app, ["sweep", str(path), "--out", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert result.stderr.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("threads")
def test_a_study_goes_by_its_name(tmp_path: Path) -> None:
    result = runner.invoke(app, ["sweep", "figure-12", "--out", str(tmp_path / "out"), "--workers", "1", "--json"])
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out" / "sweep.yaml").read_text() == read_sweep(study_path("figure-12")).text
    result = runner.invoke(app, ["sweep", "figure-1", "--out", str(tmp_path / "other")])
    assert result.exit_code == 2
    assert "did you mean 'figure-12'" in result.stderr


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (0.89, "890 ms"),
        (3.21, "3.2 s"),
        (48.4, "48 s"),
        (59.9, "1 min 0 s"),
        (3725, "1 h 2 min"),
        (2e5, "2 d 7 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text

"""``fusemax simulate``: what it prints and writes, its exit status, and how it ends when it is stopped."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import perfetto_reader
import pytest
from simulated import CASES, SEQ_LEN, tampered
from small_sweep import environment
from typer.testing import CliRunner, Result

import fusemax
from fusemax.cli import app
from fusemax.simulation import simulated

runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"})
FUSEMAX = ("--cascade", "attention-1-pass", "--arch", "fusemax-cloud", "--mapper", "fusemax-interleaved")
BERT = ("--model", "BERT", "--seq-len", "1024")
SMALL = ("--heads", "1", "--head-dim", "4", "--seq-len", "9")
KEYS = {"cycles", "latency_s", "dram_bytes", "energy_j", "peaks"}


def run(*arguments: object) -> Result:
    return runner.invoke(app, ["simulate", *map(str, arguments)])


def numbers(*arguments: object, status: int = 0) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == status, result.output
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def refused(*arguments: object) -> str:
    """The message of a run that must end with status 2, nothing printed and no traceback."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def small(case: str) -> list[object]:
    cascade, arch, mapper, sizes = CASES[case]
    options = {"cascade": cascade, "arch": arch, "mapper": mapper, "seq-len": SEQ_LEN}
    options |= {name.replace("_", "-"): size for name, size in sizes.items()}
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def test_json_has_engine_and_simulation_under_the_same_keys() -> None:
    data = numbers(*FUSEMAX, *BERT)
    assert set(data["engine"]) >= KEYS
    assert set(data["simulated"]) >= set(data["engine"])
    evaluated = fusemax.evaluate("attention-1-pass", "fusemax-cloud", "fusemax-interleaved", model="BERT", seq_len=1024)
    same = evaluated.as_dict()
    assert {key: data["engine"][key] for key in ("latency_s", "dram_bytes", "energy_j")} == {
        key: same[key] for key in ("latency_s", "dram_bytes", "energy_j")
    }
    assert data["engine"]["peaks"] == {name: same["peak_bytes"][name] for name in ("global_buffer", "staging")}
    assert {key: data[key] for key in ("cascade", "arch", "mapper", "accounting", "model", "sizes")} == {
        key: same[key] for key in ("cascade", "arch", "mapper", "accounting", "model", "sizes")
    }
    for name, causes in data["stalls"].items():
        total = data["busy"][name] + sum(causes.values()) + data["over"][name]
        assert total == data["simulated"]["cycles"]
    assert data["skipped"][0]["rank"] == "instances"
    assert "max_error" not in data


def test_json_is_the_python_face() -> None:
    found = fusemax.simulate("attention-1-pass", "fusemax-cloud", "fusemax-interleaved", model="BERT", seq_len=1024)
    assert numbers(*FUSEMAX, *BERT) == json.loads(json.dumps(found.as_dict()))


@pytest.mark.parametrize("case", ["flat", "phases"])
def test_on_numbers(case: str) -> None:
    data = numbers(*small(case), "--functional", "--accounting", "physical")
    assert 0 <= data["max_error"] < 1e-12
    assert data["checked_reads"] > data["points"]
    assert data["differences_on_numbers"] == data["differences"] == []
    shown = run(*small(case), "--functional")
    assert shown.exit_code == 0
    assert re.search(r"result +the interpreter's, largest error ", shown.stdout)
    assert re.search(r"counts +accesses, points and room are the engine's", shown.stdout)


def test_text_says_what_happened() -> None:
    shown = run(*FUSEMAX, *BERT)
    assert shown.exit_code == 0, shown.output
    assert shown.stderr == ""
    assert max(map(len, shown.stdout.splitlines())) <= 80
    data = numbers(*FUSEMAX, *BERT)
    for text in (
        "attention-1-pass on fusemax-cloud, executed",
        "iterations of instances: 9",
        f"{data['simulated']['cycles']:,}",
        f"{data['engine']['cycles']:,}",
        "share of the time in which it  2D array  1D array",
        "waits for another task",
        "dram",
        "global_buffer",
        "16 MiB",
    ):
        assert text in shown.stdout, text
    assert "cycles in which" not in shown.stdout


def column(text: str, heading: str) -> list[list[str]]:
    """The cells of the rows of a table below its rule, by its first heading; parted by two spaces or more."""
    block = text[text.index(f" {heading}") :].split("\n\n\n")[0]
    rows = block.split("─\n", 1)[1].splitlines()
    return [re.split(r" {2,}", row.strip()) for row in rows if row.strip()]


@pytest.mark.parametrize("case", ["serial", "phases", "mesh"])
def test_compared_cycles_add_up_in_what_is_printed(case: str) -> None:
    shown = run(*small(case), "--compare", "--accounting", "physical")
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.stdout.splitlines())) <= 80
    rows = [row for row in column(shown.stdout, "cycles in which the") if len(row) == 4]
    figures = [[int(cell.replace(",", "")) for cell in row[1:]] for row in rows]
    assert rows[-1][0] == "all"
    assert [sum(row[k] for row in figures[:-1]) for k in range(3)] == figures[-1]
    for engine, simulated_, difference in figures:
        assert simulated_ - engine == difference
    assert "Each access is the engine's" in shown.stdout.replace("\n", " ")


def test_a_check_that_fails_is_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = simulated.evaluate_request
    monkeypatch.setattr(simulated, "evaluate_request", lambda request: tampered(evaluate(request)))
    assert run(*small("flat")).exit_code == 0
    compared = run(*small("flat"), "--compare")
    assert compared.exit_code == 1
    assert "not the engine's" in compared.stdout
    on_numbers = run(*small("flat"), "--functional")
    assert on_numbers.exit_code == 1
    assert "not the engine's: values of" in on_numbers.stdout
    data = numbers(*small("flat"), "--functional", status=1)
    assert len(data["differences"]) == len(data["differences_on_numbers"]) == 1


def test_more_room_than_there_is_is_said() -> None:
    """The published accounting leaves out the copies between stages, so that more is kept than the memory has."""
    where = ("--cascade", "attention-3-pass", "--arch", "phone-npu", "--mapper", "flat-searched")
    shown = run(*where, "--heads", 8, "--head-dim", 64, "--seq-len", 1000, "--compare")
    assert shown.exit_code == 0, shown.output
    assert "not held to it" in shown.stdout


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    """A mapping's file."""
    path = tmp_path / "mine.yaml"
    where = ("--cascade", "attention-3-pass", "--arch", "phone-npu", "--mapper", "flat-searched")
    options = (*where, "--heads", "2", "--head-dim", "4", "--seq-len", "24", "--accounting", "physical")
    assert runner.invoke(app, ["evaluate", *options, "--out", str(path)]).exit_code == 0
    return path


def test_a_mapping_of_a_file(mapping: Path) -> None:
    data = numbers("--mapping", mapping, "--functional", "--compare")
    assert data["mapper"] == str(mapping)
    assert data["accounting"] == "physical"
    assert data["max_error"] < 1e-12


def test_a_mapping_without_room_names_memory_amount_and_place(mapping: Path) -> None:
    message = refused("--mapping", mapping, "--set-arch", "scratchpad.bytes=512")
    assert re.search(r"mine\.yaml:\d+:\d+: scratchpad has 512 bytes, and the mapping needs \d+ of it", message)
    assert re.search(r"^ +keep \w+.* in scratchpad", message, re.MULTILINE)


def test_a_mapping_that_is_illegal_is_refused(mapping: Path) -> None:
    text = mapping.read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if line.strip().startswith("late 1"))
    mapping.write_text(text.replace(f"{first}\n", f"{first.replace('late 1', 'late 3')}\n"), encoding="utf-8")
    assert "mine.yaml:" in refused("--mapping", mapping)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*FUSEMAX, *BERT, "--waterfall", "x.gif"), "'x.gif' is no figure's name"),
        ((*FUSEMAX, *BERT, "--waterfall", "afile/x.png"), "'afile' is a file, not a folder"),
        ((*FUSEMAX, *BERT, "--trace", "dir"), "'dir' is a folder, not a file"),
        ((*FUSEMAX, *BERT, "--functional"), "points would be run one by one"),
        (("--cascade", "attention-1-pass", "--arch", "cpu", "--mapper", "cpu-tiles", *BERT), "cpu is a CPU"),
        (("--cascade", "attention-1-pass", "--arch", "h100", "--mapper", "gpu-tiles", *BERT), "h100 is a GPU"),
        ((*FUSEMAX, "--model", "BERT"), "the sequence length is missing"),
        ((*FUSEMAX, *BERT, "--mapping", "none.yaml"), "a mapper and a mapping are given"),
    ],
)
def test_what_cannot_be_done_is_refused(
    arguments: tuple[object, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").write_text("")
    (tmp_path / "dir").mkdir()
    assert message in refused(*arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["afile", "dir"]


def test_a_trace_has_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run.pftrace"
    shown = run(*FUSEMAX, *BERT, "--batch", 1, "--set-arch", "frequency_hz=1000000000", "--trace", path)
    assert shown.exit_code == 0, shown.output
    assert " ".join(shown.stdout.split()).endswith(f"written to {path}")
    found = numbers(*FUSEMAX, *BERT, "--batch", 1, "--set-arch", "frequency_hz=1000000000")
    trace = perfetto_reader.read(path.read_bytes())
    tracks = {track.name: number for number, track in trace.tracks.items() if not track.is_counter}
    for array in ("array_2d", "array_1d"):
        slices = trace.slices[tracks[array]]
        assert slices[0].begin_ns == found["begins"][array]
        assert max(s.end_ns or 0 for s in slices) == found["simulated"]["cycles"] - found["over"][array]
    assert {s.correlation for s in trace.slices[tracks["array_2d"]]} == {"BQK", "LM", "SLN", "SLD", "SLNV"}


def test_a_trace_of_all_tasks_has_them_all(tmp_path: Path) -> None:
    path = tmp_path / "run.pftrace"
    data = numbers(*small("serial"), "--every", "--trace", path)
    trace = perfetto_reader.read(path.read_bytes())
    tracks = {track.name: number for number, track in trace.tracks.items() if not track.is_counter}
    for array in ("array_2d", "array_1d"):
        tasks = sum(row["tasks"] for row in data["per_einsum"] if row["array"] == array)
        assert len(trace.slices[tracks[array]]) == tasks
    assert data["skipped"] == []


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_waterfall_is_drawn(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"epochs.{suffix}"
    data = numbers(*FUSEMAX, "--model", "BERT", "--seq-len", 1024, "--waterfall", path)
    assert path.stat().st_size > 2000
    if suffix == "svg":
        ElementTree.parse(path)
        text = path.read_text(encoding="utf-8")
        assert f"of {data['simulated']['cycles']:,}" in text
        assert "BQK" in text


STOPPED = """
import sys, time
import fusemax.simulation.watch as watch
from hw_models.simulator.timed import simulate
from fusemax.cli import main

simulate.EVENTS = 1 << 10
add, calls = watch.Watch.add, []

def slow(self, chunk):
    add(self, chunk)
    calls.append(chunk)
    if len(calls) == {chunks}:
        print("begun", file=sys.stderr, flush=True)
        time.sleep(60)

watch.Watch.add = slow
sys.argv[1:] = ["simulate", *"{arguments}".split(), "--every", "--trace", "{trace}"]
main()
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_run_that_is_stopped_leaves_a_trace(number: signal.Signals, status: int, tmp_path: Path) -> None:
    trace = tmp_path / "run.pftrace"
    code = STOPPED.format(chunks=3, arguments=" ".join((*FUSEMAX, *BERT)), trace=trace)
    running = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "begun\n"
    running.send_signal(number)
    output, errors = running.communicate(timeout=120)
    assert (running.returncode, output) == (status, "")
    assert errors == f"stopped: {trace} has what ran until then, and opens as it is; the same command starts anew\n"
    found = perfetto_reader.read(trace.read_bytes())
    assert sum(map(len, found.slices.values())) > 500
    assert [name for marks in found.instants.values() for _, name in marks] == ["the run was interrupted here"]


def test_what_is_kept_of_nothing(tmp_path: Path) -> None:
    from fusemax.cli.simulate import _kept

    trace = tmp_path / "run.pftrace"
    assert _kept(None) == _kept(trace) == "nothing is kept; the same command starts anew"
    trace.touch()
    assert _kept(trace) == f"nothing is in {trace} yet; the same command starts anew"

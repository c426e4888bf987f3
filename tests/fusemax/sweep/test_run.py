"""The runner: the same rows by any executor, little held in memory, and an end that says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from weakref import WeakSet

import psutil
import pyarrow as pa
import pytest
from small_sweep import SCHEMA, SmallSweep, environment, evaluate, expected, gone, start_run

from einsum_cascades.errors import InputError, Location
from fusemax.sweep import Store, open_store, run
from fusemax.sweep.best import best
from fusemax.sweep.executors import processes, undisturbed
from fusemax.sweep.runner import Plan, Watcher, run_sweep
from fusemax.sweep.spec import parse_sweep
from fusemax.sweep.writer import writing

SWEEP = SmallSweep(2000)


class Recorder(Watcher):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.points = 0
        self.warnings: list[str] = []

    def planned(self, plan: Plan) -> None:
        assert self.points == 0, "the plan is told first"
        self.plans.append(plan)

    def advanced(self, points: int) -> None:
        self.points += points

    def warned(self, text: str) -> None:
        self.warnings.append(text)


class Synchronous(Executor):
    """Does everything at once, in this thread; remembers how many results nobody has taken yet."""

    def __init__(self) -> None:
        self.waiting: WeakSet[Future[Any]] = WeakSet()
        self.most = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.add(future)
        self.most = max(self.most, len(self.waiting))
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def pool(kind: str) -> Iterator[Executor]:
    if kind == "at once":
        yield Synchronous()
    elif kind == "threads":
        with ThreadPoolExecutor(3) as executor:
            yield executor
    elif kind == "processes":
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
            yield executor
    else:
        with processes(2) as crew:
            yield crew.executor


@pytest.mark.parametrize(
    "kind",
    ["at once", "threads", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("processes", "own processes"))],
)
def test_any_executor_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    told = Recorder()
    with pool(kind) as executor, writing(SWEEP, tmp_path) as writer:
        run_sweep(SWEEP, writer, executor, evaluate=evaluate, watcher=told)
    assert open_store(tmp_path).table() == expected(SWEEP)
    assert told.points == 2000


def test_run_tells_the_plan_then_the_progress_and_resumes(tmp_path: Path) -> None:
    told = Recorder()
    outcome = run(SWEEP, tmp_path, workers=2, evaluate=evaluate, watcher=told)
    (plan,) = told.plans
    assert (plan.points, plan.done, plan.workers) == (2000, 0, 2)
    assert plan.estimate_s > 0
    assert (told.points, outcome.computed, told.warnings) == (2000, 2000, [])
    assert outcome.store.table() == expected(SWEEP)
    for path in sorted((tmp_path / "points").iterdir())[3:7]:
        path.unlink()
    told = Recorder()
    outcome = run(SWEEP, tmp_path, executor=Synchronous(), evaluate=evaluate, watcher=told)
    assert (told.plans[0].done, told.points, outcome.computed) == (2000 - 4 * 64, 4 * 64, 4 * 64)
    assert outcome.store.table() == expected(SWEEP)
    told = Recorder()
    outcome = run(SWEEP, tmp_path, workers=1, evaluate=evaluate, watcher=told)
    assert (told.plans, told.points, outcome.plan, outcome.computed) == ([], 0, None, 0)


@pytest.mark.slow
def test_estimate_is_near_what_it_takes(tmp_path: Path) -> None:
    sweep = SmallSweep(64, point_s=0.02)
    with ThreadPoolExecutor(1) as executor:
        outcome = run(sweep, tmp_path, workers=1, executor=executor, batch_points=1, evaluate=evaluate)
    assert outcome.plan is not None
    assert outcome.plan.estimate_s == pytest.approx(64 * 0.02, rel=0.5)


def test_few_results_are_held_at_a_time(tmp_path: Path) -> None:
    executor = Synchronous()
    with writing(SWEEP, tmp_path) as writer:
        run_sweep(SWEEP, writer, executor, evaluate=evaluate, in_flight=5)
        assert writer.points_left == 0
    assert executor.most <= 5


@dataclass(frozen=True)
class MortalSweep(SmallSweep):
    """Kills the worker that evaluates point 1000, as often as there are files in a folder."""

    lives: str = ""


def evaluate_mortal(sweep: MortalSweep, start: int, stop: int) -> pa.Table:
    if start <= 1000 < stop and stop - start > 1:
        for life in Path(sweep.lives).iterdir():
            life.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
    return evaluate(sweep, start, stop)


def lives(folder: Path, count: int) -> str:
    folder.mkdir()
    for number in range(count):
        (folder / str(number)).touch()
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize("deaths", [1, 2])
def test_killed_worker_is_replaced(tmp_path: Path, deaths: int) -> None:
    sweep, told = MortalSweep(2000, lives=lives(tmp_path / "lives", deaths)), Recorder()
    outcome = run(sweep, tmp_path / "out", workers=2, evaluate=evaluate_mortal, watcher=told)
    assert outcome.store.table() == expected(SWEEP)
    assert told.warnings == deaths * ["a worker process ended unexpectedly; its batches are given to new ones"]
    assert len(told.plans) == 1


@pytest.mark.slow
def test_workers_that_always_die_are_an_error(tmp_path: Path) -> None:
    sweep = MortalSweep(2000, lives=lives(tmp_path / "lives", 100))
    with pytest.raises(InputError, match="the workers end before") as raised:
        run(sweep, tmp_path / "out", workers=1, evaluate=evaluate_mortal, watcher=Recorder())
    assert "of 2,000 points are there and stay good" in str(raised.value)
    assert not list((tmp_path / "out" / "points").glob(".*"))
    for life in Path(sweep.lives).iterdir():
        life.unlink()
    outcome = run(sweep, tmp_path / "out", workers=1, evaluate=evaluate_mortal)
    assert outcome.store.table() == expected(SWEEP)


def raise_bug(sweep: SmallSweep, start: int, stop: int) -> pa.Table:
    raise ZeroDivisionError


def raise_input_error(sweep: SmallSweep, start: int, stop: int) -> pa.Table:
    raise InputError("no such machine", location=Location("x.yaml", 3), hint="name one")


@pytest.mark.slow
def test_a_bug_in_a_process_reaches_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(SWEEP, tmp_path, workers=1, evaluate=raise_bug)


def test_errors_of_evaluation_reach_the_caller(tmp_path: Path) -> None:
    executor = Synchronous()
    with pytest.raises(ZeroDivisionError) as raised, writing(SWEEP, tmp_path) as writer:
        run_sweep(SWEEP, writer, executor, evaluate=raise_bug)
    assert any(note.startswith("while evaluating the points ") for note in raised.value.__notes__)
    with pytest.raises(InputError, match=r"x\.yaml:3: no such machine\n  name one"):
        run(SWEEP, tmp_path, workers=1, evaluate=raise_input_error)


def children_at_work(running: subprocess.Popen[str], folder: Path) -> list[int]:
    """Wait for the first part; return the processes that the run has started."""
    deadline = time.monotonic() + 600
    while not list(folder.glob("points/part-*")):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [child.pid for child in psutil.Process(running.pid).children(recursive=True)]


def test_no_worker_outlives_a_killed_run(tmp_path: Path) -> None:
    running = start_run(tmp_path, SmallSweep(100_000, point_s=1e-3), workers=2, batch_points=100)
    started = children_at_work(running, tmp_path)
    assert len(started) >= 2
    running.kill()
    running.communicate()
    assert gone(started)


BATCH_S = 45
"""What a batch sleeps, far more than it takes to end on a busy machine."""


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_leaves_no_worker(tmp_path: Path) -> None:
    running = start_run(tmp_path, SmallSweep(100_000, point_s=BATCH_S / 4000, quick=4000), workers=2, batch_points=4000)
    started = children_at_work(running, tmp_path)
    for process in (running.pid, *started):  # as a terminal does
        os.kill(process, signal.SIGINT)
    _, errors = running.communicate(timeout=BATCH_S - 5)  # it does not wait for batches under way
    assert errors.count("Traceback") == 1, errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert gone(started)
    assert not list((tmp_path / "points").glob(".*"))


HALF = """
import os, time
from fusemax.sweep.executors import hand_over, processes
from small_sweep import write_half_a_result

with processes(1) as crew:
    hand_over(crew.executor, lambda _: None, write_half_a_result, {begun!r})
    while not os.path.exists({begun!r}):
        time.sleep(0.01)
    raise KeyboardInterrupt
"""


@pytest.mark.slow
def test_half_a_result_of_an_ended_worker_is_not_waited_for(tmp_path: Path) -> None:
    code = HALF.format(begun=str(tmp_path / "begun"))
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=120)
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


def test_signals_wait_for_the_end_of_what_they_must_not_disturb() -> None:
    heard: list[int] = []
    numbers = signal.SIGINT, signal.SIGTERM
    before = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in numbers}
    try:
        for number in numbers:
            heard.clear()
            with undisturbed():
                signal.raise_signal(number)
                assert heard == []
            assert heard == [number]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.slow
def test_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import fusemax.sweep, small_sweep, warnings\n"
        "warnings.simplefilter('ignore')\n"
        f"fusemax.sweep.run(small_sweep.SmallSweep(100), {str(tmp_path / 'out')!r}, "
        "evaluate=small_sweep.evaluate, workers=1)\n"
    )
    done = subprocess.run([sys.executable, str(script)], env=environment(), capture_output=True, text=True)
    assert "a script must call this under: if __name__ == '__main__'" in done.stderr


def test_best_points_are_those_of_the_whole_table(tmp_path: Path) -> None:
    run(SWEEP, tmp_path, executor=Synchronous(), evaluate=evaluate)
    found = best(open_store(tmp_path))
    frame = expected(SWEEP).to_pandas()
    assert found.rows == len(frame)
    assert found.status == frame["status"].value_counts().to_dict()
    assert found.axes == ("arch", "array_2d.rows", "seq_len")
    assert found.workload_axes == ("seq_len",)
    frame["edp_js"] = frame["latency_s"] * frame["energy_j"]
    for (seq_len,), rows in found.points.items():
        group = frame[frame["seq_len"] == seq_len]
        assert {name: row[name] for name, row in rows.items()} == {name: group[name].min() for name in rows}
        for name, row in rows.items():
            assert group.set_index("point").loc[row["point"], name] == row[name]
    assert len(found.points) == 3


def test_best_of_all_where_nearly_every_point_has_a_workload_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(SWEEP, tmp_path, executor=Synchronous(), evaluate=evaluate)
    monkeypatch.setattr("fusemax.sweep.best.MOST_WORKLOADS", 2)
    found = best(open_store(tmp_path))
    frame = expected(SWEEP).to_pandas()
    assert found.workload_axes == ()
    assert found.points[()]["latency_s"]["latency_s"] == frame["latency_s"].min()


def test_best_reads_few_rows_at_a_time_and_keeps_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of more rows than are read at once too; of statuses that nearly every point has for itself, some."""
    run(SWEEP, tmp_path, executor=Synchronous(), evaluate=own_statuses, batch_points=500)
    store = open_store(tmp_path)
    whole = best(store)
    read: list[int] = []

    def few(self: Store, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for table in tables(self, columns, rows=40):
            read.append(table.num_rows)
            yield table

    tables = Store.tables
    monkeypatch.setattr(Store, "tables", few)
    monkeypatch.setattr("fusemax.sweep.best.MOST_STATUSES", 10)
    found = best(store)
    assert max(read) < 80
    assert len(read) > 3 * 20
    assert (found.rows, found.points, found.axes) == (whole.rows, whole.points, whole.axes)
    assert len(found.status) <= 12
    assert found.status.total() == whole.status.total() == found.rows
    assert found.status["ok"] == whole.status["ok"]


def own_statuses(sweep: SmallSweep, start: int, stop: int) -> pa.Table:
    table = evaluate(sweep, start, stop)
    texts = [
        s if s == "ok" else f"point {p} fits not"
        for p, s in zip(*(table[n].to_pylist() for n in ("point", "status")), strict=True)
    ]
    return table.set_column(table.column_names.index("status"), SCHEMA.field("status"), pa.array(texts))


@pytest.mark.parametrize(
    "options", [{"on_change": "keep"}, {"workers": 0}, {"workers": True}, {"workers": 1.5}, {"batch_points": 0}]
)
def test_unusable_options_are_refused_before_anything_is_done(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        run(SWEEP, tmp_path / "out", executor=Synchronous(), evaluate=evaluate, **options)
    assert not (tmp_path / "out").exists()


def test_best_of_nothing(tmp_path: Path) -> None:
    sweep = SmallSweep(3)
    with writing(sweep, tmp_path) as writer:
        assert best(writer.store).rows == 0


def no_costs(sweep: SmallSweep, start: int, stop: int) -> pa.Table:
    table = evaluate(sweep, start, stop)
    names = ["latency_s", "energy_j", "dram_bytes", "area_mm2"]
    empty = {name: pa.nulls(table.num_rows, table[name].type) for name in names}
    status = pa.array(["no mapping fits"] * table.num_rows)
    columns = [{**empty, "status": status}.get(name, table[name]) for name in table.column_names]
    return pa.table(columns, schema=table.schema)


def test_best_where_nothing_has_a_cost(tmp_path: Path) -> None:
    run(SWEEP, tmp_path, executor=Synchronous(), evaluate=no_costs)
    found = best(open_store(tmp_path))
    assert (found.points, dict(found.status)) == ({}, {"no mapping fits": found.rows})


@pytest.mark.parametrize(("filters", "statuses"), [("", 2), ("filter: status == 'ok'\n", 1)])
def test_best_points_of_a_real_sweep(tmp_path: Path, filters: str, statuses: int) -> None:
    """What filters left out leaves no trace, and whole numbers stay whole beside points that have none."""
    text = (
        "axes:\n  cascade: attention-1-pass\n  arch: fusemax-cloud\n  mapper: fusemax-serial\n  model: BERT\n"
        "  seq_len: 1024\n  accounting: [published, physical]\n  global_buffer.bytes: [1KiB, 16MiB]\n"
    )
    sweep = parse_sweep(text + filters)
    run(sweep, tmp_path, executor=Synchronous())
    found = best(open_store(tmp_path))
    assert len(found.status) == statuses
    assert found.workload_axes == ("accounting",)
    for row in (row for rows in found.points.values() for row in rows.values()):
        assert {type(row[name]) for name in ("dram_bytes", "buffer_bytes", "passes")} == {int}

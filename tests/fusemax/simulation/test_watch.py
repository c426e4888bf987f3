"""What is kept of a recording that comes in chunks: when tracks begin, and a stretch with enough epochs to draw."""

from dataclasses import replace
from pathlib import Path

import perfetto_reader
import pytest
from recordings import EPOCH, PERIOD, pipelined

from fusemax.figures.steady import boundaries
from fusemax.simulation.perfetto import TraceWriter
from fusemax.simulation.watch import EPOCHS, Watch
from hw_models.simulator.recording import Recording


def cut(recording: Recording, cycles: int) -> list[Recording]:
    """A recording in chunks."""
    tasks, chunks = recording.tasks, []
    for first in range(0, recording.end, cycles):
        mine = (tasks.begins >= first) & (tasks.begins < first + cycles)
        changed = (recording.changes.at >= first) & (recording.changes.at < first + cycles)
        chunks.append(
            replace(
                recording,
                tasks=tasks.where(mine),
                changes=recording.changes.where(changed),
                skipped=(),
                complete=first + cycles >= recording.end,
            )
        )
    return chunks


def test_the_first_stretch_is_kept() -> None:
    watch, chunks = Watch(), cut(pipelined(200), 5 * PERIOD)
    assert watch.recording is None
    for chunk in chunks:
        watch.add(chunk)
    assert watch.recording is not None
    assert EPOCHS <= len(boundaries(watch.recording)[0]) <= EPOCHS + 6
    assert watch.cycles == pipelined(200).end


def test_a_short_run_is_kept_whole() -> None:
    watch, whole = Watch(), pipelined(4)
    for chunk in cut(whole, PERIOD):
        watch.add(chunk)
    assert watch.recording is not None
    assert len(watch.recording.tasks) == len(whole.tasks)
    assert watch.recording.complete


@pytest.mark.parametrize(("iterations", "cut_short"), [(20, True), (3, False)])
def test_it_ends_where_something_is_left_out(iterations: int, cut_short: bool) -> None:
    watch, run = Watch(), pipelined(iterations, skipped=True)
    watch.add(run)
    assert watch.recording is not None
    assert (watch.recording.skipped == ()) is cut_short
    assert (watch.recording.end < run.end) is cut_short


def test_tracks_begin_with_their_first_task() -> None:
    watch = Watch()
    for chunk in cut(pipelined(9), PERIOD):
        watch.add(chunk)
    begins = {}
    for track, _, lag, begin, _ in EPOCH:
        begins[track] = min(begins.get(track, 10**9), lag * PERIOD + begin)
    assert watch.begins == begins


def test_the_trace_gets_all(tmp_path: Path) -> None:
    path, run = tmp_path / "run.pftrace", pipelined(60)
    with TraceWriter(path) as writer:
        watch = Watch(writer)
        for chunk in cut(run, 7 * PERIOD):
            watch.add(chunk)
    trace = perfetto_reader.read(path.read_bytes())
    assert sum(map(len, trace.slices.values())) == len(run.tasks)
    assert not any(trace.instants.values())

"""Recordings: what they promise is checked, and chunks and windows lose nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recordings import PERIOD, chunks, pipelined, recordings

from hw_models.simulator.recording import Changes, Counter, Label, Recording, Skipped, Tasks, Track, joined


def tasks(*rows: tuple[int, int, int, int, int]) -> Tasks:
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    return Tasks(columns[0].astype(np.int32), columns[1].astype(np.int32), *columns[2:])


def rows(recording: Recording) -> list[tuple[int, ...]]:
    found = recording.tasks
    columns = (found.tracks, found.labels, found.begins, found.ends, found.epochs)
    return sorted(zip(*(c.tolist() for c in columns), strict=True))


def one_track(*rows: tuple[int, int, int, int, int]) -> Recording:
    return Recording(1e9, (Track("array", "array"),), (Label("QK", "QK"),), (Counter("buffer"),), tasks(*rows))


FAULTS = {
    "overlap": one_track((0, 0, 0, 5, 0), (0, 0, 4, 6, 0)),
    "out of order": one_track((0, 0, 5, 6, 0), (0, 0, 0, 5, 0)),
    "ends before": one_track((0, 0, 5, 4, 0)),
    "before cycle 0": one_track((0, 0, -1, 4, 0)),
    "tracks go from 0 to 0": one_track((1, 0, 0, 1, 0)),
    "labels go from 0 to 0": one_track((0, -1, 0, 1, 0)),
    "counters go": replace(one_track(), changes=Changes(np.array([1], np.int32), np.array([0]), np.array([0]))),
    "changes of a counter": replace(
        one_track(), changes=Changes(np.zeros(2, np.int32), np.array([3, 2]), np.array([0, 0]))
    ),
    "stretch": replace(one_track(), skipped=(Skipped(4, 3, "alike", 1),)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_promise_is_found(fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        FAULTS[fault].check()


def test_tasks_may_follow_at_once_or_take_no_time() -> None:
    one_track((0, 0, 0, 5, 0), (0, 0, 5, 5, -1), (0, 0, 5, 9, 1)).check()


def test_columns_are_checked() -> None:
    good = tasks((0, 0, 0, 1, 0))
    with pytest.raises(ValueError, match="int32"):
        replace(good, tracks=good.tracks.astype(np.int64))
    with pytest.raises(ValueError, match="equally long"):
        replace(good, ends=np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="a track is one of"):
        Track("x", "register")


@given(recording=recordings(), cuts=st.lists(st.integers(0, 2**32), max_size=3))
def test_chunks_join_to_the_whole(recording: Recording, cuts: list[int]) -> None:
    parts = chunks(recording, cuts)
    whole = joined(parts)
    whole.check()
    assert rows(whole) == rows(recording)
    assert whole.skipped == recording.skipped
    assert whole.end == max(part.end for part in parts) == recording.end
    assert len(whole.changes) == len(recording.changes)


def test_chunks_of_different_runs_do_not_join() -> None:
    one = pipelined(1)
    with pytest.raises(ValueError, match="different runs"):
        joined([one, replace(one, frequency_hz=1e6)])
    with pytest.raises(ValueError, match="no chunk"):
        joined([])


@given(recording=recordings(), first=st.integers(0, 2**32), length=st.integers(1, 2**46))
def test_a_window_has_what_touches_it(recording: Recording, first: int, length: int) -> None:
    last = first + length
    window = recording.between(first, last)
    window.check()
    assert rows(window) == [row for row in rows(recording) if row[3] > first and row[2] < last]
    assert set(window.skipped) == {s for s in recording.skipped if s.end > first and s.begin < last}


def test_a_window_knows_the_level_that_it_begins_with() -> None:
    recording = pipelined(4)
    window = recording.between(2 * PERIOD, 3 * PERIOD)
    early = recording.changes.at < 2 * PERIOD
    assert window.changes.bytes[0] == recording.changes.bytes[early][-1]
    assert window.changes.at[1:].min() >= 2 * PERIOD

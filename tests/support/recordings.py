"""Recordings of runs that nobody simulated: a steady pipeline on two arrays, and arbitrary ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hw_models.simulator.recording import (
    NO_EPOCH,
    Changes,
    Counter,
    Label,
    Recording,
    Skipped,
    Tasks,
    Track,
)

PERIOD = 912
TRACKS = (
    Track("array_2d", "array"),
    Track("array_1d", "array"),
    Track("dram.read", "port"),
    Track("global_buffer.write", "port"),
    Track("global_buffer to staging", "link"),
)
TILE_BYTES = 256 * 64 * 2
EPOCH = (
    ("array_2d", "BQK", 1, 0, 320),
    ("array_2d", "LM", 1, 320, 128),
    ("array_2d", "SLN", 1, 448, 12),
    ("array_2d", "SLD", 1, 460, 128),
    ("array_2d", "SLNV", 1, 588, 320),
    ("array_1d", "RM", 2, 0, 6),
    ("array_1d", "PRM", 2, 6, 42),
    ("array_1d", "SPD", 2, 48, 6),
    ("array_1d", "RD", 2, 54, 6),
    ("array_1d", "SPNV", 2, 60, 384),
    ("array_1d", "RNV", 2, 444, 384),
    ("dram.read", "fetch BK", 0, 0, 96),
    ("dram.read", "fetch BV", 0, 96, 96),
    ("global_buffer.write", "fetch BK", 0, 2, 96),
    ("global_buffer.write", "fetch BV", 0, 98, 96),
    ("global_buffer to staging", "fetch BK", 1, 0, 256),
    ("global_buffer to staging", "fetch BV", 1, 588, 256),
)
"""Track, task, by how many epochs its iteration is behind the first, first cycle in the epoch, cycles."""
LABELS = tuple(Label(name, name.split()[-1]) for name in dict.fromkeys(name for _, name, *_ in EPOCH))
LAG = max(lag for *_, lag, _, _ in EPOCH)


def pipelined(iterations: int, *, first: int = 0, skipped: bool = False) -> Recording:
    """A pipeline's run: fetches, the 2D array an epoch later, the 1D array another one later.

    Args:
        iterations: how many.
        first: cycle at which it begins.
        skipped: whether as long a stretch as the run takes follows, in which the iterations repeat.
    """
    places = {track.name: place for place, track in enumerate(TRACKS)}
    names = {label.name: place for place, label in enumerate(LABELS)}
    parts = []
    for track, name, lag, begin, cycles in EPOCH:
        numbers = np.arange(iterations, dtype=np.int64)
        begins = first + (numbers + lag) * PERIOD + begin
        parts.append((np.full(iterations, places[track]), np.full(iterations, names[name]), begins, cycles, numbers))
    tracks, labels, begins, epochs = (np.concatenate([part[k] for part in parts]) for k in (0, 1, 2, 4))
    ends = begins + np.repeat([cycles for *_, cycles in EPOCH], iterations)
    order = np.argsort(begins, kind="stable")
    tasks = Tasks(*(c[order].astype(np.int32) for c in (tracks, labels)), *(c[order] for c in (begins, ends, epochs)))
    end = first + (iterations + LAG) * PERIOD
    stretch = Skipped(end, 2 * end - first, f"{iterations} iterations alike", 1)
    return Recording(
        940e6,
        TRACKS,
        LABELS,
        (Counter("global_buffer", 4 * TILE_BYTES), Counter("staging")),
        tasks,
        _occupancy(tasks, names),
        (stretch,) if skipped else (),
    )


def _occupancy(tasks: Tasks, names: dict[str, int]) -> Changes:
    """The buffer holds a tile from when its fetch begins until it has gone on; nobody counts the registers."""
    into, out = (tasks.tracks == 2), (tasks.tracks == 4)
    at = np.concatenate([tasks.begins[into], tasks.ends[out]])
    change = np.concatenate([np.full(into.sum(), TILE_BYTES), np.full(out.sum(), -TILE_BYTES)])
    order = np.argsort(at, kind="stable")
    return Changes(np.zeros(len(at), np.int32), at[order], np.cumsum(change[order]))


def chunks(recording: Recording, cuts: list[int]) -> list[Recording]:
    """A recording in chunks: what begins before the first of these cycles, before the next, ..."""
    tasks, changes = recording.tasks, recording.changes
    ends = [*sorted(cuts), recording.end + 1]
    parts = []
    for before, after in zip([-1, *ends[:-1]], ends, strict=True):
        parts.append(
            replace(
                recording,
                tasks=tasks.where((tasks.begins >= before) & (tasks.begins < after)),
                changes=changes.where((changes.at >= before) & (changes.at < after)),
                skipped=tuple(s for s in recording.skipped if before <= s.begin < after),
                complete=after == ends[-1],
            )
        )
    return parts


NAMES = st.text(max_size=8) | st.sampled_from(["BQK", "fetch BK", "größte Länge", "写 AV", "\ud800", "x" * 300])


@st.composite
def recordings(draw: Any) -> Recording:
    """Any recording: names of all kinds, tracks that stay empty, tasks of no cycles, gaps, epochs or none."""
    tracks = draw(st.lists(st.builds(Track, NAMES, st.sampled_from(["array", "port", "link"])), min_size=1, max_size=4))
    labels = draw(st.lists(st.builds(Label, NAMES, NAMES), min_size=1, max_size=4))
    counters = draw(st.lists(st.builds(Counter, NAMES, st.none() | st.integers(0, 2**40)), max_size=2))
    steps = st.sampled_from([0, 0, 1, 2, 100, 2**31, 2**44])
    number = st.integers(0, 12)
    size = draw(number)
    order = np.array(draw(st.lists(st.integers(0, len(tracks) - 1), min_size=size, max_size=size)), np.int32)
    begins, ends, now = [], [], dict.fromkeys(range(len(tracks)), 0)
    for track in order.tolist():
        begins.append(now[track] + draw(steps))
        ends.append(begins[-1] + draw(steps))
        now[track] = ends[-1]
    tasks = Tasks(
        order,
        np.array(draw(st.lists(st.integers(0, len(labels) - 1), min_size=size, max_size=size)), np.int32),
        np.array(begins, np.int64),
        np.array(ends, np.int64),
        np.array(draw(st.lists(st.integers(NO_EPOCH, 2**40), min_size=size, max_size=size)), np.int64),
    )
    count = draw(number) if counters else 0
    places = st.integers(0, max(0, len(counters) - 1))
    which = np.array(draw(st.lists(places, min_size=count, max_size=count)), np.int32)
    at = np.cumsum(np.array(draw(st.lists(steps, min_size=count, max_size=count)), np.int64))
    held = np.array(draw(st.lists(st.integers(0, 2**62), min_size=count, max_size=count)), np.int64)
    stretches, time = [], 0
    for gap, length, label in draw(st.lists(st.tuples(steps, steps, NAMES), max_size=3)):
        stretches.append(Skipped(time + gap, time + gap + length, label, 7))
        time += gap + length
    return Recording(
        draw(st.sampled_from([1e9, 940e6, 1.755e9, 123456789.5, 1e6])),
        tuple(tracks),
        tuple(labels),
        tuple(counters),
        tasks,
        Changes(which, at, held),
        tuple(stretches),
        draw(st.booleans()),
    )

"""Traces of simulated runs for the Perfetto viewer: a track for each array, port and link, and each memory's occupancy.

A trace is written chunk by chunk, as a run goes on, to its own place: whatever ends the run, the file holds whole
packets and opens. Tracks stand in groups by kind; stretches that were not simulated one by one have a track of their
own, the uppermost. A cycle is 1/frequency seconds; times are rounded to nanoseconds, the unit of Perfetto's clock, so
that above 1 GHz a task of one cycle may seem to take no time.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fusemax.simulation.packets import Events, Interned, Kind, blocks, instant, names, process, root, track
from fusemax.tables import check_file, unwritable
from fusemax.units import byte_size, quantity
from hw_models.simulator.recording import NO_EPOCH, Changes, Label, Recording, Skipped, Tasks

GROUPS: Final = {"run": "Run", "array": "Arrays", "port": "Memory ports", "link": "Links", "counter": "Occupancy"}
"""Groups of tracks, from the top: kinds of tracks, and what the viewer calls them."""
SKIPPED: Final = "not simulated one by one"
INTERRUPTED: Final = "the run was interrupted here"
_GROUP: Final = {kind: place for place, kind in enumerate(GROUPS, 1)}
_RUN: Final = len(GROUPS) + 1
"""The number of the uppermost track; those of the recording follow, then its counters."""


class TraceWriter:
    """Writes a trace, chunk by chunk; a context manager.

    Args:
        path: where; an older file is replaced at once.

    Raises:
        InputError: the place cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._file = _opened(self._path)
        self._size = 0
        self._run: tuple[object, ...] = ()
        self._known: NDArray[np.bool_] = np.zeros((0, 0), bool)
        self._stretches: dict[str, int] = {}
        self._lasts: NDArray[np.int64] = np.zeros(0, np.int64)
        self._now = 0
        self._complete = False

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def add(self, chunk: Recording) -> None:
        """Write the next chunk of a run, and hand it to the system.

        Args:
            chunk: it begins, on each track, no earlier than the chunk before ended there.

        Raises:
            InputError: the file cannot be written.
            ValueError: it is of another run, or out of order.
        """
        run = (chunk.frequency_hz, chunk.tracks, chunk.labels, chunk.counters)
        if not self._run:
            self._run = run
            self._lasts = np.zeros(_RUN + 1 + len(chunk.tracks) + len(chunk.counters), np.int64)
            self._known = np.zeros((len(chunk.tracks), len(chunk.labels)), bool)
            self._write(_header(chunk))
        elif run != self._run:
            raise ValueError("a trace is of one run, whose chunks share their names")
        self._write(b"".join(self._new_names(chunk)))
        events, lasts = _timed(chunk, self._stretches, self._lasts)
        for block, ns in blocks(events):
            self._write(block)
            self._now = max(self._now, ns)
        self._lasts = lasts
        self._complete = chunk.complete

    def close(self) -> None:
        """Close the file; a run whose last chunk did not complete it is marked as interrupted. Closing twice is fine.

        Raises:
            InputError: the file cannot be written.
        """
        if self._file.closed:
            return
        try:
            if self._size and not self._complete:
                mark = len(self._stretches) + 1
                said = names(_RUN, [(Interned.NAMES, mark, INTERRUPTED)])
                self._write(said + instant(_RUN, self._now, mark))
        finally:
            self._file.close()

    def _new_names(self, chunk: Recording) -> Iterator[bytes]:
        """Yield packets with the names that the chunk brings to a track."""
        new = np.zeros_like(self._known)
        new[chunk.tasks.tracks, chunk.tasks.labels] = True
        new &= ~self._known
        subjects = _subjects(chunk.labels)
        for place in np.flatnonzero(new.any(axis=1)).tolist():
            brought = np.flatnonzero(new[place]).tolist()
            entries = [(Interned.NAMES, label + 1, chunk.labels[label].name) for label in brought]
            said = {chunk.labels[label].subject for label in np.flatnonzero(self._known[place]).tolist()}
            ids = dict.fromkeys(chunk.labels[label].subject for label in brought)
            entries += [(Interned.CORRELATIONS, subjects[subject], subject) for subject in ids if subject not in said]
            yield names(_RUN + 1 + place, entries)
        self._known |= new
        for label in dict.fromkeys(stretch.label for stretch in chunk.skipped):
            if label not in self._stretches:
                self._stretches[label] = len(self._stretches) + 1
                yield names(_RUN, [(Interned.NAMES, self._stretches[label], label)])

    def _write(self, data: bytes) -> None:
        """Write packets whole or not at all, as far as the file system lets."""
        end = self._size + len(data)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            self._size = end
        except (OSError, ValueError) as error:
            raise unwritable(self._path, error) from error
        finally:
            if self._size != end:
                self._file.truncate(self._size)
                self._file.seek(self._size)


def write_trace(path: Path | str, recording: Recording) -> None:
    """Write a whole recording as a trace.

    Raises:
        InputError: the file cannot be written.
        ValueError: the recording is out of order.
    """
    with TraceWriter(path) as writer:
        writer.add(recording)


def _opened(path: Path) -> io.FileIO:
    check_file(path)
    try:
        place = Path(os.path.realpath(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        return io.FileIO(place, "w")
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error


def _subjects(labels: tuple[Label, ...]) -> dict[str, int]:
    """Return the number of each subject's correlation id."""
    return {subject: place for place, subject in enumerate(dict.fromkeys(label.subject for label in labels), 1)}


def _header(recording: Recording) -> bytes:
    """Return the packets that describe all groups and tracks."""
    clock = f"{quantity(recording.frequency_hz, 'Hz')}: a cycle takes {quantity(1 / recording.frequency_hz, 's')}"
    kinds = {"run", *(t.kind for t in recording.tracks), *(["counter"] if recording.counters else [])}
    parts = [root(), *(process(_GROUP[kind], name) for kind, name in GROUPS.items() if kind in kinds)]
    parts += [track(_RUN, _GROUP["run"], SKIPPED, description=clock)]
    for uuid, place in enumerate(recording.tracks, _RUN + 1):
        parts += [track(uuid, _GROUP[place.kind], place.name), names(uuid, _fixed_names(place.kind))]
    for uuid, counter in enumerate(recording.counters, _RUN + 1 + len(recording.tracks)):
        limit = counter.capacity_bytes
        description = "" if limit is None else f"capacity {byte_size(limit)}"
        parts += [track(uuid, _GROUP["counter"], counter.name, counter=True, description=description)]
    parts += [names(_RUN, [*_fixed_names("skipped"), (Interned.CORRELATIONS, 1, SKIPPED)])]
    return b"".join(parts)


def _fixed_names(category: str) -> list[tuple[Interned, int, str]]:
    return [(Interned.CATEGORIES, 1, category), (Interned.ANNOTATION_NAMES, 1, "epoch")]


def _timed(chunk: Recording, stretches: dict[str, int], lasts: NDArray[np.int64]) -> tuple[Events, NDArray[np.int64]]:
    """Return a chunk's events in order of time, and the last cycle of each sequence after it."""
    subjects = _subjects(chunk.labels)
    colours = np.array([subjects[label.subject] for label in chunk.labels], np.int64)
    parts = [
        _slices(chunk.tasks, colours),
        _stretches(chunk.skipped, stretches),
        _levels(chunk.changes, _RUN + 1 + len(chunk.tracks)),
    ]
    kinds, sequences, cycles, values, correlations, epochs = map(np.concatenate, zip(*parts, strict=True))
    after = _checked(sequences, cycles, lasts)
    order = np.argsort(cycles, kind="stable")  # each sequence is in order and stays so
    ns = np.rint(cycles[order] * (1e9 / chunk.frequency_hz)).astype(np.int64)
    rest = [column[order] for column in (values, correlations, np.ones_like(values), epochs)]
    return Events(kinds[order], sequences[order], ns, *rest), after


def _checked(sequences: NDArray[np.int64], cycles: NDArray[np.int64], lasts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the last cycle of each sequence, none of which goes back in time."""
    order = np.argsort(sequences.astype(np.uint32), kind="stable")
    grouped, times = sequences[order], cycles[order]
    starts = np.flatnonzero(np.diff(grouped, prepend=-1))
    before = np.concatenate([times[:1], times[:-1]])
    before[starts] = lasts[grouped[starts]]
    if np.any(times < before):
        raise ValueError("tasks of a track overlap or are out of order")
    after = lasts.copy()
    after[grouped] = times
    return after


_Columns = tuple[
    NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]
]


def _slices(tasks: Tasks, colours: NDArray[np.int64]) -> _Columns:
    """Return a beginning and an end for each task, side by side."""
    count = len(tasks)
    cycles = np.stack([tasks.begins, tasks.ends], axis=1).reshape(-1)
    kinds = np.tile(np.array([Kind.BEGIN, Kind.END], np.uint8), count)
    sequences, values, correlations, epochs = (
        np.repeat(column.astype(np.int64), 2)
        for column in (tasks.tracks + (_RUN + 1), tasks.labels + 1, colours[tasks.labels], tasks.epochs)
    )
    return kinds, sequences, cycles, values, correlations, epochs


def _stretches(skipped: tuple[Skipped, ...], numbers: dict[str, int]) -> _Columns:
    """Return a beginning and an end for each skipped stretch."""
    cycles = np.array([time for s in skipped for time in (s.begin, s.end)], np.int64)
    kinds = np.tile(np.array([Kind.BEGIN, Kind.END], np.uint8), len(skipped))
    values = np.repeat(np.array([numbers[s.label] for s in skipped], np.int64), 2)
    ones = np.ones_like(cycles)
    return kinds, _RUN * ones, cycles, values, ones, NO_EPOCH * ones


def _levels(changes: Changes, first: int) -> _Columns:
    """Return a counter's value for each change of occupancy."""
    kinds = np.full(len(changes), Kind.COUNTER, np.uint8)
    none = np.full(len(changes), NO_EPOCH, np.int64)
    return kinds, changes.counters.astype(np.int64) + first, changes.at, changes.bytes, none, none

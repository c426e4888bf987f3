"""What a timed run records: which task ran where from when to when, and how full each memory was.

A recording is plain arrays and the names that they point into, so that a million tasks cost 36 bytes each and are
written, drawn and compared without a loop in Python. A long run hands them out in chunks that share their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

KINDS: Final = ("array", "port", "link")
"""What a track stands for: an array of units, a memory's port, or a link between memories."""
NO_EPOCH: Final = -1

Ids = NDArray[np.int32]
Cycles = NDArray[np.int64]


@dataclass(frozen=True)
class Track:
    """A place at which one task runs at a time.

    Attributes:
        name: such as ``array_2d``, ``dram.read``.
        kind: one of ``KINDS``.
    """

    name: str
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a track is one of {KINDS}, not {self.kind!r}")


@dataclass(frozen=True)
class Label:
    """What a task does.

    Attributes:
        name: what it is called: an Einsum such as ``BQK``, or a transfer, ``fetch BK``, ``write AV``.
        subject: the Einsum or tensor that it is about, which gives its colour: ``BQK``, ``BK``, ``AV``.
    """

    name: str
    subject: str


@dataclass(frozen=True)
class Counter:
    """A memory whose occupancy is recorded.

    Attributes:
        name: of the memory.
        capacity_bytes: what it holds at most; None if that has no limit.
    """

    name: str
    capacity_bytes: int | None = None


@dataclass(frozen=True)
class Skipped:
    """A stretch of time that was proven to repeat what was simulated before it, and so was not simulated.

    Attributes:
        begin: first cycle.
        end: cycle after the last.
        label: in words, such as ``256 iterations alike``.
        repeats: how often the stretch before it repeats in this one.
    """

    begin: int
    end: int
    label: str
    repeats: int


@dataclass(frozen=True, eq=False)
class Tasks:
    """Tasks, one per place of the arrays, which are equally long.

    On a track they come in order and do not overlap: none begins before the one before it on that track has ended.

    Attributes:
        tracks: where each runs, an index into the recording's tracks.
        labels: what each does, an index into its labels.
        begins: its first cycle.
        ends: the cycle after its last.
        epochs: the epoch (iteration of the pipeline or loop) that it belongs to; ``NO_EPOCH`` for none.
    """

    tracks: Ids
    labels: Ids
    begins: Cycles
    ends: Cycles
    epochs: Cycles

    def __post_init__(self) -> None:
        _check_columns(self, ("tracks", "labels"), ("begins", "ends", "epochs"))

    def __len__(self) -> int:
        return len(self.tracks)

    def where(self, chosen: NDArray[Any]) -> Tasks:
        """Return some of the tasks, by a mask or by places."""
        return Tasks(*(column[chosen] for column in _columns(self)))


@dataclass(frozen=True, eq=False)
class Changes:
    """Changes of occupancy, one per place of the arrays, which are equally long; in order of time for each counter.

    Attributes:
        counters: whose, an index into the recording's counters.
        at: when, in cycles.
        bytes: occupancy after the change.
    """

    counters: Ids
    at: Cycles
    bytes: Cycles

    def __post_init__(self) -> None:
        _check_columns(self, ("counters",), ("at", "bytes"))

    def __len__(self) -> int:
        return len(self.counters)

    def where(self, chosen: NDArray[Any]) -> Changes:
        """Return some of the changes, by a mask or by places."""
        return Changes(*(column[chosen] for column in _columns(self)))


def _empty(kinds: str) -> list[NDArray[Any]]:
    return [np.empty(0, np.int32 if kind == "i" else np.int64) for kind in kinds]


@dataclass(frozen=True, eq=False)
class Recording:
    """What ran during a stretch of time: a whole run, or a chunk of one.

    Attributes:
        frequency_hz: cycles per second.
        tracks: arrays, ports and links.
        labels: all that tasks do.
        counters: memories whose occupancy is recorded.
        tasks: what ran.
        changes: how full the memories were.
        skipped: stretches in which nothing is recorded since they repeat others; in order of time.
        complete: whether the run went to its end; an interrupted one did not, nor does a chunk before the last.
    """

    frequency_hz: float
    tracks: tuple[Track, ...]
    labels: tuple[Label, ...]
    counters: tuple[Counter, ...] = ()
    tasks: Tasks = field(default_factory=lambda: Tasks(*_empty("iilll")))
    changes: Changes = field(default_factory=lambda: Changes(*_empty("ill")))
    skipped: tuple[Skipped, ...] = ()
    complete: bool = True

    @property
    def end(self) -> int:
        """The last cycle that the recording knows of."""
        lasts = [int(times.max(initial=0)) for times in (self.tasks.ends, self.changes.at)]
        return max(*lasts, *(stretch.end for stretch in self.skipped))

    def check(self) -> None:
        """Check all that a recording promises.

        Raises:
            ValueError: an index points nowhere, or tasks or changes are out of order or overlap.
        """
        tasks, changes = self.tasks, self.changes
        _check_ids("tracks", tasks.tracks, len(self.tracks))
        _check_ids("labels", tasks.labels, len(self.labels))
        _check_ids("counters", changes.counters, len(self.counters))
        if np.any(tasks.begins > tasks.ends) or np.any(tasks.begins < 0):
            raise ValueError("a task ends before it begins, or begins before cycle 0")
        _check_order(tasks.tracks, tasks.begins, tasks.ends, "tasks of a track overlap or are out of order")
        _check_order(changes.counters, changes.at, changes.at, "changes of a counter are out of order")
        if any(s.end < s.begin for s in self.skipped):
            raise ValueError("a skipped stretch ends before it begins")

    def between(self, first: int, last: int) -> Recording:
        """Return what touches the cycles from ``first`` until before ``last``; tasks are kept whole.

        Of the changes before it, each counter's latest stays, so that its level at ``first`` is known.
        """
        tasks, changes = self.tasks, self.changes
        kept = (changes.at >= first) & (changes.at < last)
        for counter in range(len(self.counters)):
            before = np.flatnonzero((changes.counters == counter) & (changes.at < first))
            kept[before[-1:]] = True
        return Recording(
            self.frequency_hz,
            self.tracks,
            self.labels,
            self.counters,
            tasks.where((tasks.ends > first) & (tasks.begins < last)),
            changes.where(kept),
            tuple(s for s in self.skipped if s.end > first and s.begin < last),
            self.complete,
        )


def joined(chunks: Sequence[Recording]) -> Recording:
    """Return one recording of chunks of a run, in order; they share their names.

    Raises:
        ValueError: there are none, or they differ in frequency, tracks, labels or counters.
    """
    if not chunks:
        raise ValueError("no chunk to join")
    names = {(c.frequency_hz, c.tracks, c.labels, c.counters) for c in chunks}
    if len(names) > 1:
        raise ValueError("chunks of different runs cannot be joined")
    return Recording(
        *names.pop(),
        Tasks(*map(np.concatenate, zip(*(_columns(c.tasks) for c in chunks), strict=True))),
        Changes(*map(np.concatenate, zip(*(_columns(c.changes) for c in chunks), strict=True))),
        tuple(s for c in chunks for s in c.skipped),
        chunks[-1].complete,
    )


def _columns(table: Tasks | Changes) -> tuple[NDArray[Any], ...]:
    if isinstance(table, Tasks):
        return table.tracks, table.labels, table.begins, table.ends, table.epochs
    return table.counters, table.at, table.bytes


def _check_columns(table: Tasks | Changes, ids: Sequence[str], numbers: Sequence[str]) -> None:
    wanted = dict.fromkeys(ids, np.int32) | dict.fromkeys(numbers, np.int64)
    for name, dtype in wanted.items():
        if getattr(table, name).dtype != dtype or getattr(table, name).ndim != 1:
            raise ValueError(f"{name} is a row of {np.dtype(dtype)}")
    if len({getattr(table, name).size for name in wanted}) > 1:
        raise ValueError(f"{', '.join(wanted)} are equally long")


def _check_ids(what: str, ids: Ids, count: int) -> None:
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < count:
        raise ValueError(f"{what} go from 0 to {count - 1}")


def _check_order(groups: Ids, begins: Cycles, ends: Cycles, fault: str) -> None:
    order = np.argsort(groups, kind="stable")
    same = groups[order][1:] == groups[order][:-1]
    if np.any(begins[order][1:][same] < ends[order][:-1][same]):
        raise ValueError(fault)

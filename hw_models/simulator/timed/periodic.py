"""Steady states: a run whose state comes again, later and further on, goes on as it did, so that it need not.

Two states are alike if one is the other with all times later by as much, the counts of each hold, pipeline and fork
larger by as much, and the watched loop's iteration further by as much, wherever it stands; times that are over do not
count, for all that they are compared with are later. What a turn does depends on differences of times and of counts
that belong together, and on the classes of iterations: so from states that are alike the same follows, shifted, as long
as no loop comes to iterations of another class. Those in between are counted as often as they would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_models.simulator.timed import codes, layout
from hw_models.simulator.timed.state import part

_SUMMED = ("visits", "busy", "stalled", "served")


@dataclass(frozen=True, eq=False)
class Moment:
    """A state at the turn of a loop.

    Attributes:
        iteration: of the loop, in the main thread.
    """

    state: Any
    loop: int
    iteration: int

    def __getitem__(self, name: str) -> Any:
        return part(self.state, name)

    @property
    def now(self) -> int:
        """The time of the latest turn."""
        return int(self["clock"][0])


@dataclass(frozen=True, eq=False)
class Period:
    """By how much a state is later and further than one that is alike.

    Attributes:
        time: in ticks.
        turns: of the loop.
        holds, pipes, forks, signals, marks: by how much their counts are larger.
    """

    time: int
    turns: int
    holds: Any
    pipes: Any
    forks: Any
    signals: Any
    marks: Any


def period(before: Moment, after: Moment, links: Links) -> Period | None:
    """Return by how much a state is later than another if they are alike."""
    time, turns = after.now - before.now, after.iteration - before.iteration
    if time <= 0 or turns <= 0 or (before["pc"] != after["pc"]).any() or (before["state"] != after["state"]).any():
        return None
    found = Period(
        time,
        turns,
        after["entered"] - before["entered"],
        _pipes(after)[:, 0] - _pipes(before)[:, 0],
        after["forked"] - before["forked"],
        after["done"] - before["done"],
        after["marks"] - before["marks"],
    )
    return found if _Alike(before, after, found, links).check() else None


@dataclass(frozen=True)
class Links:
    """Counts that are compared with each other.

    Attributes:
        outer: (thread, mark, hold): visits that a thread counts, and how often the hold has been filled.
        made: (thread, mark, signal): visits that a thread counts, and how often something has been made.
        latest: of each pipeline, by how many iterations its latest stage is late.
        pipe_of: of what tasks make for stages of a pipeline, that pipeline.
    """

    outer: tuple[tuple[int, int, int], ...]
    made: tuple[tuple[int, int, int], ...]
    latest: tuple[int, ...]
    pipe_of: tuple[int, ...]


class _Alike:
    def __init__(self, before: Moment, after: Moment, by: Period, links: Links) -> None:
        self.a, self.b, self.by, self.links = before, after, by, links

    def check(self) -> bool:
        """Whether the later state is the earlier one, shifted. Threads that are forked have all ended here."""
        return self._counts() and self._times() and self._rings() and self._stages() and self._contexts()

    def _late(self, a: Any, b: Any) -> bool:
        """Whether times are later by the period, or over."""
        over = (a <= self.a.now) & (b <= self.b.now)
        return bool((over | (b - a == self.by.time)).all())

    def _counts(self) -> bool:
        for name in ("fetched", "left", "written"):
            a, b = self.a[name], self.b[name]
            if ((b - a != self.by.holds) & ((a != 0) | (b != 0))).any():
                return False
        marks, filled = self.by.marks, self.b["fetched"] - self.a["fetched"]
        a, b = _pipes(self.a), _pipes(self.b)
        return (
            all(marks.reshape(len(self.a["pc"]), -1)[th, mark] == filled[hold] for th, mark, hold in self.links.outer)
            and all(
                marks.reshape(len(self.a["pc"]), -1)[th, mark] == self.by.signals[signal]
                for th, mark, signal in self.links.made
            )
            and bool((b[:, 2] - a[:, 2] == self.by.pipes).all())
            and bool((a[:, 3] == b[:, 3]).all())
            and bool((_used(self.a) == _used(self.b)).all())
        )

    def _times(self) -> bool:
        return all(self._late(self.a[name], self.b[name]) for name in ("time", "array", "out", "free"))

    def _rings(self) -> bool:
        for ring, count in (*_RINGS, ("done_at", "done")):
            if not self._late(_unrolled(self.a, ring, count), _unrolled(self.b, ring, count)):
                return False
        ahead = _unrolled(self.b, "fetched_at", "fetched") > self.b.now
        causes = _unrolled(self.a, "fetch_cause", "fetched") != _unrolled(self.b, "fetch_cause", "fetched")
        waiting = np.arange(codes.RING) < (self.b["left"] - self.b["written"])[:, None]
        numbers = _unrolled(self.a, "left_number", "left") != _unrolled(self.b, "left_number", "left")
        written = self.b["written"][:, None] > 0
        return not ((causes & ahead).any() or (numbers & waiting & written).any())

    def _stages(self) -> bool:
        """What stages of pipelines have made, by how many iterations ago."""
        a, b = _Made(self.a), _Made(self.b)
        for pipe, (xa, xb) in enumerate(zip(_pipes(self.a)[:, 0], _pipes(self.b)[:, 0], strict=True)):
            latest = self.links.latest[pipe] if pipe < len(self.links.latest) else 0
            for j in range(codes.RING if self.by.pipes[pipe] else 0):
                own, other = a.tags[:, (xa - j) % codes.RING] == xa - j, b.tags[:, (xb - j) % codes.RING] == xb - j
                if (own != other).any() and j <= latest:
                    return False
                own &= other
                if not self._late(a.times[own, (xa - j) % codes.RING], b.times[own, (xb - j) % codes.RING]):
                    return False
        return True

    def _contexts(self) -> bool:
        entries = int(self.a.state[layout.ENTRIES])
        for row_a, row_b in _rows(self.a, self.b, self.links):
            a, b = self.a["context"][row_a], self.b["context"][row_b]
            loops = (b - a)[:entries].reshape(-1, 5)
            turned = loops[:, 0].copy()
            own, turned[self.a.loop] = turned[self.a.loop], 0
            if (loops[:, 1:] != 0).any() or turned.any() or own not in (0, self.by.turns):
                return False
            if own == 0 and (a != b).any():
                return False
            a, b = (x[entries : entries + len(self.by.holds)] for x in (a, b))
            if own and ((b - a != self.by.holds) & ((a != 0) | (b != 0))).any():
                return False
        return True


def most_periods(before: Moment, after: Moment, by: Period, links: Links, runs: tuple[Any, Any]) -> int:
    """Return how many periods can be left out before some thread comes to iterations of another class.

    Args:
        runs: of the rows of loops, where their runs of iterations begin, and up to which iteration each run goes.
    """
    begins, upto = runs
    found = []
    for _, row in _turning(before, after, links):
        at, run, _, _, which = after["context"][row][5 * after.loop : 5 * after.loop + 5]
        last = upto[begins[which + 1] - 1] - 1
        found.append((min(int(upto[run]), int(last)) - 1 - int(at)) // by.turns - 1)
    return max(0, min(found, default=0))


def skip(before: Moment, after: Moment, by: Period, links: Links, times: int) -> None:
    """Put the later of two states that are alike so many periods further, in place."""
    later = times * by.time
    turning = _turning(before, after, links)
    for name in ("time", "array", "out", "free", "made_at"):
        after[name][...] += later * (after[name] != before[name])
    after["clock"][[0, 2]] += later
    for ring, count in (*_RINGS, ("done_at", "done"), ("fetch_cause", "fetched"), ("left_number", "left")):
        moved = times * (by.signals if count == "done" else by.holds * (after[count] != 0))
        values = after[ring].reshape(-1, codes.RING)
        for row, move in enumerate(moved):
            values[row] = np.roll(values[row], int(move) % codes.RING)
        if ring.endswith("_at"):
            values += later
    for name in ("fetched", "left", "written"):
        after[name][...] += times * by.holds * (after[name] != 0)
    for name, count in (("entered", by.holds), ("forked", by.forks), ("done", by.signals), ("marks", by.marks)):
        after[name][...] += times * count
    _forward(after, by, links, times, turning)
    for name in _SUMMED:
        after[name][...] += times * (after[name] - before[name])
    after["stale"][...] = 1


def _forward(after: Moment, by: Period, links: Links, times: int, turning: list[tuple[int, int]]) -> None:
    """Put iterations and entries further, and the rings of pipelines."""
    entries, iterations = int(after.state[layout.ENTRIES]), int(after.state[layout.ITERATION])
    contexts, made, threads = after["context"], _Made(after), len(after["pc"])
    for _, row in turning:
        contexts[row][5 * after.loop] += times * by.turns
        if row == 0 or row >= threads:
            held = contexts[row][entries:iterations]
            held += times * by.holds[: len(held)] * (held != 0)
            contexts[row][iterations:] += times * by.pipes[: contexts.shape[1] - iterations]
    around = after["around"].reshape(len(contexts), -1)
    for pipe, one in enumerate(by.pipes):
        move = int(times * one)
        rows = slice(threads + pipe * codes.RING, threads + (pipe + 1) * codes.RING)
        for table in (contexts, around) if move else ():
            table[rows] = np.roll(table[rows], move, axis=0)
        own = np.array([p == pipe for p in links.pipe_of], bool)
        if move and own.any():
            tags = np.roll(made.tags[own], move, axis=1)
            made.tags[own] = tags + move * (tags >= 0)
            made.times[own] = np.roll(made.times[own], move, axis=1)
    pipes = _pipes(after)
    pipes[:, 0] += times * by.pipes
    pipes[:, 2] += times * by.pipes


def _turning(before: Moment, after: Moment, links: Links) -> list[tuple[int, int]]:
    """The rows of contexts in which the loop has turned between two states."""
    a, b, at = before["context"], after["context"], 5 * after.loop
    return [(x, y) for x, y in _rows(before, after, links) if a[x][at] != b[y][at]]


_RINGS = (("fetched_at", "fetched"), ("left_at", "left"), ("written_at", "written"))


class _Made:
    def __init__(self, moment: Moment) -> None:
        self.tags = moment["made_tag"].reshape(-1, codes.RING)
        self.times = moment["made_at"].reshape(-1, codes.RING, 3)


def _pipes(moment: Moment) -> Any:
    return moment["pipes"].reshape(-1, 4)


def _used(moment: Moment) -> Any:
    return moment["used"].reshape(-1, 4)[:, [0, 2]]


def _rows(a: Moment, b: Moment, links: Links) -> list[tuple[int, int]]:
    """Rows of contexts that matter, in two states: of threads under way, and of iterations of pipelines."""
    state = a["state"]
    rows = [(i, i) for i in range(len(state)) if state[i] in (codes.WAITING, codes.JOINING)]
    pipes_a, pipes_b = _pipes(a), _pipes(b)
    for pipe in range(len(pipes_a)):
        latest = links.latest[pipe] + 1 if pipe < len(links.latest) else 0
        for j in range(latest if pipes_a[pipe, 3] and pipes_b[pipe, 3] else 0):
            xa, xb = pipes_a[pipe, 0] - j, pipes_b[pipe, 0] - j
            if xa < pipes_a[pipe, 1] or xb < pipes_b[pipe, 1]:
                break
            base = len(state) + pipe * codes.RING
            rows.append((int(base + xa % codes.RING), int(base + xb % codes.RING)))
    return rows


def _unrolled(moment: Moment, ring: str, count: str) -> Any:
    """A ring's values by how long ago they were written."""
    values, counts = moment[ring].reshape(-1, codes.RING), moment[count]
    places = (counts[:, None] - 1 - np.arange(codes.RING)) % codes.RING
    return np.take_along_axis(values, places, axis=1)

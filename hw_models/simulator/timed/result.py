"""What a timed run found: cycles, who worked and who waited and why, what was moved, how full the memories were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from einsum_cascades.loops.counts import Row
from einsum_cascades.loops.sites import Plan
from hw_models.accounting import Accounting
from hw_models.machine import Machine
from hw_models.simulator import recording as recorded
from hw_models.simulator.timed import codes
from hw_models.simulator.timed.instructions import Task
from hw_models.simulator.timed.run import Run, Skip
from hw_models.simulator.timed.state import part
from hw_models.spatial.activity import Activity, task_of
from hw_models.spatial.energy import Energy, energy

CAUSES = codes.CAUSES
"""Why an array waits: operands that are on their way; no room for them; a port that others use; what another task
makes, or the order of the mapping; results that have not left an array."""


@dataclass(frozen=True)
class ArrayTime:
    """How an array spends the cycles of a run.

    Attributes:
        busy: working.
        stalled: waiting, by cause.
        over: after its last task.
    """

    busy: int
    stalled: Mapping[str, int]
    over: int


@dataclass(frozen=True)
class TaskTime:
    """What a compute of the tree did.

    Attributes:
        visits: how many tasks it was.
        cycles: for which they worked.
        points, steps: that they worked on, and took in time.
    """

    name: str
    array: str
    visits: int
    cycles: int
    points: int
    steps: int


@dataclass(frozen=True, eq=False)
class Timed:
    """A timed run.

    Attributes:
        cycles: from the first to when the last result has arrived.
        arrays: by name.
        port_cycles: by port or link, for which it worked.
        tasks: of each compute, in tree order.
        rows: accesses, as the engine's table has them.
        peak_bits: by memory, the most that the mapping keeps in one instance at a time.
        held_bits: by memory, the most that is in it, with what comes ahead and what has not left.
        skips: stretches that were proven to repeat what was run, and so were not run.
        turns: tasks, transfers and entries that were run one by one.
    """

    machine: Machine
    plan: Plan
    cycles: int
    arrays: Mapping[str, ArrayTime]
    port_cycles: Mapping[str, Fraction]
    tasks: tuple[TaskTime, ...]
    rows: tuple[Row, ...]
    peak_bits: Mapping[str, int]
    held_bits: Mapping[str, int]
    skips: tuple[Skip, ...]
    turns: int

    @property
    def latency_s(self) -> float:
        """Seconds."""
        return self.cycles / float(self.machine.frequency_hz)

    def activity(self, accounting: Accounting) -> Activity:
        """Return the run as the engine's table of what a machine does, which is priced."""
        rows, tasks = list(self.rows), {}
        for task, site in zip(self.tasks, self.plan.computes, strict=True):
            found, further = task_of(site, self.plan, self.machine, accounting, task.points, task.steps)
            tasks[site.number] = found
            rows += further
        return Activity(self.plan, self.machine, tuple(rows), tasks, accounting.pipeline_copies)

    def energy(self, accounting: Accounting) -> Energy:
        """Return what the run costs in energy: its accesses and operations at the engine's prices.

        Raises:
            InputError: a component has no price.
        """
        return energy(self.activity(accounting), accounting, self.latency_s)


def result_of(run: Run) -> Timed:
    """Collect what a run that has ended found."""
    build, ticks = run.build, codes.TICKS
    state = {name: part(run.state, name) for name in ("clock", "time", "array", "busy", "stalled", "served", "used")}
    end = max(int(state["clock"][2]), int(state["time"][0]), int(state["array"][:, 0].max()))
    cycles = -(-end // ticks)
    arrays = {}
    for i, array in enumerate(build.machine.arrays):
        own = [t.index for t in build.lowered.tasks if t.site.unit == array.name]
        stalled = {cause: int(n) // ticks for cause, n in zip(CAUSES, state["stalled"][i], strict=True)}
        busy = sum(int(state["busy"][t]) for t in own) // ticks
        arrays[array.name] = ArrayTime(busy, stalled, cycles - int(state["array"][i, 0]) // ticks)
    visits = part(run.state, "visits")
    tasks = tuple(_task_time(t, run, visits, int(state["busy"][t.index]) // ticks) for t in build.lowered.tasks)
    memories = [memory.name for memory in build.machine.memories]
    return Timed(
        build.machine,
        build.plan,
        cycles,
        arrays,
        {port.name: Fraction(int(n), ticks) for port, n in zip(build.ports, state["served"], strict=False)},
        tasks,
        tuple(_rows(run)),
        {name: int(state["used"][i, 1]) for i, name in enumerate(memories)},
        {name: int(state["used"][i, 3]) for i, name in enumerate(memories)},
        tuple(run.skips),
        run.turns,
    )


def _task_time(task: Task, run: Run, visits: Any, cycles: int) -> TaskTime:
    build, table = run.build, task.table
    times = [int(n) for n in visits[table.base : table.base + table.size]]
    points = steps = 0
    for n, (at, _) in zip(times, table, strict=True):
        if n:
            points += n * build.lowered.visits.points(task.site, at)
            steps += n * build.lowered.visits.steps(task.site, at)
    name = build.plan.step(task.site).name
    return TaskTime(name, task.site.unit, sum(times), cycles, points, steps)


def _rows(run: Run) -> Iterator[Row]:
    """The accesses of all visits, by the site that causes them; parts of holds are rounded over all visits together."""
    build, visits = run.build, part(run.state, "visits")
    counts: Counter[tuple[str, str, str, int, int, Fraction]] = Counter()
    begun: Counter[tuple[str, str, str, int, int, Fraction]] = Counter()
    tables = [(k.table, (k.site,)) for k in build.lowered.kept]
    for table, sites in [*tables, *((t.table, t.sites) for t in build.lowered.tasks)]:
        for number, (at, first) in enumerate(table):
            times = int(visits[table.base + number])
            for site in sites if times else ():
                for moved in build.lowered.visits.moved(site, at, first):
                    key = moved.node, moved.tensor, moved.action, site.number, moved.hold, moved.part
                    counts[key] += moved.count * times
                    begun[key] += moved.begun * times
    for key in sorted(counts, key=lambda key: key[3]):
        node, tensor, action, number, hold, share = key
        if counts[key]:
            scaled = (2 * counts[key] * share.numerator + share.denominator) // (2 * share.denominator)
            yield Row(node, tensor, action, scaled, number, begun[key], hold)  # type: ignore[arg-type]


class Recorder:
    """Turns what a run records into recordings."""

    def __init__(self, run: Run) -> None:
        build = run.build
        self.run, self.skips = run, 0
        self.tracks = (
            *(recorded.Track(a.name, "array") for a in build.machine.arrays),
            *(recorded.Track(p.name, p.kind) for p in build.ports),
        )
        self.labels = tuple(recorded.Label(name, subject) for name, subject in build.names)
        self.counters = tuple(
            recorded.Counter(m.name, None if m.bytes is None else int(m.bytes)) for m in build.machine.memories
        )

    def chunk(self, events: Any, *, complete: bool) -> recorded.Recording:
        """Return a recording of events."""
        tasks, changes = events[events[:, 0] >= 0], events[events[:, 0] < 0]
        begins, ends = tasks[:, 2] // codes.TICKS, tasks[:, 3] // codes.TICKS
        skips, self.skips = self.run.skips[self.skips :], len(self.run.skips)
        return recorded.Recording(
            float(self.run.build.machine.frequency_hz),
            self.tracks,
            self.labels,
            self.counters,
            recorded.Tasks(
                tasks[:, 0].astype(np.int32), tasks[:, 1].astype(np.int32), begins, ends, tasks[:, 4].copy()
            ),
            recorded.Changes(
                (-1 - changes[:, 0]).astype(np.int32), changes[:, 2] // codes.TICKS, -(-changes[:, 3] // 8)
            ),
            tuple(
                recorded.Skipped(
                    s.begin, s.end, f"{s.iterations} iterations of {s.rank} alike", s.iterations // s.period
                )
                for s in skips
            ),
            complete,
        )

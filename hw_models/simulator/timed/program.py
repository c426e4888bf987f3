"""A lowered tree with a machine's figures, as the flat arrays that the timed run reads, and the state that it changes.

steps of a task      steps in time · cycles of a point (``hw_models.spatial.work``)
a port               a bandwidth of a memory or a link: bits of the busiest instance / bandwidth
room ahead           what a memory holds beyond the most that the tree keeps in it goes to a second copy of what is
                     refilled, smallest first: so far are holds filled ahead, or emptied behind
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Final

import numpy as np

from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.tree import Hold
from hw_models.accounting import Accounting
from hw_models.machine import Machine
from hw_models.simulator.timed import codes
from hw_models.simulator.timed.control import Control, Table
from hw_models.simulator.timed.instructions import Kept, Op, Task
from hw_models.simulator.timed.lowering import Lowered
from hw_models.simulator.timed.off_chip_layout import Layout
from hw_models.simulator.timed.periodic import Links
from hw_models.simulator.timed.ports import Port, ports_of
from hw_models.simulator.timed.ragged import Ragged
from hw_models.simulator.timed.room import Room, doubled, in_use
from hw_models.simulator.timed.waits import source_of, waits_of
from hw_models.spatial.activity import value_bits
from hw_models.spatial.work import cycles_of, in_tile, work_of

AHEAD: Final = 6
"""Entries by which holds are filled ahead at most, where the off-chip memory makes them wait."""


class Build:
    """Builds the arrays."""

    def __init__(self, plan: Plan, machine: Machine, accounting: Accounting) -> None:
        self.plan, self.machine, self.accounting = plan, machine, accounting
        self.room = Room(plan, machine, accounting)
        self.lowered = Lowered(plan, self.room.twice)
        self.ports = ports_of(machine)
        self.layout = Layout(self.lowered.visits, machine)
        self.demand: list[int] = []
        self.port_rows: list[tuple[int, int]] = []
        self.names: list[tuple[str, str]] = []
        self.tables: list[Table] = [t.table for t in self.lowered.tasks] + [k.table for k in self.lowered.kept]
        self.values: dict[str, Any] = {}
        self.build()

    @property
    def outermost(self) -> list[Control]:
        """The loops of the main thread that are inside each other, from the root."""
        found: list[Control] = []
        for control in self.lowered.main_loops:
            if not found or control.index == found[-1].index + 1:
                found.append(control)
        return found[:3]

    def bits(self, tensor: str) -> int:
        """Bits of a value."""
        return int(value_bits(tensor, self.plan.space.cascade, self.machine))

    def name(self, what: str, subject: str) -> int:
        """Number what a track shows."""
        if (what, subject) not in self.names:
            self.names.append((what, subject))
        return self.names.index((what, subject))

    def build(self) -> None:
        """Fill ``values``."""
        self._controls()
        self._tables()
        self._tasks()
        self._kept()
        self._waits()
        self._pipes()
        self._threads()
        self.values["port"] = np.array([p for p, _ in self.port_rows], np.int64)
        self.values["port_demand"] = np.array([d for _, d in self.port_rows], np.int64)
        self.values["demand"] = np.array(self.demand, np.int64)
        self.values |= self.layout.arrays()

    def _put(self, name: str, numbers: Iterable[int]) -> None:
        self.values[name] = np.array(list(numbers), np.int64)

    def _lists(self, names: str, ragged: Ragged) -> None:
        for name, column in zip(names.split(), ragged.arrays(), strict=True):
            self.values[name] = column

    def _controls(self) -> None:
        runs, rows, loop_row = Ragged(2), 0, []
        controls = self.lowered.controls.found
        for control in controls:
            loop_row.append(rows)
            for one in control.runs:
                runs.add(one)
                rows += 1
        self._lists("run_from run_upto run_class", runs)
        self._put("loop_row", loop_row)
        self._put("loop_outer", (-1 if c.outer is None else c.outer.index for c in controls))

    def _tables(self) -> None:
        keys = Ragged(2)
        for table in self.tables:
            keys.add([(c.index, stride) for _, c, stride in table.keys if c is not None and len(c.classes) > 1])
        self._lists("key_from key_loop key_stride", keys)
        self._put("table_base", (t.base for t in self.tables))

    def _ports(self, table: Table, sites: tuple[Site, ...], *, out: bool) -> None:
        """Add the ports that visits need."""
        for number, port in enumerate(self.ports):
            ticks = [round(self._port_bits(port, sites, at, first, out) / port.bits_per_tick) for at, first in table]
            if any(ticks):
                self.port_rows.append((number, len(self.demand)))
                self.demand += ticks
                self.layout.add(table, sites, port, out=out)

    def _port_bits(self, port: Port, sites: tuple[Site, ...], at: Any, first: Any, out: bool) -> Fraction:
        found = Fraction(0)
        for site in sites:
            for row in self.lowered.visits.moved(site, at, first, port.only):
                if row.node == port.node and row.action in port.actions and row.out == out:
                    found += row.count * row.part * self.bits(row.tensor)
        return found

    # Tasks.

    def _tasks(self) -> None:
        lowered, visits = self.lowered, self.lowered.visits
        arrays = [array.name for array in self.machine.arrays]
        steps = np.zeros(max(lowered.size, 1), np.int64)
        starts = [0]
        columns: dict[str, list[int]] = {name: [] for name in _TASK}
        for task in lowered.tasks:
            table, step = task.table, self.plan.step(task.site)
            array = self.machine.array(task.site.unit)
            exp = "exp" in work_of(step.einsum)
            cycles = cycles_of(step.einsum, array, self.accounting, tile=exp and in_tile(task.site, self.plan))
            point = round(Fraction(cycles) * codes.TICKS)
            for number, (at, _) in enumerate(table):
                steps[table.base + number] = visits.steps(task.site, at) * point
            depth = max((int(array.unit_of[kind].depth) for kind in work_of(step.einsum)), default=1) - 1
            loads, unloads = self._stationary(task)
            own = {
                "task_array": arrays.index(array.name),
                "task_fill": int(array.fill_cycles) * codes.TICKS,
                "task_drain": int(array.drain_cycles) * codes.TICKS,
                "task_depth": depth * codes.TICKS,
                "task_point": point,
                "task_loads": int(loads),
                "task_unloads": int(unloads and array.drain_cycles > 0),
                "task_name": self.name(step.name, step.name),
                "task_stream": self.name(f"stream {step.name}", step.name),
                "task_thread": task.thread,
            }
            for name, value in own.items():
                columns[name].append(value)
            for out in (False, True):
                self._ports(table, task.sites, out=out)
                starts.append(len(self.port_rows))
        for name, numbers in columns.items():
            self._put(name, numbers)
        self._put("task_port_from", starts)
        self.values["steps"] = steps

    def _stationary(self, task: Task) -> tuple[bool, bool]:
        """Whether an operand stays in the array while a task's loops in time turn, and whether its results do."""
        step, held = self.plan.step(task.site), {}
        for site in task.sites[:-1]:
            assert isinstance(site.node, Hold)
            turns = [x for x in task.site.loops[len(site.loops) :] if x.over is None]
            if turns:
                held[site.node.tensor] = True
        return any(o.name in held for o in step.inputs), step.output.tensor in held

    # Holds.

    def _kept(self) -> None:
        lowered, number = self.lowered, len(self.lowered.tasks)
        memories = [memory.name for memory in self.machine.memories]
        self.values["room"] = self.room.of(lowered)
        ports: dict[str, list[int]] = {"fetch": [], "write": []}
        for way, out in (("fetch", False), ("write", True)):
            starts = []
            for kept in lowered.kept:
                starts.append(len(self.port_rows))
                self._ports(kept.table, (kept.site,), out=out)
            self._put(f"{way}_port_from", [*starts, len(self.port_rows)])
            ends = [*starts[1:], len(self.port_rows)] if starts else []
            ports[way] = [b - a for a, b in zip(starts, ends, strict=True)]
        self.filled = {k.index for k in lowered.kept if ports["fetch"][k.index]}
        self.emptied = {k.index for k in lowered.kept if ports["write"][k.index]}
        self.copies = self._copies()
        tensors = [self.plan.operand_of(k.site).tensor for k in lowered.kept]
        self._put("fetches", (int(k.index in self.filled) for k in lowered.kept))
        self._put("writes", (int(k.index in self.emptied) for k in lowered.kept))
        self._put("doubled", (doubled(k, self.plan) for k in lowered.kept))
        self._put("copies", (self.copies[k.index] for k in lowered.kept))
        self._put("hold_table", (number + k.index for k in lowered.kept))
        self._put("hold_memory", (memories.index(m) if (m := k.site.unit) in memories else -1 for k in lowered.kept))
        self._put("hold_pipe", (-1 if k.pipe is None else k.pipe.index for k in lowered.kept))
        self._put("latency", (self._latency(k) for k in lowered.kept))
        self._put("fetch_name", (self.name(f"fetch {t}", t) for t in tensors))
        self._put("write_name", (self.name(f"write {t}", t) for t in tensors))
        makers = Ragged(1)
        for kept in lowered.kept:
            tensor = self.plan.operand_of(kept.site).tensor
            makers.add([(t.index,) for t in kept.tasks if self.plan.step(t.site).output.tensor == tensor])
        self._lists("hold_task_from hold_task", makers)
        self._sources()

    def _latency(self, kept: Kept) -> int:
        """Ticks that the off-chip memory takes beside its bandwidth; banks and rows have it in their own times."""
        root, outer = self.machine.root, self.plan.outer(kept.site)
        if self.layout.timed or (outer is not None and outer.unit != root.name):
            return 0
        ticks: int = round(root.latency_s * self.machine.frequency_hz * codes.TICKS)
        return ticks

    def _sources(self) -> None:
        lowered = self.lowered
        outer, source, landed, again = Ragged(2), Ragged(2), Ragged(1), []
        self.marked: dict[int, set[int]] = {}
        for kept in lowered.kept:
            if kept.index not in self.filled:
                outer.add([])
                source.add([])
                again.append(0)
                continue
            found = source_of(kept, lowered, self.filled, self.emptied)
            marks = {o: lowered.mark(lowered.kept[o].site.node) for o in found.holds}
            outer.add([(o, marks[o]) for o in found.holds])
            source.add([(signal, mark) for signal, mark, _ in found.signals])
            for _, _, written in found.signals:
                landed.add([(h,) for h in written])
            again.append(found.again)
            self.marked[kept.index] = {*marks.values(), *(mark for _, mark, _ in found.signals)}
        self._lists("outer_from outer_hold outer_mark", outer)
        self._lists("source_from source_signal source_mark", source)
        self._lists("landed_from landed_hold", landed)
        self._put("again", again)

    def _count_only(self) -> None:
        """Holds in registers that nothing is waited for take no turns."""
        moved = self.filled | self.emptied
        arrays = {array.name for array in self.machine.arrays}
        plain = {
            number
            for number, group in enumerate(self.lowered.groups)
            if all(k.site.unit in arrays and k.index not in moved and k.pipe is None for k in group)
        }
        for thread in self.lowered.threads:
            for instruction in thread.code:
                if instruction[0] in (Op.ENTER, Op.LEAVE) and instruction[1] in plain:
                    instruction[0] = int(Op.COUNT if instruction[0] == Op.ENTER else Op.PASS)

    def _users(self, port: int) -> int:
        """How many arrays and transfers use a port."""
        found: set[tuple[str, int]] = set()
        arrays, starts = self.values["task_array"], self.values["task_port_from"]
        for task in range(len(self.lowered.tasks)):
            rows = self.port_rows[starts[2 * task] : starts[2 * task + 2]]
            found |= {("array", int(arrays[task])) for number, _ in rows if number == port}
        for way in ("fetch", "write"):
            starts = self.values[f"{way}_port_from"]
            for hold in range(len(self.lowered.kept)):
                rows = self.port_rows[starts[hold] : starts[hold + 1]]
                found |= {(way, hold) for number, _ in rows if number == port}
        return max(len(found), 1)

    def _rows_of(self, name: str, index: int) -> list[tuple[int, int]]:
        start, end = self.values[f"{name}_from"][index : index + 2]
        first = self.values["outer_hold" if name == "outer" else "source_signal"]
        return [(int(first[k]), int(self.values[f"{name}_mark"][k])) for k in range(start, end)]

    def _copies(self) -> dict[int, int]:
        """How many entries of each hold may be in its memory at a time: as many as are in use, and where there is room
        one more that comes or goes."""
        found = {kept.index: in_use(kept, self.plan) for kept in self.lowered.kept}
        moved = [
            k for k in self.lowered.kept if k.index in self.filled | self.emptied and any(s.control for s in k.path)
        ]
        waits = self.layout.timed or self.machine.root.latency_s > 0
        for _ in range(AHEAD if waits else 1):
            for kept in sorted(moved, key=self.room.most):
                if self.room.take(kept):
                    found[kept.index] += 1
        return found

    # What waits for what.

    def _waits(self) -> None:
        lowered = self.lowered
        kinds = {"ready": codes.READY, "made": codes.MADE, "iteration": codes.ITERATION, "follows": codes.FOLLOWS}
        rows, made = Ragged(7), Ragged(1)
        waits = [waits_of(task, lowered) for task in lowered.tasks]
        pairs = sorted({(w.what, w.pipe) for found in waits for w in found if w.kind == "iteration"})
        for task in lowered.tasks:
            made.add([(pipe,) for maker, pipe in pairs if maker == task.index])
        self._lists("made_from made_pipe", made)
        fork = [-1] * len(lowered.tasks)
        forks = {part.thread: f.index for f in lowered.forks for part in f.parts}
        parents = {number: thread.parent for number, thread in enumerate(lowered.threads)}
        for task, own in zip(lowered.tasks, waits, strict=True):
            found: list[tuple[int, ...]] = []
            for kept in lowered.kept:
                if kept.index in self.filled and task in kept.tasks:
                    found.append((codes.READY, kept.index, 0, -1, 0, 1, 1))
            for wait in own:
                where, what = wait.pipe, wait.what
                if wait.kind == "iteration":
                    what = pairs.index((wait.what, wait.pipe))
                if wait.kind == "follows":
                    where = _shared_fork(task.thread, lowered.tasks[wait.what].thread, parents, forks)
                    fork[wait.what] = fork[task.index] = where
                row = (kinds[wait.kind], what, int(wait.crosses), where, wait.before, wait.mine, wait.theirs)
                found.append(row)
            rows.add(found)
        self._lists("wait_from wait_kind wait_index wait_crosses wait_pipe wait_before wait_mine wait_theirs", rows)
        self._put("task_fork", fork)
        self._put("task_pipe", (self._pipe_of(task) for task in lowered.tasks))

    def _pipe_of(self, task: Task) -> int:
        around = [p.index for step in task.path for p in self.lowered.pipes if p.node is step.node]
        return around[-1] if around else -1

    def _pipes(self) -> None:
        lowered = self.lowered
        around, lates, within = Ragged(1), [], Ragged(1)
        for pipe in lowered.pipes:
            around.add([(k.index,) for k in pipe.kept])
            for kept in pipe.kept:
                lates.append(kept.late)
                place = next(i for i, step in enumerate(pipe.chain) if step.kept is kept)
                within.add([(s.control.index,) for s in pipe.chain[place:] if s.control is not None])
        self._lists("around_from around_hold", around)
        self._lists("within_from within_loop", within)
        self.values["around_late"] = np.array(lates, np.int64).reshape(len(lates), 2)
        self._put("latest", (p.latest for p in lowered.pipes))
        parts = Ragged(2)
        for fork in lowered.forks:
            parts.add([(part.thread, part.late) for part in fork.parts])
        self._lists("part_from part_thread part_late", parts)
        self._put("fork_pipe", (-1 if f.pipe is None else f.pipe.index for f in lowered.forks))

    def _threads(self) -> None:
        lowered = self.lowered
        outer: list[tuple[int, int, int]] = []
        made: list[tuple[int, int, int]] = []
        for kept in lowered.kept:
            tensor = self.plan.operand_of(kept.site).tensor
            if kept.index in self.filled:
                marks = frozenset(self.marked[kept.index])
                number = len(lowered.threads)
                outer += [(number, mark, hold) for hold, mark in self._rows_of("outer", kept.index)]
                made += [(number, mark, signal) for signal, mark in self._rows_of("source", kept.index)]
                lowered.transfer(kept, Op.FETCH, f"fetch {tensor}", marks)
            if kept.index in self.emptied:
                lowered.transfer(kept, Op.WRITE, f"write {tensor}", frozenset())
        pipes = tuple(p.latest for p in lowered.pipes)
        self.links = Links(tuple(outer), tuple(made), pipes, tuple(map(int, self.values["made_pipe"])))
        self._count_only()
        entry: list[int] = []
        code: list[list[int]] = []
        for thread in lowered.threads:
            start = len(code)
            entry.append(start)
            code += [[op, a, b + start if op in _JUMPS else b] for op, a, b in thread.code]
        self.values["code"] = np.array(code, np.int64)
        self._put("entry", entry)
        self._put("parent", (t.parent for t in lowered.threads))
        self._put("threads", [len(lowered.threads)])
        self._put("ring_row", (len(lowered.threads) + p.index * codes.RING for p in lowered.pipes))
        groups = Ragged(1)
        for group in lowered.groups:
            groups.add([(k.index,) for k in group])
        self._lists("group_from group_hold", groups)
        signals = Ragged(1)
        for node, child in lowered.signals:
            signals.add(
                [(t.index,) for t in lowered.tasks if any(id(s.node) == node and s.child == child for s in t.path)]
            )
        self._lists("signal_from signal_task", signals)
        tracks = len(self.machine.arrays)
        self._put("timed", [int(self.layout.timed)])
        self._put("port_users", (self._users(i) for i in range(len(self.ports))))
        self._put("port_track", (tracks + i for i in range(len(self.ports))))


_TASK: Final = (
    "task_array",
    "task_fill",
    "task_drain",
    "task_depth",
    "task_point",
    "task_loads",
    "task_unloads",
    "task_name",
    "task_stream",
    "task_thread",
)
_JUMPS = (int(Op.LOOP), int(Op.NEXT), int(Op.LAST), int(Op.EMPTY))


def _shared_fork(a: int, b: int, parents: dict[int, int], forks: dict[int, int]) -> int:
    """The fork by whose threads two threads come apart."""

    def up(thread: int) -> list[int]:
        return [thread] if parents[thread] < 0 else [thread, *up(parents[thread])]

    mine = {forks[t] for t in up(a) if t in forks}
    return next(forks[t] for t in up(b) if t in forks and forks[t] in mine)

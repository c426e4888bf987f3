"""From a loop tree to the threads of a timed run.

    main            walks the loops in time and the holds in tree order; where children run side by side, or are stages
                    of a pipeline, each is a thread of its own that is forked and joined
    fetch, write    of each hold that is filled from further out or written back there: a thread that walks the same
                    loops ahead of the computation, as far as there is room, or behind it

A thread is a short list of instructions for ``kernel.py``; tasks are the tree's leaves (``control.is_leaf``).

A pipeline goes on from one iteration of the loops around it to the next without emptying, as far as nothing but loops
and holds is between and no stage waits for a later one of an earlier iteration; else it empties there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.tree import (
    Compute,
    Hold,
    Last,
    Late,
    Loop,
    Node,
    Parallel,
    Pipeline,
    children,
    nodes,
)
from hw_models.simulator.timed.control import Control, Controls, is_leaf, table
from hw_models.simulator.timed.instructions import Fork, Kept, Op, Part, Pipe, Step, Task, Thread
from hw_models.simulator.timed.ranges import Cut
from hw_models.simulator.timed.visits import Visits


@dataclass(frozen=True)
class _Where:
    """A place during lowering."""

    thread: int
    around: dict[str, Control]
    between: dict[str, tuple[Cut, ...]]
    path: tuple[Step, ...]


class Lowered:
    """The threads of a plan.

    Args:
        twice: whether there is room for two entries of each of some holds at a time.

    Attributes:
        threads: forked ones after their parents; then those of transfers.
        tasks, kept: in tree order.
    """

    def __init__(self, plan: Plan, twice: Callable[[list[Kept]], bool] = lambda _: False) -> None:
        self.plan, self.twice = plan, twice
        self.controls = Controls(_sizes(plan))
        self.threads: list[Thread] = []
        self.tasks: list[Task] = []
        self.kept: list[Kept] = []
        self.forks: list[Fork] = []
        self.groups: list[list[Kept]] = []
        self.pipes: list[Pipe] = []
        self.main_loops: list[Control] = []
        self.marks: dict[int, int] = {}
        self.signals: dict[tuple[int, int], int] = {}
        self.visits = Visits(plan, _visited(plan))
        self.size = 0
        self._number = 0
        self._pipe_of: dict[int, Pipe] = {}
        main = self._thread("main", -1)
        self._emit(plan.tree.body, _Where(main, {}, {}, ()))
        self.threads[main].emit(Op.END)
        for kept in self.kept:
            kept.tasks = [t for t in self.tasks if kept.site.encloses(t.site) and self._uses(kept, t)]

    def _uses(self, kept: Kept, task: Task) -> bool:
        return any(use is task.site for use, _, _ in self.plan.touched(kept.site))

    def mark(self, node: Node) -> int:
        """Return the counter of a node's visits by threads of transfers."""
        return self.marks.setdefault(id(node), len(self.marks))

    def _thread(self, name: str, parent: int) -> int:
        self.threads.append(Thread(name, parent))
        return len(self.threads) - 1

    # The computation.

    def _emit(self, node: Node, here: _Where) -> None:
        thread = self.threads[here.thread]
        if is_leaf(node):
            self._leaf(node, here)
        elif isinstance(node, Loop) and node.over is not None:
            cut = Cut(int(node.tile), node.over)
            between = {**here.between, node.rank: (*here.between.get(node.rank, ()), cut)}
            self._emit(node.body, replace(here, between=between, path=(*here.path, Step(node))))
        elif isinstance(node, Loop):
            self._loop(node, here)
        elif isinstance(node, Hold):
            self._hold(node, here)
        elif isinstance(node, Last):
            controls = [step.control for step in here.path if step.control is not None]
            checks = [thread.emit(Op.LAST, c.index) for c in controls if c.rank == node.rank]
            self._emit(node.body, replace(here, path=(*here.path, Step(node))))
            for check in checks:
                thread.code[check][2] = len(thread.code)
        elif isinstance(node, Pipeline) and (pipe := self._pipe(node, here)) is not None:
            self._pipeline(pipe, here)
        elif isinstance(node, Parallel):
            parts: list[Started] = [
                (part, (Step(node, child),), _late(part)) for child, part in enumerate(node.children)
            ]
            late = any(by for _, _, by in parts)
            self._fork(parts, node, here, self.pipes[-1] if late and self.pipes else None)
        else:
            for child, below in enumerate(children(node)):
                self._emit(below, replace(here, path=(*here.path, Step(node, child))))
                self._signal(node, child, here.thread)

    def _loop(self, node: Loop, here: _Where) -> None:
        thread, rank = self.threads[here.thread], node.rank
        control = self.controls.add(node, here.around.get(rank), here.between.get(rank, ()))
        start = thread.emit(Op.LOOP, control.index)
        around = {**here.around, rank: control}
        if here.thread == 0 and not any(len(children(step.node)) > 1 for step in here.path):
            self.main_loops.append(control)
        step = Step(node, control=control)
        self._emit(node.body, _Where(here.thread, around, {**here.between, rank: ()}, (*here.path, step)))
        thread.emit(Op.NEXT, control.index, start + 1)
        thread.code[start][2] = len(thread.code)
        for pipe in self.pipes:
            if pipe.root is control:
                thread.emit(Op.EMPTY, pipe.index, pipe.start)

    def _hold(self, node: Hold, here: _Where) -> None:
        thread, group, path = self.threads[here.thread], [], here.path
        place = len(thread.code)
        thread.emit(Op.ENTER, 0)
        while isinstance(node, Hold) and not is_leaf(node):
            site = self._site()
            visits = table(site, self.visits.ranks(site), here.around, self.size, self.controls)
            self.size += visits.size
            kept = Kept(len(self.kept), site, visits, path)
            self.kept.append(kept)
            group.append(kept)
            path = (*path, Step(node, kept=kept))
            node = node.body  # type: ignore[assignment]
        thread.code[place][1] = len(self.groups)
        self.groups.append(group)
        self._emit(node, replace(here, path=path))
        thread.emit(Op.LEAVE, thread.code[place][1])

    def _site(self) -> Site:
        self._number += 1
        return self.plan.sites[self._number - 1]

    def _leaf(self, node: Node, here: _Where) -> None:
        sites = [self._site() for below in nodes(node) if isinstance(below, Hold | Compute)]
        ranks = dict.fromkeys(rank for site in sites for rank in self.visits.ranks(site))
        visits = table(sites[-1], ranks, here.around, self.size, self.controls)
        self.size += visits.size
        task = Task(len(self.tasks), sites[-1], visits, tuple(sites), here.thread, here.path)
        self.tasks.append(task)
        self.threads[here.thread].emit(Op.TASK, task.index)

    def _fork(self, parts: list[Started], node: Node, here: _Where, pipe: Pipe | None) -> None:
        """Fork threads: (node, further path, lateness) each."""
        fork = Fork(len(self.forks), [], pipe)
        self.forks.append(fork)
        self.threads[here.thread].emit(Op.FORK, fork.index)
        for part, path, late in parts:
            number = self._thread(f"{self.threads[here.thread].name}.{len(self.threads)}", here.thread)
            fork.parts.append(Part(number, late))
            if pipe is not None:
                pipe.latest = max(pipe.latest, late)
            self._emit(part, replace(here, thread=number, path=(*here.path, *path)))
            for step in path:
                self._signal(step.node, step.child, number)
            self.threads[number].emit(Op.END)

    # Pipelines.

    def _pipe(self, node: Pipeline, here: _Where) -> Pipe | None:
        """The pipeline of a node, with the loops in whose iterations it goes on; None if there is none."""
        chain: list[Step] = []
        for step in reversed(here.path):
            if isinstance(step.node, Loop | Hold):
                chain.insert(0, step)
            else:
                break
        pipe = Pipe(len(self.pipes), node, tuple(chain))
        if not pipe.loops:
            return None
        pipe.root = self._root(pipe)
        inside = False
        for step in pipe.chain:
            inside = inside or step.control is pipe.root
            if inside and step.kept is not None:
                step.kept.pipe = pipe
                pipe.kept.append(step.kept)
        self.pipes.append(pipe)
        return pipe

    def _root(self, pipe: Pipe) -> Control:
        """The outermost loop in whose iterations a pipeline goes on without emptying."""
        *outer, own = pipe.loops
        place = places(pipe.node)
        root, distance = own, own.least_trips
        for control in reversed(outer):
            if any(not _in_time(made, used, distance) for made, used in self._carried(pipe, control, place)):
                break
            if not self.twice(_held_inside(pipe, control, root)):
                break
            root, distance = control, distance * control.least_trips
        return root

    def _carried(self, pipe: Pipe, control: Control, place: dict[int, Place]) -> Iterable[tuple[Place, Place]]:
        """Stages between which a loop around a pipeline carries values: (lateness, slot, part) of maker and reader."""
        for tensor, users in self.plan.users.items():
            along = control.rank in self.plan.carried_along(tensor)
            for reader, operand, writes in users:
                if writes or id(reader.node) not in place or not (along and operand.carried):
                    continue
                for maker, _, made in users:
                    if made and id(maker.node) in place:
                        yield place[id(maker.node)], place[id(reader.node)]

    def _pipeline(self, pipe: Pipe, here: _Where) -> None:
        thread, node = self.threads[here.thread], pipe.node
        thread.emit(Op.PUSH, pipe.index)
        pipe.start = thread.emit(Op.BEGIN, pipe.index)
        first = len(self.tasks)
        for child, slot in enumerate(node.children):
            parts = [(part, (Step(node, child), *path), _late(part)) for part, path in _parts(slot)]
            self._fork(parts, node, here, pipe)
        thread.emit(Op.CLOSE, pipe.index)
        place = places(node)
        for kept in pipe.kept:
            lates = [place[id(t.site.node)][0] for t in self.tasks[first:] if self._uses(kept, t)] or [0]
            kept.late = min(lates), max(lates)
        for kept in reversed(pipe.kept):
            _hand_over(kept, pipe.kept)

    def _signal(self, node: Node, child: int, thread: int) -> None:
        self.threads[thread].emit(Op.DONE, self.signals.setdefault((id(node), child), len(self.signals)))

    # Transfers.

    def transfer(self, kept: Kept, op: Op, name: str, marks: frozenset[int]) -> None:
        """Add the thread that fills a hold, or empties it.

        Args:
            marks: of the nodes whose visits it has to count.
        """
        thread = Thread(name)
        open_loops: list[tuple[Control, int]] = []
        checks: list[tuple[int, int]] = []
        for step in kept.path:
            if id(step.node) in self.marks and self.marks[id(step.node)] in marks:
                thread.emit(Op.SEEN, self.marks[id(step.node)])
            if step.control is not None:
                open_loops.append((step.control, thread.emit(Op.LOOP, step.control.index)))
            elif isinstance(step.node, Last):
                for control, _ in open_loops:
                    if control.rank == step.node.rank:
                        checks.append((len(open_loops), thread.emit(Op.LAST, control.index)))
        thread.emit(op, kept.index)
        for depth, (control, start) in reversed(list(enumerate(open_loops, 1))):
            for at, check in checks:
                if at == depth:
                    thread.code[check][2] = len(thread.code)
            thread.emit(Op.NEXT, control.index, start + 1)
            thread.code[start][2] = len(thread.code)
        for at, check in checks:
            if at == 0:
                thread.code[check][2] = len(thread.code)
        thread.emit(Op.END)
        self.threads.append(thread)


def _hand_over(kept: Kept, around: list[Kept]) -> None:
    """What takes the room of another hold keeps it as long as it stays itself."""
    node = kept.site.node
    assert isinstance(node, Hold)
    for other in around if node.place is not None else ():
        assert isinstance(other.site.node, Hold)
        if (other.site.node.tensor, other.site.unit) == (node.place, kept.site.unit):
            other.late = min(other.late[0], kept.late[0]), max(other.late[1], kept.late[1])


def _held_inside(pipe: Pipe, outer: Control, inner: Control) -> list[Kept]:
    """The holds between two loops around a pipeline."""
    steps = [step.control for step in pipe.chain]
    between = pipe.chain[steps.index(outer) : steps.index(inner)]
    return [step.kept for step in between if step.kept is not None]


Started: TypeAlias = tuple[Node, tuple[Step, ...], int]
"""What a thread runs, the way there, and by how many iterations it is late."""
Place: TypeAlias = tuple[int, int, int]
"""Of a stage of a pipeline: by how many iterations it is late, its slot, and which of the slot's parts it is."""


def _parts(slot: Node) -> list[tuple[Node, tuple[Step, ...]]]:
    """What runs side by side in a slot of a pipeline."""
    if isinstance(slot, Parallel):
        return [(part, (Step(slot, child),)) for child, part in enumerate(slot.children)]
    return [(slot, ())]


def _late(node: Node) -> int:
    while isinstance(node, Hold):
        node = node.body
    return node.by if isinstance(node, Late) else 0


def places(pipe: Pipeline) -> dict[int, Place]:
    """By the identity of a compute's node, where in a pipeline it is."""
    found = {}
    for slot, child in enumerate(pipe.children):
        for part, (node, _) in enumerate(_parts(child)):
            for below in nodes(node):
                if isinstance(below, Compute):
                    found[id(below)] = (_late(node), slot, part)
    return found


def _in_time(made: Place, used: Place, distance: int) -> bool:
    """Whether a value that is made so many iterations before comes before its use."""
    makes, uses = made[0] - distance, used[0]
    if (makes, made[1]) != (uses, used[1]):
        return (makes, made[1]) < (uses, used[1])
    return made[2] == used[2]


def _sizes(plan: Plan) -> dict[str, int]:
    ranks = {loop.rank for site in plan.sites for loop in site.loops} | set(plan.space.sizes)
    return {rank: int(plan.space.extent(rank)) for rank in ranks}


def _visited(plan: Plan) -> dict[int, int]:
    """By site, how many of the loops around it are around its visits."""
    found: dict[int, int] = {}
    number = 0

    def walk(node: Node, loops: int, leaf: bool) -> None:
        nonlocal number
        if not leaf and is_leaf(node):
            leaf, loops = True, loops
        if isinstance(node, Hold | Compute):
            found[number] = loops
            number += 1
        for child in children(node):
            walk(child, loops + (isinstance(node, Loop) and not leaf), leaf)

    walk(plan.tree.body, 0, False)
    return found

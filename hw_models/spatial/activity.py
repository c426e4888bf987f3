"""What a loop tree makes a machine do: the one table that time and energy are computed from.

Counts of memories and links are those of ``einsum_cascades.loops.counts``; to them come the operations of the arrays,
and the register accesses of a point that its units act on several times (two operands and a result for each further
action).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from einsum_cascades.ir import Cascade
from einsum_cascades.loops.arith import Number
from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.counts import Row, count
from einsum_cascades.loops.measure import Measure
from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.tree import Compute, LoopTree, Sequential
from einsum_cascades.operators import WorkClass
from hw_models.accounting import Accounting
from hw_models.machine import Machine
from hw_models.spatial.moved import Moved
from hw_models.spatial.work import actions_of, cycles_of, in_tile, work_of

WITHIN_POINT = "(within a point)"
"""Stands for the tensor in register accesses between the actions of one point."""


@dataclass(frozen=True, eq=False)
class Task:
    """One compute of a tree: an Einsum on an array.

    Attributes:
        name: the Einsum.
        array: where it runs.
        cycles: for which it occupies the array, idle lanes included.
        points: on which it works.
        pe_cycles: cycles of useful work, summed over PEs.
        operations: by class of work.
        tile: of an exponential, whether it works tile by tile.
    """

    name: str
    array: str
    cycles: Number
    points: Number
    pe_cycles: Number
    operations: Mapping[WorkClass, Number]
    tile: bool = False


@dataclass(frozen=True, eq=False)
class Activity:
    """All that a tree does on a machine.

    Attributes:
        plan: the tree, resolved.
        rows: accesses by memory, and values by link.
        tasks: of each compute, by number of its site.
        copies: whether what crosses the stages of a pipeline takes room for each iteration that is under way.
    """

    plan: Plan
    machine: Machine
    rows: tuple[Row, ...]
    tasks: Mapping[int, Task]
    copies: bool = True

    def phase_of(self, site: int) -> int:
        """Return which child of an outermost ``seq`` a site is in; 0 if there is none."""
        return self.plan.sites[site].path[0] if self.phases > 1 else 0

    @cached_property
    def phases(self) -> int:
        """How many phases run one after another: the children of an outermost ``seq``."""
        body = self.plan.tree.body
        return len(body.children) if isinstance(body, Sequential) and self.machine.overlap == "phase" else 1

    def bits(self, tensor: str) -> Number:
        """Return the bits of a tensor's values."""
        return bits_of(tensor, self.plan, self.machine)

    @cached_property
    def measure(self) -> Measure:
        """Counts at the places of the plan."""
        return Measure(self.plan)

    @cached_property
    def dram_bytes(self) -> Number:
        """Bytes to and from the outermost memory."""
        home = self.machine.root.name
        return self.bytes_of(home)

    def bytes_of(self, node: str) -> Number:
        """Return the bytes read from and written to a memory, rounded up."""
        found = Moved()
        for row in self.rows:
            if row.node == node and row.action in ("read", "fill", "update", "drain"):
                found.add(self.bits(row.tensor), row.count)
        return found.bytes

    @cached_property
    def peak_bits(self) -> dict[str, Number]:
        """The most bits that one instance of each memory on chip holds at a time."""
        return live_bits(self.plan, self.bits, in_copies=self.copies, measure=self.measure)


def bits_of(tensor: str, plan: Plan, machine: Machine) -> Number:
    """Return the bits of a tensor's values: its own if the machine gives them, else those of its role."""
    return value_bits(tensor, plan.space.cascade, machine)


def value_bits(tensor: str, cascade: Cascade, machine: Machine) -> Number:
    """Return the bits of a tensor's values: its own if the machine gives them, else those of its role."""
    if tensor in cascade.inputs:
        return machine.bits_of(tensor, "inputs")
    return machine.bits_of(tensor, "outputs" if tensor in cascade.outputs else "accumulators")


def activity_of(plan: Plan, machine: Machine, accounting: Accounting) -> Activity:
    """Return what a plan makes a machine do.

    Raises:
        InputError: an array has no unit for an Einsum's work.
    """
    counts = count(plan)
    rows, tasks = list(counts.rows), {}
    for site in plan.computes:
        points, steps = counts.points[site.number], counts.steps[site.number]
        task, further = task_of(site, plan, machine, accounting, points, steps)
        tasks[site.number] = task
        rows += further
    return Activity(plan, machine, tuple(rows), tasks, accounting.pipeline_copies)


def task_of(
    site: Site, plan: Plan, machine: Machine, accounting: Accounting, points: Number, steps: Number
) -> tuple[Task, list[Row]]:
    """Return what a compute asks of its array for so many points, in so many steps, and its further register accesses.

    Raises:
        InputError: the array has no unit for the Einsum's work.
    """
    assert isinstance(site.node, Compute)
    step, array = plan.step(site), machine.array(site.node.unit)
    exp = "exp" in work_of(step.einsum)
    tile = exp and in_tile(site, plan)
    cycles = cycles_of(step.einsum, array, accounting, tile=tile)
    actions = actions_of(step.einsum, array)
    operations = {kind: times * points for kind, times in work_of(step.einsum).items()}
    task = Task(step.name, array.name, steps * cycles, points, points * cycles, operations, tile)
    more = (actions - 1) * points
    further = [
        Row(array.name, WITHIN_POINT, "read", 2 * more, site.number),
        Row(array.name, WITHIN_POINT, "update", more, site.number),
    ]
    return task, further if not isinstance(actions, int) or actions > 1 else []


def tiles_of(tree: LoopTree) -> dict[str, Number]:
    """Return the tiles that a tree chooses, for people: of each rank the outermost one in time, and how it is split."""
    from einsum_cascades.loops.tree import Hold, Loop

    found: dict[str, Number] = {}
    node = tree.body
    while isinstance(node, Loop | Hold):
        if isinstance(node, Loop) and node.over is None and not (isinstance(node.tile, int) and node.tile == 1):
            found.setdefault(node.rank, node.tile)
        node = node.body
    return found | dict(tree.split)

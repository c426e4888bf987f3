"""Room in memories: what a mapping keeps at most, and what is left for entries that come ahead or have not left.

    most at a time   own holds on the path + the largest child of a seq, the sum over a par or a pipe; what stages of a
                     pipeline hand on takes room for each iteration under way, where the accounting counts that

What a memory holds beyond that goes first to pipelines, which keep two entries of the holds around them while they go
on from one iteration of the loops there to the next, then to second copies of what is refilled, smallest first.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from einsum_cascades.loops.sites import Plan
from einsum_cascades.loops.tree import Hold, Node, Parallel, Pipeline, children
from hw_models.accounting import Accounting
from hw_models.machine import Machine
from hw_models.simulator.timed.instructions import Kept
from hw_models.simulator.timed.lowering import Lowered
from hw_models.spatial.activity import value_bits


class Room:
    """What is left of each memory, in bits of one instance."""

    def __init__(self, plan: Plan, machine: Machine, accounting: Accounting) -> None:
        self.plan, self.machine = plan, machine
        self.copies = accounting.pipeline_copies
        plain = Lowered(plan)
        self._most = {id(k.site.node): self.bits(k, plain) for k in plain.kept}
        self._kept = {id(k.site.node): k for k in plain.kept}
        self.left: dict[str, int | None] = {}
        for memory in machine.memories:
            needed = self._strict(plan.tree.body, memory.name)
            self.left[memory.name] = None if memory.bytes is None else 8 * int(memory.bytes) - needed

    def of(self, lowered: Lowered) -> Any:
        """Return what each visit of a hold takes, by the number of the visit."""
        found = np.zeros(max(lowered.size, 1), np.int64)
        for kept in lowered.kept:
            for number, bits in enumerate(self._visits(kept, lowered)):
                found[kept.table.base + number] = bits
        return found

    def bits(self, kept: Kept, lowered: Lowered) -> int:
        """Return the most that an entry of a hold takes."""
        return max(self._visits(kept, lowered), default=0)

    def most(self, kept: Kept) -> int:
        """Return the most that an entry of a hold takes."""
        return self._most[id(kept.site.node)]

    def twice(self, holds: list[Kept]) -> bool:
        """Take room for a second entry of each of some holds, if there is."""
        before = dict(self.left)
        if all(self.take(kept) for kept in holds):
            return True
        self.left = before
        return False

    def take(self, kept: Kept) -> bool:
        """Take room for one more entry of a hold, if there is."""
        memory = kept.site.unit
        left = self.left.get(memory)
        if left is None:
            return True
        if self.most(kept) > left:
            return False
        self.left[memory] = left - self.most(kept)
        return True

    def _visits(self, kept: Kept, lowered: Lowered) -> list[int]:
        node = kept.site.node
        assert isinstance(node, Hold)
        if node.place is not None:
            return [0] * kept.table.size
        tensor = self.plan.operand_of(kept.site).tensor
        bits = Fraction(node.part) * int(value_bits(tensor, self.plan.space.cascade, self.machine))
        return [-(-lowered.visits.region(kept.site, at) * bits.numerator // bits.denominator) for at, _ in kept.table]

    def _strict(self, node: Node, memory: str) -> int:
        below = [self._strict(child, memory) for child in children(node)]
        if isinstance(node, Hold) and node.memory == memory and id(node) in self._kept:
            kept = self._kept[id(node)]
            return below[0] + self._most[id(node)] * (in_use(kept, self.plan) if self.copies else 1)
        if isinstance(node, Parallel | Pipeline):
            return sum(below)
        return max(below, default=0)


def in_use(kept: Kept, plan: Plan) -> int:
    """Return how many entries of a hold are used at a time: those of iterations that a pipeline has under way, and the
    next one where it is double."""
    low, high = kept.late
    inside = 1
    if kept.pipe is not None:
        after = [step.kept for step in kept.pipe.chain].index(kept)
        for step in kept.pipe.chain[after:]:
            inside *= 1 if step.control is None else step.control.least_trips
    return max(1 - (low - high) // inside, doubled(kept, plan))


def doubled(kept: Kept, plan: Plan) -> int:
    """Return how often a hold takes its room: twice if the next entry comes in while this one is used."""
    assert isinstance(kept.site.node, Hold)
    refilled = plan.levels[kept.site.unit].double_buffered and any(step.control for step in kept.path)
    return 2 if kept.late[0] == kept.late[1] and (kept.site.node.double or refilled) else 1

"""How long a tree takes on the arrays: cycles of computation, and what they wait for.

    compute   steps in time · cycles of a point            seq, pipe   the sum of the children
    par       the longest of: a child, the children's work on one array together

Totals over all iterations are compared, not iterations one by one. In a slot of a pipeline of n iterations whose parts
are up to L behind each other, L epochs at either end lack parts; where the accounting counts these, an epoch takes a
steady one's time for the parts that it has. A pipeline has ends where it empties (``einsum_cascades.loops.pipes``).
Where a part reads, in the same epoch, what another array made in an earlier part, the results must
leave that array first: its drain is waited for, unless they go home in between.

Source of the published configurations' schedule: Nayak et al., "FuseMax", MICRO 2024, section V.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from einsum_cascades.loops.arith import Number, least, most, roomy
from einsum_cascades.loops.pipes import iterations, lateness, parts_in
from einsum_cascades.loops.sites import Site
from einsum_cascades.loops.tree import Compute, Hold, Loop, Node, Parallel, Pipeline, Sequential, children
from hw_models.accounting import Accounting
from hw_models.spatial.activity import Activity


@dataclass(frozen=True)
class Span:
    """Time of a part of a tree, in cycles, over all its iterations.

    Attributes:
        elapsed: from beginning to end.
        busy: by array, for which it works.
        waits: by array, for which all else waits for it: it is the slowest, or as slow as another.
    """

    elapsed: Number = 0
    busy: dict[str, Number] = field(default_factory=dict)
    waits: dict[str, Number] = field(default_factory=dict)


def spans(activity: Activity, accounting: Accounting) -> tuple[Span, ...]:
    """Return the time of each phase."""
    timing = _Timing(activity, accounting)
    body = activity.plan.tree.body
    if activity.phases > 1:
        return tuple(timing.of(child, ()) for child in children(body))
    return (timing.of(body, ()),)


class _Timing:
    def __init__(self, activity: Activity, accounting: Accounting) -> None:
        self.activity, self.accounting = activity, accounting
        self.plan, self.machine = activity.plan, activity.machine
        self.measure = activity.measure
        self.number = 0

    def of(self, node: Node, loops: tuple[Loop, ...], between: int = 0) -> Span:
        """Return the time of a subtree; nodes are visited in tree order, as sites are numbered.

        Args:
            between: from which of the loops around on nothing but loops and holds is between.
        """
        if isinstance(node, Compute):
            task = self.activity.tasks[self._take().number]
            cycles = roomy(task.cycles) + self._filling(task.array, loops)
            return Span(cycles, {task.array: cycles}, {task.array: cycles})
        if isinstance(node, Hold):
            self._take()
        if isinstance(node, Loop):
            loops = (*loops, node)
        if isinstance(node, Parallel):
            return side_by_side([self.of(child, loops, len(loops)) for child in node.children])
        if isinstance(node, Sequential | Pipeline):
            return self._one_after_another(node, loops, between)
        return self.of(children(node)[0], loops, between if isinstance(node, Loop | Hold) else len(loops))

    def _take(self) -> Site:
        self.number += 1
        return self.plan.sites[self.number - 1]

    def _filling(self, array: str, loops: tuple[Loop, ...]) -> Number:
        fill = self.machine.array(array).fill_cycles
        if isinstance(fill, int) and fill == 0:
            return 0
        outside = [loop for loop in loops if loop.over is None]
        spatial = next((i for i, loop in enumerate(loops) if loop.over is not None), len(loops))
        return fill * roomy(self.measure.passing([loop for loop in loops[:spatial] if loop in outside], None))

    def _one_after_another(self, node: Sequential | Pipeline, loops: tuple[Loop, ...], between: int) -> Span:
        slots: list[list[tuple[int, Span]]] = []
        parts: list[range] = []
        for child in node.children:
            start = self.number
            slots.append([(lateness(part), self.of(part, loops, len(loops))) for part in parts_in(child)])
            parts.append(range(start, self.number))
        ends = isinstance(node, Pipeline) and self.accounting.pipeline_ends
        if ends and any(late for slot in slots for late, _ in slot) and any(loop.over is None for loop in loops):
            assert isinstance(node, Pipeline)
            count = iterations(self.plan, node, loops, between, self.measure)
            found = in_turn([_with_ends(slot, count) for slot in slots])
        else:
            found = in_turn([side_by_side([span for _, span in slot]) for slot in slots])
        return self._drained(found, parts, loops)

    def _drained(self, span: Span, parts: list[range], loops: tuple[Loop, ...]) -> Span:
        """Add the drains that parts wait for, once for each part that is drained."""
        waited: set[tuple[str, int]] = set()
        for place, part in enumerate(parts):
            for number in part:
                waited |= {(array, made) for array, made in self._crossing(number, parts[:place])}
        drains = [(array, self.machine.array(array).drain_cycles) for array, _ in sorted(waited)]
        if not any(not isinstance(cycles, int) or cycles for _, cycles in drains):
            return span
        times = roomy(self.measure.passing([loop for loop in loops if loop.over is None], None))
        return in_turn([span, *(Span(cycles * times, {}, {array: cycles * times}) for array, cycles in drains)])

    def _crossing(self, number: int, before: list[range]) -> list[tuple[str, int]]:
        """Arrays that made, in earlier parts of the same epoch, what a compute on another array reads; and where."""
        reader = self.plan.sites[number]
        if not isinstance(reader.node, Compute):
            return []
        found = []
        for operand in self.plan.step(reader).inputs:
            if operand.carried or operand.tensor in self.plan.at_home:
                continue
            for maker, _, writes in self.plan.users[operand.tensor]:
                if writes and maker.unit != reader.unit and _lateness(maker) == _lateness(reader):
                    found += [(maker.unit, place) for place, part in enumerate(before) if maker.number in part]
        return found


def _lateness(site: Site) -> int:
    return sum(stage.late for stage in site.stages)


def _with_ends(slot: list[tuple[int, Span]], count: Number) -> Span:
    """The time of a slot's parts, each with how late it is, in a pipeline of so many iterations, its ends included."""
    steady = side_by_side([span for _, span in slot])
    first = min(late for late, _ in slot)
    lates = [late - first for late, _ in slot]
    latest = max(lates)
    if not latest:
        return steady
    ends: Number = 0
    for epoch in range(latest):
        ends = ends + _longest([(epoch - late >= 0) & (epoch - late < count) for late in lates], slot)
        at = most(count, latest) + epoch  # one of the last epochs, if it is none of the first
        ends = ends + _longest([(at - late < count) & (at < count + latest) for late in lates], slot)
    elapsed = steady.elapsed - (least(count, latest) * steady.elapsed - ends) // count
    longer = elapsed / most(steady.elapsed, 1)
    return Span(elapsed, steady.busy, {name: one * longer for name, one in steady.waits.items()})


def _longest(there: Sequence[Any], slot: list[tuple[int, Span]]) -> Number:
    """The time of those parts of a slot that an epoch has."""
    return side_by_side([_scaled(span, one) for one, (_, span) in zip(there, slot, strict=True)]).elapsed


def _scaled(span: Span, times: Any) -> Span:
    times = int(times) if isinstance(times, bool) else times
    return Span(span.elapsed * times, {name: busy * times for name, busy in span.busy.items()})


def in_turn(parts: Sequence[Span]) -> Span:
    """Return the time of parts one after another."""
    elapsed: Number = 0
    busy: dict[str, Number] = {}
    waits: dict[str, Number] = {}
    for part in parts:
        elapsed = elapsed + part.elapsed
        for name, cycles in part.busy.items():
            busy[name] = busy.get(name, 0) + cycles
        for name, cycles in part.waits.items():
            waits[name] = waits.get(name, 0) + cycles
    return Span(elapsed, busy, waits)


def side_by_side(parts: Sequence[Span]) -> Span:
    """Return the time of parts side by side: on different arrays at once, on one array in turn."""
    if len(parts) == 1:
        return parts[0]
    busy = in_turn(parts).busy
    elapsed: Number = 0
    for number in (*(part.elapsed for part in parts), *busy.values()):
        elapsed = most(elapsed, number)
    waits: dict[str, Number] = {}
    for part in parts:
        slowest = part.elapsed == elapsed
        for name, cycles in part.waits.items():
            waits[name] = most(waits.get(name, 0), cycles * slowest)
    for name, cycles in busy.items():
        waits[name] = most(waits.get(name, 0), cycles * (cycles == elapsed))
    return Span(elapsed, busy, waits)

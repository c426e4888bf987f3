"""An interpreter that runs a cascade element by element in fused order, pass by pass, and counts visits.

The Einsums that `passes.analyse_passes` puts in one pass are fused: the pass walks the rank family once, and
at each place runs all of them. A place is one index of the family or, where partial results stream (local
maxima of a tile), one tile of it. Between two passes run the Einsums that walk only a part of the family. A
visit of an element is a place, or a stop between passes, that reads or writes it; neighbouring places that
share an element, such as a running maximum, visit it once. Reductions are running folds; a value that is read
before it is complete is an error, so a run shows that the passes can be fused as analysed.

It is a witness for small sizes, not an evaluator: `interpreter.run` is that.

Source: Nayak et al., "FuseMax", MICRO 2024, section 3 (passes, fusion).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import combinations, groupby, product
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import unknown
from einsum_cascades.graph import Loop, Plan, dependencies, execution_plan
from einsum_cascades.inputs import Array, bind_inputs
from einsum_cascades.interpreter import Interpretation
from einsum_cascades.ir import Access, Cascade, Const, Einsum, Expression, Extent, Index, Number, Size
from einsum_cascades.operations import iterations
from einsum_cascades.operators import OPERATORS
from einsum_cascades.passes import Family, Schedule, analyse_passes

Element = tuple[int, ...]
Point = Mapping[str, int]


@dataclass(frozen=True)
class Visits:
    """What a run in fused order did.

    Attributes:
        rank, family, passes: as in `PassAnalysis`.
        values: every tensor that the cascade writes, as `interpreter.run` returns them.
        counts: per tensor with a rank of the family, in its shape, how often each element was visited.
    """

    rank: str
    family: tuple[str, ...]
    passes: int
    values: Mapping[str, Array]
    counts: Mapping[str, NDArray[np.int64]]


def visits(
    cascade: Cascade,
    inputs: Mapping[str, Any],
    rank: str = "M",
    sizes: Mapping[str, int] | None = None,
    *,
    fewest: str | None = None,
    within_tile: bool = False,
) -> Visits:
    """Run a cascade in fused order over a rank family and count the visits of each element.

    Args:
        cascade: what to run.
        inputs: one array per input tensor, as for `interpreter.run`.
        rank: a rank, or a family by any of its names.
        sizes: sizes of ranks that no input array shows.
        fewest: run each Einsum in its earliest pass or, with a tensor's name, in the passes that visit this
            tensor the fewest times.
        within_tile: treat ``rank`` alone as the family. An iterative rank outside the family is an outer loop.

    Raises:
        InputError: as `interpreter.run` and `analyse_passes`; no tensor ``fewest`` has a rank of the family.
    """
    analysis = analyse_passes(cascade, rank, within_tile=within_tile)
    if fewest is not None and fewest not in analysis.tensor_passes:
        raise unknown("tensor of the family", fewest, analysis.tensor_passes)
    arrays, found = bind_inputs(cascade, inputs, dict(sizes or {}))
    schedule = Schedule(cascade, Family(cascade, analysis.family))
    if fewest is not None:
        schedule.slots = _slots_for(schedule, fewest, analysis.tensor_passes[fewest])
    machine = _Fused(schedule, Interpretation(cascade, found | iterations(cascade, found), arrays))
    with np.errstate(all="ignore"):
        machine.execute()
    written = {einsum.name: machine.values[einsum.name] for einsum in cascade.einsums}
    counts = {tensor: machine.counts[tensor] for tensor in analysis.tensor_passes}
    return Visits(rank, analysis.family, analysis.passes, MappingProxyType(written), MappingProxyType(counts))


def _slots_for(schedule: Schedule, tensor: str, number: int) -> list[int]:
    """Slots of all Einsums that put those which touch a tensor in ``number`` slots."""
    touching = {
        index
        for index, einsum in enumerate(schedule.cascade.einsums)
        for access in (einsum.output, *einsum.inputs)
        if access.tensor == tensor and schedule.family.parts(access.ranks)
    }
    if len({schedule.slots[index] for index in touching}) == number:
        return schedule.slots
    trials = combinations(range(schedule.last_slot, -1, -1), number)
    settled = (schedule.settle(schedule.slots, touching, allowed[::-1]) for allowed in trials)
    return next(slots for slots in settled if slots is not None)


class _Fused:
    """The tensors so far, which elements are complete, and the visits of each.

    ``place`` numbers the places in the order in which they are visited, with a gap after each pass.
    """

    def __init__(self, schedule: Schedule, machine: Interpretation) -> None:
        self.schedule, self.machine = schedule, machine
        self.cascade, self.family, self.sizes = schedule.cascade, schedule.family, machine.sizes
        self.values: dict[str, Array] = dict(machine.values)
        for tensor, written in machine.written.items():
            shape = [max(place.stop for place in axis) for axis in zip(*written, strict=True)]
            self.values.setdefault(tensor, np.full(shape, np.nan, dtype=machine.dtype))
        inputs = machine.values
        self.complete = {t: np.full(a.shape, t in inputs) for t, a in self.values.items()}
        self.counts = {t: np.zeros(a.shape, dtype=np.int64) for t, a in self.values.items()}
        self.seen = {t: np.full(a.shape, -2, dtype=np.int64) for t, a in self.values.items()}
        self.folds: dict[tuple[int, int, Element], tuple[Any, int]] = {}
        self.plan = execution_plan(self.cascade)
        self.place = 0

    def execute(self) -> None:
        """Run everything: what comes before the iterative ranks outside the family, their loops, the rest."""
        einsums = self.cascade.einsums
        outer = [r for r in self.cascade.iterative_ranks if not self.family.parts([r])]
        looped = {i for i, einsum in enumerate(einsums) if set(outer) & set(einsum.ranks)} if outer else set()
        after, edges = set(looped), dependencies(self.cascade)
        while found := {d.consumer for d in edges if d.producer in after} - after:
            after |= found
        self.passes({*range(len(einsums))} - after, {})
        if looped:
            for values in product(*(range(self.sizes[r]) for r in outer)):
                self.passes(looped, dict(zip(outer, values, strict=True)))
        self.passes(after - looped, {})

    def passes(self, members: AbstractSet[int], binding: Point) -> None:
        """Run some Einsums slot by slot."""
        for slot in range(self.schedule.last_slot + 1):
            fused = {i for i in members if self.schedule.slots[i] == slot}
            parts = self.streaming(slot, fused) if slot & 1 else ()
            alone = {i for i in fused if not set(parts) <= self.schedule.walked[i]}
            for group, walked in ((alone, ()), (fused - alone, parts)):
                for values in product(*(range(self.sizes[part]) for part in walked)) if group else ():
                    self.steps(self.plan, group, {**binding, **dict(zip(walked, values, strict=True))})
                    self.place += 1
                self.place += 1

    def streaming(self, slot: int, fused: AbstractSet[int]) -> tuple[str, ...]:
        """The parts of the family that a pass loops over; at each place, partial results of the others are complete."""
        kept = [self.family.whole]
        kept += [p for a, b, p in self.schedule.edges if p and a in fused and b in fused]
        fewest = min(kept, key=len)
        return tuple(part for part in self.family.order if part in fewest)

    def steps(self, plan: Plan, members: AbstractSet[int], binding: Point) -> None:
        """Run the members of a plan at one place; recurrences run value by value."""
        for step in plan:
            if not isinstance(step, Loop):
                if step in members:
                    for point in self.points(self.cascade.einsums[step], binding):
                        self.evaluate(step, point)
            elif step.rank in binding:
                self.steps(step.steps, members, binding)
            elif members & set(_members(step.steps)):
                for value in range(self.sizes[step.rank]):
                    self.steps(step.steps, members, {**binding, step.rank: value})

    def points(self, einsum: Einsum, binding: Point) -> Iterator[Point]:
        """Yield the points of an Einsum at a place; a rank that the family splits follows its parts."""
        axes = []
        for rank in einsum.ranks:
            fixed = range(binding[rank], binding[rank] + 1) if rank in binding else range(self.sizes[rank])
            axes.append([v for v in fixed if self.agrees(rank, v, binding)])
        for values in product(*axes):
            yield dict(zip(einsum.ranks, values, strict=True))

    def agrees(self, rank: str, value: int, binding: Point) -> bool:
        """Whether a value of an unsplit rank lies in the tile that its parts name."""
        for part in reversed(self.cascade.family(rank) if rank not in self.cascade.family(rank) else ()):
            value, remainder = divmod(value, self.sizes[part])
            if binding.get(part, remainder) != remainder:
                return False
        return True

    def index(self, access: Access, point: Point) -> Element:
        """The element that an access touches at a point."""
        return tuple(
            s.value if isinstance(s, Const) else self.sizes[s.rank] if isinstance(s, Size) else point[s.rank] + s.shift
            for s in access.subscripts
        )

    def touch(self, access: Access, index: Element) -> None:
        """Count a visit, unless this place or the one before it has touched the element."""
        if self.family.parts(access.ranks):
            seen = self.seen[access.tensor]
            self.counts[access.tensor][index] += seen[index] < self.place - 1
            seen[index] = self.place

    def read(self, access: Access, point: Point) -> Any:
        """The value of a complete element."""
        index, tensor = self.index(access, point), access.tensor
        self.touch(access, index)
        plain = dict(self.cascade.views).get(tensor)
        if plain in self.cascade.ranks_of and plain is not None and tensor not in self.machine.values:
            tensor, index = plain, self.untiled(tensor, plain, index)
        if not self.complete[tensor][index]:
            raise RuntimeError(f"{tensor}{list(index)} is read before it is complete")
        return self.values[tensor][index]

    def untiled(self, tiled: str, plain: str, index: Element) -> Element:
        """The element of a plain tensor that an element of its tiled view shows."""
        at = dict(zip(self.cascade.ranks_of[tiled], index, strict=True))
        found = []
        for rank in self.cascade.ranks_of[plain]:
            value = 0
            for part in self.cascade.family(rank):
                value = value * self.sizes[part] + at[part]
            found.append(value)
        return tuple(found)

    def value(self, expression: Expression, point: Point) -> Any:
        """Evaluate an expression at a point."""
        if isinstance(expression, Number):
            return self.machine.dtype.type(expression.value)
        if isinstance(expression, Access):
            return self.read(expression, point)
        if isinstance(expression, Index):
            return np.float64(point[expression.rank])
        if isinstance(expression, Extent):
            return np.float64(self.sizes[expression.rank])
        return OPERATORS[expression.operator].numpy(*(self.value(o, point) for o in expression.operands))

    def evaluate(self, number: int, point: Point) -> None:
        """Evaluate an Einsum at a point and fold the result; store what is complete."""
        einsum = self.cascade.einsums[number]
        value, left = self.value(einsum.expression, point), dict(point)
        output = self.index(einsum.output, point)
        self.touch(einsum.output, output)
        groups = groupby(einsum.reductions, key=lambda reduction: reduction.operator)
        for level, (name, group) in enumerate(groups):
            folded = [reduction.rank for reduction in group]
            left = {r: v for r, v in left.items() if r not in folded}
            key = (number, level, tuple(left.values()))
            before, count = self.folds.get(key, (OPERATORS[name].identity, 0))
            value, count = OPERATORS[name].numpy(before, value), count + 1
            self.folds[key] = value, count
            if count < math.prod(self.sizes[rank] for rank in folded):
                return
        self.values[einsum.name][output] = value
        self.complete[einsum.name][output] = True


def _members(plan: Plan) -> Iterator[int]:
    for step in plan:
        if isinstance(step, Loop):
            yield from _members(step.steps)
        else:
            yield step

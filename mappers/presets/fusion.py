"""How a run of Einsums is walked: loops that all share outside, and inside them one pass after another.

A *group* runs its Einsums inside loops over the axes that all of them have and none must finish first: an axis is
finished first where an Einsum sums over it what another one reads. If ranks are left, its parts are the passes over one
more axis (the one that most Einsums have), each a group of its own; else it works point by point. A softmax is

    (P) [ (M) GM ] [ (M) SN SD ] [ (M) A ]

Source of the passes: Nayak et al., "FuseMax", MICRO 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from einsum_cascades.loops.space import Operand, Space, Step
from mappers.presets.axes import Axis, axes_of, has

_Moment = tuple[int, bool]


@dataclass(frozen=True, eq=False)
class Group:
    """Einsums that run together.

    Attributes:
        steps: in an order that can run.
        axes: of the loops around all of them.
        parts: groups inside, one after another; none where each iteration is a point of each Einsum.
    """

    steps: tuple[Step, ...]
    axes: tuple[Axis, ...]
    parts: tuple[Group, ...] = ()

    def __str__(self) -> str:
        inside = [f"[{part}]" for part in self.parts] or [step.name for step in self.steps]
        return f"({', '.join(axis.rank for axis in self.axes)}) {' '.join(inside)}"

    def leaves(self) -> Iterator[tuple[Group, ...]]:
        """Yield the ways from here to the groups that work point by point."""
        if not self.parts:
            yield (self,)
        for part in self.parts:
            for way in part.leaves():
                yield (self, *way)


def grouped(steps: Sequence[Step], space: Space) -> tuple[Group, ...]:
    """Return the groups that can run Einsums, given in an order that can run.

    Where some Einsums work on the parts of a split rank and others inside them, they take turns in each part, or make
    passes of their own over all parts, so that lanes can lie along the parts.
    """
    together = _Builder(space).group(tuple(steps), frozenset())
    apart = _Builder(space, apart=True).group(tuple(steps), frozenset())
    return (together,) if str(together) == str(apart) else (together, apart)


@dataclass(frozen=True)
class _Builder:
    space: Space
    apart: bool = False

    def group(self, steps: tuple[Step, ...], done: frozenset[str]) -> Group:
        """Group Einsums inside loops over ranks that are done."""
        left = self._axes(steps, done)
        common = tuple(
            axis
            for axis in left
            if all(has(axis, step.ranks) for step in steps)
            and self._free(axis, steps)
            and not (self.apart and self._mixed(axis, left, steps))
        )
        common = self._in_order(common, left)
        here = done | {rank for axis in common for rank in axis.ranks}
        rest = self._axes(steps, here)
        if not rest:
            return Group(steps, common)
        if len(steps) == 1:
            return Group(steps, (*common, *rest))
        across = self._across(rest, steps)
        passes = self._passes(across, steps)
        if self.apart and self._mixed(across, rest, steps):
            passes = [part for each in passes for part in self._levels(across, rest, each)]
        return Group(steps, common, tuple(self.group(part, here) for part in passes))

    def _mixed(self, axis: Axis, left: tuple[Axis, ...], steps: tuple[Step, ...]) -> bool:
        """Whether some Einsums work on parts of a split rank and others inside them."""
        inner = [a for a in left if a.rank == axis.rank and a is not axis]
        if not inner or axis.unit == 1 or axis.rank in self.space.iterative:
            return False
        return len({has(inner[-1], step.ranks) for step in steps}) > 1

    def _axes(self, steps: tuple[Step, ...], done: frozenset[str]) -> tuple[Axis, ...]:
        """The axes of Einsums over ranks that are not done."""
        operands = [o.ranks for step in steps for o in (*step.inputs, step.output)]
        gone = {rank for rank in done if self.space.whole(rank) == rank}
        ranks = [tuple(r for r in own if r not in gone) for own in (*operands, *(step.ranks for step in steps))]
        return tuple(a for a in axes_of(ranks, self.space, self.space.iterative) if not done & set(a.ranks))

    def _in_order(self, common: tuple[Axis, ...], left: tuple[Axis, ...]) -> tuple[Axis, ...]:
        """Inner parts of a split rank are common only below its outer ones."""
        return tuple(
            axis
            for place, axis in enumerate(left)
            if axis in common and all(outer in common for outer in left[:place] if outer.rank == axis.rank)
        )

    def _free(self, axis: Axis, steps: tuple[Step, ...]) -> bool:
        """Whether no Einsum reads what another one first sums up along an axis, or makes last along it."""
        for step in steps:
            for operand in step.inputs:
                for maker in steps:
                    if maker is step or maker.output.tensor != operand.tensor or operand.carried:
                        continue
                    if has(axis, maker.ranks) and not has(axis, operand.ranks):
                        return False
        return True

    def _across(self, rest: tuple[Axis, ...], steps: tuple[Step, ...]) -> Axis:
        """The axis that passes are made over; an outer part of a split rank before inner ones."""
        first = [axis for place, axis in enumerate(rest) if axis.rank not in {a.rank for a in rest[:place]}]

        def order(axis: Axis) -> tuple[bool, int, int]:
            iterates = axis.rank in self.space.iterative
            return iterates, sum(has(axis, s.ranks) for s in steps), _number(axis.size)

        return max(first, key=order)

    def _passes(self, axis: Axis, steps: tuple[Step, ...]) -> list[tuple[Step, ...]]:
        moments = dict.fromkeys((step.name for step in steps), (0, True))
        changed = True
        while changed:
            changed = False
            for step in steps:
                moment = self._moment(axis, step, steps, moments)
                if moment != moments[step.name]:
                    moments[step.name], changed = moment, True
        return [
            tuple(step for step in steps if moments[step.name] == moment) for moment in sorted(set(moments.values()))
        ]

    def _levels(self, axis: Axis, rest: tuple[Axis, ...], steps: tuple[Step, ...]) -> list[tuple[Step, ...]]:
        """Einsums inside the parts of a split rank and Einsums on its parts, in turn."""
        inner = next(a for a in reversed(rest) if a.rank == axis.rank)
        levels: dict[str, int] = {}
        for step in steps:
            level = 0 if has(inner, step.ranks) else 1
            before = [
                levels[m.name] for m in steps for o in step.inputs if m.output.tensor == o.tensor and m.name in levels
            ]
            levels[step.name] = max(level, *(n + (n - level) % 2 for n in before), level)
        return [tuple(s for s in steps if levels[s.name] == level) for level in sorted(set(levels.values()))]

    def _moment(self, axis: Axis, step: Step, steps: tuple[Step, ...], moments: dict[str, _Moment]) -> _Moment:
        found = moments[step.name]
        for operand in step.inputs:
            for maker in steps:
                if maker.output.tensor == operand.tensor and maker is not step:
                    found = max(found, self._there(axis, operand, maker, moments[maker.name]))
        if has(axis, step.ranks) and found[1]:
            return found[0] + 1, False
        return found

    def _there(self, axis: Axis, operand: Operand, maker: Step, moment: _Moment) -> _Moment:
        """When a value is there; what is carried along the axis only asks to be in the same pass."""
        if operand.carried and axis.rank not in self.space.iterative:
            return (0, True)
        if operand.carried or has(axis, operand.ranks) or not has(axis, maker.ranks):
            return moment
        return moment[0], True


def _number(size: object) -> int:
    return size if isinstance(size, int) else int(size.max())  # type: ignore[attr-defined]

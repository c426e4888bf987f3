"""A run of Einsums as a loop tree: the walk that was found (``vector_phase.py``)."""

from __future__ import annotations

from collections.abc import Sequence

from einsum_cascades.loops.space import Space, Step
from einsum_cascades.loops.tree import Compute, Hold, Loop, Node, sequence
from mappers.presets.axes import has
from mappers.presets.fusion import Group, grouped
from mappers.presets.layout import dimensions_of, laid
from mappers.presets.problem import Problem, over_instances
from mappers.presets.vector_phase import Cut, VectorPhase, Walk


def vector_tree(problem: Problem, steps: Sequence[Step], space: Space) -> Node:
    """Return the best way to walk a run of Einsums by itself.

    Raises:
        InputError: no array offers what an Einsum needs.
    """
    phases = [VectorPhase(problem, space, group) for group in grouped(steps, space)]
    found = [(*phase.best(), phase) for phase in phases]
    _, walk, phase = min(found, key=lambda f: f[0])
    return over_instances(problem, _Tree(phase, walk).group(phase.root, ()))


class _Tree:
    def __init__(self, phase: VectorPhase, walk: Walk) -> None:
        self.phase, self.walk, self.layout = phase, walk, walk.layout
        self.names = [name for name, _ in dimensions_of(phase.problem, walk.layout.array)]

    def group(self, group: Group, outside: tuple[Cut, ...]) -> Node:
        """Return a group inside the loops around it."""
        loops = self.layout.loops[group]
        if group.parts:
            body = sequence(*(self.group(part, (*outside, *loops)) for part in group.parts))
            registers: dict[str, int] = {}
        else:
            body, registers = self._points(group), self._registers(group)
        for place in range(len(loops), -1, -1):
            for name, depth in reversed(registers.items()):
                if depth == place:
                    body = Hold(name, self.layout.array.name, body)
            for tensor in reversed(self._kept(group, len(outside) + place, innermost=place == len(loops))):
                state = bool(self.phase.state(tensor))
                body = Hold(tensor, self.phase.problem.parts.buffer.name, body, state=state)
            if place and loops[place - 1].trips > 1:
                cut = loops[place - 1]
                body = Loop(cut.axis.rank, cut.units * cut.axis.unit, body)
        return body

    def _kept(self, group: Group, place: int, *, innermost: bool) -> list[str]:
        """Tensors whose hold stands here, outside the rest of the loops; between two groups in the inner one."""
        found = []
        for tensor, outside in self.walk.kept.items():
            around = self.phase.around(tensor)
            if outside == place and group in around and (not innermost or group is around[-1]):
                found.append(tensor)
        return found

    def _points(self, group: Group) -> Node:
        body = sequence(*(Compute(step.name, self.layout.array.name) for step in group.steps))
        body = laid(body, self.layout.leaves[group], group.axes, self.names)
        return laid(body, self.layout.shared, self.layout.common, self.names)

    def _registers(self, group: Group) -> dict[str, int]:
        """Operands in registers: outside how many of the group's loops each stands."""
        loops = self.layout.loops[group]
        found: dict[str, set[str]] = {}
        for step in group.steps:
            for operand in (*step.inputs, step.output):
                found.setdefault(operand.name, set()).update(operand.ranks)
        return {
            name: max((i + 1 for i, cut in enumerate(loops) if has(cut.axis, ranks)), default=0)
            for name, ranks in found.items()
        }

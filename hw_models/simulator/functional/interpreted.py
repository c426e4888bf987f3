"""What a simulation's results are compared with: the reference interpreter, instance by instance.

The interpreter has no ragged parts (65,537 keys in parts of 256). Where a split leaves one, each Einsum is evaluated
here for all points of its whole ranks at once, and those of a recurrence iteration by iteration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.graph import Loop, Plan, execution_plan
from einsum_cascades.interpreter import run
from einsum_cascades.ir import Access, Const, Einsum, Expression, Extent, Index, Number, Size
from einsum_cascades.loops.space import Space, whole_ranks
from einsum_cascades.loops.tree import INSTANCES
from einsum_cascades.operators import OPERATORS
from hw_models.simulator.functional.data import Array, given
from hw_models.simulator.functional.layout import Layout, Ranks

Points = Mapping[str, NDArray[np.int64]]
"""Points of whole ranks, each along an axis of its own."""


def reference(space: Space, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """Return the results of a cascade, each with the instances first.

    Args:
        inputs: as ``simulate`` takes them.

    Raises:
        InputError: an input is missing or has another shape; the cascade cannot be run.
    """
    cascade, ranks = space.cascade, Ranks(space)
    layouts = {tensor: Layout.of(tensor, ranks) for tensor in cascade.ranks_of}
    views = dict(cascade.views)
    arrays = {}
    for tensor in cascade.inputs:
        if views.get(tensor) not in cascade.ranks_of or _is_ragged(space):
            numbers = given(cascade, tensor, layouts[tensor], ranks, inputs).numbers
            arrays[tensor] = np.array(numbers).reshape(layouts[tensor].shape())
    if _is_ragged(space):
        found = _Evaluation(space, ranks, layouts, arrays).run()
    else:
        used = {r for d in cascade.declarations for r in d.ranks} | {r for e in cascade.einsums for r in e.ranks}
        sizes = {rank: ranks.part(rank).size for rank in used}
        each = [
            run(cascade, {tensor: array[i] for tensor, array in arrays.items()}, sizes=sizes)
            for i in range(ranks.instances.size)
        ]
        found = {tensor: np.stack([one[tensor] for one in each]) for tensor in cascade.outputs}
    return {tensor: found[tensor] for tensor in cascade.outputs}


def max_error(results: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Return the largest difference between two sets of results: relative to what is expected, where that is over 1.

    Infinite where one has a value and the other none.
    """
    most = 0.0
    for tensor, right in expected.items():
        found = results[tensor]
        same = (found == right) | (np.isnan(found) & np.isnan(right))
        with np.errstate(invalid="ignore"):
            error = np.abs(found - right) / np.maximum(1, np.abs(right))
        error = np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf))
        most = max(most, float(error.max(initial=0.0)))
    return most


def _is_ragged(space: Space) -> bool:
    grains = (space.grains([rank])[whole] for whole, (rank, *_) in whole_ranks(space.cascade).items())
    return any(
        int(space.sizes[whole]) % int(space.length(grain))
        for whole, grain in zip(whole_ranks(space.cascade), grains, strict=True)
    )


class _Evaluation:
    def __init__(self, space: Space, ranks: Ranks, layouts: Mapping[str, Layout], arrays: dict[str, Array]) -> None:
        self.cascade, self.ranks, self.layouts, self.arrays = space.cascade, ranks, layouts, arrays

    def run(self) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            self._execute(execution_plan(self.cascade), {})
        return self.arrays

    def _execute(self, plan: Plan, binding: Mapping[str, int]) -> None:
        for step in plan:
            if isinstance(step, Loop):
                for value in range(self.ranks.part(step.rank).size):
                    self._execute(step.steps, {**binding, step.rank: value})
            else:
                self._evaluate(self.cascade.einsums[step], binding)

    def _evaluate(self, einsum: Einsum, binding: Mapping[str, int]) -> None:
        grains = self.ranks.grains(einsum.ranks)
        points: dict[str, NDArray[np.int64]] = {}
        for axis, (whole, grain) in enumerate(grains.items()):
            along = np.arange(0, self.ranks.sizes[whole], grain)
            for rank, value in binding.items():
                if self.ranks.part(rank).whole == whole:
                    along = along[self._index(rank, along) == value]
            points[whole] = along.reshape([-1 if i == axis else 1 for i in range(len(grains))])
        values = np.asarray(self._value(einsum.expression, points))
        shape = np.broadcast_shapes(*(along.shape for along in points.values()))
        out = tuple(np.broadcast_to(index, shape) for index in self._at(einsum.output, points))
        array = self.arrays.setdefault(einsum.name, np.full(self.layouts[einsum.name].shape(), np.nan))
        values = np.broadcast_to(values, shape)
        if not einsum.reductions:
            array[out] = values
            return
        operator: Any = OPERATORS[einsum.reductions[0].operator]
        array[out] = operator.identity
        operator.numpy.at(array, out, values)

    def _index(self, rank: str, points: NDArray[np.int64]) -> NDArray[np.int64]:
        part = self.ranks.part(rank)
        return points // part.unit % part.wrap if part.wrap else points // part.unit

    def _at(self, access: Access, points: Points) -> list[NDArray[np.int64]]:
        """Return where an access is along the axes of its tensor."""
        found = [points[INSTANCES]]
        for subscript in access.subscripts:
            if isinstance(subscript, Const):
                found.append(np.array(subscript.value))
            elif isinstance(subscript, Size):
                found.append(np.array(self.ranks.part(subscript.rank).size))
            else:
                whole = self.ranks.part(subscript.rank).whole
                found.append(self._index(subscript.rank, points[whole]) + subscript.shift)
        return found

    def _value(self, expression: Expression, points: Points) -> Any:
        match expression:
            case Number():
                return np.float64(expression.value)
            case Extent():
                return np.float64(self.ranks.part(expression.rank).size)
            case Index():
                return self._index(expression.rank, points[self.ranks.part(expression.rank).whole]).astype(np.float64)
            case Access():
                return self.arrays[expression.tensor][tuple(self._at(expression, points))]
        return OPERATORS[expression.operator].numpy(*(self._value(o, points) for o in expression.operands))

"""What an Einsum computes at its points, on float64, by the operators' own NumPy functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from einsum_cascades.ir import Access, Einsum, Expression, Extent, Index, Number, leaves
from einsum_cascades.operators import OPERATORS
from hw_models.simulator.functional.errors import SimulationError
from hw_models.simulator.functional.layout import Ranks

Numbers: TypeAlias = Sequence[float]
_FOLDS: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "max": lambda a, b: a if a > b or a != a else b,
    "min": lambda a, b: a if a < b or a != a else b,
}
"""Operators that reduce, on two plain numbers: what is not a number stays so."""


class Function:
    """An Einsum as a function of what its points read.

    Attributes:
        indices: ranks whose indices stand as values.
        fold: joins two partial results.
    """

    def __init__(self, einsum: Einsum, ranks: Ranks) -> None:
        self.einsum, self.ranks = einsum, ranks
        self.indices = tuple(dict.fromkeys(x.rank for x in leaves(einsum.expression) if isinstance(x, Index)))
        operators = {reduction.operator for reduction in einsum.reductions}
        if len(operators) > 1:
            raise SimulationError(
                f"{einsum.name} folds ranks by {' and '.join(sorted(operators))}, so its points cannot be folded as "
                "they come",
                location=einsum.location,
                hint="fold by one operator in an Einsum of its own",
            )
        self.fold = _FOLDS[operators.pop() if operators else "add"]

    def __call__(self, read: Mapping[Access, Numbers], indices: Mapping[str, Numbers], points: int) -> list[float]:
        """Return the results of so many points, in order.

        Args:
            read: what each access reads, by point.
            indices: where the points are along the ranks of ``self.indices``.
        """
        found = np.asarray(self._value(self.einsum.expression, read, indices), dtype=np.float64)
        result: list[float] = (found if found.ndim else np.full(points, found)).tolist()
        return result

    def _value(self, expression: Expression, read: Mapping[Access, Numbers], indices: Mapping[str, Numbers]) -> Any:
        match expression:
            case Number():
                return np.float64(expression.value)
            case Extent():
                return np.float64(self.ranks.part(expression.rank).size)
            case Index():
                return np.array(indices[expression.rank], dtype=np.float64)
            case Access():
                return np.array(read[expression], dtype=np.float64)
        operands = [self._value(operand, read, indices) for operand in expression.operands]
        return OPERATORS[expression.operator].numpy(*operands)


def constant(einsum: Einsum, ranks: Ranks, at: Mapping[str, int]) -> float:
    """Return the value of an Einsum that reads nothing, at the indices of its ranks."""
    function = Function(einsum, ranks)
    return function({}, {rank: [float(at[rank])] for rank in function.indices}, 1)[0]

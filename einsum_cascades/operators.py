"""The closed table of operators that an Einsum may apply, and the class of hardware work that each is.

The work class is what an architecture prices: a PE states how many cycles one operation of a class takes.
A sum-reduced product is one multiply-accumulate, so ``mul`` and a following ``add`` reduction count as one ``mac``.
Comparisons give 1 or 0, and ``where(condition, a, b)`` is ``a`` where the condition is not 0 and ``b`` elsewhere,
whatever the other is, infinite included. Like a maximum, both are a comparator's work. The minimum of two comparisons
says that both hold, their maximum that one does. ``a % b`` is what b times ``floor(a / b)`` leaves of a;
it has b's sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

WorkClass = Literal["mac", "add", "max", "exp", "divide"]
WORK_CLASSES: tuple[WorkClass, ...] = ("mac", "add", "max", "exp", "divide")


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        name: the name used in text, such as ``max`` or ``exp``.
        arity: number of operands.
        symbol: how it is written between or before its operands, in text.
        numpy: the element-wise NumPy function.
        identity: neutral element of a reduction, or None when it cannot reduce.
        work_class: what the hardware is asked to do.
        commutative, associative: algebraic laws; an operator needs both, and an identity, to reduce.
    """

    name: str
    arity: int
    symbol: str
    numpy: Callable[..., Any]
    work_class: WorkClass
    identity: float | None = None
    commutative: bool = False
    associative: bool = False

    @property
    def reduces(self) -> bool:
        """Whether a rank can be reduced with it."""
        return self.identity is not None and self.commutative and self.associative


def _sigmoid(x: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, -x))


def _where(condition: Any, a: Any, b: Any) -> Any:
    return np.where(np.not_equal(condition, 0), a, b)


def _comparison(name: str, symbol: str, numpy: Callable[..., Any]) -> Operator:
    def compare(a: Any, b: Any) -> Any:
        return numpy(a, b).astype(np.result_type(a, b))

    return Operator(name, 2, symbol, compare, "max")


def _operators() -> tuple[Operator, ...]:
    law = {"commutative": True, "associative": True}
    return (
        Operator("add", 2, "+", np.add, "add", 0.0, **law),
        Operator("sub", 2, "-", np.subtract, "add"),
        Operator("mul", 2, "*", np.multiply, "mac", 1.0, **law),
        Operator("div", 2, "/", np.divide, "divide"),
        Operator("mod", 2, "%", np.mod, "divide"),
        Operator("max", 2, "max", np.maximum, "max", -np.inf, **law),
        Operator("min", 2, "min", np.minimum, "max", np.inf, **law),
        Operator("neg", 1, "-", np.negative, "add"),
        Operator("exp", 1, "exp", np.exp, "exp"),
        Operator("log", 1, "log", np.log, "exp"),
        Operator("sqrt", 1, "sqrt", np.sqrt, "divide"),
        Operator("tanh", 1, "tanh", np.tanh, "exp"),
        Operator("sigmoid", 1, "sigmoid", _sigmoid, "exp"),
        Operator("floor", 1, "floor", np.floor, "max"),
        Operator("abs", 1, "abs", np.abs, "max"),
        _comparison("lt", "<", np.less),
        _comparison("le", "<=", np.less_equal),
        _comparison("gt", ">", np.greater),
        _comparison("ge", ">=", np.greater_equal),
        _comparison("eq", "==", np.equal),
        Operator("where", 3, "where", _where, "max"),
    )


OPERATORS: dict[str, Operator] = {op.name: op for op in _operators()}

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq"})
"""The operators whose value is 1 or 0."""

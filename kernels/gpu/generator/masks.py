"""Masks: which keys a query sees, taken out of the scores.

A mask may be written as a choice, ``where(seen, x, -inf)``, or as a comparison that weights are multiplied by. It is
one if the weight is 0 wherever the condition does not hold, which is found by computing what is known there. A finite
score hides a key if it is so low that it is meant for minus infinity, as -1e9 and -1e30 are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from einsum_cascades.nodes import Number
from einsum_cascades.operators import COMPARISONS
from kernels.gpu.generator.terms import ONE, Call, Fold, Product, Term, call, nodes, replaced

_HIDES: Final = -1e9
"""A score of this or less hides its key. One above may count in a softmax, where all the others are as low."""
_OPPOSITE = {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}


def without_masks(weight: Term) -> tuple[Term, tuple[Call, ...]]:
    """Return a weight where its key is seen, and the conditions that all must hold for that; elsewhere it is 0."""
    conditions: list[Call] = []
    while True:
        for node, condition, hidden, seen in _choices(weight):
            if known(weight, node, hidden) == 0.0:
                conditions += _conjuncts(condition)
                weight = replaced(weight, lambda x, node=node, seen=seen: seen if x == node else None)  # type: ignore[misc]
                break
        else:
            return weight, tuple(dict.fromkeys(conditions))


def _choices(weight: Term) -> Iterator[tuple[Term, Call, float, Term]]:
    """Yield the choices of a weight: the term, when it is seen, and its value when not and when seen."""
    for node in nodes(weight):
        if not isinstance(node, Call) or any(isinstance(x, Product | Fold) for x in nodes(_condition(node))):
            continue
        if node.operator == "where":
            condition, yes, no = node.operands
            if isinstance(no, Number) and isinstance(condition, Call):
                yield node, condition, no.value, yes
            opposite = negated(condition)
            if isinstance(yes, Number) and opposite is not None:
                yield node, opposite, yes.value, no
        elif is_condition(node):
            yield node, node, 0.0, ONE


def _condition(node: Call) -> Term:
    return node.operands[0] if node.operator == "where" else node


def _conjuncts(condition: Call) -> list[Call]:
    """The conditions that all hold where a condition does."""
    if condition.operator in ("min", "mul") and all(
        isinstance(x, Call) and is_condition(x) for x in condition.operands
    ):
        return [c for x in condition.operands if isinstance(x, Call) for c in _conjuncts(x)]
    less = condition.operator in ("lt", "le")
    if less or condition.operator in ("gt", "ge"):
        small, large = condition.operands if less else condition.operands[::-1]
        if isinstance(small, Call) and small.operator == "abs":
            operator, inside = "lt" if condition.operator in ("lt", "gt") else "le", small.operands[0]
            return [Call(operator, (inside, large)), Call(operator, (call("neg", inside), large))]
    return [condition]


def is_condition(term: Term) -> bool:
    """Whether a term is 1 or 0."""
    if not isinstance(term, Call):
        return False
    if term.operator in ("min", "max", "mul"):
        return all(map(is_condition, term.operands))
    return term.operator in COMPARISONS


def negated(condition: Term) -> Call | None:
    """Return the condition that holds where another does not, or None where it has no such form."""
    if not isinstance(condition, Call):
        return None
    if condition.operator in _OPPOSITE:
        return Call(_OPPOSITE[condition.operator], condition.operands)
    if condition.operator in ("min", "max", "mul"):
        operands = [negated(x) for x in condition.operands]
        both = tuple(x for x in operands if x is not None)
        if len(both) == 2:
            return Call("min" if condition.operator == "max" else "max", both)
    return None


def known(term: Term, node: Term, value: float) -> float | None:
    """Return a term's value where one of its parts has a value, or None where that does not say it.

    Other parts are taken to be finite.
    """
    if term == node:
        return value
    if isinstance(term, Number):
        return term.value
    if not isinstance(term, Call):
        return None
    values = [known(operand, node, value) for operand in term.operands]
    infinity = float("inf")
    if term.operator == "mul" and 0.0 in values and not {infinity, -infinity} & set(values):
        return 0.0
    if term.operator == "where" and values[0] is not None:
        return values[1] if values[0] != 0.0 else values[2]
    if term.operator == "div" and values[0] == 0.0 and values[1] is None:
        return 0.0
    if None not in values:
        found: float = call(term.operator, *(Number(x) for x in values if x is not None)).value  # type: ignore[union-attr]
        underflows = term.operator == "exp" and found == 0.0 and values[0] is not None and values[0] > _HIDES
        return None if underflows else found
    others = [x for x in values if x is not None]
    if term.operator in ("add", "sub") and others and abs(others[0]) == infinity:
        return others[0] if term.operator == "add" or values[0] is not None else -others[0]
    absorbing = infinity if term.operator == "max" else -infinity
    return absorbing if term.operator in ("max", "min") and absorbing in others else None

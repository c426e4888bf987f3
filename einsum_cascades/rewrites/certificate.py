"""A number for what a cascade computes, by which the search knows the cascades that it has seen; in linear time.

Each tensor gets the hash of what computes it: an input that of its plain name, a result that of its Einsums, with the
hashes of what they read. Names of results, the order of Einsums, the storage order of ranks and the order of the
operands of commutative, associative operators do not count. One sweep in the order of a run does for all but
recurrences, whose tensors read themselves; a few more tell those apart. This is the value numbering of compilers
(J. Cocke, J. Schwartz, "Programming Languages and Their Compilers", 1970).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from einsum_cascades.ir import Access, Apply, Cascade, Einsum, Expression
from einsum_cascades.operators import OPERATORS

_SWEEPS = 3


def certificate(cascade: Cascade) -> int:
    """Return a number that equal cascades over the same inputs and ranks share, and others by accident only."""
    views = dict(cascade.views)
    marks = {tensor: hash(("input", views.get(tensor, tensor))) for tensor in cascade.inputs}
    for sweep in range(_SWEEPS if cascade.init else 1):
        written: dict[str, int] = {}
        for einsum in cascade.einsums:
            written[einsum.name] = hash((sweep, written.get(einsum.name), _einsum(cascade, einsum, marks)))
            marks[einsum.name] = written[einsum.name]
    return hash((frozenset(Counter(marks.values()).items()), frozenset(cascade.stop), cascade.partitions))


def _einsum(cascade: Cascade, einsum: Einsum, marks: Mapping[str, int]) -> int:
    mixed = len({r.operator for r in einsum.reductions}) > 1
    reductions = einsum.reductions if mixed else frozenset(einsum.reductions)
    return hash((_places(cascade, einsum.output), _expression(cascade, einsum.expression, marks), reductions))


def _places(cascade: Cascade, access: Access) -> frozenset[tuple[str, object]]:
    return frozenset(zip(cascade.ranks_of[access.tensor], access.subscripts, strict=True))


def _expression(cascade: Cascade, expression: Expression, marks: Mapping[str, int]) -> int:
    if isinstance(expression, Access):
        return hash((marks.get(expression.tensor), _places(cascade, expression)))
    if not isinstance(expression, Apply):
        return hash(expression)
    operator = OPERATORS[expression.operator]
    free = operator.commutative and operator.associative
    operands = [_expression(cascade, o, marks) for o in (_flat(expression) if free else expression.operands)]
    return hash((expression.operator, *(sorted(operands) if free else operands)))


def _flat(expression: Apply) -> Iterator[Expression]:
    for operand in expression.operands:
        if isinstance(operand, Apply) and operand.operator == expression.operator:
            yield from _flat(operand)
        else:
            yield operand

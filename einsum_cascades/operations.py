"""How many operations an Einsum asks of the hardware: exact, symbolic, and per point.

Every operator of an Einsum's expression applies once at each point of the Einsum's iteration space, that is
the product of the sizes of all ranks on its left and right. A reduction starts from its identity, so
folding n values takes n operations; consecutive reductions with one operator fold together, and one with
another operator then folds what is left. A product that is summed is one multiply-accumulate per point,
without an addition of its own; a product that is not summed is one as well. A copy is no operation, nor is arithmetic
on indices, sizes and numbers alone (``p + (M - P)``): that is address arithmetic, done once per loop. A comparison or
a choice between values is one per point, that of two indices included.

Source: Nayak et al., "FuseMax", MICRO 2024, section 2 (iteration spaces, map and reduce actions) and its
evaluation, which counts one multiply-accumulate per point of a matrix product.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.ir import Access, Apply, Cascade, Const, Einsum, Expression, Partition
from einsum_cascades.numbers import LARGEST
from einsum_cascades.operators import COMPARISONS, OPERATORS, Operator, WorkClass
from einsum_cascades.sizes import as_sizes

if TYPE_CHECKING:
    import sympy

Key = Literal["work_class", "operator"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation at each point of a space.

    Attributes:
        operator: its name in the table; a summed product is ``mac``.
        work_class: what the hardware is asked to do.
        ranks: the ranks that span the space; none for a scalar.
    """

    operator: str
    work_class: WorkClass
    ranks: tuple[str, ...]

    def times(self, sizes: Mapping[str, int]) -> int:
        """How often it is done, given the size of each rank."""
        return math.prod(sizes[rank] for rank in self.ranks)


def _operator(name: str, einsum: Einsum) -> Operator:
    if name not in OPERATORS:
        raise unknown("operator", name, OPERATORS, location=einsum.location)
    return OPERATORS[name]


def _applied(expression: Expression) -> Iterator[str]:
    """Operators of an expression that are work, operands before the operator that uses them."""
    if isinstance(expression, Apply) and not _is_address(expression):
        for operand in expression.operands:
            yield from _applied(operand)
        yield expression.operator


def _is_address(expression: Expression) -> bool:
    """Whether a value comes from indices, sizes and numbers by arithmetic alone."""
    if isinstance(expression, Apply):
        chooses = expression.operator in COMPARISONS or expression.operator == "where"
        return not chooses and all(map(_is_address, expression.operands))
    return not isinstance(expression, Access)


def operations(einsum: Einsum) -> tuple[Operation, ...]:
    """Return the operations of an Einsum, in the order in which a point goes through them.

    Raises:
        InputError: an operator is not in the table.
    """
    ranks = einsum.ranks
    names = list(_applied(einsum.expression))
    found = [Operation(name, _operator(name, einsum).work_class, ranks) for name in names]
    fuses = names[-1:] == ["mul"]
    for name, group in groupby(einsum.reductions, key=lambda reduction: reduction.operator):
        if fuses and name == "add":
            found[-1] = Operation("mac", "mac", ranks)
        else:
            found.append(Operation(name, _operator(name, einsum).work_class, ranks))
        fuses = False
        folded = {reduction.rank for reduction in group}
        ranks = tuple(rank for rank in ranks if rank not in folded)
    return tuple(found)


def work_classes(einsum: Einsum) -> tuple[WorkClass, ...]:
    """Return the work classes of one point of the iteration space, with repeats, in order.

    ``exp(QK - GM)`` gives ``("add", "exp")``. An operation that applies to an already reduced space is listed
    too, so that this never understates the work of a point; `count` is exact.
    """
    return tuple(operation.work_class for operation in operations(einsum))


def count(einsum: Einsum, sizes: Mapping[str, int]) -> dict[WorkClass, int]:
    """Return the exact number of operations of one Einsum by work class.

    Args:
        einsum: the Einsum; one that is iterated counts all its iterations.
        sizes: size of each rank of its iteration space.

    Raises:
        InputError: a rank has no size.
    """
    for rank in einsum.ranks:
        if rank not in sizes:
            raise InputError(
                f"rank {rank} of {einsum.name} has no size",
                location=einsum.location,
                hint="sizes given: " + (", ".join(f"{r}={s}" for r, s in sizes.items()) or "none"),
            )
    counts: Counter[WorkClass] = Counter()
    for operation in operations(einsum):
        counts[operation.work_class] += operation.times(sizes)
    return dict(counts)


def total(cascade: Cascade, sizes: Mapping[str, int]) -> dict[WorkClass, int]:
    """Return the exact number of operations of one instance of a cascade by work class.

    Args:
        cascade: what is counted.
        sizes: rank sizes; the missing one of a partitioned family is derived (see `complete_sizes`).

    Raises:
        InputError: a rank has no size, or the sizes of a family contradict each other.
    """
    complete = complete_sizes(cascade, sizes)
    complete |= iterations(cascade, complete)
    counts: Counter[WorkClass] = Counter()
    for einsum in cascade.einsums:
        counts.update(count(einsum, complete))
    return dict(counts)


def symbolic_operations(cascade: Cascade, *, by: Key = "work_class") -> dict[str, dict[str, sympy.Expr]]:
    """Return the operations of each Einsum as SymPy expressions over rank sizes.

    The symbols are named as the ranks and are positive integers. An Einsum without operations, such as a
    copy, has an empty table; Einsums that write the same tensor are added together.

    Args:
        cascade: what is counted.
        by: key of the inner tables: the work class, or the operator (``mac`` for a summed product).
    """
    import sympy

    result: dict[str, dict[str, sympy.Expr]] = {}
    for einsum in cascade.einsums:
        table = result.setdefault(einsum.name, {})
        for operation in operations(einsum):
            key = operation.work_class if by == "work_class" else operation.operator
            symbols = [sympy.Symbol(rank, positive=True, integer=True) for rank in operation.ranks]
            table[key] = table.get(key, sympy.Integer(0)) + sympy.Mul(*symbols)
    return result


def symbolic_total(cascade: Cascade, *, by: Key = "work_class") -> dict[str, sympy.Expr]:
    """Return the operations of a whole cascade as SymPy expressions, as `symbolic_operations` does."""
    result: dict[str, sympy.Expr] = {}
    for table in symbolic_operations(cascade, by=by).values():
        for key, expression in table.items():
            result[key] = result[key] + expression if key in result else expression
    return result


def complete_sizes(cascade: Cascade, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the sizes with those that partitions imply: of M = M1*M0, any two give the third.

    Raises:
        InputError: a size is not a whole number of 1 or more, or a family's sizes contradict each other.
    """
    complete = as_sizes("sizes", sizes, maximum=LARGEST**2)
    for partition in cascade.partitions:
        _complete_family(partition, complete)
    return complete


def _complete_family(partition: Partition, sizes: dict[str, int]) -> None:
    whole = sizes.get(partition.rank)
    unknown_parts = [part for part in partition.parts if part not in sizes]
    product = math.prod(sizes[part] for part in partition.parts if part in sizes)
    shown = "*".join(str(sizes.get(part, part)) for part in partition.parts)
    rule = f"{partition.rank} = {'*'.join(partition.parts)}"
    if whole is None:
        if not unknown_parts:
            sizes[partition.rank] = product
    elif not unknown_parts:
        if product != whole:
            raise InputError(f"rank {partition.rank} has size {whole}, but {rule} gives {shown} = {product}")
    elif len(unknown_parts) == 1:
        if whole % product:
            raise InputError(
                f"rank {partition.rank} has size {whole}, which is not a multiple of {product}",
                hint=f"{rule}: choose sizes that divide {whole}",
            )
        sizes[unknown_parts[0]] = whole // product


def iterations(cascade: Cascade, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return how many values each iterative rank takes before its stop condition holds.

    Raises:
        InputError: the rank at which one stops has no size, or the stop lies beyond the rank.
    """
    trips = {}
    for stop in cascade.stop:
        if isinstance(stop.bound, Const):
            bound = stop.bound.value
        elif stop.bound.rank in sizes:
            bound = sizes[stop.bound.rank]
        else:
            raise InputError(
                f"rank {stop.bound.rank}, where {stop.rank} stops, has no size",
                hint=f"give the size of {stop.bound.rank}",
            )
        if bound > sizes.get(stop.rank, bound):
            raise InputError(
                f"rank {stop.rank} has size {sizes[stop.rank]} but stops at {bound}",
                hint="the stop condition lies beyond the last value of the rank",
            )
        trips[stop.rank] = max(0, bound)
    return trips

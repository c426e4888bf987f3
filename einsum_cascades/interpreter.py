"""The reference interpreter: runs any cascade in NumPy exactly as its Einsums say.

An Einsum without a recurrence is evaluated for all points of its iteration space at once: operands are
aligned by rank name, a sum of products goes through ``numpy.einsum`` where their order changes rounding alone
(`contraction`), everything else is broadcast and folded with the operator's ``ufunc.reduce``. Einsums that need their
own earlier results form a recurrence (a strongly connected component of the dependency graph); it runs once per value
of an iterative rank, in order, until the stop condition, which gives the same values as running the whole body
iteration by iteration. Recurrences over several iterative ranks nest. ``init`` and ``final`` Einsums run where their
dependencies put them: before the first iteration and after the last.

A shifted subscript may be used on any rank as long as every value it reads exists: ``A[m-1]`` needs an
``A[-1]`` and is refused. Operations on infinities follow IEEE 754 without warnings: ``exp(-inf - x)`` is 0.
Indices and sizes that stand as values are float64, whatever the type of the inputs (`value_types`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

import numpy as np

from einsum_cascades.contraction import Value, any_order, contracted
from einsum_cascades.errors import InputError, Location, unknown
from einsum_cascades.graph import Loop, Plan, execution_plan
from einsum_cascades.inputs import Array, bind_inputs, plain_ranks, tiled
from einsum_cascades.ir import (
    Access,
    Apply,
    Cascade,
    Const,
    Einsum,
    Expression,
    Extent,
    Index,
    Number,
    Size,
    check_cascade,
    factors,
    leaves,
)
from einsum_cascades.operations import iterations, operations
from einsum_cascades.operators import OPERATORS
from einsum_cascades.sizes import as_sizes
from einsum_cascades.value_types import is_literal, is_wide

MAX_VALUES = 2**33

_PIECE = 2**22
"""Most products that are kept at once where they must be formed one by one."""


def run(cascade: Cascade, inputs: Mapping[str, Any], *, sizes: Mapping[str, int] | None = None) -> dict[str, Array]:
    """Run a cascade on arrays.

    Args:
        cascade: what to run.
        inputs: one array per input tensor, axes in declared order. A tiled view may be given as the plain
            tensor that it views (K of shape [E, M] for BK[E, M1, M0]); the sizes of the parts cut it.
        sizes: sizes of ranks that no input array shows, such as M0.

    Returns:
        Every tensor that the cascade writes, axes in declared order. A tensor written at ``m1+1`` has one
        entry more than M1 on that rank; entries that no Einsum writes are NaN. Values are floating point, of
        the type that NumPy promotes the inputs to.

    Raises:
        InputError: this is no cascade; an input is missing, unknown or of the wrong shape; a rank has no size or two;
            an Einsum reads what is never written, or depends on itself.
    """
    check_cascade(cascade)
    arrays, found = bind_inputs(cascade, inputs, as_sizes("sizes", sizes))
    machine = Interpretation(cascade, found | iterations(cascade, found), arrays)
    plan = execution_plan(cascade)
    with np.errstate(all="ignore"):
        machine.execute(plan, {})
    return {einsum.name: machine.values[einsum.name] for einsum in cascade.einsums}


# ---------------------------------------------------------------- checks before anything is computed


def check_form(cascade: Cascade, einsum: Einsum) -> None:
    """Refuse an Einsum that names what is not declared or leaves a rank neither kept nor reduced."""
    for access in (einsum.output, *einsum.inputs):
        if access.tensor not in cascade.ranks_of:
            raise unknown("tensor", access.tensor, cascade.ranks_of, location=einsum.location)
        ranks = cascade.ranks_of[access.tensor]
        if len(access.subscripts) != len(ranks):
            raise InputError(
                f"{access.tensor} has {len(access.subscripts)} subscripts; expected {len(ranks)}",
                location=einsum.location,
                hint=f"it is declared {access.tensor}[{', '.join(ranks)}]",
            )
    operations(einsum)
    for leaf in leaves(einsum.expression):
        if isinstance(leaf, Index) and leaf.rank not in einsum.ranks:
            raise InputError(f"{einsum.name} does not walk over '{leaf.rank.lower()}'", location=einsum.location)
    kept, right = einsum.output.ranks, {r for a in einsum.inputs for r in a.ranks}
    if len(set(kept)) < len(kept):
        raise InputError(f"{einsum.name} is written at one rank's variable twice", location=einsum.location)
    for rank in einsum.ranks:
        if (rank in kept) + einsum.reduced_ranks.count(rank) != 1:
            raise InputError(
                f"rank {rank} of {einsum.name} must be either on the left or reduced once",
                location=einsum.location,
            )
    for reduction in einsum.reductions:
        if reduction.operator not in OPERATORS or not OPERATORS[reduction.operator].reduces:
            raise unknown(
                "reduction",
                reduction.operator,
                [o for o, op in OPERATORS.items() if op.reduces],
                location=einsum.location,
            )
        if reduction.rank not in right:
            raise InputError(
                f"{einsum.name} reduces rank {reduction.rank}, which it does not walk over",
                location=einsum.location,
            )


def _first_gap(read: range, written: list[range]) -> int | None:
    """First entry of ``read`` that none of the ranges writes."""
    position = read.start
    for place in sorted(written, key=lambda w: w.start):
        if place.start <= position:
            position = max(position, place.stop)
    return position if position < read.stop else None


# ---------------------------------------------------------------- evaluation


class Interpretation:
    """The tensors computed so far, and what is needed to compute the next.

    ``binding`` is the current value of each iterative rank that a loop around a step walks over.
    """

    def __init__(self, cascade: Cascade, sizes: Mapping[str, int], inputs: dict[str, Array]) -> None:
        self.cascade = cascade
        self.sizes = sizes
        self.values = dict(inputs)
        self.dtype = np.result_type(*inputs.values()) if inputs else np.dtype(np.float64)
        self.written: dict[str, list[tuple[range, ...]]] = {
            t: [tuple(range(n) for n in array.shape)] for t, array in inputs.items()
        }
        self.check()

    def check(self) -> None:
        """Refuse ranks without a size, and reads of entries that no Einsum writes."""
        for einsum in self.cascade.einsums:
            check_form(self.cascade, einsum)
            for leaf in leaves(einsum.expression):
                if isinstance(leaf, Extent):
                    self.size(leaf.rank, einsum.name, einsum.location)
            places = tuple(self.places(einsum, einsum.output))
            self.written.setdefault(einsum.name, []).append(places)
            for place, subscript in zip(places, einsum.output.subscripts, strict=True):
                if place.start < 0 or isinstance(subscript, Size):
                    raise InputError(
                        f"{einsum.name} is written outside its ranks",
                        location=einsum.location,
                        hint="write at a variable, a variable shifted upwards, or a constant of 0 or more",
                    )
        for view, plain in self.cascade.views:
            if plain in self.cascade.ranks_of:
                ranks = self.cascade.ranks_of[view]
                if self.cascade.ranks_of[plain] != plain_ranks(self.cascade, ranks):
                    raise InputError(f"{view}[{', '.join(ranks)}] is no view of {plain}")
                self.written[view] = [tuple(range(self.size(rank, view)) for rank in ranks)]
        for einsum in self.cascade.einsums:
            for access in einsum.inputs:
                for axis, place in enumerate(self.places(einsum, access)):
                    gap = _first_gap(place, [w[axis] for w in self.written[access.tensor]])
                    if gap is not None:
                        at = f"{self.cascade.ranks_of[access.tensor][axis].lower()} = {gap}"
                        raise InputError(
                            f"{einsum.name} reads {access.tensor} at {at}, where it has no value",
                            location=einsum.location,
                            hint=f"write {access.tensor} there in init, or read it only where it is written",
                        )

    def places(self, einsum: Einsum, access: Access) -> Iterator[range]:
        """Yield the entries that an access touches on each axis, over the whole iteration space."""
        for subscript in access.subscripts:
            if isinstance(subscript, Const):
                yield range(subscript.value, subscript.value + 1)
                continue
            size = self.size(subscript.rank, einsum.name, einsum.location)
            if isinstance(subscript, Size):
                yield range(size, size + 1)
            else:
                yield range(subscript.shift, subscript.shift + size)

    def size(self, rank: str, user: str, location: Location | None = None) -> int:
        """Size of a rank, for what uses it."""
        if rank not in self.sizes:
            hint = f"no input shows it: give sizes={{'{rank}': ...}}"
            raise InputError(f"rank {rank} of {user} has no size", location=location, hint=hint)
        return self.sizes[rank]

    def execute(self, plan: Plan, binding: Mapping[str, int]) -> None:
        """Run the steps of a plan, loops included."""
        for step in plan:
            if isinstance(step, Loop):
                for value in range(self.sizes[step.rank]):
                    self.execute(step.steps, {**binding, step.rank: value})
            else:
                einsum = self.cascade.einsums[step]
                self.store(einsum, self.reduce(einsum, binding), binding)

    def index(self, access: Access, binding: Mapping[str, int]) -> tuple[int | slice, ...]:
        """NumPy index of an access: a number where a subscript is fixed, a slice where it is free."""
        found: list[int | slice] = []
        for subscript in access.subscripts:
            if isinstance(subscript, Const):
                found.append(subscript.value)
            elif isinstance(subscript, Size):
                found.append(self.sizes[subscript.rank])
            elif subscript.rank in binding:
                found.append(binding[subscript.rank] + subscript.shift)
            else:
                found.append(slice(subscript.shift, subscript.shift + self.sizes[subscript.rank]))
        return tuple(found)

    def tensor(self, name: str) -> Array:
        """The values of a tensor; a view of a declared tensor is cut from it when first read."""
        if name not in self.values:
            plain = self.values[dict(self.cascade.views)[name]]
            self.values[name] = tiled(self.cascade, name, plain, self.sizes)
        return self.values[name]

    def value(self, expression: Expression, binding: Mapping[str, int], *, wide: bool = False) -> Value:
        """Evaluate an expression over the free ranks that it walks over; ``wide`` literals are float64."""
        if isinstance(expression, Number):
            return np.asarray(expression.value, dtype=np.float64 if wide else self.dtype), ()
        if isinstance(expression, Extent):
            return np.asarray(self.sizes[expression.rank], dtype=np.float64), ()
        if isinstance(expression, Index):
            if expression.rank in binding:
                return np.asarray(binding[expression.rank], dtype=np.float64), ()
            return np.arange(self.sizes[expression.rank], dtype=np.float64), (expression.rank,)
        if isinstance(expression, Access):
            array = np.asarray(self.tensor(expression.tensor)[self.index(expression, binding)])
            ranks = tuple(r for r in expression.ranks if r not in binding)
            distinct = tuple(dict.fromkeys(ranks))
            if ranks != distinct:
                diagonal: list[Any] = [array, [distinct.index(r) for r in ranks], [*range(len(distinct))]]
                array = np.einsum(*diagonal)
            return array, distinct
        wide = wide or is_wide(expression)
        operands = [self.value(o, binding, wide=wide and is_literal(o)) for o in expression.operands]
        ranks = tuple(dict.fromkeys(r for _, own in operands for r in own))
        operator = OPERATORS[expression.operator]
        return np.asarray(operator.numpy(*(_align(operand, ranks) for operand in operands))), ranks

    def reduce(self, einsum: Einsum, binding: Mapping[str, int]) -> Value:
        """Evaluate an Einsum's expression and fold its reductions in the order written."""
        reductions = list(einsum.reductions)
        summed = {r.rank for r in takewhile(lambda reduction: reduction.operator == "add", reductions)}
        if summed and isinstance(einsum.expression, Apply) and einsum.expression.operator == "mul":
            array, ranks = self.summed_product(einsum.expression, summed, binding)
            reductions = reductions[len(summed) :]
        else:
            array, ranks = self.value(einsum.expression, binding)
        for reduction in reductions:
            operator = OPERATORS[reduction.operator]
            axis = ranks.index(reduction.rank)
            ufunc: Any = operator.numpy
            array = ufunc.reduce(array, axis=axis, initial=operator.identity)
            ranks = (*ranks[:axis], *ranks[axis + 1 :])
        return array, ranks

    def summed_product(self, product: Apply, summed: set[str], binding: Mapping[str, int]) -> Value:
        """Sum a product over some ranks."""
        wide = is_wide(product)
        values = [self.value(factor, binding, wide=wide and is_literal(factor)) for factor in factors(product)]
        if any_order([array for array, _ in values], math.prod(self.sizes[rank] for rank in summed)):
            return contracted(values, summed)
        return self.summed_as_written(product, summed, binding)

    def summed_as_written(self, product: Apply, summed: set[str], binding: Mapping[str, int]) -> Value:
        """Sum a product over some ranks, each product formed as written; the largest spaces value by value."""
        ranks = dict.fromkeys(r for leaf in leaves(product) for r in leaf.ranks if r not in binding)
        points = math.prod(self.sizes[rank] for rank in ranks)
        if points <= _PIECE:
            array, own = self.value(product, binding)
            axes = tuple(axis for axis, rank in enumerate(own) if rank in summed)
            return np.asarray(np.add.reduce(array, axis=axes)), tuple(rank for rank in own if rank not in summed)
        enough = points // _PIECE
        walked = min(ranks, key=lambda r: (r in summed, self.sizes[r] <= enough, abs(self.sizes[r] - enough)))
        parts = [self.summed_as_written(product, summed, {**binding, walked: i}) for i in range(self.sizes[walked])]
        stacked = np.stack([array for array, _ in parts])
        if walked in summed:
            return np.asarray(np.add.reduce(stacked, axis=0)), parts[0][1]
        return stacked, (walked, *parts[0][1])

    def store(self, einsum: Einsum, value: Value, binding: Mapping[str, int]) -> None:
        """Write a result into its tensor, which is made, full of NaN, when first written."""
        tensor = einsum.name
        if tensor not in self.values:
            places = zip(*self.written[tensor], strict=True)
            shape = [max(place.stop for place in axis) for axis in places]
            if math.prod(shape) > MAX_VALUES:
                raise InputError(f"{tensor} has {math.prod(shape)} values", hint="choose smaller rank sizes")
            self.values[tensor] = np.full(shape, np.nan, dtype=self.dtype)
        free = tuple(r for r in einsum.output.ranks if r not in binding)
        self.values[tensor][self.index(einsum.output, binding)] = _align(value, free)


def _align(value: Value, ranks: tuple[str, ...]) -> Array:
    """Permute an array's axes to the order of ``ranks``, with an axis of length 1 where it lacks one."""
    array, own = value
    permuted = array.transpose([own.index(r) for r in ranks if r in own])
    return permuted[tuple(slice(None) if r in own else None for r in ranks)]

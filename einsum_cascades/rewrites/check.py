"""Two cascades on the same random inputs: how far their results differ, and whether both stay finite.

The inputs (``samples.py``) try each kind of mask, whole hidden tiles included. Only where the source has a finite
result is there something to compare; one that is infinite though the inputs are finite must be the same infinity.
Where it has no number, nothing is said: two that are no numbers are no evidence. Results whose ranks were partitioned
are compared value by value in storage order.

Differences count relative to the results, unless these are what is left of larger numbers that cancel, such as the sum
of w/t where the w add up to 0: rounding alone makes a result of 1e-17 or of 0 there, and neither is wrong. How large
the numbers were is told by what rounding to float32 does to the source, about float32's epsilon times them, and by what
another order of the values along a rank does, where a 0 may change its sign. Divided by such a result, the one is
infinite, of either sign, and the other huge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import InputError
from einsum_cascades.interpreter import run
from einsum_cascades.ir import Apply, Cascade, Declaration, Einsum, Expression, Var
from einsum_cascades.operators import OPERATORS
from einsum_cascades.rewrites.roles import roles
from einsum_cascades.rewrites.samples import TILE, Arrays, sampled, samples
from einsum_cascades.rewrites.structure import plain_access, walked

LEAST_VALUES = 8
"""How many finite values of each result a comparison needs to say anything."""

SMALL = 1e-12
"""Differences below this, relative to the results themselves, need no look at what cancelled."""

Values = NDArray[np.floating[Any]]

_ORDERS = 4
_PARTS = (4, TILE)
_OTHER_SIZES = (5, 3)
_INDEXED = math.prod(_PARTS) + 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two cascades gave.

    Attributes:
        error: the largest difference over the largest value of its sample, or over what cancels there if that is
            larger, over all results; NaN where the second was no number though the first was finite, infinite where
            the first was infinite for finite inputs and the second neither that nor huge.
        finite: whether the second was finite wherever the first was.
        compared: how many finite values were compared, of the result that has the fewest.
        hidden: how many fibers, with something left to see, had whole tiles that a mask hides.
    """

    error: float
    finite: bool
    compared: int = 0
    hidden: int = 0


def rank_sizes(source: Cascade, derived: Cascade) -> dict[str, int]:
    """Return small sizes for the ranks of two cascades that fit the partitions of both.

    A rank that either splits into two has size 12, and one whose index is compared one more; others have 5 or 3.
    """
    sizes: dict[str, int] = {}
    for partition in dict.fromkeys((*source.partitions, *derived.partitions)):
        sizes |= {part: _PARTS[index % len(_PARTS)] for index, part in enumerate(partition.parts)}
        sizes[partition.rank] = math.prod(sizes[part] for part in partition.parts)
    ranks = sorted({r for c in (source, derived) for d in c.declarations for r in d.ranks})
    for index, rank in enumerate(ranks):
        compared = rank in roles(source).indices
        sizes.setdefault(rank, _INDEXED if compared else _OTHER_SIZES[index % len(_OTHER_SIZES)])
    return sizes


def compare(
    source: Cascade, derived: Cascade, *, seed: int = 0, magnitude: float = 1.0, least: int = LEAST_VALUES
) -> Comparison:
    """Run two cascades on the same random inputs and compare the results of the first.

    Args:
        source, derived: the second must write all results of the first.
        seed: of the random numbers.
        magnitude: the standard deviation of the inputs.
        least: how many finite values each result of the first must have.

    Raises:
        InputError: the first has fewer, so that nothing can be said.
    """
    known, found, sizes = _both(source, derived, seed, magnitude)
    _demand(source, known, least)
    error, finite = 0.0, True
    for tensor in source.outputs:
        a = known.expected[tensor].reshape(known.number, -1)
        b = found[tensor].reshape(known.number, -1)
        usable = np.isfinite(a)
        finite &= bool(np.isfinite(b[usable]).all())
        scale = _largest(a, usable)
        difference = _difference(a, b, usable, scale)
        if SMALL < difference < math.inf:
            scale = np.maximum(scale, _cancelled(source, known, tensor, sizes))
            difference = _difference(a, b, usable, scale)
        error = float(np.maximum(error, difference))
        huge = (np.abs(b) * SMALL > scale) & (np.isfinite(b) | _divides(source))
        if ((a != b) & ~huge)[np.isinf(a) & known.finite_inputs[:, None]].any() and not math.isnan(error):
            error = math.inf
    return Comparison(error, finite, known.compared, known.hidden)


def stays_finite(source: Cascade, derived: Cascade, *, seed: int = 0, magnitude: float = 1.0) -> bool:
    """Return whether the results of the second are finite wherever those of the first are; see `compare`."""
    known, found, _ = _both(source, derived, seed, magnitude)
    return all(np.isfinite(found[t].ravel()[np.isfinite(known.expected[t].ravel())]).all() for t in source.outputs)


def _both(
    source: Cascade, derived: Cascade, seed: int, magnitude: float
) -> tuple[_Reference, dict[str, Values], dict[str, int]]:
    """What the first gives on random inputs, what the second does, and the sizes of their ranks."""
    sizes = rank_sizes(source, derived)
    known = _reference(source, tuple(sorted(known_sizes(source, sizes).items())), seed, magnitude)
    return known, _results(derived, known.inputs, sizes, known.number), sizes


def _largest(values: Values, usable: NDArray[np.bool_]) -> Values:
    """The largest magnitude of each sample, in a column."""
    return np.asarray(np.abs(np.where(usable, values, 0.0)).max(axis=1, initial=0.0, keepdims=True))


def _difference(a: Values, b: Values, usable: NDArray[np.bool_], scale: Values) -> float:
    with np.errstate(all="ignore"):
        return float((np.abs(a - b) / np.where(scale == 0, 1.0, scale))[usable].max(initial=0.0))


def _divides(cascade: Cascade) -> bool:
    return any(node.operator in ("div", "mod") for e in cascade.einsums for node in _applied(e.expression))


def _applied(expression: Expression) -> Iterator[Apply]:
    if isinstance(expression, Apply):
        yield expression
        for operand in expression.operands:
            yield from _applied(operand)


def _cancelled(source: Cascade, known: _Reference, tensor: str, sizes: Mapping[str, int]) -> Values:
    """How large, in each sample, the numbers are that a result of the source is what is left of."""
    rounded = {name: array.astype(np.float32) for name, array in known.inputs.items()}
    others: list[tuple[Values, float]] = [
        (_results(source, rounded, known_sizes(source, sizes), known.number)[tensor], float(np.finfo(np.float32).eps)),
        *((array, float(np.finfo(float).eps)) for array in _in_other_orders(source, known, tensor, sizes)),
    ]
    a = known.expected[tensor].reshape(known.number, -1)
    found: Values = np.zeros((known.number, 1))
    for array, epsilon in others:
        b = array.reshape(known.number, -1)
        with np.errstate(all="ignore"):
            largest = _largest((a - b) / epsilon, np.isfinite(a) & np.isfinite(b))
        found = np.maximum(found, largest)
    return found


def _in_other_orders(source: Cascade, known: _Reference, tensor: str, sizes: Mapping[str, int]) -> Iterator[Values]:
    """A result of the source with the values along each rank in other orders, which is the same but for rounding."""
    read = [access for einsum in source.einsums for access in (einsum.output, *einsum.inputs)]
    if source.partitions or not all(isinstance(s, Var) and not s.shift for a in read for s in a.subscripts):
        return  # some places are not like others
    generator = np.random.default_rng(_ORDERS)
    for _ in range(_ORDERS):
        orders = {r: generator.permutation(n) for r, n in sizes.items() if r not in roles(source).indices}
        back = {rank: np.argsort(order) for rank, order in orders.items()}
        moved = {t: _moved(array, source.ranks_of[t], orders) for t, array in known.inputs.items()}
        found = _results(source, moved, known_sizes(source, sizes), known.number)[tensor]
        yield _moved(found, source.ranks_of[tensor], back)


def _moved(array: Values, ranks: Sequence[str], orders: Mapping[str, NDArray[np.intp]]) -> Values:
    for axis, rank in enumerate(ranks, start=1):
        if rank in orders:
            array = array.take(orders[rank], axis=axis)
    return array


@dataclass(frozen=True)
class _Reference:
    """Inputs of some samples, and the results of the source."""

    inputs: Arrays
    number: int
    expected: Arrays
    compared: int
    hidden: int

    @property
    def finite_inputs(self) -> NDArray[np.bool_]:
        """Of each sample, whether all its inputs are finite."""
        each = [np.isfinite(array).reshape(self.number, -1).all(axis=1) for array in self.inputs.values()]
        return np.asarray(np.logical_and.reduce([np.ones(self.number, bool), *each]))


@lru_cache(maxsize=64)
def _reference(source: Cascade, sizes: tuple[tuple[str, int], ...], seed: int, magnitude: float) -> _Reference:
    inputs, number = samples(source, dict(sizes), seed, magnitude)
    probed, probes = _probed(source)
    expected = _results(probed, inputs, dict(sizes), number)
    compared = min(int(np.isfinite(expected[t]).sum()) for t in source.outputs)
    hidden = sum(_hidden_fibers(expected[name], tuple(ranks), identity, source) for name, ranks, identity in probes)
    return _Reference(inputs, number, expected, compared, hidden)


def _demand(source: Cascade, known: _Reference, least: int) -> None:
    """Refuse a source that has too few finite values to compare with."""
    if known.compared >= least:
        return
    tensor = min(source.outputs, key=lambda t: int(np.isfinite(known.expected[t]).sum()))
    written = known.expected | known.inputs
    first = next((e.name for e in source.einsums if not np.isfinite(written[e.name]).any()), tensor)
    raise InputError(
        f"{source.name} cannot be checked: {known.compared} of {known.expected[tensor].size} values of {tensor} are "
        f"finite for random inputs, and {least} are needed",
        hint=f"{first} must be finite for numbers that are normally distributed, or for positive ones",
    )


def _probed(source: Cascade) -> tuple[Cascade, list[tuple[str, tuple[str, ...], float]]]:
    """The source with the operands of its maxima and minima as results; their names, ranks and identities."""
    if not roles(source).masks or source.init:
        return source, []
    added: list[Einsum] = []
    probes: list[tuple[str, tuple[str, ...], float]] = []
    for einsum in (*source.body, *source.final):
        operators = {r.operator for r in einsum.reductions}
        if len(operators) == 1 and operators <= {"max", "min"}:
            name, ranks = f"_PROBE{len(added)}", walked(einsum.expression)
            added.append(Einsum(plain_access(name, ranks), einsum.expression))
            probes.append((name, ranks, OPERATORS[operators.pop()].identity or 0.0))
    declarations = tuple(Declaration(e.name, e.output.ranks) for e in added)
    final = (*source.final, *added)
    return replace(source, declarations=(*source.declarations, *declarations), final=final), probes


def _hidden_fibers(values: NDArray[np.floating[Any]], ranks: tuple[str, ...], identity: float, source: Cascade) -> int:
    """How many fibers along a folded rank hold whole tiles of the identity, and something else."""
    most = 0
    for axis, rank in enumerate(ranks, start=1):
        if rank in roles(source).folded and values.shape[axis] > TILE:
            empty = np.moveaxis(values, axis, -1) == identity
            whole = empty[..., : empty.shape[-1] // TILE * TILE]
            tiles = whole.reshape(*whole.shape[:-1], -1, TILE).all(axis=-1)
            most = max(most, int((tiles.any(axis=-1) & ~empty.all(axis=-1)).sum()))
    return most


def known_sizes(cascade: Cascade, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes of the ranks that a cascade has."""
    ranks = {r for d in cascade.declarations for r in d.ranks} | set(cascade.iterative_ranks)
    ranks |= {r for p in cascade.partitions for r in (p.rank, *p.parts)}
    return {r: n for r, n in sizes.items() if r in ranks}


def _results(cascade: Cascade, inputs: Arrays, sizes: Mapping[str, int], number: int) -> Arrays:
    accepted = set(cascade.inputs) | {plain for _, plain in cascade.views}
    given = {t: array for t, array in inputs.items() if t in accepted}
    taken = {*sizes, *(r for d in cascade.declarations for r in d.ranks)}
    rank = "SAMPLE" + "_" * sum(name.startswith("SAMPLE") for name in taken)
    return run(sampled(cascade, rank), given, sizes=known_sizes(cascade, sizes) | {rank: number})

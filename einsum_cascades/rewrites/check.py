"""Two cascades on the same random inputs: how far their results differ, and whether both stay finite.

Inputs are normal numbers, but positive where they are divided by or stand under a root or logarithm, and places along
a rank (1, 2, ...) where they are compared with an index. Where the source has no finite result for these (a root of a
difference), all are positive. Results whose ranks were partitioned are compared value by value in storage order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.interpreter import run
from einsum_cascades.ir import Apply, Cascade, Expression, Index, accesses, leaves
from einsum_cascades.operators import COMPARISONS
from einsum_cascades.rewrites.stability import positive_inputs

_PARTS = (3, 4)
_OTHER_SIZES = (5, 3)

Arrays = dict[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two cascades gave.

    Attributes:
        error: the largest difference over the largest value, over all results; NaN where one was not finite.
        finite: whether the second was finite wherever the first was.
    """

    error: float
    finite: bool


def rank_sizes(source: Cascade, derived: Cascade) -> dict[str, int]:
    """Return small sizes for the ranks of two cascades that fit the partitions of both.

    A rank that either splits into two has size 12; others have 5 or 3.
    """
    sizes: dict[str, int] = {}
    for partition in dict.fromkeys((*source.partitions, *derived.partitions)):
        sizes |= {part: _PARTS[index % len(_PARTS)] for index, part in enumerate(partition.parts)}
        sizes[partition.rank] = math.prod(sizes[part] for part in partition.parts)
    ranks = sorted({r for c in (source, derived) for d in c.declarations for r in d.ranks})
    for index, rank in enumerate(ranks):
        sizes.setdefault(rank, _OTHER_SIZES[index % len(_OTHER_SIZES)])
    return sizes


def compare(source: Cascade, derived: Cascade, *, seed: int = 0, magnitude: float = 1.0) -> Comparison:
    """Run two cascades on the same random inputs and compare the results of the first.

    Args:
        source, derived: the second must write all results of the first.
        seed: of the random numbers.
        magnitude: the standard deviation of the inputs.
    """
    sizes = rank_sizes(source, derived)
    inputs, expected = _reference(source, tuple(sorted(known_sizes(source, sizes).items())), seed, magnitude)
    found = _results(derived, inputs, sizes)
    error, finite = 0.0, True
    for tensor in source.outputs:
        a, b = expected[tensor].ravel(), found[tensor].ravel()
        usable = np.isfinite(a)
        finite &= bool(np.isfinite(b[usable]).all())
        scale = float(np.abs(a[usable]).max(initial=0.0)) or 1.0
        with np.errstate(all="ignore"):
            difference = np.abs(a - b)[usable].max(initial=0.0) / scale
        error = float(np.maximum(error, difference))
    return Comparison(error, finite)


@lru_cache(maxsize=64)
def _reference(
    source: Cascade, sizes: tuple[tuple[str, int], ...], seed: int, magnitude: float
) -> tuple[Arrays, Arrays]:
    """Inputs for which the results are finite, if there are any among those tried, and the results."""
    for inputs in random_inputs(source, dict(sizes), seed, magnitude):
        expected = _results(source, inputs, dict(sizes))
        if all(np.isfinite(expected[t]).all() for t in source.outputs):
            break
    return inputs, expected


def random_inputs(source: Cascade, sizes: Mapping[str, int], seed: int, magnitude: float) -> Iterator[Arrays]:
    """Yield inputs of both signs, then positive ones, under the names of the plain tensors."""
    views = dict(source.views)
    whole = {part: p.rank for p in source.partitions for part in p.parts}
    positive = {views.get(t, t) for t in positive_inputs(source)}
    places = {t for einsum in source.einsums for t in _compared(einsum.expression)}
    shapes: dict[str, list[int]] = {}
    for tensor in source.inputs:
        ranks = source.ranks_of[tensor]
        if tensor in views:
            ranks = tuple(dict.fromkeys(whole.get(r, r) for r in ranks))
        if views.get(tensor) not in source.ranks_of:
            shapes[views.get(tensor, tensor)] = [sizes[r] for r in ranks]
    generator = np.random.default_rng(seed)
    for signed in (True, False):
        inputs: Arrays = {}
        for tensor, shape in shapes.items():
            normal = signed and tensor not in positive
            values = generator.normal(size=shape) if normal else generator.uniform(0.5, 1.5, shape)
            inputs[tensor] = magnitude * values
            if tensor in places:
                inputs[tensor] = generator.integers(1, max(sizes.values()) + 1, shape).astype(np.float64)
        yield inputs


def _compared(expression: Expression) -> Iterator[str]:
    """Tensors that are compared with indices."""
    if isinstance(expression, Apply):
        with_index = any(isinstance(leaf, Index) for leaf in leaves(expression))
        if expression.operator in COMPARISONS and with_index:
            yield from (access.tensor for access in accesses(expression))
        for operand in expression.operands:
            yield from _compared(operand)


def known_sizes(cascade: Cascade, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes of the ranks that a cascade has."""
    ranks = {r for d in cascade.declarations for r in d.ranks} | set(cascade.iterative_ranks)
    ranks |= {r for p in cascade.partitions for r in (p.rank, *p.parts)}
    return {r: n for r, n in sizes.items() if r in ranks}


def _results(cascade: Cascade, inputs: Arrays, sizes: Mapping[str, int]) -> Arrays:
    accepted = set(cascade.inputs) | {plain for _, plain in cascade.views}
    given = {t: array for t, array in inputs.items() if t in accepted}
    return run(cascade, given, sizes=known_sizes(cascade, sizes))

"""When the factors of a summed product may be multiplied and added in any order.

Where all partial results are finite and normal, another order changes rounding alone, and `numpy.einsum` may choose
one. Elsewhere order decides: ``A[k] * B[m]`` summed over both, with A = [1, -3] and B = [inf, 1], is NaN, since inf
and -inf are among the products, while the sum of A times the sum of B is -inf; and ``1e200 * 1e200 * 1e-200`` is
infinite from left to right only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from einsum_cascades.inputs import Array

Value = tuple[Array, tuple[str, ...]]
"""An array and the rank that each of its axes walks over."""


def any_order(factors: Sequence[Array], terms: int) -> bool:
    """Return whether every order of the sum of ``terms`` products of factors gives the same up to rounding.

    No partial product or sum may leave the finite numbers: ``terms`` times all largest magnitudes (of at least 1)
    bounds them. Of three factors or more, two may vanish in a product that the third, as written, keeps: the product
    of all smallest magnitudes is normal then, or what is lost, at most the largest product times the smallest
    subnormal number, is itself below the normal ones.
    """
    kinds = [np.finfo(factor.dtype) for factor in factors]
    largest, smallest = float(terms), 1.0
    for factor in factors:
        sizes = np.abs(factor)
        largest *= max(1.0, float(sizes.max()))
        if len(factors) > 2:
            smallest *= float(sizes.min(where=sizes > 0, initial=1.0))
        if np.isnan(sizes).any():
            return False
    if not largest <= min(float(kind.max) for kind in kinds):
        return False
    tiny, lost = max(float(kind.tiny) for kind in kinds), max(float(kind.eps) for kind in kinds)
    return len(factors) < 3 or smallest >= tiny or largest * lost <= 1.0


def contracted(factors: Sequence[Value], summed: set[str]) -> Value:
    """Return the sum of the factors' product over some ranks, in any order, without building the product."""
    ranks = list(dict.fromkeys(r for _, own in factors for r in own))
    kept = [axis for axis, rank in enumerate(ranks) if rank not in summed]
    operands: list[Any] = []
    for array, own in factors:
        operands += [array, [ranks.index(r) for r in own]]
    result = np.einsum(*operands, kept, optimize="greedy")
    return np.asarray(result), tuple(ranks[axis] for axis in kept)

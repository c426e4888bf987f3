"""Inputs into the home of all tensors, and results out of it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einsum_cascades.errors import InputError, nearest
from einsum_cascades.inputs import plain_ranks
from einsum_cascades.ir import Cascade
from hw_models.simulator.functional.layout import Layout, Ranks
from hw_models.simulator.functional.stores import Given

Array = NDArray[np.float64]


def given(cascade: Cascade, tensor: str, layout: Layout, ranks: Ranks, inputs: Mapping[str, Any]) -> Given:
    """Return the values of an input, in all instances.

    Raises:
        InputError: it is missing, or has another shape.
    """
    plain = dict(cascade.views).get(tensor)
    if plain in {einsum.name for einsum in cascade.einsums}:
        raise InputError(f"{tensor} is a view of {plain}, which the cascade makes", hint="the simulator reads inputs")
    names = [name for name in (tensor, plain) if name is not None and name in inputs]
    if not names:
        hint = f"its shape is {_said(layout.shape()[1:])}, or that with the instances before it"
        raise InputError(f"input {tensor} is missing", hint=f"{hint}; {nearest(tensor, inputs)}")
    array = _number(names[0], inputs[names[0]])
    shape = layout.shape()
    if names[0] != tensor:
        array = _cut(cascade, names[0], tensor, array, layout, ranks)
    elif array.shape == shape[1:]:
        array = np.broadcast_to(array, shape)
    if array.shape != shape:
        raise InputError(
            f"input {tensor} has the shape {_said(array.shape)}",
            hint=f"{_said(shape[1:])} is expected, or {_said(shape)} with the instances first",
        )
    return Given(array.ravel().tolist())


def _number(name: str, value: Any) -> Array:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"input {name} is no array of numbers", hint=str(error)) from None


def _cut(cascade: Cascade, name: str, tensor: str, array: Array, layout: Layout, ranks: Ranks) -> Array:
    """Return a plain array in the parts of a tensor that views it; beyond the end of a ragged last part is nothing."""
    declared = cascade.ranks_of[tensor]
    names = plain_ranks(cascade, declared)
    whole = [ranks.sizes[rank] if rank in ranks.sizes else _joined(cascade, rank, ranks) for rank in names]
    if list(array.shape) == whole:
        array = np.broadcast_to(array, (ranks.instances.size, *whole))
    if list(array.shape) != [ranks.instances.size, *whole]:
        raise InputError(
            f"input {name} has the shape {_said(array.shape)}",
            hint=f"{_said(tuple(whole))} is expected, or that with the {ranks.instances.size} instances first",
        )
    found = np.full(layout.shape(), np.nan)
    points = np.indices(tuple(whole))
    at: list[Any] = []
    for axis in layout.axes[1:]:
        own = {axis.part.rank, cascade.whole_rank(axis.part.rank)}
        along = next(points[i] for i, rank in enumerate(names) if rank in own)
        at.append(_index(cascade, axis.part.rank, along, ranks))
    found[(slice(None), *at)] = array
    return found


def _joined(cascade: Cascade, rank: str, ranks: Ranks) -> int:
    """Return the size of a split rank whose parts are ranks of their own."""
    return prod(ranks.part(part).size for part in cascade.family(rank))


def _index(cascade: Cascade, rank: str, points: NDArray[np.int64], ranks: Ranks) -> NDArray[np.int64]:
    """Return where points of a plain rank are along a part of it."""
    family = cascade.family(rank)
    if len(family) == 1 or rank not in family:
        return points
    inner = prod(ranks.part(part).size for part in family[family.index(rank) + 1 :])
    return points // inner % ranks.part(rank).size


def array_of(layout: Layout, numbers: Mapping[int, float]) -> Array:
    """Return a tensor's array, with the instances first and NaN where there is no value."""
    found = np.full(layout.shape(), np.nan)
    for key, number in numbers.items():
        found[layout.indices(key)] = number
    return found


def _said(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"

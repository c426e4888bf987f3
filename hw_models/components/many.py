"""Prices for many machines at once: those of ``memories.py`` where numbers are arrays.

Any number that a price depends on may be an array with a value per machine; figures are then arrays too, the same as
one by one up to their last digit. Tables are interpolated over arrays; CACTI runs once for each distinct memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from hw_models.architecture import Architecture
from hw_models.components.accelergy import curve
from hw_models.components.cacti import check_technology, sram_curve
from hw_models.components.costs import MemoryCost
from hw_models.components.interpolation import Curve
from hw_models.components.memories import NOTHING, laid_over, priced
from hw_models.components.technology import Scale, scale

Number: TypeAlias = Any
"""A number, or an array with a value per machine."""

Array: TypeAlias = npt.NDArray[Any]


def buffer_costs(architecture: Architecture) -> MemoryCost:
    """Return the costs of the global buffers, as ``buffer_cost`` does for one.

    Raises:
        InputError: one of them has none.
    """
    buffer = architecture.global_buffer
    width = 8 * architecture.value_bytes * buffer.row_values
    sizes = (buffer.bytes, width, buffer.ports, architecture.technology_nm)
    found = NOTHING if buffer.stated.complete else _memories(buffer.table, "sram", *sizes)
    return laid_over(found, buffer.stated)


def register_file_costs(architecture: Architecture, array: str) -> MemoryCost:
    """Return the costs of the register files of PEs of an array, as ``register_file_cost`` does for one.

    Raises:
        InputError: one of them has none.
    """
    pes, width = architecture.array(array), 8 * architecture.value_bytes
    sizes = (architecture.value_bytes * pes.registers, width, 1, architecture.technology_nm)
    found = NOTHING if pes.register_file.complete else _memories("accelergy", "regfile", *sizes)
    return laid_over(found, pes.register_file)


def scales(technology_nm: Number) -> Scale:
    """Return the factors from 45 nm to process nodes, as ``scale`` does to one.

    Raises:
        InputError: a node lies outside the table.
    """
    if not isinstance(technology_nm, np.ndarray):
        return scale(technology_nm)
    return Scale(*_each(scale, (technology_nm,)))


def _memories(table: str, kind: str, capacity: Number, width: Number, ports: Number, node: Number) -> MemoryCost:
    ports = 1 if table == "accelergy" else ports  # it prices one port, whatever their number
    if not any(isinstance(size, np.ndarray) for size in (capacity, width, ports, node)):
        return priced(table, kind, int(capacity), int(width), int(ports), node)
    if table == "hwcomponents":
        found = _each(lambda c, w, p, n: priced(table, kind, int(c), int(w), int(p), n), (capacity, width, ports, node))
        return MemoryCost(*found)
    if table == "cacti":
        for one in np.unique(node):
            check_technology(one)
        return _between(sram_curve(), (node, ports, width, capacity))
    found = _between(curve(kind), (width, capacity))
    factor = scales(node)
    read, write, leak = (figure * factor.energy for figure in found[:3])
    return MemoryCost(read, write, leak, found.area_um2 * factor.area, found.extrapolated)


def _each(function: Callable[..., Sequence[float]], sizes: Sequence[Number]) -> tuple[Any, ...]:
    """Return what a function of numbers returns for each machine, calling it once for each distinct choice."""
    given = np.stack(np.broadcast_arrays(*(np.asarray(s, float) for s in sizes)))
    distinct, which = np.unique(given, axis=1, return_inverse=True)
    figures = [tuple(function(*choice)) for choice in distinct.T.tolist()]
    return tuple(np.asarray(figure)[which.reshape(-1)] for figure in zip(*figures, strict=True))


def _between(table: Curve, sizes: Sequence[Number]) -> MemoryCost:
    logs = np.broadcast_arrays(*(np.log(np.atleast_1d(np.asarray(s, float))) for s in sizes))
    figures, outside = _interpolated(table, list(logs))
    read, write, leak, area = cast(Any, np.exp(figures))
    return MemoryCost(read, write, leak, area, cast(Any, outside))


def _interpolated(table: Curve, logs: list[Array]) -> tuple[Array, Array]:
    """Interpolate as ``Curve.at`` does: logarithms of the figures, one row each, and what lies outside."""
    x, *inner = logs
    points = np.asarray(table.points)
    if len(points) == 1:
        figures, outside = _value(table, 0, inner, len(x))
        return figures, outside | (x != points[0])
    right = np.clip(np.searchsorted(points, x), 1, len(points) - 1)
    found, beyond = np.empty((4, len(x))), np.empty(len(x), bool)
    for place in np.unique(right):
        here = right == place
        part = [i[here] for i in inner]
        (low, low_outside), (high, high_outside) = (
            _value(table, p, part, int(here.sum())) for p in (int(place) - 1, int(place))
        )
        weight = (x[here] - points[place - 1]) / (points[place] - points[place - 1])
        found[:, here] = low + weight * (high - low)
        beyond[here] = (low_outside & (weight != 1)) | (high_outside & (weight != 0)) | (weight < 0) | (weight > 1)
    return found, beyond


def _value(table: Curve, place: int, inner: list[Array], count: int) -> tuple[Array, Array]:
    value = table.values[place]
    if isinstance(value, Curve):
        return _interpolated(value, inner)
    return np.asarray(value)[:, None], np.zeros(count, bool)

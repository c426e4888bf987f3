"""The values of a sweep's points, found from their indices alone.

The product counts like an odometer: the last group of axes varies fastest. A group is one axis, or several that are
zipped. In a sampled sweep each group has one coordinate between 0 and 1, which chooses a value of a list evenly.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fusemax.sweep.axes import Axis, Continuum, Listed
from fusemax.sweep.conditions import Column, Names
from fusemax.sweep.sampling import sobol, uniform
from fusemax.sweep.space import Samples, Sweep

Array: TypeAlias = npt.NDArray[Any]


def point_columns(sweep: Sweep, start: int, stop: int) -> dict[str, Column]:
    """Return the values of the points ``start`` to ``stop`` (not included), by axis in the sweep's order."""
    index = np.arange(start, stop, dtype=np.int64)
    found: dict[str, Column] = {}
    if sweep.samples:
        for group, fraction in zip(sweep.groups, _fractions(sweep, sweep.samples, index), strict=True):
            for axis in group:
                found[axis.name] = _sampled(axis, fraction)
    else:
        for group, count in zip(reversed(sweep.groups), reversed(sweep.counts), strict=True):
            index, place = np.divmod(index, count)
            for axis in group:
                found[axis.name] = _column(axis, place)
    return {axis.name: found[axis.name] for axis in sweep.axes}


def _fractions(sweep: Sweep, samples: Samples, index: Array) -> Array | list[Array]:
    names = ["+".join(axis.name for axis in group) for group in sweep.groups]
    if samples.method == "random":
        return [uniform(samples.seed, name, index) for name in names]
    drawn = [n for n, group in enumerate(sweep.groups) if not all(axis.values.count == 1 for axis in group)]
    fractions = np.zeros((len(names), len(index)))
    if drawn and len(index):
        found = sobol(samples.seed, [names[n] for n in drawn], int(index[0]), int(index[-1]) + 1)
        fractions[drawn] = found
    return fractions


def _sampled(axis: Axis, fraction: Array) -> Column:
    if isinstance(axis.values, Continuum):
        return axis.values.between(fraction)
    return _column(axis, np.floor(fraction * axis.values.count).astype(np.int64))


def _column(axis: Axis, place: Array) -> Column:
    if axis.kind == "name" and isinstance(axis.values, Listed):
        return Names(place.astype(np.int32), tuple(map(str, axis.values.values)))
    assert not isinstance(axis.values, Continuum)
    return axis.values.at(place)

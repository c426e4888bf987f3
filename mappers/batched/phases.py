"""Vector phases at many points (``mappers/vector.py``), and which points share the structure of their nests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.ir import Cascade
from einsum_cascades.operations import work_classes
from hw_models.architecture import Architecture
from hw_models.batched import Number
from mappers.batched.batch import Size
from mappers.batched.nest import Tally
from mappers.binding import offered
from mappers.contraction import INSTANCES
from mappers.phases import actions, phase_cycles, sizes_of_ranks
from mappers.vector import VectorPhase, along_parts, lanes

Array: TypeAlias = npt.NDArray[Any]


def structures(cascade: Cascade, sizes: dict[str, Any], count: int) -> Iterator[tuple[Array, dict[str, int]]]:
    """Yield points whose ranks have sizes in the same order, and the sizes of the first of them.

    What a mapping lays along an array or tiles is the largest of some ranks, so the order of the sizes settles it.
    """
    ranks = sorted({r for e in (*cascade.body, *cascade.final) for r in e.ranks} | {p.rank for p in cascade.partitions})
    code = np.zeros(count, np.int64)
    for place, (i, j) in enumerate(combinations(ranks, 2)):
        code = code * 3 + np.greater(sizes[i], sizes[j]) + 2 * np.equal(sizes[i], sizes[j])
        if place % 32 == 31:
            code = np.unique(code, return_inverse=True)[1]
    for value in np.unique(code).tolist():
        points = np.flatnonzero(code == value)
        first = int(points[0])
        yield points, {r: int(s[first]) if isinstance(s, np.ndarray) else int(s) for r, s in sizes.items()}


def add_vector_phase(tally: Tally, phase: VectorPhase, sizes: dict[str, Any], architecture: Architecture) -> None:
    """Add the Einsums of a vector phase; the points have the same structure.

    Raises:
        InputError: no array offers an Einsum's operators.
    """
    first = {r: int(np.asarray(s).flat[0]) for r, s in sizes.items()}
    for einsum in phase.group.einsums:
        name = offered(einsum, "array_1d", architecture)
        array = architecture.array(name)
        along = phase.along(einsum, first)
        shape, loops = phase.layout(einsum, array, along)
        tally.values.extend({rank: sizes[rank] for rank in (INSTANCES, *einsum.ranks)})
        if along:
            parts = along_parts(sizes[along], lanes(array))
            tally.values.extend({f"{along} {part} {name}": number for part, number in parts.items()})
        work = tuple(Counter(work_classes(einsum)).items())
        tally.einsum(
            einsum.name,
            name,
            shape.compiled,
            [f"{rank} {part} {name}" if part else rank for rank, part in loops],
            work,
            phase_cycles(work, array, tally.accounting),
            actions(work, array),
            (INSTANCES, *einsum.ranks),
        )


def all_sizes(cascade: Cascade, size: Size, instances: Number, architecture: Architecture) -> dict[str, Any]:
    """Return the size of every rank, split ranks also by their own name, and the number of instances.

    Raises:
        InputError: a rank has no size.
    """
    sizes: dict[str, Any] = {INSTANCES: instances, **sizes_of_ranks(cascade, size, architecture)}
    for partition in cascade.partitions:
        sizes[partition.rank] = size(partition.rank)
    return sizes


def phase_bound(cascade: Cascade, size: Size, instances: Number, architecture: Architecture) -> Any:
    """Return a bound on every count of a strategy that runs phase by phase, at each point, as floats.

    Raises:
        InputError: a rank has no size.
    """
    sizes = all_sizes(cascade, size, instances, architecture)
    array = architecture.array_2d
    found: Any = 0.0
    for einsum in (*cascade.body, *cascade.final):
        padded = [np.asarray(sizes[INSTANCES], float)]
        for rank in einsum.ranks:
            length = np.asarray(sizes[rank], float)
            sides = [np.asarray(n, float) for n in (array.columns, array.rows, architecture.array_1d.pes)]
            tiles = [np.ceil(length / side) * np.minimum(length, side) for side in sides]
            padded.append(np.maximum.reduce(np.broadcast_arrays(length, *tiles)))
        units = [unit for a in (array, architecture.array_1d) for _, unit in a.units]
        often = [np.asarray(n, float) for u in units for n in (2 * u.actions, u.cycles)]
        often.append(np.asarray(2.0 * (len(einsum.inputs) + 2)))
        found = found + prod(padded, start=1.0) * np.maximum.reduce(np.broadcast_arrays(*often)) * 2
    return found

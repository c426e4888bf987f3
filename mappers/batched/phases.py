"""Vector phases at many points (``mappers/vector.py``), and which points share the structure of their nests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.ir import Cascade
from einsum_cascades.operations import work_classes
from hw_models.architecture import Architecture
from mappers.batched.nest import Tally
from mappers.binding import offered
from mappers.contraction import INSTANCES
from mappers.phases import actions, phase_cycles
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

"""Which axes lie along which dimensions of an array: the ways to lay work over it, and the loops that say so."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

from einsum_cascades.loops.arith import Number
from einsum_cascades.loops.tree import Loop, Node
from hw_models.machine import Array
from mappers.presets.axes import Axis
from mappers.presets.problem import Problem


@dataclass(frozen=True)
class Way:
    """How axes lie over dimensions.

    Attributes:
        placed: (number of an axis, number of a dimension, positions that it takes there), the fastest of an axis first.
        spread: of each axis, the units that lie side by side.
    """

    placed: tuple[tuple[int, int, int], ...]
    spread: tuple[int, ...]

    def steps(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Return the steps in time that each axis takes."""
        return tuple(-(-size // count) for size, count in zip(sizes, self.spread, strict=True))


def dimensions_of(problem: Problem, array: Array) -> list[tuple[str, int]]:
    """Return the dimensions inside the buffer over which PEs lie: full name and length, the array's last one first."""
    machine, found = problem.machine, []
    path = machine.path(array.name)
    inside = path[[node.name for node in path].index(problem.parts.buffer.name) + 1 :]
    for node in reversed(inside):
        found += [(f"{node.name}.{name}", length) for name, length in reversed(node.dimensions)]
    return [(name, length) for name, length in found if length != 1]


def ways_of(sizes: Sequence[int], lengths: Sequence[int], axes: Sequence[int] | None = None) -> tuple[Way, ...]:
    """Return the ways to lay axes over dimensions, the fastest first.

    Each dimension takes an axis of its own; where all such ways leave more steps than need be, axes also share
    dimensions that others leave room in.

    Args:
        axes: numbers of those that may lie there; all by default.
    """
    able = [a for a in (range(len(sizes)) if axes is None else axes) if sizes[a] > 1]
    if not able or not lengths:
        return (Way((), (1,) * len(sizes)),)
    plain = [_way(first, sizes, lengths, ()) for first in permutations(able, min(len(lengths), len(able)))]
    shared = [_way(first, sizes, lengths, able) for first in product(able, repeat=len(lengths))]
    least = min(_steps(way, sizes) for way in plain)
    faster = [way for way in shared if _steps(way, sizes) < least]
    return tuple(sorted(_unlike([*plain, *faster], lengths), key=lambda way: _steps(way, sizes)))


def _steps(way: Way, sizes: Sequence[int]) -> int:
    return math.prod(way.steps(sizes))


def _unlike(ways: Sequence[Way], lengths: Sequence[int]) -> list[Way]:
    """Leave out ways that differ only in dimensions of one length."""
    found: dict[frozenset[tuple[frozenset[tuple[int, int]], int]], Way] = {}
    for way in ways:
        by_dimension: dict[int, set[tuple[int, int]]] = {}
        for axis, dim, count in way.placed:
            by_dimension.setdefault(dim, set()).add((axis, count))
        found.setdefault(frozenset((frozenset(on), lengths[dim]) for dim, on in by_dimension.items()), way)
    return list(found.values())


def _way(first: Sequence[int], sizes: Sequence[int], lengths: Sequence[int], able: Sequence[int]) -> Way:
    """Lay one axis over each dimension, the longest of others over what is left."""
    spread = [1] * len(sizes)
    placed: list[tuple[int, int, int]] = []
    room = list(lengths)
    order = [*enumerate(first), *((dim, axis) for dim in range(len(lengths)) for axis in _longest(able, sizes))]
    for dim, axis in order:
        count = min(-(-sizes[axis] // spread[axis]), room[dim])
        if count > 1:
            spread[axis] *= count
            room[dim] //= count
            placed.append((axis, dim, count))
    return Way(tuple(placed), tuple(spread))


def _longest(able: Sequence[int], sizes: Sequence[int]) -> Iterator[int]:
    yield from sorted(able, key=lambda axis: -sizes[axis])


def laid(body: Node, way: Way, axes: Sequence[Axis], names: Sequence[str]) -> Node:
    """Return spatial loops around a body; in time around them each axis is cut into what lies side by side."""
    inside = [axis.unit for axis in axes]
    for number, dim, count in way.placed:
        axis = axes[number]
        body = Loop(axis.rank, inside[number], body, names[dim])
        inside[number] = inside[number] * count
    return body


def step_of(axis: Axis, spread: Number) -> Number:
    """Return the points that a step in time of an axis takes."""
    return axis.unit * spread

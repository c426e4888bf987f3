"""The axes of an Einsum: its ranks by the tensors that have them, as far as they can be cut as one.

Ranks that the same tensors of an Einsum have, point by point, are one axis (``H*E``): the Einsum is then the one with a
joined rank, and costs the same. A split rank that all tensors see alike is one axis; where some see its outer parts
alone, the outer parts are an axis and the inner ones another, walked inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from einsum_cascades.loops.arith import Number, least, steps
from einsum_cascades.loops.space import Space, Step
from einsum_cascades.loops.tree import INSTANCES, JOIN
from mappers.presets.problem import Problem, lanes


@dataclass(frozen=True)
class Axis:
    """A direction of an Einsum's iteration space.

    Attributes:
        rank: what a loop over it cuts.
        size: its length, in units.
        unit: points of a unit: more than 1 for the outer parts of a split rank.
        ranks: the cascade's ranks that it stands for.
    """

    rank: str
    size: Number
    unit: Number
    ranks: tuple[str, ...]


def split_of(problem: Problem) -> tuple[tuple[str, Number], ...]:
    """Return how the cascade's partitions are cut: innermost parts by the matrix array's rows, middle ones as given."""
    rows = lanes(problem.parts.dimensions(problem.parts.matrix)[1:])
    found: list[tuple[str, Number]] = []
    for partition in problem.cascade.partitions:
        left = problem.size(partition.rank)
        found.append((partition.parts[-1], least(left, rows)))
        found += [(part, problem.size(part)) for part in partition.parts[1:-1]]
    return tuple(found)


def space_of(problem: Problem) -> Space:
    """Return the iteration space that presets of unfused phases cut."""
    return Space.of(problem.cascade, problem.sizes, split_of(problem))


def axes_of(ranks: Sequence[Iterable[str]], space: Space, apart: Iterable[str] = ()) -> tuple[Axis, ...]:
    """Return the axes of Einsums or operands with these ranks, outer parts of a split rank before inner ones.

    Args:
        ranks: of each operand.
        apart: whole ranks that are not joined with others.
    """
    operands = [space.grains(own) for own in ranks]
    wholes = dict.fromkeys(rank for own in operands for rank in own)
    alike: dict[tuple[int, ...], list[str]] = {}
    found: list[Axis] = []
    for whole in wholes:
        grains = sorted({own[whole] for own in operands if whole in own}, key=len, reverse=True)
        having = tuple(i for i, own in enumerate(operands) if whole in own)
        if grains == [()] and whole not in apart:
            alike.setdefault(having, []).append(whole)
            continue
        found += _levels(whole, grains, _names(whole, ranks, space), space)
    joined = []
    for members in alike.values():
        size: Number = 1
        for rank in members:
            size = size * space.sizes[rank]
        names = tuple(part for rank in members for part in _names(rank, ranks, space))
        joined.append(Axis(JOIN.join(members), size, 1, names))
    return (*found, *joined)


def _levels(whole: str, grains: list[tuple[str, ...]], used: tuple[str, ...], space: Space) -> list[Axis]:
    """One axis for each grain at which a rank is seen, the coarsest first."""
    found: list[Axis] = []
    parts = next((p.parts for p in space.cascade.partitions if p.rank == whole and p.rank not in used), used)
    around: Number = space.sizes[whole]
    start = 0
    for grain in grains:
        unit = space.length(grain)
        end = len(parts) - len(grain)
        found.append(Axis(whole, steps(around, unit), unit, parts[start:end]))
        around, start = unit, end
    return found


def _names(whole: str, ranks: Sequence[Iterable[str]], space: Space) -> tuple[str, ...]:
    return tuple(dict.fromkeys(r for own in ranks for r in own if space.whole(r) == whole))


def has(axis: Axis, ranks: Iterable[str]) -> bool:
    """Whether a tensor with these ranks changes along an axis."""
    return not set(axis.ranks).isdisjoint(ranks)


def batches_of(step: Step, axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """Return the axes that all tensors of an Einsum have."""
    operands = (*step.inputs, step.output)
    return tuple(axis for axis in axes if all(has(axis, o.ranks) for o in operands))


__all__ = ["INSTANCES", "Axis", "axes_of", "batches_of", "has", "space_of", "split_of"]

"""An order of a cascade's Einsums that depends neither on names nor on the order in which they are written.

An Einsum comes as early as it can: what is not a product before the products that can run as soon (``phases.py``), and
all in levels, each after what it needs. On one level *colors* decide: numbers that say how Einsums, tensors and ranks
are tied to each other, refined by those of the neighbours (Weisfeiler and Leman, 1968). Einsums that these leave alike
stay as they are written: they can nearly always change places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

from einsum_cascades.graph import node_names
from einsum_cascades.ir import Cascade, Einsum
from einsum_cascades.loops.space import steps_of
from einsum_cascades.operations import work_classes
from mappers.presets.phases import is_product, needs_of
from mappers.presets.problem import Problem

_Node: TypeAlias = tuple[str, str]


def in_order(problem: Problem) -> Problem:
    """Return a problem of plain sizes with the Einsums of its cascade in order."""
    return replace(problem, cascade=ordered(problem.cascade, tuple(problem.sizes.items())))


@lru_cache(maxsize=1024)
def ordered(cascade: Cascade, sizes: tuple[tuple[str, Any], ...] = ()) -> Cascade:
    """Return a cascade with its Einsums in order; those that give first values stay.

    Args:
        sizes: of ranks by name, to tell those apart that are alike else.
    """
    places, colors = _places(cascade), _refined(cascade, dict(sizes))
    named = list(zip(node_names(cascade), cascade.einsums, strict=True))

    def sort(first: int, last: int) -> tuple[Einsum, ...]:
        found = sorted(named[first:last], key=lambda pair: (places[pair[0]], colors["step", pair[0]]))
        return tuple(einsum for _, einsum in found)

    first = len(cascade.init)
    last = first + len(cascade.body)
    return replace(cascade, body=sort(first, last), final=sort(last, len(named)))


def _places(cascade: Cascade) -> dict[str, tuple[int, int]]:
    """Of each Einsum its stage, odd for a product, and its level: the longest way from the cascade's inputs."""
    found: dict[str, tuple[int, int]] = {}
    needs = needs_of(cascade)
    for name, step in steps_of(cascade).items():
        product = is_product(step)
        before = [found[other] for other in needs[name]]
        stage = max((stage + (product and stage % 2) for stage, _ in before), default=0)
        found[name] = stage + (stage % 2 != product), max((level + 1 for _, level in before), default=0)
    return found


def _refined(cascade: Cascade, sizes: Mapping[str, Any]) -> dict[_Node, int]:
    """Colors of Einsums, tensors and ranks."""
    given = dict(_nodes(cascade, sizes))
    ties: dict[_Node, list[tuple[tuple[int, int, bool], _Node]]] = {node: [] for node in given}
    for one, other, label in _ties(cascade):
        ties[one].append((label, other))
        ties[other].append((label, one))
    colors, kinds = _numbered(given), 0
    while len(set(colors.values())) > kinds:
        kinds = len(set(colors.values()))
        around = {node: sorted((label, colors[other]) for label, other in own) for node, own in ties.items()}
        colors = _numbered({node: (color, tuple(around[node])) for node, color in colors.items()})
    return colors


def _numbered(colors: Mapping[_Node, Any]) -> dict[_Node, int]:
    numbers = {color: number for number, color in enumerate(sorted(set(colors.values())))}
    return {node: numbers[color] for node, color in colors.items()}


def _nodes(cascade: Cascade, sizes: Mapping[str, Any]) -> Iterator[tuple[_Node, tuple[Any, ...]]]:
    """Yield Einsums, tensors and ranks with their first colors."""
    for name, step in steps_of(cascade).items():
        yield ("step", name), ("step", *work_classes(step.einsum))
        for operand in (*step.inputs, step.output):
            inside, outside = operand.tensor in cascade.inputs, operand.tensor in cascade.outputs
            yield ("tensor", operand.tensor), ("tensor", inside, outside)
            for rank in operand.ranks:
                yield ("rank", rank), ("rank", sizes.get(rank, 0), rank in cascade.iterative_ranks)
    for partition in cascade.partitions:
        for rank in (partition.rank, *partition.parts):
            yield ("rank", rank), ("rank", sizes.get(rank, 0), rank in cascade.iterative_ranks)
    for pair in cascade.views:
        for tensor in pair:
            yield ("tensor", tensor), ("tensor", tensor in cascade.inputs, tensor in cascade.outputs)


def _ties(cascade: Cascade) -> Iterator[tuple[_Node, _Node, tuple[int, int, bool]]]:
    """Yield what uses what, and how."""
    for name, step in steps_of(cascade).items():
        for number, operand in enumerate((step.output, *step.inputs)):
            yield ("step", name), ("tensor", operand.tensor), (number, 0, operand.carried)
            for place, rank in enumerate(operand.ranks):
                yield ("step", name), ("rank", rank), (number, place, operand.carried)
    for partition in cascade.partitions:
        for place, part in enumerate(partition.parts):
            yield ("rank", partition.rank), ("rank", part), (-1, place, False)
    for view, plain in cascade.views:
        yield ("tensor", view), ("tensor", plain), (-2, 0, False)

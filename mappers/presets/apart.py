"""What a fused nest would make again for each tile of columns, run by itself before it.

An Einsum that lacks the columns (keys projected from tokens, a norm of the weights) is wanted once, whatever the number
of column tiles. It cannot depend on one that has them, so all such Einsums run first, phase by phase, and what they
make comes from the off-chip memory as inputs do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from einsum_cascades.ir import Cascade
from einsum_cascades.loops.arith import Number
from einsum_cascades.loops.space import Space
from einsum_cascades.loops.tree import Node
from mappers.presets.order import ordered
from mappers.presets.phases import phases_of
from mappers.presets.problem import Problem
from mappers.presets.product_tree import product_tree
from mappers.presets.vector_tree import vector_tree
from mappers.roles import Roles, find_roles


def apart_from_columns(cascade: Cascade) -> tuple[Cascade | None, Cascade, Roles]:
    """Return the part of a cascade that lacks the columns, if there is one, the rest, and the roles in that.

    Raises:
        InputError: there is nothing to fuse.
    """
    rest = cascade
    while True:
        roles = find_roles(rest)
        lacking = {e.name for e in (*rest.body, *rest.final) if roles.column not in e.ranks}
        if not lacking:
            break
        rest = part_of(rest, {e.name for e in (*rest.body, *rest.final)} - lacking)
    names = {e.name for e in (*rest.body, *rest.final)}
    others = {e.name for e in (*cascade.body, *cascade.final)} - names
    return (part_of(cascade, others) if others else None), rest, roles


def part_of(cascade: Cascade, names: Iterable[str]) -> Cascade:
    """Return the Einsums of these names, with the tensors that they use."""
    kept = [tuple(e for e in part if e.name in names) for part in (cascade.init, cascade.body, cascade.final)]
    used = {a.tensor for part in kept for e in part for a in (e.output, *e.inputs)}
    used |= {plain for view, plain in cascade.views if view in used}
    declared = tuple(d for d in cascade.declarations if d.tensor in used)
    views = tuple((view, plain) for view, plain in cascade.views if view in used)
    return replace(cascade, init=kept[0], body=kept[1], final=kept[2], declarations=declared, views=views)


def before(problem: Problem, part: Cascade, split: tuple[tuple[str, Number], ...]) -> tuple[Node, ...]:
    """Return the trees of the Einsums of a part, phase by phase.

    Args:
        problem: the whole one.
        split: how the cascade's partitions are cut.

    Raises:
        InputError: no array offers an Einsum's operators.
    """
    space = Space.of(problem.cascade, problem.sizes, split)
    found: list[Node] = []
    for phase in phases_of(ordered(part)):
        steps = tuple(space.steps[step.name] for step in phase.steps)
        found.append(product_tree(problem, steps[0], space) if phase.product else vector_tree(problem, steps, space))
    return tuple(found)

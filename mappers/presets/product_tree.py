"""A matrix product as a loop tree: the shape that is searched (``product.py``), and the nest that was found."""

from __future__ import annotations

from collections.abc import Sequence

from einsum_cascades.loops.arith import Number, anywhere
from einsum_cascades.loops.space import Operand, Space, Step
from einsum_cascades.loops.tree import INSTANCES, Compute, Hold, Loop, Node
from hw_models.spatial.work import cycles_of
from mappers.presets.axes import Axis, axes_of, batches_of, has
from mappers.presets.layout import dimensions_of, laid
from mappers.presets.problem import Problem, lanes, over_instances
from mappers.presets.product import Nest, Shape, best_nest


def product_tree(problem: Problem, step: Step, space: Space) -> Node:
    """Return the best loop nest of a matrix product by itself.

    Raises:
        InputError: no array offers its operators.
    """
    return nest_tree(
        problem, step, space, best_nest(shape_of(problem, step, space), problem.machine, problem.accounting)
    )


def _axes(step: Step, space: Space) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """The axes that are searched, and those that all operands have or that inner parts are walked in."""
    axes = axes_of([o.ranks for o in (*step.inputs, step.output)], space)
    wholes = [axis.rank for axis in axes]
    batches = batches_of(step, axes)
    outer = [a for i, a in enumerate(axes) if a in batches or a.rank in wholes[i + 1 :]]
    return tuple(a for a in axes if a not in outer), tuple(outer)


def shape_of(problem: Problem, step: Step, space: Space) -> Shape:
    """Return a product without names."""
    parts, operands = problem.parts, (*step.inputs, step.output)
    axes, batches = _axes(step, space)
    array = parts.offered(step.einsum, parts.matrix)
    instances = problem.sizes.get(INSTANCES, 1)
    further: Number = 1
    for axis in batches:
        further = further * axis.size
    return Shape(
        sizes=tuple(axis.size for axis in axes),
        has=tuple(tuple(has(axis, o.ranks) for axis in axes) for o in operands),
        bits=tuple(problem.bits(o.tensor) for o in operands),
        batch=-(-instances // lanes(parts.outside)) * further,
        copies=instances * further,
        cycles=cycles_of(step.einsum, array, problem.cascade, problem.accounting),
        lengths=tuple(length for _, length in dimensions_of(problem, array)),
        buffer=parts.buffer.name,
        array=array.name,
    )


def nest_tree(problem: Problem, step: Step, space: Space, nest: Nest) -> Node:
    """Return a nest as a tree."""
    axes, batches = _axes(step, space)
    array = problem.parts.offered(step.einsum, problem.parts.matrix)
    names = [name for name, _ in dimensions_of(problem, array)]
    operands = (*step.inputs, step.output)
    body = laid(Compute(step.name, array.name), nest.way, axes, names)
    steps = [(axes[a], nest.way.spread[a]) for a in nest.on if nest.tile[a] > nest.way.spread[a]]
    body = _around(body, steps, [(o.name, o.ranks) for o in _fitting(problem, step, steps)], array.name)
    tiles = [(axes[a], nest.tile[a]) for a in nest.off if nest.tile[a] < axes[a].size]
    kept = [(o.name, o.ranks) for o, held in zip(operands, nest.held, strict=True) if held]
    body = _around(body, tiles, kept, problem.parts.buffer.name)
    for axis in reversed(batches):
        if anywhere(axis.size > 1):
            body = Loop(axis.rank, axis.unit, body)
    return over_instances(problem, body)


def _fitting(problem: Problem, step: Step, loops: Sequence[tuple[Axis, int]]) -> list[Operand]:
    """The operands that registers have room for: of more, those that stay for no further step are left out."""
    operands = [*dict.fromkeys((*step.inputs, step.output))]
    array = problem.parts.offered(step.einsum, problem.parts.matrix)
    if problem.accounting.fibers_in_registers or array.registers is None:
        return operands
    staying = sorted(operands, key=lambda o: _depth(o.ranks, loops))
    return [o for o in operands if o in staying[: array.registers]]


def _around(
    body: Node, loops: Sequence[tuple[Axis, int]], kept: Sequence[tuple[str, tuple[str, ...]]], memory: str
) -> Node:
    """Loops in time, outermost first, with holds outside the innermost of them that their tensors lack."""
    for depth in range(len(loops), -1, -1):
        for name, ranks in reversed(kept):
            if _depth(ranks, loops) == depth:
                body = Hold(name, memory, body)
        if depth:
            axis, tile = loops[depth - 1]
            body = Loop(axis.rank, tile * axis.unit, body)
    return body


def _depth(ranks: Sequence[str], loops: Sequence[tuple[Axis, int]]) -> int:
    return max((i + 1 for i, (axis, _) in enumerate(loops) if has(axis, ranks)), default=0)

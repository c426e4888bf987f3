"""What one point of an Einsum asks of the array that it runs on: cycles, actions, operations.

A point goes through the classes of work of its Einsum one after another (``einsum_cascades.operations``), each for as
many cycles as the array's unit takes; a summed product is one multiply-accumulate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Einsum
from einsum_cascades.loops.arith import Number
from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.space import Step
from einsum_cascades.loops.tree import parts_of
from einsum_cascades.operations import work_classes
from einsum_cascades.operators import WorkClass
from hw_models.accounting import Accounting
from hw_models.machine import Array, Unit


def work_of(einsum: Einsum) -> Mapping[WorkClass, int]:
    """Return how many operations of each class of work one point of an Einsum is."""
    return Counter(work_classes(einsum))


def in_tile(site: Site, plan: Plan) -> bool:
    """Whether a compute works tile by tile, and not for a whole fiber: a loop in time over a rank of its own that the
    cascade reduces goes around a matrix product too."""
    steps = plan.space.steps
    reduced = {plan.space.whole(rank) for step in steps.values() for rank in step.reduced}
    own = reduced & {plan.space.whole(rank) for rank in plan.step(site).ranks}
    loops = [loop for loop in site.time_loops if not own.isdisjoint(parts_of(loop.rank))]
    return any(
        loop is other
        for product in plan.computes
        if _is_product(plan.step(product))
        for other in product.time_loops
        for loop in loops
    )


def _is_product(step: Step) -> bool:
    return "mac" in work_classes(step.einsum) and len(step.inputs) > 1 and bool(step.reduced)


def cycles_of(einsum: Einsum, array: Array, accounting: Accounting, *, tile: bool = False) -> Number:
    """Return the cycles for which one point of an Einsum occupies a PE.

    Where the accounting says so, the subtraction inside an exponential takes no cycle of its own but in tiles.

    Args:
        tile: whether it works tile by tile.

    Raises:
        InputError: the array has no unit for a class of work.
    """
    work = dict(work_of(einsum))
    if not accounting.phase_subtraction_cycles and not tile and "exp" in work and "add" in work:
        work["add"] -= 1
    cycles: Number = 0
    for kind, times in work.items():
        cycles = cycles + times * unit_of(array, kind, einsum).cycles
    return cycles


def actions_of(einsum: Einsum, array: Array) -> Number:
    """Return how often a PE's units act for one point of an Einsum."""
    actions: Number = 0
    for kind, times in work_of(einsum).items():
        actions = actions + times * unit_of(array, kind, einsum).actions
    return actions


def unit_of(array: Array, kind: WorkClass, einsum: Einsum) -> Unit:
    """Return the unit of an array for a class of work.

    Raises:
        InputError: there is none.
    """
    if kind not in array.unit_of:
        raise InputError(
            f"{array.name} does no {kind}, which {einsum.name} needs", hint="it does: " + ", ".join(array.unit_of)
        )
    return array.unit_of[kind]

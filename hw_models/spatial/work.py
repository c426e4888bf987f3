"""What one point of an Einsum asks of the array that it runs on: cycles, actions, operations.

A point goes through the classes of work of its Einsum one after another (``einsum_cascades.operations``), each for as many
cycles as the array's unit takes; a summed product is one multiply-accumulate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade, Einsum
from einsum_cascades.loops.arith import Number
from einsum_cascades.operations import work_classes
from einsum_cascades.operators import WorkClass
from hw_models.accounting import Accounting
from hw_models.machine import Array, Unit


def work_of(einsum: Einsum) -> Mapping[WorkClass, int]:
    """Return how many operations of each class of work one point of an Einsum is."""
    return Counter(work_classes(einsum))


def tiled(cascade: Cascade) -> bool:
    """Whether a cascade itself splits a rank, and so works tile by tile."""
    return bool(cascade.partitions)


def cycles_of(einsum: Einsum, array: Array, cascade: Cascade, accounting: Accounting) -> Number:
    """Return the cycles for which one point of an Einsum occupies a PE.

    Where the accounting says so, the subtraction inside an exponential takes no cycle of its own in cascades that are not
    tiled.

    Raises:
        InputError: the array has no unit for a class of work.
    """
    work = dict(work_of(einsum))
    if not accounting.phase_subtraction_cycles and not tiled(cascade) and "exp" in work and "add" in work:
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

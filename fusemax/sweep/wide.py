"""Which points may have a count that passes 64 bits: a bound in floats on all whole numbers that a cost is made of.

An Einsum of N points in all copies together, with k operands that each point reads or writes, makes at most

    N · (k + 1) accesses to a memory        partial sums come back; three more in registers for each further action
    N · cycles                              on its array

Values are summed in bytes (``hw_models.spatial.moved``), what a memory holds at a time in bits; schedules are floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from einsum_cascades.ir import Cascade, Einsum
from hw_models.machine import Machine
from hw_models.spatial.work import work_of

WORD: Final = 0.99 * 2.0**63
"""Counts are evaluated in 64-bit integers where the bound, which is rounded, stays below this."""


def is_wide(cascade: Cascade, machine: Machine, sizes: Mapping[str, Any], instances: Any) -> Any:
    """Return whether a count may not fit; all numbers are floats, or arrays of them over points."""
    einsums = (*cascade.init, *cascade.body, *cascade.final)
    widest = _most(bits for _, bits in machine.bits)
    passing = np.maximum(widest // 8, 7 * (widest % 8 > 0))
    accesses = busy = held = np.float64(0)
    for einsum in einsums:
        points = np.asarray(instances, float)
        for rank in dict.fromkeys(cascade.whole_rank(rank) for rank in einsum.ranks):
            points = points * np.asarray(sizes.get(rank, 1), float)
        operands = len(einsum.inputs) + 2
        within = 3 * (_of_a_point(einsum, machine, "actions") - 1)
        accesses = accesses + points * np.maximum(operands * passing, operands + within)
        busy = busy + points * _of_a_point(einsum, machine, "cycles")
        held = held + points / instances * operands * widest
    copies = len(einsums) + 1  # of what crosses a pipeline
    return np.maximum(np.maximum(accesses, busy), copies * held) >= WORD


def _of_a_point(einsum: Einsum, machine: Machine, name: str) -> Any:
    """The most actions or cycles of one point, at least its operations."""
    work = work_of(einsum)
    found: Any = float(sum(work.values()))
    for array in machine.arrays:
        own: Any = 0.0
        for kind, times in work.items():
            if kind in array.unit_of:
                own = own + times * np.asarray(getattr(array.unit_of[kind], name), float)
        found = np.maximum(found, own)
    return found


def _most(numbers: Any) -> Any:
    found: Any = 0.0
    for number in numbers:
        found = np.maximum(found, np.asarray(number, float))
    return found

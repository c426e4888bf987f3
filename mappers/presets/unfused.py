"""Each phase by itself, all that passes between phases through the off-chip memory: the published configuration
``unfused``, for any cascade and any machine with arrays and a buffer.

A phase is a matrix product (``product.py``) or a run of other Einsums (``vector_phase.py``); ``phases.py`` says which.
Source: Nayak et al., "FuseMax", MICRO 2024, section VI (the unfused baseline).
"""

from __future__ import annotations

from einsum_cascades.loops.tree import LoopTree, sequence
from mappers.presets.axes import space_of, split_of
from mappers.presets.phases import phases_of
from mappers.presets.problem import Problem
from mappers.presets.product_tree import product_tree
from mappers.presets.vector_tree import vector_tree


def unfused(problem: Problem) -> LoopTree:
    """Return a tree with every phase of a cascade by itself.

    Raises:
        InputError: a rank has no size, or no array offers an Einsum's operators.
    """
    space = space_of(problem)
    parts = [
        product_tree(problem, phase.steps[0], space) if phase.product else vector_tree(problem, phase.steps, space)
        for phase in phases_of(problem.cascade)
    ]
    return LoopTree(sequence(*parts), split_of(problem))

"""A segment that is one phase by itself: a matrix product, or a run of other Einsums, as the preset ``unfused`` has it.

Choice: how many memories further out than the nearest one the buffer is. The rest follows: of all ways to lie over the
array, orders, operands held and tiles the fastest.
"""

from __future__ import annotations

from einsum_cascades.errors import InputError
from einsum_cascades.loops.tree import LoopTree
from mappers.presets.order import ordered
from mappers.presets.phases import is_product, phases_of
from mappers.presets.problem import Problem
from mappers.presets.product_tree import product_tree
from mappers.presets.vector_tree import vector_tree
from mappers.search.figures import Figures
from mappers.search.floors import SLACK
from mappers.search.frames.frame import Box, Value
from mappers.search.segment import Segment


class PhaseFrame:
    """Trees of one phase."""

    name = "phase"

    def values(self, segment: Segment, box: Box) -> tuple[Value, ...] | None:
        """Return what the next choice of a box may be."""
        if box.choices:
            return None
        products = sum(is_product(step) for step in segment.steps)
        if products > (len(segment.steps) == 1):
            raise InputError("a product and other Einsums are several phases")
        return tuple(range(segment.problem.parts.buffers))

    def floor(self, segment: Segment, box: Box) -> Figures:
        """Return what no tree of a box is better than: what its arrays take one after another."""
        cycles = sum(min(segment.floors.loads[name].values(), default=0.0) for name in segment.names)
        return segment.floors.with_cycles(segment, cycles * (1 - SLACK))

    def tree(self, segment: Segment, box: Box) -> LoopTree:
        """Return the tree of a box that makes all choices."""
        (further,) = box.choices
        whole = segment.problem
        problem = Problem(whole.cascade, whole.sizes, whole.machine, whole.accounting, int(further))
        if is_product(segment.steps[0]):
            node = product_tree(problem, segment.steps[0], segment.space)
        else:
            runs = phases_of(ordered(segment.cascade))
            if len(runs) > 1:
                raise InputError("Einsums that share no tensor are several phases")
            steps = tuple(segment.space.steps[step.name] for step in runs[0].steps)
            node = vector_tree(problem, steps, segment.space)
        return LoopTree(node, tuple(segment.space.split.items()))

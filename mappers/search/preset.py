"""The fastest mapping that a search of a stated space finds, for any cascade and any machine with arrays and a buffer.

The space holds the trees of all presets, and all ways to cut the cascade into segments that run one after another, each
fused or phase by phase. A lower bound rises while the search runs; where it meets the best mapping, none of the space
is faster. After a minute the best so far is taken: then a faster computer may find a faster one. ``fusemax map`` shows
the bound, and takes other objectives and times.
"""

from __future__ import annotations

from typing import Final

from einsum_cascades.loops.tree import LoopTree
from mappers.presets.problem import Problem
from mappers.search.figures import objective_named
from mappers.search.search import search as searched

TIME_LIMIT_S: Final = 60.0
"""So many seconds are searched, if no proof ends the search before."""


def search(problem: Problem) -> LoopTree:
    """Return the fastest tree of the stated space, or the fastest found in a minute.

    Raises:
        InputError: the space has no mapping that can be executed and fits.
    """
    return searched(problem, objective_named("latency"), TIME_LIMIT_S).mappings[0].tree

"""Whole mappings as the presets have them: the space contains all that people chose.

Choices: the preset, and which of its trees. They cover the whole cascade and cut its partitions in their own way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from einsum_cascades.loops.legal import check_legal
from einsum_cascades.loops.tree import LoopTree
from mappers.choose import Trees, trees_of
from mappers.presets.flat import flat, flat_searched
from mappers.presets.fusemax import fusemax_interleaved, fusemax_serial
from mappers.presets.problem import Problem
from mappers.presets.unfused import unfused
from mappers.search.figures import Figures
from mappers.search.segment import figures_of

PRESETS: Final[dict[str, Callable[[Problem], Trees]]] = {
    "fusemax-interleaved": fusemax_interleaved,
    "fusemax-serial": fusemax_serial,
    "flat": flat,
    "flat-searched": flat_searched,
    "unfused": unfused,
}


def preset_tree(problem: Problem, name: str, number: int) -> LoopTree | None:
    """Return one of a preset's trees; None if it has no more.

    Raises:
        InputError: it has none for this problem.
    """
    found = _trees(problem, name)
    return found[number] if number < len(found) else None


@lru_cache(maxsize=16)
def _trees(problem: Problem, name: str) -> list[LoopTree]:
    return trees_of(PRESETS[name](problem))


def preset_figures(problem: Problem, tree: LoopTree) -> Figures:
    """Return what a tree of the whole cascade costs.

    Raises:
        InputError: it cannot be executed, or a memory has no room for it.
    """
    plan = problem.plan(tree)
    check_legal(plan)
    return figures_of(plan, problem)

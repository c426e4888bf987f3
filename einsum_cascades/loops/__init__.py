"""Loop trees, at the ground and without hardware: what a mapping says, its text, legality, exact counts and capacity."""

from einsum_cascades.loops.capacity import live_bits
from einsum_cascades.loops.counts import Counts, Row, count
from einsum_cascades.loops.legal import check_legal
from einsum_cascades.loops.levels import Level, Levels
from einsum_cascades.loops.sites import Plan, Site
from einsum_cascades.loops.space import Space
from einsum_cascades.loops.text import parse_tree, to_text
from einsum_cascades.loops.tree import (
    INSTANCES,
    Compute,
    Hold,
    Last,
    Late,
    Loop,
    LoopTree,
    Node,
    Parallel,
    Pipeline,
    Sequential,
)

__all__ = [
    "INSTANCES",
    "Compute",
    "Counts",
    "Hold",
    "Last",
    "Late",
    "Level",
    "Levels",
    "Loop",
    "LoopTree",
    "Node",
    "Parallel",
    "Pipeline",
    "Plan",
    "Row",
    "Sequential",
    "Site",
    "Space",
    "check_legal",
    "count",
    "live_bits",
    "parse_tree",
    "to_text",
]

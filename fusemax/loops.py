"""Loop trees: mappings of your own, built node by node or read from text, and what a mapper is given.

    for M step 256                     Loop("M", 256, body), over="array_2d.rows" to lay it over a dimension
    keep K in global_buffer            Hold("K", "global_buffer", body)
    seq, par, pipe                     Sequential, Parallel, Pipeline of several
    late 1, last M                     Late(1, body), Last("M", body)
    compute BQK on array_2d            Compute("BQK", "array_2d")

A ``LoopTree`` is a mapping, for ``evaluate(..., mapping=tree)``. A mapper is any function from a ``Problem`` to one,
for ``evaluate(cascade, arch, mapper)``; a package offers it by name as an entry point of the group ``fusemax.mappers``.
"""

from einsum_cascades.loops.text import parse_tree, to_text
from einsum_cascades.loops.tree import (
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
    keep,
)
from mappers.presets.problem import Problem

__all__ = [
    "Compute",
    "Hold",
    "Last",
    "Late",
    "Loop",
    "LoopTree",
    "Node",
    "Parallel",
    "Pipeline",
    "Problem",
    "Sequential",
    "keep",
    "parse_tree",
    "to_text",
]

"""Single trees on a machine that has one of each: for tests of what is refused, counted and executed."""

from __future__ import annotations

from random_trees import Drawn, cascade_of

from einsum_cascades.loops import Level, Levels, Space, parse_tree

MACHINE = Levels(
    (
        Level("dram"),
        Level("buffer", "dram", (("cores", 4),)),
        Level("local", "buffer", (("clusters", 4),)),
        Level("array", "local", (("rows", 4), ("columns", 4)), computes=True),
        Level("vector", "buffer", (("lanes", 4),), computes=True),
    )
)


def drawn(name: str, sizes: dict[str, int], text: str, levels: Levels = MACHINE) -> Drawn:
    tree = parse_tree(text)
    return Drawn(tree, Space.of(cascade_of(name), sizes, tree.split), levels)

"""Random machines around the levels of random trees: bandwidths, links, units' cycles and depths, fill and drain."""

from __future__ import annotations

import random

from einsum_cascades.loops.levels import Level, Levels
from einsum_cascades.operators import WORK_CLASSES
from hw_models.links import Link
from hw_models.machine import Array, Machine, Memory, Unit

BITS = (("inputs", 8), ("accumulators", 16), ("outputs", 8))


def machine_of(levels: Levels, seed: int) -> Machine | None:
    """Return a machine of these levels; None if something hangs below one that computes, which no machine has."""
    generator = random.Random(seed)
    if any(level.computes and level.name in {other.parent for other in levels.levels} for level in levels.levels):
        return None
    return Machine("random", tuple(_node(level, generator) for level in levels.levels), 1, bits=BITS)


def _node(level: Level, generator: random.Random) -> Memory | Array:
    def rate() -> int | None:
        return generator.choice((None, None, generator.randint(1, 40)))

    link = Link(level.multicast, level.reduction, rate())
    if not level.computes:
        return Memory(
            level.name,
            level.parent,
            dimensions=level.dimensions,
            shared_bytes_per_s=rate(),
            read_bytes_per_s=rate(),
            write_bytes_per_s=rate(),
            double_buffered=level.double_buffered,
            link=link,
        )
    assert level.parent is not None
    units = tuple(
        (kind, Unit("mac", 1, generator.choice((1, 1, 2, 5)), generator.choice((1, 1, 3)))) for kind in WORK_CLASSES
    )
    fill, drain = generator.choice((0, 0, 3)), generator.choice((0, 0, 4))
    return Array(
        level.name, level.parent, level.dimensions, units=units, fill_cycles=fill, drain_cycles=drain, link=link
    )

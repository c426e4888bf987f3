"""The levels of the memory hierarchy: sustained bandwidth of reading, by one thread and by all, and usable capacity.

Working sets are half of what the operating system says that a level holds, and four times the last cache for the
memory. How much of a shared cache is usable, beside other programs or other guests of the same host, is the largest
number of bytes that hit it in working sets up to what it is said to hold. How many hit explains the time of reading:
seconds = hits / bandwidth(cache) + misses / bandwidth(memory).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from hw_models.cpu.machine import Level
from kernels.cpu.caches import Caches
from kernels.measure import loops
from kernels.measure.products import operand_rates
from kernels.measure.threads import together
from kernels.measure.timing import in_turns

_LANES: Final = 128
_LEAST_MEMORY: Final = 2**27
_APART: Final = 4096
"""Values between the vectors of two threads: they share neither a cache line nor a page."""
_READ: Final = 2**28
"""Bytes that one call reads at least: starting threads takes little beside it."""


def memory_levels(caches: Caches, threads: int, rounds: int) -> tuple[Level, ...]:
    """Measure all levels of a machine whose caches the operating system has told."""
    held = {"L1": caches.l1_bytes, "L2": caches.l2_bytes, "L3": caches.l3_bytes}
    held = {name: size for name, size in held.items() if size}
    sets = {name: size // 2 for name, size in held.items()}
    sets |= {"memory": max(_LEAST_MEMORY, 4 * max(held.values()))}
    if caches.l3_bytes:
        sets["L3"] = max(2 * caches.l2_bytes, caches.l3_bytes // 8)
    alone = _bandwidths(sets, 1, rounds)
    shares = {name: size // (threads if name in ("L3", "memory") else 1) for name, size in sets.items()}
    together = _bandwidths(shares, threads, rounds) if threads > 1 else alone
    operands = operand_rates(sets, rounds)
    usable = dict(held)
    if caches.l3_bytes:
        usable["L3"] = _usable(sets["L3"], caches.l3_bytes, alone, rounds)
    return tuple(
        Level(
            name,
            held.get(name),
            usable.get(name),
            name in ("L3", "memory"),
            alone[name],
            together[name],
            operands[name],
        )
        for name in sets
    )


def _bandwidths(sets: dict[str, int], threads: int, rounds: int) -> dict[str, float]:
    """Bytes per second of all threads together, each reading a working set of its own."""
    functions: dict[str, Callable[[], object]] = {}
    read = {}
    for name, size in sets.items():
        rows = max(4, size // (4 * _LANES) // 4 * 4)
        repeats = max(1, _READ // (4 * _LANES * rows))
        tiles = np.ones((threads, rows, _LANES), np.float32)
        vectors = np.zeros((threads, _APART), np.float32)[:, :_LANES]
        works = [partial(loops.read, *own, repeats) for own in zip(tiles, vectors, strict=True)]
        functions[name] = partial(together, works)
        read[name] = tiles.nbytes * repeats
    timings = in_turns(functions, rounds)
    return {name: read[name] / timings[name].median_s for name in sets}


def _usable(least: int, capacity: int, alone: dict[str, float], rounds: int) -> int:
    """How many bytes of the last cache hit at most, and at least ``least``."""
    sizes = {str(size): size for size in (capacity // 4, capacity // 2, capacity)}
    found = _bandwidths(sizes, 1, rounds)
    return max(least, *(round(size * _hits(found[name], alone["L3"], alone["memory"])) for name, size in sizes.items()))


def _hits(found: float, cache: float, memory: float) -> float:
    """The share of reads that hit a cache, from the bandwidths found, of the cache, and of the memory."""
    if memory >= cache:
        return 1.0
    return min(1.0, max(0.0, (1 / memory - 1 / found) / (1 / memory - 1 / cache)))

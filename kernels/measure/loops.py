"""Compiled loops that microbenchmarks time, each over tiles whose rows, [rows, lanes], lie along the vector unit.

A loop goes over its tile ``repeats`` times, so that one call takes long enough for the clock. A loop of an operator
applies it once or ``DEPTH`` times to each value that it loads: the difference is arithmetic alone, without loads and
stores. Values stay finite: callers fill tiles and vectors with ones.
"""

from __future__ import annotations

from typing import Final

from numba import float32

from kernels.cpu.compilation import compiled, next_task
from kernels.cpu.exponential import exp_difference
from kernels.cpu.lanes import load, splat, store
from kernels.cpu.tile_operations import score, weigh_values
from kernels.cpu.tiles import LANES

_ZERO: Final = float32(0.0)
DEPTH: Final = 5
"""How often a deep loop applies its operator."""


@compiled
def _larger(a, b):  # type: ignore[no-untyped-def]
    return a if a > b else b


@compiled
def add(tile, vector, deep, repeats):  # type: ignore[no-untyped-def]
    """Add a vector, [lanes], to each row, once or ``DEPTH`` times."""
    rows, lanes = tile.shape
    for _ in range(repeats):
        for row in range(rows):
            for lane in range(lanes):
                x, y = tile[row, lane], vector[lane]
                tile[row, lane] = x + y + y + y + y + y if deep else x + y


@compiled
def mul(tile, vector, deep, repeats):  # type: ignore[no-untyped-def]
    """Multiply each row by a vector, [lanes], once or ``DEPTH`` times."""
    rows, lanes = tile.shape
    for _ in range(repeats):
        for row in range(rows):
            for lane in range(lanes):
                x, y = tile[row, lane], vector[lane]
                tile[row, lane] = x * y * y * y * y * y if deep else x * y


@compiled
def div(tile, vector, deep, repeats):  # type: ignore[no-untyped-def]
    """Divide each row by a vector, [lanes], once or ``DEPTH`` times."""
    rows, lanes = tile.shape
    for _ in range(repeats):
        for row in range(rows):
            for lane in range(lanes):
                x, y = tile[row, lane], vector[lane]
                tile[row, lane] = x / y / y / y / y / y if deep else x / y


@compiled
def maximum(tile, vector, deep, repeats):  # type: ignore[no-untyped-def]
    """Take the maximum of each row and a vector, [lanes], less something each time, once or ``DEPTH`` times."""
    rows, lanes = tile.shape
    for _ in range(repeats):
        for row in range(rows):
            for lane in range(lanes):
                x, y = tile[row, lane], vector[lane]
                x = _larger(x, y)
                if deep:
                    x = _larger(_larger(_larger(_larger(x, y + x), y - x), x + x), y + y)
                tile[row, lane] = x


@compiled
def exp(tile, repeats):  # type: ignore[no-untyped-def]
    """Put the exponentials of a tile, negated, in its place."""
    rows, lanes = tile.shape
    for _ in range(repeats):
        for row in range(rows):
            for lane in range(0, lanes, LANES):
                store(tile, row, lane, exp_difference(splat(_ZERO), load(tile, row, lane)))


@compiled
def transpose(source, target, repeats):  # type: ignore[no-untyped-def]
    """Copy an array, [rows, lanes], to one of shape [lanes, rows]."""
    rows, lanes = source.shape
    for _ in range(repeats):
        for row in range(rows):
            for lane in range(lanes):
                target[lane, row] = source[row, lane]


@compiled
def read(tile, vector, repeats):  # type: ignore[no-untyped-def]
    """Read a tile as fast as it comes: the sum of its rows, of which four go at a time, into a vector, [lanes]."""
    rows, lanes = tile.shape
    for _ in range(repeats):
        for row in range(0, rows - 3, 4):
            for lane in range(lanes):
                vector[lane] += (tile[row, lane] + tile[row + 1, lane]) + (tile[row + 2, lane] + tile[row + 3, lane])


@compiled
def scores(keys, queries, tile, block, repeats):  # type: ignore[no-untyped-def]
    """Multiply keys, [tiles, rows, depth], tile after tile, and queries, [depth, lanes], as the kernels do."""
    for repeat in range(repeats):
        score(keys[repeat % keys.shape[0]], queries, tile, block, 1)


@compiled
def weighted_values(values, weights, sums, block, repeats):  # type: ignore[no-untyped-def]
    """Multiply values, [tiles, rows, columns], tile after tile, and weights, [rows, lanes], as the kernels do."""
    for repeat in range(repeats):
        weigh_values(weights, values[repeat % values.shape[0]], sums, block, True, 1)


@compiled
def take_tasks(counter, tasks):  # type: ignore[no-untyped-def]
    """Take tasks that do nothing, as long as there are any; ``counter`` is an int64 array of one value."""
    while next_task(counter) < tasks:
        pass

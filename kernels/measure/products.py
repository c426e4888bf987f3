"""Rates of matrix products of one thread, at sizes of tiles; and what an operand from further away costs on top.

A product of a tile of queries, ``rows`` wide, is timed in the form that its shape is used in: scores where it has at
least as many columns (keys) as it is deep, weighted values where it is at least as deep (keys) as it has columns; both,
averaged, where they are equal. It is cut into pieces as the kernels cut it. Registers full of rows are multiplied at a
higher rate than what is left, so that all widths are timed that a tile of queries has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import product
from math import prod
from typing import Final

import numpy as np

from hw_models.cpu.product_rates import ProductRates, Sizes
from kernels.cpu.caches import machine_caches
from kernels.cpu.tiles import AttentionShape, tiles_for
from kernels.measure import loops
from kernels.measure.threads import together
from kernels.measure.timing import in_turns

ROWS: Final = (16, 32, 48, 64, 128, 256)
SIDES: Final = (16, 32, 64, 128, 256, 1024)
QUICK_ROWS: Final = (16, 32, 48, 64, 256)
QUICK_SIDES: Final = (16, 64, 256, 1024)
_FLOPS: Final = 20_000_000
"""Flops of one call at least: Python's part in it is small then."""
_RING: Final = ((64, 32, 240), (64, 64, 240), (64, 128, 240))
"""(rows, size of a key, keys of a tile) of the products whose operands come from afar."""

Form = tuple[str, Sizes]


def product_rates(rounds: int, *, quick: bool = False) -> ProductRates:
    """Measure the rates of a grid of sizes; seconds never fall when a size grows."""
    sides = QUICK_SIDES if quick else SIDES
    grid = list(product(QUICK_ROWS if quick else ROWS, sides, sides))
    repeats = {sizes: max(1, _FLOPS // (2 * prod(sizes))) for sizes in grid}
    forms: dict[Form, Callable[[], object]] = {}
    for sizes in grid:
        _, columns, depth = sizes
        if columns >= depth:
            forms["score", sizes] = _score(*sizes, 1, repeats[sizes])
        if depth >= columns:
            forms["weigh", sizes] = _weigh(*sizes, 1, repeats[sizes])
    timings = in_turns(forms, rounds)
    seconds = {}
    for sizes in grid:
        found = [timings[form, sizes].median_s for form in ("score", "weigh") if (form, sizes) in timings]
        seconds[sizes] = prod(found) ** (1 / len(found)) / repeats[sizes]
    return ProductRates.of({sizes: 2 * prod(sizes) / seconds_ for sizes, seconds_ in _rising(seconds).items()})


def operand_rates(working_sets: Mapping[str, int], rounds: int) -> dict[str, float]:
    """Measure how many bytes per second of an operand products wait for, by name of the level that it comes from.

    Args:
        working_sets: per level how many bytes the operands that products take in turn have together.
        rounds: how often each is timed.
    """
    functions: dict[tuple[str, Form], Callable[[], object]] = {}
    read: dict[tuple[str, Form], int] = {}
    for level, size in {"": 0, **working_sets}.items():
        for rows, width, keys in _RING:
            tile = 4 * width * keys
            number = max(1, size // tile)
            for form, make in (("score", _score), ("weigh", _weigh)):
                sizes = (rows, keys, width) if form == "score" else (rows, width, keys)
                functions[level, (form, sizes)] = make(*sizes, number, max(number, 50))
                read[level, (form, sizes)] = tile * max(number, 50)
    timings = in_turns(functions, rounds)
    found = {}
    for level in working_sets:
        keys_ = [key for key in functions if key[0] == level]
        waits = [timings[key].median_s / read[key] - timings["", key[1]].median_s / read["", key[1]] for key in keys_]
        found[level] = 1 / max(float(np.mean(waits)), 1e-15)
    return found


def scaling(threads: int, rounds: int) -> float:
    """Measure the speed of a thread that multiplies while all do, relative to one alone; at most 1."""
    works = [_score(64, 128, 64, 1, 2000) for _ in range(threads)]
    timings = in_turns({number: partial(together, works[:number]) for number in (1, threads)}, 3 * rounds)
    return min(1.0, timings[1].median_s / timings[threads].median_s)


def _block(rows: int, keys: int, width: int) -> int:
    """Keys per piece, as the kernels choose them."""
    shape = AttentionShape(1, rows, keys, width, width)
    return tiles_for("attention-1-pass", shape, machine_caches()).product_keys


def _score(rows: int, columns: int, depth: int, tiles: int, repeats: int = 1) -> Callable[[], object]:
    keys = np.ones((tiles, columns, depth), np.float32)
    queries, scores = np.ones((depth, rows), np.float32), np.ones((columns, rows), np.float32)
    return partial(loops.scores, keys, queries, scores, _block(rows, columns, depth), repeats)


def _weigh(rows: int, columns: int, depth: int, tiles: int, repeats: int = 1) -> Callable[[], object]:
    values = np.ones((tiles, depth, columns), np.float32)
    weights, sums = np.ones((depth, rows), np.float32), np.ones((columns, rows), np.float32)
    return partial(loops.weighted_values, values, weights, sums, _block(rows, depth, columns), repeats)


def _rising(seconds: Mapping[Sizes, float]) -> dict[Sizes, float]:
    """The seconds, each at least as large as those of all smaller sizes."""
    found: dict[Sizes, float] = {}
    for sizes in sorted(seconds):
        found[sizes] = max([seconds[sizes], *(found[below] for below in _below(sizes, seconds))])
    return found


def _below(sizes: Sizes, known: Iterable[Sizes]) -> list[Sizes]:
    """Sizes of which none is larger than in ``sizes``, other than these."""
    return [s for s in known if s != sizes and all(a <= b for a, b in zip(s, sizes, strict=True))]

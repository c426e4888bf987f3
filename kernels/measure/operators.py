"""Rates of vectorised operators of one thread: operations per second on a tile in the first-level cache.

Additions, multiplications, divisions and maxima are applied several times to each value that is loaded, so that the
arithmetic is what is measured; exponentials take longer than loads as they are. Functions that no kernel has a loop
for are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from kernels.measure import loops
from kernels.measure.timing import in_turns

_SHAPE: Final = (32, 128)
_REPEATS: Final = 20
_DEEP: Final = {"add": loops.add, "mul": loops.mul, "div": loops.div, "max": loops.maximum}
_SAME: Final = {"sub": "add", "neg": "add", "min": "max"}
_UFUNCS: Final = {"log": np.log, "sqrt": np.sqrt, "tanh": np.tanh}


def operator_rates(rounds: int) -> dict[str, float]:
    """Measure operations per second by operator; ``transpose`` counts values that are copied."""
    tile, vector = np.ones(_SHAPE, np.float32), np.ones(_SHAPE[1], np.float32)
    functions: dict[str, Callable[[], object]] = {
        name: partial(loop, tile.copy(), vector, True, _REPEATS) for name, loop in _DEEP.items()
    }
    functions["exp"] = partial(loops.exp, tile.copy(), _REPEATS)
    functions["transpose"] = partial(
        loops.transpose, tile[:, :64].copy(), np.ones((64, _SHAPE[0]), np.float32), _REPEATS
    )
    functions |= {name: partial(ufunc, tile, out=tile.copy()) for name, ufunc in _UFUNCS.items()}
    counts = dict.fromkeys(_DEEP, tile.size * _REPEATS * loops.DEPTH)
    counts |= {"exp": tile.size * _REPEATS, "transpose": tile.size // 2 * _REPEATS}
    counts |= dict.fromkeys(_UFUNCS, tile.size)
    timings = in_turns(functions, rounds)
    rates = {name: counts[name] / timing.median_s for name, timing in timings.items()}
    rates |= {name: rates[other] for name, other in _SAME.items()}
    rates["sigmoid"] = 1 / (1 / rates["exp"] + 1 / rates["add"] + 1 / rates["div"])
    return rates

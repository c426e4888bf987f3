"""Numbers between 0 and 1 for the points of a sampled sweep, each found from its index alone.

Random numbers are hashes of seed, axis and index (SplitMix64: Steele, Lea, Flood, OOPSLA 2014), so that any part of a
sweep is drawn without drawing what comes before. Sobol points (Sobol', 1967; direction numbers of Joe and Kuo, 2008)
are shifted digitally by a hash of the seed (Owen, 2003), which leaves their evenness as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError

Array: TypeAlias = npt.NDArray[Any]

BITS: Final = 30
MOST_SOBOL_POINTS: Final = 2**BITS
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _mixed(state: Array) -> Array:
    """SplitMix64's output function."""
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * _M1
        state = (state ^ (state >> np.uint64(27))) * _M2
    found: Array = state ^ (state >> np.uint64(31))
    return found


def _stream(seed: int, name: str) -> Array:
    state = np.asarray([seed % 2**64], np.uint64)
    for byte in name.encode():
        with np.errstate(over="ignore"):
            state = _mixed(state * _GOLDEN + np.uint64(byte + 1))
    return state


def uniform(seed: int, name: str, index: Array) -> Array:
    """Return a number from 0 to below 1 for each index, of the stream that a seed and a name choose."""
    with np.errstate(over="ignore"):
        mixed = _mixed(_stream(seed, name) + (index.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return (mixed >> np.uint64(11)).astype(float) * 2.0**-53


def sobol(seed: int, names: Sequence[str], start: int, stop: int) -> Array:
    """Return the Sobol points ``start`` to ``stop``, one row per name.

    Raises:
        InputError: there are more points than the sequence has.
    """
    from scipy.stats import qmc

    if stop > MOST_SOBOL_POINTS:
        raise InputError(f"a Sobol sequence has {MOST_SOBOL_POINTS} points, {stop} are asked for")
    engine = qmc.Sobol(len(names), scramble=False, bits=BITS)
    if start:
        engine.fast_forward(start)
        points = engine.random(stop - start)
    else:  # its first draw warns unless it is a power of two
        points = np.concatenate([engine.random(1), engine.random(stop - 1)]) if stop > 1 else engine.random(1)
    shifts = [int(_stream(seed, name)[0] >> np.uint64(64 - BITS)) for name in names]
    whole = np.asarray(points * 2.0**BITS, np.int64).T
    return (whole ^ np.asarray(shifts, np.int64)[:, None]) * 2.0**-BITS

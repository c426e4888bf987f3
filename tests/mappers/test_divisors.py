"""Divisors of many numbers at once are those of each."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mappers.capacity import largest_divisor
from mappers.divisors import even_counts

NUMBERS = st.integers(1, 5000) | st.integers(1, 2**20) | st.sampled_from([2**24, 2**24 + 1, 2**30, 3**18])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(NUMBERS, st.integers(1, 2**17), st.integers(1, 300), st.booleans()), min_size=1, max_size=40))
def test_even_counts(given: list[tuple[int, int, int, bool]]) -> None:
    tiles, bounds, tile, ragged = (np.asarray(column) for column in zip(*given, strict=True))
    counts, size = np.minimum(bounds, tiles), tiles * tile - (ragged & (tile > 1))
    wanted = []
    for number, count, left in zip(tiles.tolist(), counts.tolist(), (size % tile).tolist(), strict=True):
        even = largest_divisor(number, count)
        wanted.append(even if left == 0 and 2 * even >= count else count)
    assert even_counts(size, tile, tiles, counts).tolist() == wanted

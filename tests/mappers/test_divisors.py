"""Divisors of many numbers at once are those of each."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mappers.capacity import largest_divisor, tile_counts
from mappers.divisors import MOST_TILES, largest_divisors, tile_count_rows

NUMBERS = st.integers(1, 5000) | st.integers(1, 2**20) | st.sampled_from([2**24, 2**24 + 1, 2**30, 3**18])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(NUMBERS, st.integers(1, 2**17)), min_size=1, max_size=40))
def test_largest_divisors(pairs: list[tuple[int, int]]) -> None:
    numbers, bounds = (np.asarray(column) for column in zip(*pairs, strict=True))
    assert largest_divisors(numbers, bounds).tolist() == [largest_divisor(n, b) for n, b in pairs]


@settings(max_examples=40, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=40))
def test_tile_counts(numbers: list[int]) -> None:
    found = tile_count_rows(np.asarray(numbers))
    for row, number in zip(found.tolist(), numbers, strict=True):
        counts = tile_counts(number)
        assert row == [*counts, *[0] * (MOST_TILES - len(counts))]

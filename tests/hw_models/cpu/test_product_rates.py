"""Seconds of matrix products between, above and below the sizes that were measured."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models.cpu.product_rates import ProductRates

AXES = ((16, 64), (16, 32, 256), (8, 128))
SIZE = st.integers(1, 5000)


def power_law(rows: float, columns: float, depth: float) -> float:
    """Seconds that a table may come from."""
    return float(1e-9 * rows**0.8 * columns**0.9 * depth)


LAW = ProductRates.of({sizes: 2 * prod(sizes) / power_law(*sizes) for sizes in product(*AXES)})
STEPS = ProductRates.of(
    {sizes: 1e9 * (1 + number % 5) for number, sizes in enumerate(product((1, 2, 4), (1, 3), (2, 5)))}
)


@pytest.mark.parametrize("sizes", list(product(*AXES)))
def test_measured_sizes_take_what_was_measured(sizes: tuple[int, int, int]) -> None:
    assert LAW.seconds(*sizes) == pytest.approx(power_law(*sizes), rel=1e-12)


@settings(deadline=None)
@given(st.integers(16, 64), st.integers(16, 256), st.integers(8, 128))
def test_power_laws_are_met_between_the_sizes(rows: int, columns: int, depth: int) -> None:
    assert LAW.seconds(rows, columns, depth) == pytest.approx(power_law(rows, columns, depth), rel=1e-9)


def test_above_the_largest_size_the_rate_stays() -> None:
    assert LAW.seconds(640, 256, 1280) == pytest.approx(100 * power_law(64, 256, 128), rel=1e-12)


def test_below_the_smallest_size_the_seconds_stay() -> None:
    assert LAW.seconds(1, 2, 3) == pytest.approx(power_law(16, 16, 8), rel=1e-12)


@settings(deadline=None)
@given(SIZE, SIZE, SIZE, st.integers(0, 2), st.integers(1, 5000))
def test_larger_products_take_no_less_where_the_table_says_so(
    rows: int, columns: int, depth: int, axis: int, more: int
) -> None:
    sizes = [rows, columns, depth]
    larger = sizes.copy()
    larger[axis] += more
    assert LAW.seconds(*larger) >= LAW.seconds(*sizes) * (1 - 1e-12)


@settings(deadline=None)
@given(SIZE, SIZE, SIZE)
def test_between_two_measured_rates_lies_no_other(rows: int, columns: int, depth: int) -> None:
    rows, columns, depth = 1 + rows % 4, 1 + columns % 3, 2 + depth % 4
    rate = 2 * rows * columns * depth / STEPS.seconds(rows, columns, depth)
    assert 1e9 * (1 - 1e-9) <= rate <= 5e9 * (1 + 1e-9)


@pytest.mark.parametrize("table", [{}, {(1, 1, 1): 1.0, (2, 2, 1): 1.0}])
def test_a_table_must_be_a_grid(table: dict[tuple[int, int, int], float]) -> None:
    with pytest.raises(ValueError, match="no rate"):
        ProductRates.of(table)

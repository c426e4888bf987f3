"""The array core against closed forms and laws; tests/hw_models/simulator/rtl holds it against registers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_models.simulator.timed.array import (
    ArrayCore,
    Dataflow,
    core_of,
    output_stationary,
    product_cycles,
    product_tiles,
    weight_stationary,
)

SIZES = st.integers(1, 9)
ENTRY = st.tuples(st.integers(0, 60), st.integers(1, 12), st.booleans(), st.booleans(), st.integers(0, 60))


@given(SIZES, SIZES, SIZES, SIZES, SIZES)
def test_a_product_with_weights_held(M: int, K: int, N: int, R: int, C: int) -> None:
    """The first tile's weights, a tile each max(M, R) cycles, and the way of the last row."""
    count = -(-K // R) * -(-N // C)
    expected = R + (count - 1) * max(M, R) + M + R + C - 1
    assert product_cycles(weight_stationary(R, C), M, K, N, R, C, "weight-stationary") == expected


@given(SIZES, SIZES, SIZES, SIZES, SIZES)
def test_a_product_with_sums_held(M: int, K: int, N: int, R: int, C: int) -> None:
    """A tile each max(K, R) cycles, the skew, and the rows of the last one."""
    count = -(-M // R) * -(-N // C)
    expected = (count - 1) * max(K, R) + K + R + C - 2 + R
    assert product_cycles(output_stationary(R, C), M, K, N, R, C, "output-stationary") == expected


@pytest.mark.parametrize("dataflow", ["weight-stationary", "output-stationary"])
def test_one_multiplication(dataflow: Dataflow) -> None:
    """A weight or a shadow register, and the sum's: with one PE, a result is at the output a register later."""
    assert product_cycles(core_of(dataflow, 1, 1), 1, 1, 1, 1, 1, dataflow) == {"w": 3, "o": 2}[dataflow[0]]
    assert list(product_tiles(2, 3, 5, 1, 1, dataflow)) == ([2] * 15 if dataflow[0] == "w" else [3] * 10)


@given(SIZES, SIZES, st.lists(ENTRY, min_size=1, max_size=12))
def test_no_path_is_in_two_entries_at_once(
    fill: int, drain: int, entries: list[tuple[int, int, bool, bool, int]]
) -> None:
    """Steps, fills and drains each follow one another, and each entry takes at least F + S + D after it is ready."""
    core = ArrayCore(fill, drain)
    steps_end = fill_end = drain_end = 0
    for ready, steps, held, kept, held_ready in entries:
        start, out = core.issue(ready, steps, held, kept, held_ready)
        assert start >= max(ready, steps_end)
        steps_end = start + steps
        if held:
            assert start - fill >= max(held_ready, fill_end)
            fill_end = start
        if kept:
            assert out - drain >= drain_end
            drain_end = out
        assert out == start + (0 if held else fill) + steps + drain


@given(SIZES, SIZES, st.lists(ENTRY, min_size=1, max_size=12), st.data())
def test_what_is_ready_later_is_out_no_earlier(
    fill: int, drain: int, entries: list[tuple[int, int, bool, bool, int]], data: st.DataObject
) -> None:
    late = data.draw(st.integers(0, len(entries) - 1))
    one, other = ArrayCore(fill, drain), ArrayCore(fill, drain)
    for index, (ready, steps, held, kept, held_ready) in enumerate(entries):
        _, out = one.issue(ready, steps, held, kept, held_ready)
        _, later = other.issue(ready + 5 * (index == late), steps, held, kept, held_ready)
        assert later >= out

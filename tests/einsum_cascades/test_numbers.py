"""Numbers from programs: Python's and NumPy's are taken, what is none or out of bounds is refused and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from einsum_cascades.errors import InputError
from einsum_cascades.numbers import LARGEST, finite, whole
from einsum_cascades.sizes import as_sizes

NONE_AT_ALL = [True, np.True_, "12", b"1", None, [1], np.array([1, 2]), object()]
HUGE = [10**400, -(10**400), float("inf"), float("nan"), np.float64("nan")]


@pytest.mark.parametrize("value", [7, np.int8(7), np.uint64(7), np.array(7)])
def test_whole_numbers(value: Any) -> None:
    found = whole("n", value)
    assert (found, type(found)) == (7, int)


@pytest.mark.parametrize("value", [*NONE_AT_ALL, *HUGE, 1.0, np.float32(2), 0, -1, LARGEST + 1, np.uint64(2**63)])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(InputError, match="n is ") as caught:
        whole("n", value)
    assert caught.value.hint == "a whole number from 1 to 2^50 is expected"
    assert len(caught.value.message) < 80


def test_bounds_of_whole_numbers() -> None:
    assert whole("n", 10**40, 0, None) == 10**40
    assert whole("n", -5, -10, 10) == -5
    with pytest.raises(InputError, match="a whole number from -10 to 10 is expected"):
        whole("n", 11, -10, 10)
    with pytest.raises(InputError, match="a whole number of 3 or more is expected"):
        whole("n", 2, 3, None)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), np.array(2.0)])
def test_finite_numbers(value: Any) -> None:
    found = finite("x", value, above=0, most=2)
    assert (found, type(found)) == (2.0, float)


@pytest.mark.parametrize("value", [*NONE_AT_ALL, *HUGE, 0, -1, 2.1])
def test_what_is_no_finite_number(value: Any) -> None:
    with pytest.raises(InputError, match="x is ") as caught:
        finite("x", value, above=0, most=2)
    assert caught.value.hint == "a finite number above 0 up to 2 is expected"


def test_sizes_by_rank() -> None:
    assert as_sizes("sizes", None) == {}
    assert as_sizes("sizes", {"M": np.int64(4), "P": 5}) == {"M": 4, "P": 5}
    with pytest.raises(InputError, match="the size of rank M is nan"):
        as_sizes("sizes", {"M": float("nan")})
    with pytest.raises(InputError, match="sizes is 4"):
        as_sizes("sizes", 4)

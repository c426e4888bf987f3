"""Points that differ in structure are told apart, and each is built once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsum_cascades.loops.arith import UnlikeError, alike
from mappers.points import apart, arrays_in, by_size, pick, same, single

NUMBERS = st.lists(st.integers(0, 5), min_size=1, max_size=30).map(np.array)


def test_a_condition_is_the_same_at_all_points_or_mixed():
    assert alike(True)
    assert alike(np.array([True, True]))
    assert not alike(np.array([False]))
    with pytest.raises(UnlikeError):
        alike(np.array([True, False]))


@given(NUMBERS)
def test_points_are_built_with_those_of_their_structure(numbers):
    def build(some, points):
        assert (some == numbers[points]).all()
        return sum(alike(some > bound) for bound in range(5))

    built = list(apart(numbers, len(numbers), build, lambda some, points: some[points]))
    assert sorted(np.concatenate([points for points, _, _ in built]).tolist()) == list(range(len(numbers)))
    for points, some, value in built:
        assert (some == value).all()
        assert (numbers[points] == value).all()
    assert len(built) == len(np.unique(numbers))


@given(NUMBERS)
def test_points_with_the_same_numbers(numbers):
    groups = same([numbers, numbers % 2], len(numbers))
    assert sum(map(len, groups)) == len(numbers)
    assert all(len(np.unique(numbers[group])) == 1 for group in groups)
    assert len(groups) == len(np.unique(numbers))


def test_the_largest_come_first_and_equals_stay():
    sizes = {"a": np.array([2, 2]), "b": np.array([3, 5]), "c": np.array([2, 2])}
    assert by_size(sizes, sizes.__getitem__) == ["b", "a", "c"]
    with pytest.raises(UnlikeError):
        by_size([np.array([1, 3]), np.array([2, 2])], lambda number: number)


def test_arrays_inside_values_are_picked():
    value = {"a": (np.array([1, 2, 3]), "text"), "b": 4}
    assert [array.tolist() for array in arrays_in(value)] == [[1, 2, 3]]
    assert pick(value, np.array([0, 2]))["a"][0].tolist() == [1, 3]
    assert single(value, 1) == {"a": (2, "text"), "b": 4}

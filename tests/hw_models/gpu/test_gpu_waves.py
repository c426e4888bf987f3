"""Waves of blocks against a simulation in exact numbers, closed forms, and Graham's bound."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hw_models.gpu.waves import FOLLOWED, grid_s

WHOLE = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=6)


def perfectly(n: int) -> float:
    """Blocks that share an SM do not slow each other."""
    return 1.0


def equally(n: int) -> float:
    """Blocks that share an SM have an equal part of it each."""
    return 1.0 / n


def followed(blocks: list[Fraction], sms: int, resident: int, speed: Callable[[int], float]) -> Fraction:
    """The same from one end of a block to the next, all SMs at once, in exact numbers; no two SMs may tie."""
    running = [blocks[number : resident * sms : sms] for number in range(sms)]
    waiting = blocks[resident * sms :]
    now = Fraction(0)
    while any(running):
        paces = [Fraction(speed(len(held))).limit_denominator(9) if held else Fraction(0) for held in running]
        ends = [min(held) / pace if held else None for held, pace in zip(running, paces, strict=True)]
        soonest = min(end for end in ends if end is not None)
        ending = [held for held, end in zip(running, ends, strict=True) if end == soonest]
        assume(len(ending) == 1 or not waiting)
        now += soonest
        for held, pace in zip(running, paces, strict=True):
            held[:] = [left - soonest * pace for left in held]
        for held in ending:
            assume(held.count(Fraction(0)) == 1 or not waiting)
            held[:] = [left for left in held if left]
            if waiting:
                held.append(waiting.pop(0))
    return now


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 20), st.integers(1, 4))
def test_equal_blocks_run_in_whole_waves(number: int, sms: int, resident: int) -> None:
    expected = 3.0 * ceil(number / (sms * resident))
    assert grid_s([(3.0, number)], 1, sms, resident, perfectly) == pytest.approx(expected)


@settings(deadline=None)
@given(st.integers(1, 100), st.integers(1, 8), st.integers(2, 4))
def test_blocks_that_share_gain_nothing(number: int, sms: int, resident: int) -> None:
    """With no speed gained by sharing an SM takes as long as its blocks one after another."""
    assert grid_s([(1.0, number)], 1, sms, resident, equally) == pytest.approx(ceil(number / sms), rel=1e-6)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=12, unique=True),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([perfectly, equally]),
)
def test_every_end_of_a_block_in_exact_numbers(
    durations: list[int], sms: int, resident: int, speed: Callable[[int], float]
) -> None:
    expected = followed([Fraction(seconds) for seconds in durations], sms, resident, speed)
    found = grid_s([(float(seconds), 1) for seconds in durations], 1, sms, resident, speed)
    assert found == pytest.approx(float(expected))


@settings(deadline=None)
@given(WHOLE, st.integers(1, 6), st.integers(1, 3))
def test_graham_bounds_the_makespan(durations: list[tuple[int, int]], sms: int, instances: int) -> None:
    listed = [(float(seconds), count) for seconds, count in durations]
    total = instances * sum(seconds * count for seconds, count in listed)
    longest = max(seconds for seconds, _ in listed)
    found = grid_s(listed, instances, sms, 1, perfectly)
    assert max(total / sms, longest) * (1 - 1e-9) <= found <= total / sms + longest


def test_there_and_back() -> None:
    blocks = [(5.0, 1), (4.0, 1), (3.0, 1), (2.0, 1), (1.0, 1)]
    assert grid_s(blocks, 1, 2, 1, perfectly, snake=True) == 5.0 + 2.0 + 1.0
    assert grid_s(blocks[:4], 1, 2, 1, perfectly, snake=True) == 7.0


@pytest.mark.parametrize("snake", [False, True])
def test_of_very_many_blocks_only_the_last_are_followed(snake: bool) -> None:
    number = 50 * FOLLOWED + 1
    found = grid_s([(1.0, number)], 1, 7, 1, perfectly, snake=snake)
    assert found == pytest.approx(number / 7, rel=1e-4)
    assert grid_s([(1.0, 2**40)], 2**40, 7, 2, equally, snake=False) == pytest.approx(2**80 / 7, rel=1e-6)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=8),
    st.integers(1, 5),
    st.integers(2, 3),
    st.integers(0, 2**32),
)
def test_rounding_decides_no_tie(durations: list[tuple[int, int]], sms: int, resident: int, seed: int) -> None:
    """The same blocks, their seconds off in the last digit as another order of a sum leaves them."""
    noise = random.Random(seed)
    exact = [(seconds / 7, count) for seconds, count in durations]
    rounded = [(seconds * (1 + noise.choice((-1, 0, 1)) * 2e-16), count) for seconds, count in exact]
    expected = grid_s(exact, 3, sms, resident, lambda n: 1 / n**0.7)
    assert grid_s(rounded, 3, sms, resident, lambda n: 1 / n**0.7) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("snake", [False, True])
def test_more_multiprocessors_than_blocks_change_nothing(snake: bool) -> None:
    blocks = [(1.0, 3), (2.5, 2)]
    times = {grid_s(blocks, 2, sms, 2, equally, last=[(0.5, 1)], snake=snake) for sms in (11, 12, 2**40)}
    assert times == {2.5}

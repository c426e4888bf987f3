"""The end of a row of tasks, against a plain simulation of threads that take them one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hw_models.cpu.makespan as module
from hw_models.cpu.makespan import makespan

ROWS = st.lists(st.tuples(st.integers(0, 20).map(float), st.integers(1, 5)), min_size=1, max_size=6)


def by_hand(durations: list[tuple[float, int]], instances: int, threads: int) -> float:
    free = [0.0] * threads
    for seconds in [s for _ in range(instances) for s, count in durations for _ in range(count)]:
        first = free.index(min(free))
        free[first] += seconds
    return max(free)


@settings(deadline=None)
@given(ROWS, st.integers(1, 5), st.integers(1, 7))
def test_every_task_goes_to_the_thread_that_is_free_first(
    durations: list[tuple[float, int]], instances: int, threads: int
) -> None:
    assert makespan(durations, instances, threads) == by_hand(durations, instances, threads)


@settings(deadline=None)
@given(ROWS, st.integers(1, 5), st.integers(1, 7))
def test_grahams_bounds(durations: list[tuple[float, int]], instances: int, threads: int) -> None:
    total = instances * sum(seconds * count for seconds, count in durations)
    longest = max(seconds for seconds, _ in durations)
    least = max(total / threads, longest)
    assert least - 1e-9 <= makespan(durations, instances, threads) <= (2 - 1 / threads) * least + 1e-9


def test_of_very_many_tasks_the_last_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = [(3.0, 2), (1.0, 5)]
    exact = makespan(durations, 100, 4)
    monkeypatch.setattr(module, "FOLLOWED", 30)
    assert makespan(durations, 100, 4) == pytest.approx(exact, rel=0.02)
    assert makespan([(1e-6, 2**40)], 2**40, 4) == pytest.approx(1e-6 * 2**78, rel=1e-6)

"""Estimates come from points of a few batches, spread over those that are left."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusemax.sweep.estimate import PLACES, probes, seconds_per_point
from fusemax.sweep.parts import Batch, Header


def header(points: int, batch_points: int = 96) -> Header:
    return Header("0", None, points, batch_points, "")


@settings(deadline=None)
@given(st.integers(1, 60), st.data())
def test_probes_are_spread_over_what_is_left(count: int, data: st.DataObject) -> None:
    whole = header(count * 96 - 5)
    batches = [whole.batch(number) for number in range(count)]
    left = data.draw(st.lists(st.sampled_from(batches), min_size=1, unique=True).map(sorted))
    found = probes(whole, [batch for batch in batches if batch not in left])
    places = [left.index(batch) for batch in found]
    assert places == sorted(set(places))
    gaps = [after - before for before, after in pairwise([-1, *places, len(left)])]
    assert max(gaps) <= 2 * len(left) / PLACES + 1


def test_the_largest_sweep_has_probes() -> None:
    whole = header(2**50, 4096)
    found = probes(whole, [whole.batch(0), whole.batch(1)])
    assert len(found) == PLACES
    assert all(whole.has(batch) for batch in found)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that work has taken, all that passes on the clock of estimates."""
    taken: list[float] = []
    monkeypatch.setattr("fusemax.sweep.estimate.perf_counter", lambda: sum(taken))
    return taken


def test_points_of_different_cost_all_count(clock: list[float]) -> None:
    """The first half takes ten times as long; points are cheaper together."""
    timed = []

    def work(batch: Batch) -> None:
        timed.append(len(batch))
        clock.append((0.01 if batch.start < 1000 else 0.001) + 1e-5 * len(batch))

    whole = header(2000, 100)
    batches = probes(whole, [])
    found = seconds_per_point(work, batches, 0.4)
    slow = sum(batch.start < 1000 for batch in batches)
    expected = (slow * 0.01 + (PLACES - slow) * 0.001) / PLACES / 100 + 1e-5
    assert slow == PLACES // 2
    assert timed[-1] == 100
    assert found == pytest.approx(expected)


def test_slow_points_are_not_waited_for(clock: list[float]) -> None:
    found = seconds_per_point(lambda batch: clock.append(0.05 * len(batch)), probes(header(9600), []), 0.05)
    assert found == pytest.approx(0.05)
    assert sum(clock) < 1

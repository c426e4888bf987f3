"""Workers that share a multiprocessor: bounds, closed forms of mean-value analysis, and laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_models.gpu.activity import Sharing
from hw_models.gpu.overlap import Worker, mean_value, round_s

SECONDS = st.floats(0.0, 1e3, allow_subnormal=False)
WORKERS = st.builds(Worker, SECONDS, SECONDS, SECONDS, SECONDS)
SHARINGS: tuple[Sharing, ...] = ("lockstep", "free", "alternating")


@given(SECONDS, st.integers(1, 6), st.integers(1, 12))
def test_balanced_stations_have_a_closed_form(demand: float, stations: int, customers: int) -> None:
    """Of K equal stations a customer's cycle takes (N + K - 1) demands."""
    assert mean_value([demand] * stations, customers) == pytest.approx((customers + stations - 1) * demand)


@given(SECONDS, SECONDS)
def test_one_customer_meets_nobody(one: float, other: float) -> None:
    assert mean_value([one, other], 1, think=3.0) == pytest.approx(one + other + 3.0)


def test_the_machine_repair_problem() -> None:
    """One station and thinking customers: the throughput is that of M/M/1//N, by its steady state."""
    service, think, number = 2.0, 5.0, 4
    weights = [1.0]
    for waiting in range(number):
        weights.append(weights[-1] * (number - waiting) * service / think)
    busy = 1.0 - weights[0] / sum(weights)
    assert number / mean_value([service], number, think) == pytest.approx(busy / service)


def test_by_hand() -> None:
    worker = Worker(early=2.0, late=3.0, loops=4.0, delay=1.0)
    assert round_s(worker, 1, "free", pipelined=False) == pytest.approx(10.0)
    assert round_s(worker, 1, "free", pipelined=True) == pytest.approx(2.0 + 4.0 + 1.0)
    assert round_s(worker, 2, "alternating", pipelined=False) == pytest.approx(10.0)
    assert round_s(worker, 3, "alternating", pipelined=False) == pytest.approx(15.0)
    assert round_s(worker, 2, "lockstep", pipelined=False) == pytest.approx(2 * 9.0 + 1.0)


@given(WORKERS, st.integers(1, 8), st.booleans())
def test_free_lies_between_taking_turns_and_being_in_step(worker: Worker, workers: int, pipelined: bool) -> None:
    turns, free, step = (
        round_s(worker, workers, sharing, pipelined=pipelined) for sharing in ("alternating", "free", "lockstep")
    )
    assert turns <= free * (1 + 1e-9)
    assert free <= max(step, turns) * (1 + 1e-9) + 1e-9


@given(WORKERS, st.integers(1, 8), st.sampled_from(SHARINGS))
def test_pipelining_never_harms_and_never_beats_the_units(worker: Worker, workers: int, sharing: Sharing) -> None:
    plain, pipelined = (round_s(worker, workers, sharing, pipelined=p) for p in (False, True))
    assert pipelined <= plain * (1 + 1e-9)
    assert pipelined >= workers * max(worker.products, worker.loops) * (1 - 1e-9)


@given(WORKERS, st.integers(1, 8), st.sampled_from(SHARINGS), st.booleans())
def test_one_worker_more_makes_no_round_shorter_nor_lowers_the_rate(
    worker: Worker, workers: int, sharing: Sharing, pipelined: bool
) -> None:
    fewer, more = (round_s(worker, n, sharing, pipelined=pipelined) for n in (workers, workers + 1))
    assert fewer <= more * (1 + 1e-9)
    assert more / (workers + 1) <= fewer / workers * (1 + 1e-9)

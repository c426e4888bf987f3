"""Workers that share a multiprocessor: bounds, closed forms of mean-value analysis, and laws."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models.gpu.overlap import Chain, mean_value, round_s

SECONDS = st.floats(0.0, 1e3, allow_subnormal=False)
CHAINS = st.builds(Chain, SECONDS, SECONDS, SECONDS, SECONDS, SECONDS)


@settings(deadline=None)
@given(SECONDS, st.integers(1, 6), st.integers(1, 12))
def test_balanced_stations_have_a_closed_form(demand: float, stations: int, customers: int) -> None:
    """Of K equal stations a customer's cycle takes (N + K - 1) demands."""
    assert mean_value([demand] * stations, customers) == pytest.approx((customers + stations - 1) * demand)


@settings(deadline=None)
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
    chain = Chain(early=2.0, late=3.0, loops=4.0, reads=0.5, delay=1.0)
    assert round_s(chain, 1) == pytest.approx(10.5)
    assert round_s(chain, 1, pipelined=True) == pytest.approx(0.5 + 2.0 + 4.0 + 1.0)
    assert round_s(chain, 2, alternating=True) == pytest.approx(10.5)
    assert round_s(chain, 3, alternating=True) == pytest.approx(15.0)
    queues = [d / 10.5 for d in (0.5, 5.0, 4.0)]
    met = sum(d * (1 + q) for d, q in zip((0.5, 5.0, 4.0), queues, strict=True)) + 1.0
    assert round_s(chain, 2) == pytest.approx(met)
    assert round_s(chain, 2, pipelined=True) == pytest.approx(max(met - 3.0, 10.0))


@settings(deadline=None)
@given(CHAINS, st.integers(1, 8), st.booleans())
def test_chance_lies_between_turns_and_one_after_another(chain: Chain, number: int, pipelined: bool) -> None:
    turns, chance = (round_s(chain, number, alternating=a, pipelined=pipelined) for a in (True, False))
    assert turns <= chance * (1 + 1e-9)
    busy = chain.products + chain.loops + chain.reads
    assert chance <= max(number * busy + chain.delay, turns) * (1 + 1e-9)


@settings(deadline=None)
@given(CHAINS, st.integers(1, 8), st.booleans())
def test_pipelining_never_harms_and_never_beats_the_units(chain: Chain, number: int, alternating: bool) -> None:
    plain, pipelined = (round_s(chain, number, alternating=alternating, pipelined=p) for p in (False, True))
    assert pipelined <= plain * (1 + 1e-9)
    assert pipelined >= number * max(chain.products, chain.loops, chain.reads) * (1 - 1e-9)


@settings(deadline=None)
@given(CHAINS, st.integers(1, 8), st.booleans(), st.booleans())
def test_one_more_makes_no_round_shorter_nor_lowers_the_rate(
    chain: Chain, number: int, alternating: bool, pipelined: bool
) -> None:
    fewer, more = (round_s(chain, n, alternating=alternating, pipelined=pipelined) for n in (number, number + 1))
    assert fewer <= more * (1 + 1e-9)
    assert more / (number + 1) <= fewer / number * (1 + 1e-9)

"""The least traffic against every tiled schedule of small random cascades, and against what is known of attention.

`tests/support/tiled_schedules.py` says what a tiled schedule is. The best ones are executed point by point in a memory
of fixed size; the bound is never above what they move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from random_products import random_products
from tiled_schedules import Instance, execute, front

from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.traffic import compulsory_bytes, separate_bound, traffic_bound, traffic_curve


@dataclass
class Tally:
    """Pairs of a cascade and a capacity: all, those in which the bound is attained, and the least share of it."""

    points: int = 0
    equal: int = 0
    least: float = 1.0


def compare(seeds: range, *, points: int, trees: int) -> Tally:
    """Compare the bound with the best of all schedules, for every capacity that some schedule fits in."""
    tally = Tally()
    for seed in seeds:
        cascade, sizes = random_products(seed, points=points)
        instance = Instance(cascade, sizes)
        if len(instance.trees) > trees:
            continue
        schedules = front(instance)
        for schedule in schedules:
            assert execute(instance, schedule, schedule.peak) == schedule.moved
        for capacity in range(schedules[0].peak, schedules[-1].peak + 1):
            best = min(schedule.moved for schedule in schedules if schedule.peak <= capacity)
            least = traffic_bound(cascade, sizes, capacity, value_bytes=1).dram_bytes
            assert least <= best, (seed, capacity)
            assert separate_bound(cascade, sizes, capacity, value_bytes=1) <= least
            tally.points += 1
            tally.equal += least == best
            tally.least = min(tally.least, least / best)
    return tally


def test_no_schedule_of_small_cascades_moves_less() -> None:
    tally = compare(range(50), points=12, trees=30)
    assert tally.points >= 60
    assert tally.equal >= 0.7 * tally.points


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_no_schedule_of_more_cascades_moves_less(block: int) -> None:
    tally = compare(range(1000 + 20 * block, 1020 + 20 * block), points=24, trees=500)
    assert tally.equal >= 0.4 * tally.points


def test_a_memory_refuses_what_does_not_fit() -> None:
    cascade, sizes = random_products(3, points=12)
    instance = Instance(cascade, sizes)
    schedule = front(instance)[0]
    with pytest.raises(AssertionError, match="does not fit"):
        execute(instance, schedule, schedule.peak - 1)


@pytest.mark.parametrize("name", ["attention-1-pass", "attention-3-pass"])
@pytest.mark.parametrize("capacity", [2**6, 2**10, 2**16])
def test_attention_is_in_step_with_its_asymptotic_bounds(name: str, capacity: int) -> None:
    """Of order N²d²/S with a capacity of d² or more, and N²d/sqrt(S) below (Saha and Ye, 2024).

    One pass attains it within a small factor; three passes, each value computed once, also move scores that do not fit.
    """
    length, width = 2**14, 64
    order = length**2 * width * (width / capacity if capacity >= width**2 else 1 / math.sqrt(capacity))
    sizes = {"M": length, "P": length, "E": width, "F": width}
    least = traffic_bound(load_cascade(name), sizes, capacity, value_bytes=1).dram_bytes
    assert least >= order / 2
    if name == "attention-1-pass":
        assert least <= 8 * order + compulsory_bytes(load_cascade(name), sizes, value_bytes=1)


MTTKRP = """
    declaration: {T: [I, J, L], U: [J, R], W: [L, R], S: [I, R]}
    expressions: ['S[i, r] = T[i, j, l] * U[j, r] * W[l, r]']
"""
INTERLEAVED = parse_cascade("""
    declaration: {A: [I, K], B: [K, J], C: [J, L], D: [I, K], F: [K, J], G: [J, L],
      X: [I, J], Y: [I, J], V: [I, L], W: [I, L]}
    expressions:
      - X[i, j] = A[i, k] * B[k, j]
      - Y[i, j] = D[i, k] * F[k, j]
      - V[i, l] = X[i, j] * C[j, l]
      - W[i, l] = Y[i, j] * G[j, l]
""")


def test_einsums_that_are_not_listed_side_by_side_are_fused() -> None:
    """Two chains move no more together than one after the other, in whichever order they are listed."""
    sizes = {"I": 12, "J": 6, "K": 5, "L": 7}
    chain = parse_cascade(
        "{declaration: {A: [I, K], B: [K, J], C: [J, L], X: [I, J], V: [I, L]}, "
        "expressions: ['X[i, j] = A[i, k] * B[k, j]', 'V[i, l] = X[i, j] * C[j, l]']}"
    )
    for capacity in (8, 20, 50):
        one = traffic_bound(chain, sizes, capacity, value_bytes=1).dram_bytes
        assert traffic_bound(INTERLEAVED, sizes, capacity, value_bytes=1).dram_bytes <= 2 * one


def test_the_bound_of_separate_einsums() -> None:
    cascade, sizes = load_cascade("attention-3-pass"), {"M": 64, "P": 64, "E": 16, "F": 16}
    parts = [separate_bound(cascade, sizes, 100, einsums=[name], value_bytes=1) for name in ("QK", "AV")]
    assert sum(parts) == separate_bound(cascade, sizes, 100, value_bytes=1)
    assert separate_bound(cascade, sizes, 10**6) == compulsory_bytes(cascade, sizes)
    curve = traffic_curve(parse_cascade(MTTKRP), dict.fromkeys("IJLR", 16), value_bytes=1)
    assert curve[0].dram_bytes > curve[-1].dram_bytes == 16**3 + 3 * 16**2

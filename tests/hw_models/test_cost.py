"""Cost: latency, utilisation and bound, against figures by hand and the published closed form."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models.accounting import PHYSICAL, PUBLISHED
from hw_models.activity import Activity, EinsumActivity, Phase
from hw_models.area import area
from hw_models.cost import EinsumCost, cost
from hw_models.energy import energy
from hw_models.latency import latency_s
from hw_models.load import load_architecture

FUSEMAX = load_architecture("fusemax-cloud")
SECOND_OF_CYCLES, SECOND_OF_BYTES = 940_000_000, 400 * 2**30


def run(*phases: tuple[float, float], einsums: tuple[EinsumActivity, ...] = ()) -> Activity:
    """Phases given as (seconds of computation, seconds of traffic)."""
    return Activity(
        einsums,
        tuple(Phase("p", int(c * SECOND_OF_CYCLES), int(b * SECOND_OF_BYTES)) for c, b in phases),
        buffer_bytes=4096,
        passes=2,
        tiled=False,
    )


def busy(array: str, seconds: float, fraction: float = 1.0) -> EinsumActivity:
    cycles = int(seconds * SECOND_OF_CYCLES)
    pes = 65536 if array == "array_2d" else 256
    return EinsumActivity(f"on {array}", array, cycles, int(cycles * pes * fraction), (), ())  # type: ignore[arg-type]


def test_phases_add_up_and_each_takes_its_longer_side() -> None:
    assert latency_s(run((1, 2), (3, 1)), FUSEMAX) == 5.0
    assert latency_s(run(), FUSEMAX) == 0.0


def test_figures_by_hand() -> None:
    einsums = (busy("array_2d", 2, 0.5), busy("array_1d", 1), busy("array_2d", 1, 0.25))
    result = cost(run((4, 1), einsums=einsums), FUSEMAX, PUBLISHED)
    assert result.latency_s == 4.0
    assert result.dram_bytes == SECOND_OF_BYTES
    assert (result.buffer_bytes, result.passes) == (4096, 2)
    assert result.util_2d == pytest.approx((2 * 0.5 + 1 * 0.25) / 4)
    assert result.util_1d == pytest.approx(1 / 4)
    assert result.area_mm2 == area(FUSEMAX).chip_mm2
    assert result.per_einsum[0] == EinsumCost("on array_2d", "array_2d", 2 * SECOND_OF_CYCLES, 0.25)


@pytest.mark.parametrize(
    ("phases", "bound"),
    [
        (((1, 2, 3), (0, 2, 0)), "memory"),
        (((1, 2, 0), (0, 3, 0)), "2d"),
        (((4, 0, 2), (4, 0, 2), (0, 5, 0)), "1d"),
        (((3, 0, 2), (3, 0, 2), (0, 5, 4)), "1d"),
        (((0, 1, 1),), "memory+2d"),
        (((1, 0, 0), (0, 1, 0)), "2d+1d"),
        (((2, 2, 0),), "2d+1d"),
        (((1, 1, 1),), "memory+2d+1d"),
    ],
)
def test_bound(phases: tuple[tuple[int, int, int], ...], bound: str) -> None:
    """Phases are (seconds on the 1D array, on the 2D array, of traffic), all side by side."""
    second, bytes_ = SECOND_OF_CYCLES, SECOND_OF_BYTES
    made = [
        Phase("p", max(one, two) * second, moved * bytes_, two * second * (two >= one), one * second * (one >= two))
        for one, two, moved in phases
    ]
    assert cost(Activity((), tuple(made), 0, 1, True), FUSEMAX, PUBLISHED).bound == bound


def test_published_latency_and_utilisation() -> None:
    """BERT at 1K, interleaved tiles: T tiles of 256 x 256, with the final divisions on the 1D array."""
    tiles, divisions = 64 * 12 * 4 * 4, 64 * 12 * 4 * 64
    compute = max(tiles * 65, tiles * 65 + divisions) + tiles + tiles * 8 + tiles * 64
    on_2d = tiles * (64 + 1 + 7 + 1 + 64)
    activity = Activity(
        (EinsumActivity("2D", "array_2d", on_2d, on_2d * 65536, (), ()),),
        (Phase("fused", compute, 402653184),),
        buffer_bytes=0,
        passes=1,
        tiled=True,
    )
    result = cost(activity, FUSEMAX, PUBLISHED)
    assert result.latency_s == pytest.approx(0.002013140425531915, rel=1e-12)
    assert result.util_2d == pytest.approx(0.8896103896103895, rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**60), st.integers(0, 2**60)), max_size=6))
def test_cost_reports_the_very_numbers_that_strategies_minimise(phases: list[tuple[int, int]]) -> None:
    activity = Activity((), tuple(Phase("p", c, b) for c, b in phases), 0, 1, True)
    result = cost(activity, FUSEMAX, PHYSICAL)
    assert result.latency_s == latency_s(activity, FUSEMAX)
    assert result.energy_j == energy(activity, FUSEMAX, PHYSICAL).total_j
    assert result.util_2d == 0.0
    exact = sum(max(Fraction(c, SECOND_OF_CYCLES), Fraction(b, SECOND_OF_BYTES)) for c, b in phases)
    assert result.latency_s == pytest.approx(float(exact), rel=1e-14)

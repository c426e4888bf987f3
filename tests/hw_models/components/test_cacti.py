"""The table of CACTI against that of Accelergy, which has CACTI behind it, and against what memories must obey."""

from __future__ import annotations

import math
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from hw_models.components.accelergy import memory_table
from hw_models.components.cacti import NODES_NM, sram, sram_table
from hw_models.components.technology import scale

FIGURES = ("read_pj", "write_pj", "area_um2", "leak_pj")
ACCELERGY = {(width, capacity): cost for (kind, width, capacity), cost in memory_table().items() if kind == "sram"}
SHARED = [size for size in ACCELERGY if (45, 1, *size) in sram_table()]
BETWEEN = [size for size in ACCELERGY if size not in SHARED]


def test_what_the_table_covers() -> None:
    nodes, ports, widths, capacities = ({size[axis] for size in sram_table()} for axis in range(4))
    assert nodes == set(NODES_NM)
    assert ports == {1, 2, 4}
    assert widths == {64, 256, 1024, 4096, 8192}
    assert capacities == {2**n for n in range(12, 27)}
    rows = len(NODES_NM) * 3 * sum(8 * capacity >= 64 * width for width in widths for capacity in capacities)
    assert len(sram_table()) == rows


@pytest.mark.parametrize(("figure", "tolerance"), [("read_pj", 3e-3), ("write_pj", 1e-3), ("area_um2", 2e-3)])
def test_one_port_at_45_nm_is_accelergys_memory(figure: str, tolerance: float) -> None:
    assert len(SHARED) == 49
    for width, capacity in SHARED:
        ours, theirs = sram(capacity, width), ACCELERGY[width, capacity]
        assert getattr(ours, figure) == pytest.approx(getattr(theirs, figure), rel=tolerance)


def test_leakage_per_cycle_is_that_of_a_clock_of_940_mhz() -> None:
    for width, capacity in SHARED:
        assert sram(capacity, width).leak_pj == pytest.approx(ACCELERGY[width, capacity].leak_pj, rel=0.014)


def test_between_two_widths_the_layout_jumps_that_interpolation_cannot_see() -> None:
    """Widths of 512 and 2048 bits are left to interpolation: typically to 12 %, at worst to 60 %."""
    assert len(BETWEEN) == 26
    for figure in ("read_pj", "write_pj", "area_um2"):
        errors = [abs(getattr(sram(c, w), figure) / getattr(ACCELERGY[w, c], figure) - 1) for w, c in BETWEEN]
        assert median(errors) < 0.12
        assert max(errors) < 0.6


@settings(max_examples=150, deadline=None)
@given(
    st.integers(64, 8192),
    st.integers(2**16, 2**26),
    st.integers(1, 4),
    st.floats(22, 90),
)
def test_figures_stay_among_those_of_the_neighbours(width: int, capacity: int, ports: int, node: float) -> None:
    cost = sram(capacity, width, ports, node)
    near = [
        row
        for (n, p, w, c), row in sram_table().items()
        if n / 1.5 < node < n * 1.5 and p / 2 <= ports <= p * 2 and w / 4 <= width <= w * 4 and c / 2 < capacity < c * 2
    ]
    for figure in FIGURES:
        values = [getattr(row, figure) for row in near]
        assert min(values) * (1 - 1e-9) <= getattr(cost, figure) <= max(values) * (1 + 1e-9)
    assert not cost.extrapolated


@settings(max_examples=150, deadline=None)
@given(st.integers(64, 4096), st.integers(2**15, 2**26), st.integers(2**15, 2**26))
def test_a_larger_memory_of_one_port_never_costs_less(width: int, one: int, other: int) -> None:
    small, large = sram(min(one, other), width), sram(max(one, other), width)
    for figure in FIGURES:
        assert getattr(small, figure) <= getattr(large, figure) * (1 + 1e-9)


def test_few_memories_of_the_table_cost_less_than_half_of_their_size() -> None:
    pairs = [(row, sram_table().get((n, p, w, 2 * c))) for (n, p, w, c), row in sram_table().items()]
    falls = [small for small, large in pairs if large and (large.read_pj < small.read_pj or large[3] < small[3])]
    assert len([large for _, large in pairs if large]) == 930
    assert len(falls) == 7


def test_four_ports_cost_more_than_one() -> None:
    for (node, ports, width, capacity), one in sram_table().items():
        if ports == 1:
            four = sram_table()[node, 4, width, capacity]
            assert four.area_um2 > one.area_um2
    assert sram(2**24, 4096, 4).read_pj > 7 * sram(2**24, 4096, 1).read_pj
    assert sram(2**24, 4096, 4).area_um2 > 7 * sram(2**24, 4096, 1).area_um2


@pytest.mark.parametrize(
    ("node", "energy", "area"), [(90, 0.05, 0.31), (65, 0.13, 0.29), (32, 0.05, 0.1), (22, 0.05, 0.03)]
)
def test_scaling_factors_agree_with_cactis_nodes(node: int, energy: float, area: float) -> None:
    """Medians over the memories. From 65 nm up CACTI's areas follow the square of the node, the factors do not."""
    sizes = [size[1:] for size in sram_table() if size[0] == 45]

    def ratio(figure: str) -> float:
        table = sram_table()
        return median(getattr(table[node, *s], figure) / getattr(table[45, *s], figure) for s in sizes)

    assert scale(node).energy == pytest.approx(ratio("read_pj"), rel=energy)
    assert scale(node).area == pytest.approx(ratio("area_um2"), rel=area)


def test_outside_the_table() -> None:
    assert sram(2**27, 4096).extrapolated
    assert sram(2**24, 32).extrapolated
    assert sram(2**24, 4096, 8).extrapolated
    assert sram(2**12, 4096).extrapolated
    with pytest.raises(InputError, match="no SRAM at 16 nm"):
        sram(2**24, 4096, 1, 16)
    with pytest.raises(InputError, match="0 ports"):
        sram(2**24, 4096, 0)


def test_between_ports_and_nodes_the_geometric_mean_costs_the_geometric_mean() -> None:
    one, two = sram(2**20, 256, 1), sram(2**20, 256, 2)
    old, new = sram(2**20, 256, 1, 45), sram(2**20, 256, 1, 32)
    between = sram(2**20, 256, 1, math.sqrt(32 * 45))
    assert between.read_pj == pytest.approx(math.sqrt(old.read_pj * new.read_pj), rel=1e-6)
    assert one.read_pj < sram(2**20, 256, 3).read_pj
    assert two.read_pj < sram(2**20, 256, 3).read_pj < sram(2**20, 256, 4).read_pj

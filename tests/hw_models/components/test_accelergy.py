"""The table of the published evaluation: exact at its points, sensible between and beyond them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from hw_models.components import logic, memory, memory_table

SRAM_BYTES = st.integers(2**14, 2**26)
SRAM_BITS = st.integers(256, 8192)


@pytest.mark.parametrize(
    ("kind", "bits", "capacity", "read_pj", "write_pj", "area_um2"),
    [
        ("sram", 4096, 32 * 2**20, 23854.664592, 27097.564592, 175717186.15744),
        ("sram", 4096, 16 * 2**20, 12512.760572, 15751.460572, 84201374.5226),
        ("regfile", 16, 2 * 4, 2.182395, 1.894395, 16814.30968),
        ("regfile", 16, 2 * 12, 2.190435, 1.902435, 16837.57936),
        ("regfile", 16, 2 * 32, 2.194455, 1.906455, 16849.2142),
    ],
)
def test_memories_of_the_published_machines(
    kind: str, bits: int, capacity: int, read_pj: float, write_pj: float, area_um2: float
) -> None:
    cost = memory(kind, bits, capacity)
    assert (cost.read_pj, cost.write_pj, cost.area_um2) == (read_pj, write_pj, area_um2)
    assert not cost.extrapolated


def test_every_table_point_is_returned_as_it_stands() -> None:
    assert len(memory_table()) == 20 + 75  # register files and SRAMs
    for (kind, bits, capacity), row in memory_table().items():
        assert memory(kind, bits, capacity) == row


def test_between_two_capacities_the_geometric_mean_costs_the_geometric_mean() -> None:
    low, high = memory("sram", 512, 2**20), memory("sram", 512, 2**21)
    middle = memory("sram", 512, round(2**20.5))
    assert middle.read_pj == pytest.approx(math.sqrt(low.read_pj * high.read_pj), rel=1e-6)
    assert middle.area_um2 == pytest.approx(math.sqrt(low.area_um2 * high.area_um2), rel=1e-6)


def test_between_two_widths_likewise() -> None:
    low, high = memory("sram", 1024, 2**20), memory("sram", 2048, 2**20)
    middle = memory("sram", round(1024 * math.sqrt(2)), 2**20)
    assert middle.read_pj == pytest.approx(math.sqrt(low.read_pj * high.read_pj), rel=1e-3)
    assert not middle.extrapolated


@settings(max_examples=200, deadline=None)
@given(SRAM_BITS, SRAM_BYTES)
def test_interpolation_stays_between_its_neighbours(bits: int, capacity: int) -> None:
    cost = memory("sram", bits, capacity)
    near = [
        row
        for (kind, b, c), row in memory_table().items()
        if kind == "sram" and bits / 2 < b < bits * 2 and capacity / 2 < c < capacity * 2
    ]
    if len(near) < 4 or cost.extrapolated:
        return
    for figure in ("read_pj", "write_pj", "area_um2", "leak_pj"):
        values = [getattr(row, figure) for row in near]
        assert min(values) * (1 - 1e-9) <= getattr(cost, figure) <= max(values) * (1 + 1e-9)


@settings(max_examples=200, deadline=None)
@given(SRAM_BITS, SRAM_BYTES, SRAM_BYTES)
def test_a_larger_memory_never_reads_for_less(bits: int, one: int, other: int) -> None:
    small, large = memory("sram", bits, min(one, other)), memory("sram", bits, max(one, other))
    assert small.read_pj <= large.read_pj * (1 + 1e-12)
    assert small.area_um2 <= large.area_um2 * (1 + 1e-12)


def test_beyond_the_table_the_result_says_so() -> None:
    assert memory("sram", 4096, 2**28).extrapolated
    assert memory("sram", 16384, 2**24).extrapolated
    assert memory("sram", 4096, 2**14).extrapolated
    assert not memory("sram", 300, 2**14).extrapolated
    assert memory("regfile", 16, 2**14).read_pj > memory("regfile", 16, 2**12).read_pj


def test_logic() -> None:
    assert logic("mac").energy_pj == 17.1645
    assert logic("add").within == "mac"
    assert logic("dram").energy_pj == 249.6


def test_unknown_components_and_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'divide'"):
        logic("divid")
    with pytest.raises(InputError, match="did you mean 'sram'"):
        memory("sram1", 256, 2**14)
    with pytest.raises(InputError, match="0 bytes"):
        memory("sram", 256, 0)
    with pytest.raises(InputError, match="16 bits wide"):
        memory("regfile", 32, 64)

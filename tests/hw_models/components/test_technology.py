"""Scaling between process nodes: the published equations by hand, and the rounded areas of their tables."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from hw_models.components import logic, memory
from hw_models.components.technology import scale, scaling_table


def test_45_nm_is_where_the_tables_are() -> None:
    assert scale(45) == (1, 1)
    assert logic("mac", 45) == logic("mac")
    assert memory("sram", 4096, 2**24, 45) == memory("sram", 4096, 2**24)


def test_7_nm_by_hand() -> None:
    seven = 0.1776 * 0.7**2 - 0.09097 * 0.7 + 0.02447
    base = 1.103 - 0.362 + 0.2767
    assert scale(7).energy == pytest.approx(seven / base, rel=1e-12)
    assert scale(7).area == 0.059
    assert logic("mac", 7).energy_pj == pytest.approx(17.1645 * seven / base, rel=1e-12)
    assert logic("mac", 7).area_um2 == pytest.approx(1545 * 0.059, rel=1e-12)
    assert memory("regfile", 16, 24, 7).area_um2 == pytest.approx(16837.57936 * 0.059, rel=1e-12)


def test_off_chip_memory_does_not_shrink_with_the_chip() -> None:
    assert logic("dram", 7) == logic("dram")


@settings(deadline=None)
@given(st.floats(7, 130), st.floats(7, 130))
def test_a_smaller_node_never_costs_more(one: float, other: float) -> None:
    small, large = scale(min(one, other)), scale(max(one, other))
    assert small.energy <= large.energy * (1 + 1e-12)
    assert small.area <= large.area * (1 + 1e-12)


def test_nodes_of_the_table() -> None:
    assert list(scaling_table()) == [7, 10, 14, 16, 20, 32, 45, 65, 90, 130]


@pytest.mark.parametrize("node", [6.9, 131, 1, 0])
def test_nodes_outside_are_refused(node: float) -> None:
    with pytest.raises(InputError, match=f"no costs are known at {node:g} nm") as caught:
        scale(node)
    assert caught.value.hint == "process nodes reach from 130 to 7 nm"

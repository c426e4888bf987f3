"""Costs over arrays are those of each point: memories, areas, and activities of any kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import ACCOUNTINGS
from hw_models.area import area
from hw_models.batched import BOUNDS, batch_area_mm2, batch_cost, totals_of
from hw_models.components import memory, memory_costs
from hw_models.cost import cost
from hw_models.load import load_architecture
from mappers.activity import activity_of
from mappers.strategies import STRATEGIES

SIZES = st.integers(1, 4096) | st.integers(1, 2**54) | st.sampled_from([256, 512, 1024, 2**14, 2**24, 2**26])


@settings(deadline=None)
@given(st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=30))
def test_memories(pairs: list[tuple[int, int]]) -> None:
    widths, capacities = (np.asarray(column) for column in zip(*pairs, strict=True))
    found = memory_costs("sram", widths, capacities)
    for i, (width, capacity) in enumerate(pairs):
        expected = memory("sram", width, capacity)
        for name in ("read_pj", "write_pj", "leak_pj", "area_um2"):
            assert getattr(found, name)[i] == pytest.approx(getattr(expected, name), rel=1e-12, abs=0)
        assert bool(found.extrapolated[i]) == expected.extrapolated


def test_register_files() -> None:
    capacities = np.arange(1, 5000)
    found = memory_costs("regfile", 16, capacities)
    expected = [memory("regfile", 16, int(c)).area_um2 for c in capacities]
    assert found.area_um2 == pytest.approx(expected, rel=1e-12)
    with pytest.raises(InputError, match="no cost is known for a regfile 32 bits wide"):
        memory_costs("regfile", np.asarray([16, 32]), 64)
    with pytest.raises(InputError, match="unknown kind of memory"):
        memory_costs("dram", 16, capacities)


@pytest.mark.parametrize("accounting", ACCOUNTINGS.values(), ids=str)
@pytest.mark.parametrize("mapper", ["unfused", "flat", "fusemax-serial"])
def test_one_activity_on_many_machines(mapper: str, accounting: object) -> None:
    base = load_architecture("flat-edge")
    counted = ACCOUNTINGS[accounting.name]  # type: ignore[attr-defined]
    workload = Workload.attention(batch=2, heads=3, head_dim=32, seq_len=96)
    activity = activity_of(STRATEGIES[mapper](load_cascade("attention-3-pass"), workload, base, counted), counted)
    frequency = np.asarray([1e8, 9.4e8, 5e9])
    bandwidth = np.asarray([1e9, 1e11, 1e13])
    capacity = np.asarray([2**15, 2**19, 2**25])
    registers = np.asarray([1, 4, 100])
    many = replace(
        base,
        frequency_hz=frequency,  # type: ignore[arg-type]
        bandwidth_bytes_per_s=bandwidth,  # type: ignore[arg-type]
        global_buffer=replace(base.global_buffer, bytes=capacity),  # type: ignore[arg-type]
        array_1d=replace(base.array_1d, registers=registers),  # type: ignore[arg-type]
    )
    found = batch_cost(totals_of(activity, counted), many, counted)
    for i in range(3):
        one = replace(
            base,
            frequency_hz=float(frequency[i]),
            bandwidth_bytes_per_s=float(bandwidth[i]),
            global_buffer=replace(base.global_buffer, bytes=int(capacity[i])),
            array_1d=replace(base.array_1d, registers=int(registers[i])),
        )
        expected = cost(activity, one, counted)
        for name, column in found.items():
            value = np.broadcast_to(np.asarray(column), (3,))[i]
            if name == "bound":
                assert BOUNDS[value] == expected.bound
            else:
                assert value == pytest.approx(getattr(expected, name), rel=1e-12, abs=0), name
        assert np.asarray(batch_area_mm2(many))[i] == pytest.approx(area(one).chip_mm2, rel=1e-12)

"""Costs over arrays are those of each point: areas, and activities of any kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from einsum_cascades.load import load_cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import ACCOUNTINGS
from hw_models.area import area
from hw_models.batched import BOUNDS, batch_area_mm2, batch_cost, totals_of
from hw_models.cost import cost
from hw_models.load import load_architecture
from mappers.activity import activity_of
from mappers.strategies import STRATEGIES


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

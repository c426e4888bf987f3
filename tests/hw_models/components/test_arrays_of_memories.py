"""Prices over arrays against prices one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hw_models.architecture import Architecture, MemoryTable, StatedCost
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from hw_models.components import buffer_cost, register_file_cost, scale
from hw_models.load import load_architecture

BASE = load_architecture("fusemax-cloud")
FIGURES = ("read_pj", "write_pj", "leak_pj", "area_um2")
MEMORIES = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([2**10, 2**14, 2**20, 2**26]), st.integers(1, 2**34)),
        st.one_of(st.sampled_from([16, 64, 256, 512]), st.integers(1, 2**12)),
        st.integers(1, 9),
        st.sampled_from([22.0, 28.0, 45.0, 90.0]),
        st.integers(1, 3000),
    ),
    min_size=1,
    max_size=12,
)


def machine(size: object, row: object, ports: object, node: object, registers: object) -> Architecture:
    """A machine with numbers, or arrays of them, in these places."""
    buffer = replace(BASE.global_buffer, bytes=size, row_values=row, ports=ports)  # type: ignore[arg-type]
    array = replace(BASE.array_2d, registers=registers)  # type: ignore[arg-type]
    return replace(BASE, global_buffer=buffer, array_2d=array, technology_nm=node)  # type: ignore[arg-type]


def priced(base: Architecture, table: MemoryTable, stated: StatedCost) -> Architecture:
    buffer = replace(base.global_buffer, table=table, stated=stated)
    return replace(base, global_buffer=buffer)


@settings(max_examples=80, deadline=None)
@given(MEMORIES, st.sampled_from(["accelergy", "cacti"]), st.sampled_from([None, 0.0, 3e-9]))
def test_many_are_priced_as_one_by_one(
    memories: list[tuple[int, int, int, float, int]], table: MemoryTable, read_j: float | None
) -> None:
    stated = StatedCost(read_j=read_j)
    together = priced(machine(*(np.asarray(column) for column in zip(*memories, strict=True))), table, stated)
    many, files = buffer_cost(together), register_file_cost(together, "array_2d")
    for i, memory in enumerate(memories):
        alone = priced(machine(*memory), table, stated)
        for found, one in ((many, buffer_cost(alone)), (files, register_file_cost(alone, "array_2d"))):
            for figure in FIGURES:
                value = np.broadcast_to(getattr(found, figure), len(memories))[i]
                assert value == getattr(one, figure)
            assert np.broadcast_to(found.extrapolated, len(memories))[i] == one.extrapolated


def test_numbers_give_numbers() -> None:
    for cost in (buffer_cost(BASE), register_file_cost(BASE, "array_1d")):
        assert [type(figure) for figure in cost] == [float] * 4 + [bool]


def test_stated_costs_may_be_arrays_too() -> None:
    read = np.asarray([1e-9, 2e-9])
    stated = StatedCost(read, 0.0, 0.0, 1.0)  # type: ignore[arg-type]
    found = buffer_cost(priced(BASE, "accelergy", stated))
    assert found.read_j == pytest.approx(read)
    assert found.area_mm2 == pytest.approx(1.0)


def test_scaling_factors() -> None:
    nodes = np.asarray([7.0, 45.0, 11.5, 7.0])
    found = scale(nodes)
    assert found.energy == pytest.approx([scale(n).energy for n in nodes])
    assert found.area == pytest.approx([scale(n).area for n in nodes])
    assert scale(45) == (1, 1)
    with pytest.raises(InputError, match="no costs are known at 5 nm"):
        scale(np.asarray([45.0, 5.0]))
    with pytest.raises(InputError, match="no SRAM at 16 nm"):
        buffer_cost(priced(machine(2**20, 64, 1, np.asarray([45.0, 16.0]), 12), "cacti", StatedCost()))

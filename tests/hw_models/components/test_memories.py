"""Prices of memories as users ask for them, and as machines get them."""

from __future__ import annotations

import pytest

from einsum_cascades.errors import InputError
from hw_models.components import memory, memory_cost
from hw_models.components.cacti import sram
from hw_models.prices import node_prices
from hw_models.spatial_machines import spatial_machine

MIB = 2**20


def test_si_units() -> None:
    found = memory_cost(bytes=16 * MIB, width_bits=4096)
    assert (found.read_j, found.write_j) == pytest.approx((12.5127e-9, 15.7514e-9))
    assert found.area_mm2 == pytest.approx(84.2012)
    assert found.leak_w == pytest.approx(382.145e-6)


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        ({"bytes": MIB, "width_bits": 1024}, sram(MIB, 1024)),
        ({"bytes": MIB, "width_bits": 1024, "ports": 2, "technology_nm": 28}, sram(MIB, 1024, 2, 28)),
        ({"bytes": MIB, "width_bits": 1024, "table": "accelergy"}, memory("sram", 1024, MIB)),
        ({"kind": "regfile", "bytes": 24, "width_bits": 16, "technology_nm": 16}, memory("regfile", 16, 24, 16)),
        ({"bytes": 2**30, "width_bits": 1024, "extrapolate": True}, sram(2**30, 1024)),
    ],
)
def test_which_table_answers(asked: dict[str, int], same: object) -> None:
    assert memory_cost(**asked) == same  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        (
            {"bytes": 2**30},
            "1073741824 bytes, 1024 bits wide, with 1 ports lies outside",
            "from 4096 to 67108864 bytes",
        ),
        ({"ports": 8}, "with 8 ports lies outside the table cacti", "1 to 4 ports"),
        ({"ports": 2, "table": "accelergy"}, "no sram of 2 ports", "tables with ports: cacti, hwcomponents"),
        ({"kind": "regfile", "ports": 2}, "no regfile of 2 ports", "one port"),
        ({"kind": "regfile"}, "1024 bits wide", "16 bits wide"),
        ({"kind": "srm"}, "unknown kind of memory 'srm'", "did you mean 'sram'"),
        ({"table": "cact"}, "unknown table of the kind sram 'cact'", "did you mean 'cacti'"),
        ({"kind": "regfile", "table": "cacti"}, "unknown table of the kind regfile", "accelergy"),
        ({"technology_nm": 16}, "no SRAM at 16 nm", "from 90 to 22 nm"),
        ({"technology_nm": 5, "table": "accelergy"}, "no costs are known at 5 nm", "from 130 to 7 nm"),
        ({"bytes": 0}, "bytes is 0", "from 1 to 2^50"),
        ({"width_bits": -1, "table": "accelergy"}, "width_bits is -1", "from 1 to 2^50"),
    ],
)
def test_what_is_refused(asked: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        memory_cost(**({"bytes": MIB, "width_bits": 1024} | asked))  # type: ignore[arg-type]
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("table", ["accelergy", "cacti"])
def test_energy_and_area_grow_with_the_capacity_of_the_buffer(table: str) -> None:
    sizes = [f"global_buffer.bytes={2**power}" for power in range(16, 27, 2)]
    found = [
        node_prices(spatial_machine("fusemax-cloud", [size, f"global_buffer.table={table}"])).nodes["global_buffer"]
        for size in sizes
    ]
    for name in ("read_j_per_bit", "write_j_per_bit", "area_mm2", "leak_w"):
        figures = [getattr(price, name) for price in found]
        assert figures == sorted(figures)
        assert figures[0] < figures[-1]

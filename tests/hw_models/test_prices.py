"""Prices of machines: the published ones to the last digit, widths, and arrays of machines against one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from hw_models.components import memory
from hw_models.components.cacti import sram
from hw_models.machine import Machine
from hw_models.machine_file import SpatialFile, read_spatial
from hw_models.prices import NodePrice, Prices, node_prices, operation_j
from hw_models.spatial_machines import read_spatial_file, spatial_machine, spatial_names
from hw_models.widths import area_um2, energy_pj

PUBLISHED = {
    # pJ of a value of 16 bits read and written, of the artifact's tables
    "flat-cloud": {
        "dram": (62.4, 62.4),
        "global_buffer": (23854.664592 / 256, 27097.564592 / 256),
        "array_2d": (2.182395, 1.894395),
        "array_1d": (2.190435, 1.902435),
    },
    "fusemax-cloud": {
        "dram": (62.4, 62.4),
        "global_buffer": (12512.760572 / 256, 15751.460572 / 256),
        "staging": (2.194455, 1.906455),
        "array_2d": (2.190435, 1.902435),
        "array_1d": (2.194455, 1.906455),
    },
}
FIGURES = ("read_j_per_bit", "write_j_per_bit", "leak_w", "area_mm2", "extrapolated")


def priced(*overrides: str, name: str = "fusemax-cloud") -> Prices:
    return node_prices(spatial_machine(name, overrides))


def pj(price: NodePrice, bits: float = 16) -> tuple[float, float]:
    return price.read_j_per_bit * bits * 1e12, price.write_j_per_bit * bits * 1e12


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_prices_of_values(name: str) -> None:
    nodes = priced(name=name).nodes
    for node, expected in PUBLISHED[name].items():
        assert pj(nodes[node]) == pytest.approx(expected, rel=1e-15)


def test_published_operations() -> None:
    flat, fusemax = priced(name="flat-cloud").operations, priced().operations
    for (array, work), expected in {
        ("array_2d", "mac"): 17.1645,
        ("array_2d", "add"): 8.3395,
        ("array_1d", "max"): 0.028036,
        ("array_1d", "exp"): 94.6475,
        ("array_1d", "divide"): 36.251153,
    }.items():
        assert flat[array, work] == pytest.approx(expected * 1e-12, rel=1e-15)  # type: ignore[index]
    assert fusemax["array_2d", "exp"] == pytest.approx(6 * 17.1645e-12, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "chip", "array"), [("flat-cloud", 1391.82, 1203.20), ("fusemax-cloud", 1302.95, 1207.95)]
)
def test_published_areas(name: str, chip: float, array: float) -> None:
    found = priced(name=name)
    assert found.area_mm2 == pytest.approx(chip, abs=0.005)
    assert found.nodes["array_2d"].area_mm2 == pytest.approx(array, abs=0.005)
    assert found.nodes["dram"].area_mm2 == 0
    assert found.extrapolated == ()


def test_the_area_of_a_pe_by_hand() -> None:
    found = priced().nodes
    assert found["array_2d"].area_mm2 * 1e6 / 65536 == pytest.approx(16837.57936 + 1545 + 49.28944, rel=1e-15)
    lane = 16849.2142 + 1545 + 49.28944 + 23740.9375
    assert found["array_1d"].area_mm2 * 1e6 / 256 == pytest.approx(lane, rel=1e-15)
    assert found["staging"].area_mm2 == found["staging"].leak_w == 0
    leak = memory("sram", 4096, 2**24).leak_w + 65536 * memory("regfile", 16, 24).leak_w
    assert priced().leak_w == pytest.approx(leak + 256 * memory("regfile", 16, 64).leak_w, rel=1e-12)


def test_widths_at_16_bits_are_the_tables() -> None:
    for name, expected in {"mac": 17.1645, "add": 8.3395, "max": 0.028036, "divide": 36.251153, "exp": 94.6475}.items():
        assert energy_pj(name, (16, 16), 16) == expected
    assert area_um2("mac", (16, 16), 16) == 1545


def test_width_laws() -> None:
    def ratio(name: str, bits: int) -> float:
        found: float = energy_pj(name, (bits, bits), bits) / energy_pj(name, (16, 16), 16)
        return found

    assert [ratio("add", n) for n in (4, 8, 32)] == pytest.approx([0.25, 0.5, 2])
    assert [ratio("max", n) for n in (8, 32)] == pytest.approx([0.5, 2])
    assert [ratio("exp", n) for n in (8, 32)] == pytest.approx([0.25, 4])
    assert [ratio("divide", n) for n in (8, 32)] == pytest.approx([0.25, 4])
    multiplier = 17.1645 - 8.3395
    assert energy_pj("mac", (8, 8), 32) == pytest.approx(multiplier / 4 + 8.3395 * 2)
    assert energy_pj("mac", (4, 16), 16) == pytest.approx(multiplier / 4 + 8.3395)
    assert energy_pj("add", (8, 32), 32) == pytest.approx(2 * 8.3395)


def test_a_machine_of_8_bits_costs_what_its_widths_say() -> None:
    narrow = priced("bits.inputs=8", "bits.accumulators=32")
    multiplier = 17.1645 - 8.3395
    assert narrow.operations["array_2d", "mac"] == pytest.approx(1e-12 * (multiplier / 4 + 8.3395 * 2))
    assert narrow.operations["array_2d", "add"] == pytest.approx(2 * 8.3395e-12)
    assert pj(narrow.nodes["array_2d"], 16) == pytest.approx(pj(priced().nodes["array_2d"], 16))
    assert pj(narrow.nodes["dram"], 8) == pytest.approx((31.2, 31.2))
    machine = spatial_machine("fusemax-cloud")
    assert operation_j(machine, "array_2d", "mac", (8, 8)) == pytest.approx(1e-12 * (multiplier / 4 + 8.3395))
    with pytest.raises(InputError, match="array_2d of 'fusemax-cloud' does no divide") as caught:
        operation_j(machine, "array_2d", "divide")
    assert "it does: mac, add, max, exp" in caught.value.hint


def test_a_bit_costs_its_share_of_an_access() -> None:
    row, half = memory("sram", 4096, 2**24), memory("sram", 2048, 2**24)
    assert pj(priced().nodes["global_buffer"], 4096) == pytest.approx((row.read_pj, row.write_pj))
    found = priced("global_buffer.width_bits=2048").nodes["global_buffer"]
    assert pj(found, 2048) == pytest.approx((half.read_pj, half.write_pj))


def test_everything_on_chip_follows_the_process_node() -> None:
    old, new = priced(), priced("technology_nm=16")
    factor = memory("regfile", 16, 24, 16).read_pj / memory("regfile", 16, 24).read_pj
    assert new.area_mm2 == pytest.approx(old.area_mm2 * 0.19, rel=1e-12)
    for name, price in old.nodes.items():
        assert pj(new.nodes[name]) == pytest.approx([f * (1 if name == "dram" else factor) for f in pj(price)])
    for key, joules in old.operations.items():
        assert new.operations[key] == pytest.approx(joules * factor, rel=1e-12)


def test_what_a_file_states_stands() -> None:
    found = priced(
        "global_buffer.read_j=2e-9",
        "global_buffer.area_mm2=10",
        "array_2d.register_file.read_j=1e-13",
        "dram.energy_j_per_byte=5e-12",
        "array_2d.units.exp.energy_j=7e-12",
        "array_1d.units.divide.area_mm2=1",
    )
    known = priced()
    assert pj(found.nodes["global_buffer"], 4096) == pytest.approx((2000, pj(known.nodes["global_buffer"], 4096)[1]))
    assert pj(found.nodes["array_2d"])[0] == pytest.approx(0.1)
    assert pj(found.nodes["array_1d"]) == pj(known.nodes["array_1d"])
    assert pj(found.nodes["dram"]) == pytest.approx((10, 10))
    assert found.nodes["global_buffer"].area_mm2 == pytest.approx(10)
    assert found.operations["array_2d", "exp"] == 7e-12
    more = found.nodes["array_1d"].area_mm2 - known.nodes["array_1d"].area_mm2
    assert more == pytest.approx(256 * (1 - 23740.9375e-6))


def test_tables_and_what_lies_outside_them() -> None:
    assert priced("global_buffer.bytes=2**40").extrapolated == ("global_buffer",)
    full = [f"global_buffer.{key}=1e-9" for key in ("read_j", "write_j", "leak_w", "area_mm2")]
    assert priced("global_buffer.bytes=2**40", *full).extrapolated == ()
    assert priced("array_1d.registers=10000").extrapolated == ("array_1d",)
    cacti = priced("global_buffer.table=cacti", "global_buffer.ports=4").nodes["global_buffer"]
    assert cacti.area_mm2 == pytest.approx(sram(2**24, 4096, 4).area_mm2)
    cells = priced("global_buffer.cells=regfile", "global_buffer.width_bits=32", "global_buffer.bytes=1KiB")
    assert pj(cells.nodes["global_buffer"]) == pytest.approx(memory("regfile", 16, 512)[:2])
    assert cells.nodes["global_buffer"].area_mm2 == pytest.approx(2 * memory("regfile", 16, 512).area_mm2)


def test_instances_take_area_each() -> None:
    simba = priced(name="simba").nodes
    one = memory("sram", 256, 2**16, 16)
    assert simba["global_buffer"].area_mm2 == pytest.approx(36 * one.area_mm2)
    assert simba["global_buffer"].leak_w == pytest.approx(36 * one.leak_w)


COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "global_buffer.bytes": st.one_of(st.sampled_from([2**14, 2**20, 2**26]), st.integers(1, 2**34)),
    "array_2d.columns": st.one_of(st.sampled_from([16, 64, 256]), st.integers(1, 2**12)),
    "array_2d.rows": st.integers(1, 2**40),
    "array_2d.registers": st.integers(1, 3000),
    "array_2d.units.exp.actions": st.integers(1, 9),
    "bits.inputs": st.integers(1, 64),
    "bits.accumulators": st.sampled_from([8, 16, 24, 32]),
    "technology_nm": st.sampled_from([22, 28, 45, 90]),
    "dram.energy_j_per_byte": st.sampled_from([0.0, 1e-12, 3e-11]),
    "global_buffer.read_j": st.floats(0, 1e-6),
}
FUSEMAX: SpatialFile = read_spatial(read_spatial_file("fusemax-cloud"))


@st.composite
def columns(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 8))
    keys = draw(st.lists(st.sampled_from(sorted(COLUMNS)), unique=True, min_size=1))
    return {key: np.asarray(draw(st.lists(COLUMNS[key], min_size=count, max_size=count))) for key in keys}


def same(many: Prices, one: Prices, place: int, count: int) -> None:
    for name, price in one.nodes.items():
        for figure in FIGURES:
            found = np.broadcast_to(getattr(many.nodes[name], figure), count)[place]
            assert found == getattr(price, figure), (name, figure)
    for key, joules in one.operations.items():
        assert np.broadcast_to(many.operations[key], count)[place] == joules, key


@settings(max_examples=100, deadline=None)
@given(columns(), st.sampled_from(["accelergy", "cacti"]))
def test_many_machines_are_priced_as_one_by_one(given_columns: dict[str, Any], table: str) -> None:
    fixed = {"global_buffer.table": table}
    many = node_prices(FUSEMAX.machine(fixed | given_columns))
    count = len(next(iter(given_columns.values())))
    for place in range(count):
        own = {key: values[place].item() for key, values in given_columns.items()}
        same(many, node_prices(FUSEMAX.machine(fixed | own)), place, count)


@pytest.mark.parametrize("name", spatial_names())
def test_every_number_of_every_machine_may_be_an_array(name: str) -> None:
    file = read_spatial(read_spatial_file(name))
    numbers = {
        key: value
        for key, value in file.numbers().items()
        if type(value) in (int, float) and file.types.get(key) in (int, float)
    }
    many = file.machine({key: np.asarray([value, value]) for key, value in numbers.items()})
    assert isinstance(many, Machine)
    same(node_prices(many), node_prices(file.machine()), 1, 2)


def test_a_column_with_a_number_that_has_no_price_is_refused() -> None:
    with pytest.raises(InputError, match="no costs are known at 5 nm"):
        node_prices(FUSEMAX.machine({"technology_nm": np.asarray([45, 5])}))
    with pytest.raises(InputError, match="no SRAM at 16 nm"):
        node_prices(FUSEMAX.machine({"technology_nm": np.asarray([45, 16]), "global_buffer.table": "cacti"}))

"""Prices of memories as users ask for them, and as machines get them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hw_models.activity import Activity, Count, EinsumActivity, Phase
from hw_models.architecture import Architecture
from hw_models.area import area
from hw_models.energy import energy, prices

import hw_models
from einsum_cascades.errors import InputError
from hw_models.accounting import PHYSICAL, PUBLISHED
from hw_models.components import extrapolated, logic, memory, memory_cost
from hw_models.components.cacti import sram
from hw_models.load import load_architecture

MIB = 2**20


def machine(*overrides: str) -> Architecture:
    return load_architecture("fusemax-cloud", overrides)


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


def buffer_reads(values: int) -> Activity:
    einsum = EinsumActivity("X", "array_2d", 0, 0, (), (Count("global_buffer", "X", reads=values),))
    return Activity((einsum,), (Phase("all", 0, 0),), buffer_bytes=0, passes=1, tiled=True)


@pytest.mark.parametrize("table", ["accelergy", "cacti"])
def test_energy_and_area_follow_the_capacity_of_the_buffer(table: str) -> None:
    joules, areas = [], []
    for size in ("1MiB", "3MiB", "16MiB", "48MiB"):
        swept = machine(f"global_buffer.bytes={size}", f"global_buffer.table={table}", "global_buffer.ports=1")
        joules.append(energy(buffer_reads(10**9), swept, PHYSICAL).global_buffer_j)
        areas.append(area(swept).chip_mm2)
    assert joules == sorted(set(joules))
    assert areas == sorted(set(areas))


def test_ports_cost_by_the_table_that_knows_them() -> None:
    assert area(machine("global_buffer.ports=1")) == area(machine("global_buffer.ports=4"))
    one, four = (area(machine(f"global_buffer.ports={n}", "global_buffer.table=cacti")) for n in (1, 4))
    assert one.global_buffer_um2 == pytest.approx(area(machine()).global_buffer_um2, rel=1e-5)
    assert four.global_buffer_um2 == pytest.approx(sram(16 * MIB, 4096, 4).area_um2)


def test_everything_on_chip_follows_the_process_node() -> None:
    old, new = machine(), machine("technology_nm=16")
    factor = new_factor()
    assert area(new).chip_mm2 == pytest.approx(area(old).chip_mm2 * 0.19, rel=1e-12)
    for name, (read, write) in prices(old).memories.items():
        expected = 1 if name == "dram" else factor
        assert prices(new).memories[name] == pytest.approx((read * expected, write * expected), rel=1e-12)
    for key, pj in prices(old).operations.items():
        assert prices(new).operations[key] == pytest.approx(pj * factor, rel=1e-12)


def new_factor() -> float:
    return logic("mac", 16).energy_pj / logic("mac").energy_pj


def test_what_a_file_states_stands() -> None:
    stated = machine(
        "global_buffer.read_j=2e-9",
        "global_buffer.area_mm2=10",
        "array_2d.register_file.read_j=1e-13",
        "array_2d.register_file.area_mm2=0.001",
        "dram.energy_j_per_byte=5e-12",
    )
    known = prices(machine()).memories
    found = prices(stated).memories
    assert found["global_buffer"] == pytest.approx((2000 / 256, known["global_buffer"][1]))
    assert found["array_2d"] == pytest.approx((0.1, known["array_2d"][1]))
    assert found["array_1d"] == known["array_1d"]
    assert found["dram"] == pytest.approx((10, 10))
    assert area(stated).global_buffer_um2 == pytest.approx(10e6)
    own = area(stated).array_2d_um2 / 65536 - 1000
    assert own == pytest.approx(area(machine()).array_2d_um2 / 65536 - 16837.57936)


def test_a_buffer_stated_in_full_needs_no_table() -> None:
    full = [f"global_buffer.{key}=1e-9" for key in ("read_j", "write_j", "leak_w", "area_mm2")]
    assert extrapolated(machine("global_buffer.bytes=2**40")) == ("global_buffer",)
    assert extrapolated(machine("global_buffer.bytes=2**40", *full)) == ()


def test_leakage_follows_time_not_the_clock() -> None:
    slow = machine("frequency_hz=94000000")
    waiting = Activity((), (Phase("all", 0, slow.bandwidth_bytes_per_s.__trunc__()),), 0, 1, True)
    one_second = energy(waiting, slow, PHYSICAL).leakage_j
    assert one_second == pytest.approx(energy(waiting, machine(), PHYSICAL).leakage_j, rel=1e-12)
    leaking = memory("sram", 4096, 16 * MIB).leak_w + 65536 * memory("regfile", 16, 24).leak_w
    assert one_second == pytest.approx(leaking + 256 * memory("regfile", 16, 64).leak_w, rel=1e-9)
    assert energy(waiting, slow, PUBLISHED).leakage_j == 0


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("technology_nm=5", "no costs are known at 5 nm", "from 130 to 7 nm"),
        ("global_buffer.table=cactus", "'cactus'", "'accelergy', 'cacti' or 'hwcomponents' is expected"),
        ("global_buffer.read_j=-1", "'-1'", "a number from 0 to 1e18 is expected"),
        ("array_1d.register_file.read=1", "unknown key", "array_1d.register_file.read_j"),
    ],
)
def test_unusable_costs_in_a_file(override: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        machine(override)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_a_process_node_that_cacti_does_not_describe(tmp_path: Path) -> None:
    text = (Path(hw_models.__file__).parent / "architectures" / "fusemax-cloud.yaml").read_text("utf-8")
    path = tmp_path / "machine.yaml"
    path.write_text(text.replace("technology_nm: 45", "technology_nm: 16").replace("ports: 4", "table: cacti"), "utf-8")
    with pytest.raises(InputError, match="CACTI has no SRAM at 16 nm") as caught:
        load_architecture(str(path))
    assert caught.value.location is not None
    assert caught.value.location.text.startswith("technology_nm: 16")


def test_the_published_machines_need_no_extrapolation() -> None:
    for name in ("flat-cloud", "flat-edge", "fusemax-cloud"):
        assert extrapolated(load_architecture(name)) == ()
    small = machine("global_buffer.bytes=8KiB", "array_2d.columns=8")
    assert extrapolated(small) == ("global_buffer",)
    assert extrapolated(replace(small, array_2d=replace(small.array_2d, registers=4096)))[1:] == ("array_2d",)

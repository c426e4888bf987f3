"""Machines as values: the shipped ones, their tree, what loop trees see of them, links."""

from __future__ import annotations

import pickle
from itertools import product

import numpy as np
import pytest

from einsum_cascades.errors import InputError
from hw_models.links import Link
from hw_models.machine import Array, Machine, Memory, Unit
from hw_models.spatial_machines import spatial_machine, spatial_names

FUSEMAX = spatial_machine("fusemax-cloud")


@pytest.mark.parametrize(
    ("name", "side", "buffer_bytes", "bandwidth", "registers_2d", "registers_1d"),
    [
        ("flat-cloud", 256, 32 * 2**20, 400 * 2**30, 4, 16),
        ("flat-edge", 32, 512 * 2**10, 50 * 2**30, 4, 16),
        ("fusemax-cloud", 256, 16 * 2**20, 400 * 2**30, 12, 32),
    ],
)
def test_published_machines(
    name: str, side: int, buffer_bytes: int, bandwidth: int, registers_2d: int, registers_1d: int
) -> None:
    machine = spatial_machine(name)
    assert (machine.kind, machine.name, machine.frequency_hz) == ("spatial-array", name, 940e6)
    assert machine.root.name == "dram"
    assert machine.root.rates == (bandwidth, None, None)
    buffer = machine.memory("global_buffer")
    assert (buffer.bytes, buffer.width_bits, buffer.rates) == (buffer_bytes, 16 * side, (None, None, None))
    wide, narrow = machine.array("array_2d"), machine.array("array_1d")
    assert (dict(wide.dimensions), wide.registers) == ({"rows": side, "columns": side}, registers_2d)
    assert (narrow.pes, narrow.registers) == (side, registers_1d)
    assert (wide.drain_cycles, wide.fill_cycles, narrow.drain_cycles) == (side, 0, 0)
    assert [machine.bits_of("Q", role) for role in ("inputs", "accumulators", "outputs")] == [16] * 3
    assert "MICRO 2024" in machine.citation
    assert spatial_machine(name.upper()) == machine


def test_units() -> None:
    flat = spatial_machine("flat-cloud")
    assert set(flat.array("array_2d").unit_of) == {"mac", "add"}
    assert FUSEMAX.array("array_2d").unit_of["exp"] == Unit("mac", actions=6, cycles=6)
    assert flat.array("array_1d").unit_of["exp"] == Unit("exp")
    assert flat.array("array_1d").offers(("mac", "add", "max", "exp", "divide"))
    assert not flat.array("array_2d").offers(("mac", "max"))


def test_the_tree() -> None:
    assert [node.name for node in FUSEMAX.nodes] == ["dram", "global_buffer", "staging", "array_2d", "array_1d"]
    assert [node.name for node in FUSEMAX.path("array_1d")] == ["dram", "global_buffer", "staging", "array_1d"]
    assert [m.name for m in FUSEMAX.memories] == ["dram", "global_buffer", "staging"]
    assert [a.name for a in FUSEMAX.arrays] == ["array_2d", "array_1d"]
    assert "staging" in FUSEMAX
    assert "stagin" not in FUSEMAX
    with pytest.raises(InputError, match="unknown node of 'fusemax-cloud' 'stagin'") as caught:
        FUSEMAX.node("stagin")
    assert "did you mean 'staging'" in caught.value.hint
    with pytest.raises(InputError, match="unknown array"):
        FUSEMAX.array("staging")
    with pytest.raises(InputError, match="unknown memory"):
        FUSEMAX.memory("array_2d")


def test_instances_multiply_down_the_tree() -> None:
    simba = spatial_machine("simba")
    assert simba.instances("dram") == 1
    assert simba.instances("global_buffer") == 36
    assert simba.instances("weight_buffer") == 36 * 16
    assert simba.instances("vector_mac") == 36 * 16 * 64


def test_levels_are_what_loop_trees_see() -> None:
    levels = {level.name: level for level in spatial_machine("simba").levels.levels}
    buffer, array = levels["global_buffer"], levels["vector_mac"]
    assert (levels["dram"].parent, levels["dram"].capacity_bits) == (None, None)
    assert (buffer.parent, buffer.dimensions) == ("dram", (("chiplets_x", 6), ("chiplets_y", 6)))
    assert (buffer.capacity_bits, buffer.computes) == (8 * 65536, False)
    assert (array.capacity_bits, array.computes, array.parent) == (24, True, "accumulation_buffer")
    assert all(level.multicast and level.reduction for level in levels.values())
    assert spatial_machine("tpu-v4i").levels["vmem"].double_buffered
    alone = spatial_machine("simba", ["global_buffer.link.multicast=false", "vector_mac.link.reduction=false"])
    assert not alone.levels["global_buffer"].multicast
    assert not alone.levels["vector_mac"].reduction


def test_a_machine_is_a_plain_value() -> None:
    for name in spatial_names():
        machine = spatial_machine(name)
        copy = pickle.loads(pickle.dumps(machine))
        assert copy == machine
        assert hash(copy) == hash(machine)
        assert copy.node(machine.nodes[-1].name) == machine.nodes[-1]


def test_every_machine_that_comes_along_is_cited_and_whole() -> None:
    names = set(spatial_names())
    assert names >= {"tpu-v4i", "eyeriss", "simba", "flat-attention-mesh", "fsa", "phone-npu"}
    for name in names:
        machine = spatial_machine(name)
        assert machine.name == name
        assert machine.title
        assert "20" in machine.citation
        assert machine.arrays
        assert machine.root.rates[0] > 0


def test_peak_rates_are_those_that_the_sources_state() -> None:
    def peak(name: str, array: str) -> float:
        machine = spatial_machine(name)
        rate: float = 2 * machine.instances(array) * machine.frequency_hz
        return rate

    assert peak("tpu-v4i", "mxu") == pytest.approx(138e12, rel=0.01)
    assert peak("simba", "vector_mac") == pytest.approx(128e12, rel=0.001)
    assert peak("flat-attention-mesh", "matrix_engine") == pytest.approx(1024e12, rel=0.02)
    assert peak("fsa", "array") == pytest.approx(49.2e12, rel=0.01)
    assert peak("eyeriss", "pe_array") == pytest.approx(67.2e9)
    assert peak("phone-npu", "macs") == pytest.approx(1.91e12, rel=0.01)


@pytest.mark.parametrize("sides", [(1,), (7,), (3, 4), (2, 3, 4)])
def test_hops_of_one_and_of_all_by_walking_the_mesh(sides: tuple[int, ...]) -> None:
    link = Link(mesh=tuple((f"d{i}", n) for i, n in enumerate(sides)), hop_j_per_byte=2e-12)
    places = list(product(*(range(n) for n in sides)))
    assert link.hops == pytest.approx(sum(map(sum, places)) / len(places))
    assert link.hops_of(1, 1) == pytest.approx(link.hops)
    assert link.hops_of(5, 5) == pytest.approx(5 * link.hops)
    assert link.hops_of(len(places), 1) == pytest.approx(len(places) - 1)
    assert link.energy_j(len(places) * 10, 10) == pytest.approx(2e-11 * (len(places) - 1))


def test_hops_of_arrays_are_those_one_by_one() -> None:
    sides, delivered = np.asarray([1, 2, 5, 32]), np.asarray([10, 10, 50, 64])
    many = Link(mesh=(("x", sides), ("y", 4))).hops_of(delivered, 10)
    ones = [Link(mesh=(("x", int(n)), ("y", 4))).hops_of(int(d), 10) for n, d in zip(sides, delivered, strict=True)]
    assert many.tolist() == ones
    assert Link().hops_of(7, 3) == 0
    assert Link().hops == 0


def test_machines_can_be_written_in_python() -> None:
    machine = Machine(
        "mine",
        (Memory("home"), Memory("near", "home", bytes=64), Array("pe", "near", (), 4, units=(("mac", Unit("mac")),))),
        1e9,
        bits=(("inputs", 8), ("accumulators", 32), ("outputs", 8), ("W", 4)),
    )
    assert machine.instances("pe") == 1
    assert [machine.bits_of(t, "inputs") for t in ("W", "X")] == [4, 8]
    assert machine.levels["pe"].capacity_bits == 4 * 32

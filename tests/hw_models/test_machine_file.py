"""Files of spatial-array machines: references, overrides, and what is refused, each with its place."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from einsum_cascades.errors import InputError
from einsum_cascades.yaml_source import parse_yaml
from hw_models.components import dram_timing
from hw_models.dram_timing import FIGURES
from hw_models.machine import Machine, Memory, Unit
from hw_models.machine_file import load_spatial, machine_keys, read_spatial
from hw_models.machine_schema import file_section
from hw_models.prices import node_prices
from hw_models.spatial_machines import read_spatial_file, spatial_machine, spatial_names

SMALL = """\
name: small
frequency_hz: 1.0e9
bits: {inputs: 8, accumulators: 32, W: 4}
nodes:
  array: {kind: array, in: near, dimensions: {rows: 8, columns: array.rows}, units: {mac: {component: mac}}}
  near:
    kind: memory
    in: home
    dimensions: {banks_x: 2, banks_y: array.columns}
    bytes: 4KiB
    row_values: array.columns
    bandwidth_bytes_per_s: ports
    ports: 2
  home: {kind: memory, bandwidth_bytes_per_s: 10GB/s}
"""
TEXTS = {name: read_spatial_file(name).source.text for name in spatial_names()} | {"small": SMALL}


def loaded(text: str = SMALL, *overrides: str) -> Machine:
    return load_spatial(parse_yaml(text, "small.yaml"), overrides)


def refused(text: str = SMALL, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        loaded(text, *overrides)
    return str(caught.value)


def test_parents_come_first_and_references_are_looked_up() -> None:
    machine = loaded()
    assert [node.name for node in machine.nodes] == ["home", "near", "array"]
    near = machine.memory("near")
    assert near.dimensions == (("banks_x", 2), ("banks_y", 8))
    assert (near.bytes, near.width_bits, near.rates[0]) == (4096, 64, 2 * 8 * 1e9)
    assert machine.array("array").dimensions == (("rows", 8), ("columns", 8))
    assert machine.bits == (("inputs", 8), ("accumulators", 32), ("outputs", 16), ("W", 4))


def test_references_follow_overrides() -> None:
    machine = loaded(SMALL, "array.rows=16", "frequency_hz=2e9")
    assert machine.array("array").pes == 256
    assert (machine.memory("near").width_bits, machine.memory("near").rates[0]) == (128, 2 * 16 * 2e9)
    cut = loaded(SMALL, "array.rows=16", "array.columns=4")
    assert (cut.array("array").pes, cut.memory("near").width_bits) == (64, 32)
    narrow = spatial_machine("fusemax-cloud", ["array_2d.columns=128", "array_2d.rows=64"])
    assert (narrow.array("array_1d").pes, narrow.memory("global_buffer").width_bits) == (128, 2048)
    assert narrow.array("array_2d").drain_cycles == 64


OVERRIDES = [
    ("global_buffer.bytes=8MiB", lambda m: m.memory("global_buffer").bytes, 2**23),
    ("global_buffer.row_values=32", lambda m: m.memory("global_buffer").width_bits, 512),
    ("global_buffer.width_bits=128", lambda m: m.memory("global_buffer").width_bits, 128),
    ("global_buffer.ports=1", lambda m: m.memory("global_buffer").ports, 1),
    ("global_buffer.table=cacti", lambda m: m.memory("global_buffer").pricing.name, "cacti"),
    ("global_buffer.read_j=1e-9", lambda m: m.memory("global_buffer").pricing.stated.read_j, 1e-9),
    ("global_buffer.leak_w=2", lambda m: m.memory("global_buffer").pricing.stated.leak_w, 2.0),
    ("global_buffer.read_bytes_per_s=1e12", lambda m: m.memory("global_buffer").rates, (None, 1e12, None)),
    ("global_buffer.double_buffered=true", lambda m: m.memory("global_buffer").double_buffered, True),
    (
        "global_buffer.link.bandwidth_bytes_per_s=1GiB/s",
        lambda m: m.node("global_buffer").link.bandwidth_bytes_per_s,
        2**30,
    ),
    ("global_buffer.link.reduction=false", lambda m: m.node("global_buffer").link.reduction, False),
    ("array_2d.link.mesh=rows columns", lambda m: m.node("array_2d").link.mesh, (("rows", 256), ("columns", 256))),
    ("array_2d.rows=1K", lambda m: m.array("array_2d").dimensions[0], ("rows", 1024)),
    ("nodes.array_2d.dimensions.rows=64", lambda m: m.array("array_2d").dimensions[0], ("rows", 64)),
    ("array_2d.dimensions.rows=64", lambda m: m.array("array_2d").dimensions[0], ("rows", 64)),
    ("array_1d.columns=array_2d.rows", lambda m: m.array("array_1d").pes, 256),
    ("array_1d.registers=7", lambda m: m.array("array_1d").registers, 7),
    ("array_2d.drain=0", lambda m: m.array("array_2d").drain_cycles, 0),
    ("array_2d.fill=columns", lambda m: m.array("array_2d").fill_cycles, 256),
    ("array_2d.clocked=true", lambda m: m.array("array_2d").clocked, True),
    ("array_2d.in=global_buffer", lambda m: m.node("array_2d").parent, "global_buffer"),
    ("array_2d.units.mac.cycles=3", lambda m: m.array("array_2d").unit_of["mac"], Unit("mac", 1, 3)),
    ("array_2d.units.exp.actions=5", lambda m: m.array("array_2d").unit_of["exp"], Unit("mac", 5, 5)),
    ("array_2d.units.divide.component=divide", lambda m: m.array("array_2d").unit_of["divide"], Unit("divide")),
    ("array_2d.register_file.read_j=1e-13", lambda m: m.array("array_2d").register_file.read_j, 1e-13),
    ("dram.bandwidth_bytes_per_s=50GiB", lambda m: m.root.rates[0], 50 * 2**30),
    ("dram.energy_j_per_byte=1e-12", lambda m: m.root.pricing.j_per_byte, 1e-12),
    ("dram.latency_s=1e-7", lambda m: m.root.latency_s, 1e-7),
    ("dram.timing=hbm2", lambda m: m.root.timing, replace(dram_timing("hbm2"), channels=None)),
    ("dram.timing.preset=hbm3", lambda m: m.root.timing, replace(dram_timing("hbm3"), channels=None)),
    ("frequency_hz=1.5e9", lambda m: m.frequency_hz, 1.5e9),
    ("technology_nm=16", lambda m: m.technology_nm, 16),
    ("overlap=whole", lambda m: m.overlap, "whole"),
    ("value_bits=8", lambda m: m.bits, (("inputs", 8), ("accumulators", 8), ("outputs", 8))),
    ("bits.accumulators=32", lambda m: m.bits_of("X", "accumulators"), 32),
    ("bits.K=4", lambda m: m.bits_of("K", "inputs"), 4),
    ("name=mine", lambda m: m.name, "mine"),
]


@pytest.mark.parametrize(("override", "value", "expected"), OVERRIDES)
def test_overrides_reach_every_value(override: str, value: object, expected: object) -> None:
    assert callable(value)
    found = value(spatial_machine("fusemax-cloud", [override]))
    assert found == expected
    key, _, text = override.partition("=")
    assert value(spatial_machine("fusemax-cloud", {key: text})) == expected


def with_home(home: str) -> str:
    return SMALL.replace("home: {kind: memory, bandwidth_bytes_per_s: 10GB/s}", f"home: {{kind: memory, {home}}}")


def test_timing_of_the_off_chip_memory() -> None:
    """A name, figures over a name's, or all figures; channels follow from the bandwidth unless they are stated."""
    hbm2 = dram_timing("hbm2")
    named = loaded(with_home("timing: hbm2, bandwidth_bytes_per_s: 400GiB/s, latency_s: 50.0e-9")).root
    assert (named.timing, named.latency_s) == (replace(hbm2, channels=None), 50e-9)
    assert loaded(with_home("timing: hbm2")).root.timing == hbm2
    assert loaded(SMALL).root.timing is None
    changed = with_home("timing: {preset: hbm2, channels: 32, t_rfc: 350}, bandwidth_bytes_per_s: 1TB/s")
    assert loaded(changed).root.timing == replace(hbm2, channels=32, t_rfc=350)
    assert loaded(changed, "home.timing.t_rfc=10").root.timing == replace(hbm2, channels=32, t_rfc=10)
    assert loaded(with_home("timing: hbm2"), "home.timing.t_faw=0").root.timing == replace(hbm2, t_faw=0)
    assert loaded(with_home("timing: hbm2"), "home.timing=hbm3").root.timing == dram_timing("hbm3")
    figures = ", ".join(f"{figure}: {getattr(hbm2, figure)}" for figure in FIGURES)
    assert loaded(with_home(f"timing: {{{figures}}}")).root.timing == hbm2
    assert not [key for key in machine_keys(parse_yaml(SMALL)) if key.startswith(("near.timing", "near.latency"))]


TIMING_FAULTS = [
    ("timing: hbm22", "unknown timing 'hbm22'", "did you mean 'hbm2'"),
    ("timing: {t_cl: 5}", "'home.timing.t_rfc' is missing", "preset"),
    ("timing: {preset: hbm2, t_refl: 9}", "unknown key 't_refl'", "t_refi"),
    ("timing: {preset: hbm2, t_rcd: -1}", "home.timing.t_rcd is -1", "a whole number from 1"),
    ("timing: {preset: hbm2, row_bytes: 1000}", "no whole number of bursts", "a multiple of 32"),
    ("timing: {preset: hbm2, groups: 1}", "would not follow without a gap", "at most groups x t_bl, 2"),
    ("timing: {preset: hbm2, t_refi: 300}", "before the last one is over", "more than 353"),
    ("timing: 7", "home.timing is 7", "a mapping with the keys preset"),
    ("timing: hbm2, read_bytes_per_s: 5GB/s", "share the data bus", "state bandwidth_bytes_per_s"),
    ("latency_s: -1.0", "home.latency_s is -1", "from 0"),
]


@pytest.mark.parametrize(("home", "said", "hint"), TIMING_FAULTS)
def test_wrong_timing(home: str, said: str, hint: str) -> None:
    text = refused(with_home(home))
    assert said in text
    assert hint in text


def test_only_the_off_chip_memory_has_timing() -> None:
    assert "unknown key 'timing'" in refused(SMALL.replace("ports: 2", "timing: hbm2"))
    moved = SMALL + "  further: {kind: memory}\n"
    text = refused(moved.replace("home: {kind: memory", "home: {kind: memory, timing: hbm2"), "home.in=further")
    assert "home is not the off-chip memory, which alone has 'timing'" in text


@pytest.mark.parametrize(
    ("timing", "valid"),
    [
        ("hbm2", True),
        ("hbm22", False),
        ({"preset": "hbm2", "channels": 8}, True),
        ({"preset": "hbm2", "chanels": 8}, False),
        ({"t_rcd": -1}, False),
    ],
)
def test_the_schema_of_timing(timing: object, valid: bool) -> None:
    plain = parse_yaml(SMALL).plain()
    plain["nodes"] = {"home": {"kind": "memory", "timing": timing}}
    assert Draft202012Validator(file_section().model_json_schema()).is_valid(plain) == valid


def test_all_keys_that_may_be_set() -> None:
    keys = machine_keys(read_spatial_file("fusemax-cloud"))
    assert keys["array_2d.rows"] is int
    assert keys["global_buffer.bytes"] is int
    assert keys["dram.bandwidth_bytes_per_s"] is float
    assert keys["global_buffer.table"] is str
    assert keys["array_1d.link.multicast"] is bool
    assert keys["array_1d.units.exp.component"] is str
    assert "bits.W" in machine_keys(parse_yaml(SMALL))
    for name in spatial_names():
        file = read_spatial(read_spatial_file(name))
        assert file.types.keys() == machine_keys(read_spatial_file(name)).keys() == file.about.keys()
        assert all(file.about.values())
        for key, kind in file.types.items():
            if kind is int and file.values.get(key) is not None:
                assert isinstance(file.machine({key: 64}), Machine)


def test_columns_of_numbers_make_one_machine_of_arrays() -> None:
    file = read_spatial(parse_yaml(SMALL))
    columns = {
        "array.rows": np.asarray([8, 16, 3]),
        "near.ports": np.asarray([1, 2, 4]),
        "frequency_hz": np.asarray([1e9, 2e9, 3e9]),
        "bits.inputs": np.asarray([8, 4, 16]),
    }
    many = file.machine(columns)
    for i in range(3):
        one = file.machine({key: values[i].item() for key, values in columns.items()})
        for name in ("home", "near"):
            for figure in ("width_bits", "shared_bytes_per_s"):
                found = getattr(many.memory(name), figure)
                expected = getattr(one.memory(name), figure)
                assert found is None if expected is None else np.broadcast_to(found, 3)[i] == expected
        assert many.instances("array")[i] == one.instances("array")
        assert many.memory("near").dimensions[1][1][i] == one.memory("near").dimensions[1][1]
    resolved = file.numbers(columns)
    assert resolved["array.columns"].tolist() == [8, 16, 3]
    assert resolved["near.width_bits"].tolist() == [64, 64, 48]
    assert resolved["array.units.mac.cycles"] == 1


@pytest.mark.parametrize(
    ("old", "new", "place", "message", "hint"),
    [
        ("rows: 8", "rows: 0", "5:53", "array.rows is 0", "from 1 to 2^50"),
        ("rows: 8", "rows: 2.5", "5:53", "array.rows is 2.5", "whole number"),
        ("rows: 8", "rows: yes", "5:53", "array.rows is 'yes'", "whole number"),
        ("rows: 8", "rows: ", "5:47", "array.rows is nothing", "whole number"),
        ("rows: 8", "units: 8", "5:47", "'units' cannot be the name of a dimension", "meaning of its own"),
        ("rows: 8", "r-s: 8", "5:47", "'r-s' cannot be the name of a dimension", "letters"),
        ("{rows: 8, columns: array.rows}", "8", "5:46", "array.dimensions is '8'", "such as {rows: 256"),
        (
            "columns: array.rows",
            "columns: array.rws",
            "5:65",
            "is 'array.rws', which is no",
            "'array.rows'",
        ),
        ("columns: array.rows", "columns: other.rows", "5:65", "is 'other.rows', which is no", "'array.rows'"),
        ("columns: array.rows", "columns: array.columns", "5:65", "array.columns = array.columns", "as a number"),
        ("rows: 8", "rows: near.banks_y", "5:53", "array.rows = near.banks_y = array.columns = array.rows", "a number"),
        ("columns: array.rows", "columns: home.bytes", "5:65", "'home.bytes', which is not stated", "state home.bytes"),
        ("columns: array.rows", "columns: array.in", "5:65", "'array.in', which is no whole number", ""),
        ("in: near", "in: nera", "5:28", "array is in 'nera', which is no node", "did you mean 'near'"),
        ("in: home", "in: array", "8:9", "near is in array, an array, which has nothing inside", "home"),
        ("in: home", "in: near", "8:9", "in one another: near in near", "further out"),
        ("    in: home\n", "", "13:3", "nothing says what near and home are in", "add 'in: ...'"),
        ("kind: memory\n", "kind: memroy\n", "7:11", "unknown kind of node 'memroy'", "'memory'"),
        ("    kind: memory\n", "", "6:3", "'near.kind' is missing", "kind: memory"),
        ("mac: {component: mac}", "mac: {component: nac}", "5:103", "unknown component 'nac'", "'mac'"),
        ("mac: {component: mac}", "nac: {component: mac}", "5:86", "unknown key 'nac'", "'mac'"),
        ("ports: 2", "prots: 2", "13:5", "unknown key 'prots'", "'ports'"),
        ("bytes: 4KiB", "bytes: 7", "10:12", "near has 7 bytes, less than one row", "a row of 8 values has 8"),
        ("row_values: array.columns", "link: {mesh: [x]}", "11:12", "near has no dimension 'x'", "banks_x"),
        ("row_values: array.columns", "banks: 1", "6:3", "'near.row_values' is missing", "width_bits"),
        ("row_values: array.columns", "row_values: 1\n    width_bits: 8", "12:5", "both row_values and width_bits", ""),
        ("ports: 2", "read_bytes_per_s: 1", "13:5", "both bandwidth_bytes_per_s and read_bytes_per_s", ""),
        ("ports: 2", "priced_as: home", "13:16", "'home' is no array", "array"),
        ("ports: 2", "table: cacti\n    cells: regfile", "13:12", "table cacti has no register files", "accelergy"),
        ("inputs: 8", "inputs: 65", "3:16", "bits.inputs is 65", "from 1 to 64"),
        ("W: 4", "W: no", "3:40", "bits.W is 'no'", "from 1 to 64"),
        ("units: {mac", "drain: row, units: {mac", "5:85", "drain is 'row', which is no dimension", "'rows'"),
        ("units: {mac: {component: mac}}", "registers: 3", "5:3", "'array.units' is missing", "add 'units"),
        (
            "  home: {kind: memory, bandwidth_bytes_per_s: 10GB/s}\n",
            "",
            "8:9",
            "near is in 'home', which",
            "",
        ),
        ("home: {kind: memory,", "home: {kind: memory, dimensions: {x: 2},", "14:40", "of which there is one", ""),
        ("name: small\n", "name: small\ntechnology_nm: 5\n", "2:16", "no costs are known at 5 nm", "130 to 7 nm"),
        ("name: small\n", "", "1:1", "'name' is missing", "add 'name"),
        ("name: small\n", "nme: small\n", "1:1", "unknown key 'nme'", "'name'"),
    ],
)
def test_unusable_files(old: str, new: str, place: str, message: str, hint: str) -> None:
    assert old in SMALL
    told = refused(SMALL.replace(old, new, 1))
    assert f"small.yaml:{place}: " in told
    assert message in told
    assert hint in told
    assert told.count("small.yaml:") <= 2
    assert "^" in told or int(place.partition(":")[2]) > 100  # where a line is not shown


def test_circles_of_memories_are_told_once() -> None:
    told = refused(SMALL.replace("home: {", "home: {in: near, "))
    assert told.count("in one another") == 1
    assert "near in home in near" in told


def test_nodes_that_are_no_nodes() -> None:
    head = "name: x\nfrequency_hz: 1.0\n"
    assert "'nodes' is missing" in refused(head)
    assert "nodes is a list" in refused(head + "nodes: []\n")
    assert "nodes is nothing" in refused(head + "nodes:\n")
    assert "array is 5" in refused(head + "nodes: {array: 5}\n")
    assert "'name' cannot be the name of a node" in refused(head + "nodes: {name: {kind: memory}}\n")
    assert "no node is an array" in refused(head + "nodes: {home: {kind: memory}}\n")
    alone = "nodes: {pe: {kind: array, units: {mac: {component: mac}}}}\n"
    assert "nothing says what the array pe is in" in refused(head + alone)
    assert "duplicate key 'a'" in refused(head + "nodes: {a: {kind: memory}, a: {kind: memory}}\n")


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("array_2d.rws=1", "unknown key 'array_2d.rws'", "did you mean 'array_2d.rows'"),
        ("array_2d=1", "unknown key 'array_2d'", "such as array_2d.rows"),
        ("array_2d.kind=memory", "unknown key 'array_2d.kind'", ""),
        ("array_3d.rows=1", "unknown key 'array_3d.rows'", "'array_2d.rows'"),
        ("array_2d.rows", "without a value", "KEY=VALUE"),
        ("array_2d.rows=0", "array_2d.rows is 0", "\n                ^"),
        ("array_2d.rows=1KiB", "array_2d.rows is '1KiB'", "whole number"),
        ("array_2d.rows=array_1d.lanes", "which is no whole number of this machine", "array_1d"),
        ("array_2d.columns=array_1d.columns", "array_2d.columns = array_1d.columns", "as a number"),
        ("array_2d.in=array_1d", "array_2d is in array_1d, an array", "global_buffer"),
        ("global_buffer.in=staging", "in one another", ""),
        ("frequency_hz=nan", "frequency_hz is 'nan'", "number"),
        ("global_buffer.bandwidth_bytes_per_s=port", "is 'port'", "number"),
        ("global_buffer.bytes=511", "511 bytes, less than one row", "256 values has 512"),
        ("global_buffer.table=cactus", "'cactus'", "'accelergy', 'cacti' or 'hwcomponents' is expected"),
        ("array_2d.fill=-1", "array_2d.fill is '-1'", "from 0 to 2^50"),
        ("array_2d.units.mac.component=dram", "unknown component 'dram'", "mac"),
    ],
)
def test_unusable_overrides(override: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        spatial_machine("fusemax-cloud", [override])
    told = str(caught.value)
    assert told.startswith("--set-arch:1:")
    assert message in told
    assert hint in told


def test_all_faults_are_told_at_once() -> None:
    text = SMALL.replace("rows: 8", "rows: 0").replace("in: home", "in: hom").replace("ports: 2", "prots: 2")
    told = refused(text, "array.rws=1", "bits.inputs=0")
    for part in ("array.rows is 0", "near is in 'hom'", "unknown key 'prots'", "key 'array.rws'", "bits.inputs is 0"):
        assert part in told


def test_a_sweep_may_lay_rows_over_a_buffer_too_small_for_the_files() -> None:
    node = read_spatial_file("fusemax-cloud")
    file = read_spatial(node, ["global_buffer.bytes=16"], whole_rows=False)
    buffer = file.machine({"global_buffer.row_values": 8}).memory("global_buffer")
    assert (buffer.bytes, buffer.width_bits) == (16, 128)


@pytest.mark.parametrize("text", ["", "hello", "[1, 2]", "a: [", "a: b: c", "name: &a x\ntitle: *a", "5"])
def test_texts_that_are_no_machine(text: str) -> None:
    for overrides in ((), ("array_2d.rows=3",)):
        assert "small.yaml:1:" in refused(text, *overrides)


def test_the_json_schema_takes_the_shipped_files_and_tells_slips() -> None:
    schema = Draft202012Validator(file_section().model_json_schema())
    Draft202012Validator.check_schema(schema.schema)
    for text in TEXTS.values():
        assert not list(schema.iter_errors(parse_yaml(text).plain()))
    for old, new in [
        ("rows: 8", "rows: 0"),
        ("kind: memory", "kind: memry"),
        ("ports: 2", "prots: 2"),
        ("W: 4", "W: x"),
    ]:
        assert list(schema.iter_errors(parse_yaml(SMALL.replace(old, new, 1)).plain())), new


SNIPPETS = st.sampled_from(
    [
        *["0", "-1", "1e9", ".nan", "null", "{}", "[]", "\n", "  ", ": ", "- ", "#", "'", "{{", "}}", "in: ", "nodes:"],
        *[
            "kind: ",
            "rows",
            "units:",
            "array_2d.rows",
            "array.rows",
            "9" * 500,
            "true",
            "\t",
            "é",
            "bits: {",
            "mesh: [x]",
        ],
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(sorted(TEXTS.values())))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text = text[:start] + draw(st.one_of(SNIPPETS, st.text(max_size=4))) + text[end:]
    return text


@settings(max_examples=80, deadline=None)
@given(damaged())
def test_a_damaged_file_is_a_machine_or_refused(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(InputError):
        machine = loaded(text)
        assert isinstance(machine.root, Memory)
        assert node_prices(machine).area_mm2 >= 0
    assert time.process_time() - start < 10

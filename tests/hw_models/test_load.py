"""Architecture files: what comes with the package, derived values, overrides, and what is refused."""

from __future__ import annotations

import contextlib
import pickle
import time
from pathlib import Path

import pytest
from hw_models.architecture import Architecture, Unit
from hypothesis import given, settings
from hypothesis import strategies as st

import hw_models
from einsum_cascades.errors import InputError
from hw_models.cpu.machine import Cpu
from hw_models.load import architecture_names, load_architecture, load_machine, read_machine_file

FOLDER = Path(hw_models.__file__).parent / "architectures"
TEXTS = {name: (FOLDER / f"{name}.yaml").read_text(encoding="utf-8") for name in architecture_names()}
FLAT = TEXTS["flat-cloud"]


def written(folder: Path, text: str) -> str:
    path = folder / "machine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


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
    machine = load_architecture(name)
    assert (machine.name, machine.frequency_hz, machine.value_bytes) == (name, 940e6, 2)
    assert (machine.array_2d.rows, machine.array_2d.columns) == (side, side)
    assert (machine.array_1d.rows, machine.array_1d.columns) == (1, side)
    assert (machine.global_buffer.bytes, machine.global_buffer.row_values) == (buffer_bytes, side)
    assert machine.bandwidth_bytes_per_s == bandwidth
    assert (machine.array_2d.registers, machine.array_1d.registers) == (registers_2d, registers_1d)
    assert "MICRO 2024" in machine.citation
    assert load_architecture(name.upper()) == machine


def test_units() -> None:
    flat, fusemax = load_architecture("flat-cloud"), load_architecture("fusemax-cloud")
    assert set(flat.array_2d.unit_of) == {"mac", "add"}
    assert set(fusemax.array_2d.unit_of) == {"mac", "add", "max", "exp"}
    assert fusemax.array_2d.unit_of["exp"] == Unit("mac", actions=6, cycles=6)
    assert flat.array_1d.unit_of["exp"] == Unit("exp")
    assert flat.array_1d.offers(("mac", "add", "max", "exp", "divide"))


def test_derived_values_follow_overrides() -> None:
    narrow = load_architecture("fusemax-cloud", ["array_2d.columns=128"])
    assert (narrow.array_1d.columns, narrow.global_buffer.row_values) == (128, 128)
    given_too = load_architecture(
        "fusemax-cloud", ["array_2d.columns=128", "array_1d.columns=64", "global_buffer.row_values=32"]
    )
    assert (given_too.array_1d.columns, given_too.global_buffer.row_values) == (64, 32)


@pytest.mark.parametrize(
    ("override", "attribute", "value"),
    [
        ("global_buffer.bytes=8MiB", "global_buffer.bytes", 8 * 2**20),
        ("global_buffer.bytes=2**20", "global_buffer.bytes", 2**20),
        ("global_buffer.bytes=8_388_608", "global_buffer.bytes", 2**23),
        ("dram.bandwidth_bytes_per_s=1e11", "bandwidth_bytes_per_s", 1e11),
        ("dram.bandwidth_bytes_per_s=50GiB", "bandwidth_bytes_per_s", 50 * 2**30),
        ("frequency_hz=1.5e9", "frequency_hz", 1.5e9),
        ("staging=false", "staging", False),
        ("name=mine", "name", "mine"),
    ],
)
def test_overrides(override: str, attribute: str, value: object) -> None:
    machine: object = load_architecture("fusemax-cloud", [override])
    key, text = override.split("=")
    assert load_architecture("fusemax-cloud", {key: text}) == machine
    for part in attribute.split("."):
        machine = getattr(machine, part)
    assert machine == value


def test_an_override_may_add_a_unit() -> None:
    overrides = {"array_2d.units.exp.component": "mac", "array_2d.units.exp.actions": "5"}
    assert load_architecture("flat-cloud", overrides).array_2d.unit_of["exp"] == Unit("mac", 5, 5)
    assert "exp" not in load_architecture("flat-cloud").array_2d.unit_of


@pytest.mark.parametrize(
    ("override", "message", "caret"),
    [
        ("array_2d.rws=1", "unknown key 'array_2d.rws'", "did you mean 'array_2d.rows'"),
        ("array_2d=1", "unknown key 'array_2d'", "such as array_2d.rows"),
        ("array_2d.rows", "without a value", "KEY=VALUE"),
        ("array_2d.rows=0", "array_2d.rows is 0", "\n                ^"),
        ("array_2d.rows=-5", "array_2d.rows is -5", "from 1 to 2^50"),
        ("array_2d.rows=1.5", "array_2d.rows is '1.5'", "whole number"),
        ("array_2d.rows=__import__('os')", "array_2d.rows is", "whole number"),
        ("array_2d.rows=1KiB", "array_2d.rows is '1KiB'", "whole number"),
        ("array_2d.rows=2**51", "array_2d.rows is 2251799813685248", "2^50"),
        ("frequency_hz=nan", "frequency_hz is 'nan'", "number"),
        ("frequency_hz=1e999", "frequency_hz is inf", "number"),
        ("value_bits=8", "value_bits is 8", "16 is expected"),
        ("staging=maybe", "staging is 'maybe'", "true or false"),
        ("array_2d.units.max.actions=2", "'array_2d.units.max.component' is missing", "add 'component"),
        ("array_2d.units.mac.component=dram", "unknown component 'dram'", "mac"),
        ("global_buffer.bytes=511", "511 bytes, less than one row", "256 values has 512"),
    ],
)
def test_unusable_overrides(override: str, message: str, caret: str) -> None:
    with pytest.raises(InputError) as caught:
        load_architecture("flat-cloud", [override])
    assert str(caught.value).startswith("--set-arch:1:")
    assert message in str(caught.value)
    assert caret in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "place", "message", "hint"),
    [
        ("rows: 256", "rows: 0", "17:9", "array_2d.rows is 0", "from 1 to 2^50"),
        ("rows: 256", "rows: -3", "17:9", "array_2d.rows is -3", "from 1 to 2^50"),
        ("rows: 256", "rows: 2.5", "17:9", "array_2d.rows is 2.5", "whole number"),
        ("rows: 256", "rows: '256 rows'", "17:9", "array_2d.rows is '256 rows'", "whole number"),
        ("rows: 256", "rows: yes", "17:9", "array_2d.rows is 'yes'", "whole number"),
        ("rows: 256", "rows: true", "17:9", "array_2d.rows is true", "whole number"),
        ("rows: 256", "rows:", "17:3", "array_2d.rows is nothing", "whole number"),
        ("rows: 256", "rows: 0x" + "f" * 5000, "17:9", "more than 60 digits", "whole number"),
        ("rows: 256", "row: 256", "17:3", "unknown key 'row'", "did you mean 'rows'"),
        ("  rows: 256\n", "", "16:1", "'array_2d.rows' is missing", "add 'rows: ...'"),
        ("mac: {component: mac}", "mac: {component: nac}", "21:22", "unknown component 'nac'", "'mac'"),
        ("mac: {component: mac}", "nac: {component: mac}", "21:5", "unknown key 'nac'", "'mac'"),
        ("mac: {component: mac}", "mac: 5", "21:10", "array_2d.units.mac is 5", "a mapping"),
        ("name: flat-cloud", "name: 5", "2:7", "name is 5", "in quotes"),
        ("name: flat-cloud", "name: !!python/name:os.system x", "2:7", "tags are not read here", ""),
        ("frequency_hz: 940000000", "frequency_hz: .inf", "7:15", "frequency_hz is inf", "1e18"),
        ("bytes: 33554432", "bytes: 100", "13:10", "100 bytes, less than one row", "row_values"),
    ],
)
def test_unusable_files(tmp_path: Path, old: str, new: str, place: str, message: str, hint: str) -> None:
    assert old in FLAT
    path = written(tmp_path, FLAT.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_architecture(path)
    assert str(caught.value).startswith(f"{path}:{place}: ")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "^" in str(caught.value)


@pytest.mark.parametrize("text", ["", "hello", "[1, 2]", "a: [", "a: b: c", "\t- x", "name: &a x\ntitle: *a", "5"])
def test_texts_that_are_no_architecture(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    for overrides in ((), ["array_2d.rows=3"]):
        with pytest.raises(InputError) as caught:
            load_architecture(path, overrides)
        assert str(caught.value).startswith(f"{path}:1:")


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'fusemax-cloud'"):
        load_architecture("fusemax-clod")
    with pytest.raises(InputError, match="no such file"):
        load_architecture(str(tmp_path / "none.yaml"))
    for name in ("", "x" * 10_000, "a\0b", "..", "/"):
        with pytest.raises(InputError):
            load_architecture(name)


def test_an_architecture_is_a_plain_value() -> None:
    machine = load_architecture("fusemax-cloud")
    copy = pickle.loads(pickle.dumps(machine))
    assert copy == machine
    assert hash(copy) == hash(machine)


SNIPPETS = st.sampled_from(
    [
        "0",
        "-1",
        "1e9",
        ".nan",
        "null",
        "{}",
        "[]",
        "\n",
        "  ",
        ": ",
        "- ",
        "#",
        "&a ",
        "*a",
        "!!int ",
        "|",
        ">",
        "'",
        '"',
        "rows",
        "units:",
        "9" * 5000,
        "true",
        "\t",
        "\x00",
        "\u2028",
        "é",
        "? ",
        "---\n",
        "...\n",
        "{{",
        "}}",
        "<<: ",
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


@settings(max_examples=50, deadline=None)
@given(damaged())
def test_a_damaged_file_is_an_architecture_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    start = time.process_time()
    with contextlib.suppress(InputError):
        machine = load_architecture(str(path))
        assert isinstance(machine, Architecture)
        assert hw_models.area(machine).chip_mm2 > 0
    assert time.process_time() - start < 10


def test_bytes_and_counts_have_suffixes_in_files_and_overrides(tmp_path: Path) -> None:
    text = read_machine_file("flat-cloud").source.text
    path = tmp_path / "mine.yaml"
    text = text.replace("bytes: 33554432", "bytes: 32 MiB").replace("rows: 256", "rows: 0.25K")
    path.write_text(text.replace("429496729600", "400GiB/s"))
    assert load_machine(str(path)) == load_machine("flat-cloud")
    changed = load_machine("flat-cloud", ["global_buffer.bytes=1MB", "array_2d.rows=1K"])
    assert isinstance(changed, Architecture)
    assert (changed.global_buffer.bytes, changed.array_2d.rows) == (10**6, 1024)
    cpu = load_machine("cpu", ["levels.L1.bytes=64KiB", "levels.memory.total_bytes_per_s=50GB/s"])
    assert isinstance(cpu, Cpu)
    assert (cpu.levels[0].bytes, cpu.levels[-1].total_bytes_per_s) == (65536, 5e10)


def test_all_faults_of_a_file_and_its_overrides_are_told_at_once(tmp_path: Path) -> None:
    text = read_machine_file("h100").source.text.replace("sms: 132", "sm_count: 132").replace("l2:", "l2_cache:")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_machine(str(path), ["hbm.byte=1", "launch_s=2"])
    told = str(caught.value)
    for part in (
        "key 'hbm.byte'",
        "key 'sm_count'",
        "key 'l2_cache'",
        "'sms' is missing",
        "'l2' is missing",
        "launch_s is",
    ):
        assert part in told

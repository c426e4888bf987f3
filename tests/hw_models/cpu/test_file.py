"""Files of CPUs: what comes with the package, what is written reads back, and what is refused."""

from __future__ import annotations

import contextlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_cpu import plain_cpu

import hw_models
from einsum_cascades.errors import InputError
from einsum_cascades.operators import OPERATORS
from hw_models.cpu.file import RATES, OperatorsSpec, cpu_text
from hw_models.cpu.machine import Cpu
from hw_models.cpu.product_rates import ProductRates
from hw_models.load import load_architecture, load_machine

PLAIN = replace(plain_cpu(), title="plain", measured="by hand")
TEXT = cpu_text(PLAIN)
PACKAGED = (Path(hw_models.__file__).parent / "machines" / "cpu.yaml").read_text(encoding="utf-8")


def read(folder: Path, text: str, *overrides: str) -> Cpu:
    path = folder / "machine.yaml"
    path.write_text(text, encoding="utf-8")
    machine = load_machine(str(path), overrides)
    assert isinstance(machine, Cpu)
    return machine


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    assert read(tmp_path, TEXT) == PLAIN
    grid = ProductRates.of({(m, n, k): 1e9 + m / 3 + n + k for m in (1, 2) for n in (3, 40) for k in (5, 6)})
    other = replace(PLAIN, products=grid, title="", measured='a "quoted" text: #1', efficiency=1 / 3, launch_s=1e-7)
    assert read(tmp_path, cpu_text(other)) == other


def test_the_packaged_machine() -> None:
    machine = load_machine("cpu")
    assert isinstance(machine, Cpu)
    assert machine.kind == "cpu"
    assert set(machine.rate_of) == {*OPERATORS, "transpose"}
    assert set(RATES) == set(OperatorsSpec.model_fields)
    assert [level.name for level in machine.levels][-1] == "memory"
    assert machine.measured.startswith("fusemax measure cpu, 20")
    bandwidths = [level.thread_bytes_per_s for level in machine.levels]
    assert bandwidths == sorted(bandwidths, reverse=True)
    assert pickle.loads(pickle.dumps(machine)) == machine
    assert hash(machine) == hash(load_machine("CPU"))


def test_a_machine_without_a_level(tmp_path: Path) -> None:
    start, end = TEXT.index("  L3:"), TEXT.index("  memory:")
    machine = read(tmp_path, TEXT[:start] + TEXT[end:])
    assert [level.name for level in machine.levels] == ["L1", "L2", "memory"]


def test_overrides(tmp_path: Path) -> None:
    changed = read(tmp_path, TEXT, "threads=8", "levels.L2.bytes=2MiB", "operators.exp=5e9", "efficiency=0.5")
    assert (changed.threads, changed.level_of["L2"].bytes, changed.rate_of["exp"]) == (8, 2**21, 5e9)
    assert changed.efficiency == 0.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("threads: 2", "threads: 0", "threads is 0"),
        ("threads: 2", "threads: two", "threads is 'two'"),
        ("threads: 2", "thread: 2", "unknown key 'thread'"),
        ("value_bits: 32", "value_bits: 16", "32 is expected"),
        ("kind: cpu", "kind: tpu", "unknown kind of machine 'tpu'"),
        ("kind: cpu", "kind: [cpu]", "unknown kind of machine"),
        ("  exp: 1000000000", "  exp: -1", "operators.exp is -1"),
        ("  exp: 1000000000\n", "", "'operators.exp' is missing"),
        ("efficiency: 1.0", "efficiency: 1.5", "efficiency is 1.5"),
        ("efficiency: 1.0", "efficiency: 0", "efficiency is 0"),
        ("launch_s: 0.0", "launch_s: -0.1", "launch_s is -0.1"),
        ("    bytes: 32768", "    bytes: none", "levels.L1.bytes is 'none'"),
        ("    shared: false", "    shared: maybe", "levels.L1.shared is 'maybe'"),
        ("  1 1 1 2000000000", "  1 1 1", "'1 1 1' is not three sizes and a rate"),
        ("  1 1 1 2000000000", "  1 1 1 2e9 7", "is not three sizes and a rate"),
        ("  1 1 1 2000000000", "  1 1 0 2e9", "below 1"),
        ("  1 1 1 2000000000", "  1 1 1 nan", "below 1"),
        ("  1 1 1 2000000000", "  1 1 1 __import__('os')", "is not three sizes and a rate"),
        ("  1 1 1 2000000000", "  1 1 1 2e9\n  2 2 2 2e9", "no rate for 1 x 1 x 2"),
        ("  1 1 1 2000000000", "  # nothing", "no rates"),
    ],
)
def test_unusable_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(InputError) as caught:
        read(tmp_path, TEXT.replace(old, new, 1))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'machine.yaml'}:")
    assert caught.value.hint


def test_a_cpu_is_no_spatial_array() -> None:
    with pytest.raises(InputError, match="'cpu' is a cpu, not a spatial array"):
        load_architecture("cpu")
    assert load_machine("flat-cloud") == load_architecture("flat-cloud")
    assert load_machine("flat-cloud").kind == "spatial-array"


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_file_is_a_cpu_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([TEXT, PACKAGED]))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = (
            text[:start]
            + data.draw(st.sampled_from(["0", "-1", ":", "[", "nan", "\n", " ", "|"]) | st.text(max_size=3))
            + text[end:]
        )
    path = tmp_path_factory.getbasetemp() / "cpu.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(InputError):
        load_machine(str(path))

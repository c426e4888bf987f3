"""Machines of every kind by name or file: unknown names, texts that are none, sizes with suffixes, all faults at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from einsum_cascades.errors import InputError
from hw_models.cpu.machine import Cpu
from hw_models.load import load_architecture, load_machine, read_machine_file
from hw_models.machine import Machine


def written(folder: Path, text: str) -> str:
    path = folder / "machine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("text", ["", "hello", "[1, 2]", "a: [", "a: b: c", "\t- x", "name: &a x\ntitle: *a", "5"])
def test_texts_that_are_no_machine(tmp_path: Path, text: str) -> None:
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


def test_bytes_and_counts_have_suffixes_in_files_and_overrides(tmp_path: Path) -> None:
    text = read_machine_file("flat-cloud").source.text
    path = tmp_path / "mine.yaml"
    text = text.replace("bytes: 33554432", "bytes: 32 MiB").replace("rows: 256", "rows: 0.25K")
    path.write_text(text.replace("429496729600", "400GiB/s"))
    assert load_machine(str(path)) == load_machine("flat-cloud")
    changed = load_machine("flat-cloud", ["global_buffer.bytes=1MB", "array_2d.rows=1K"])
    assert isinstance(changed, Machine)
    assert (changed.memory("global_buffer").bytes, changed.array("array_2d").dimensions[0]) == (10**6, ("rows", 1024))
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

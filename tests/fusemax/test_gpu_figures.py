"""A GPU from its microbenchmarks: each figure worked out by hand, and the files that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from einsum_cascades.errors import InputError
from fusemax.gpu_figures import gpu_of_figures, read_figures
from hw_models.gpu.machine import Gpu
from hw_models.load import load_machine
from kernels.measure.table import FOLDER

FIGURES = {
    "multiprocessors": 100.0,
    "special_per_s": 16 * 100 * 2e9,
    "matmul_flops_per_s": 4096 * 100 * 1.5e9 * 2048 / 2100,
    "wgmma_64_step_s": 2e-7,
    "l2_8_read_bytes_per_s": 5e12,
    "l2_16_read_bytes_per_s": 6e12,
    "l2_latency_s": 1e-7,
    "shared_bytes": 100_000.0,
}


def h100() -> Gpu:
    machine = load_machine("h100")
    assert isinstance(machine, Gpu)
    return machine


def test_by_hand() -> None:
    """2 GHz, and 1.5 GHz under load; 2048 tiles on 100 multiprocessors are 21 waves."""
    base = h100()
    gpu = gpu_of_figures(FIGURES, base, "here")
    assert gpu.tensor.warpgroup_flops_per_s == pytest.approx(4096 * 100 * 1.5e9)
    assert gpu.tensor.clock == pytest.approx(0.75)
    assert gpu.tensor.latency_s == pytest.approx(2e-7 - 2 * 64 * 128 * 64 / 4096 / 2e9)
    assert gpu.shared_bytes_per_s == pytest.approx(128 * 100 * 2e9)
    assert (gpu.sms, gpu.shared_bytes, gpu.l2.bytes_per_s, gpu.measured) == (100, 100_000 - 1024, 6e12, "here")
    assert (gpu.hbm, gpu.vector.fma_per_s) == (base.hbm, base.vector.fma_per_s)


def test_nothing_measured_changes_nothing_but_shared_memory() -> None:
    base = h100()
    gpu = gpu_of_figures({}, base, base.measured)
    assert gpu.shared_bytes_per_s == pytest.approx(base.shared_bytes_per_s, rel=0.02)
    assert gpu.tensor == base.tensor


@pytest.mark.parametrize("name", ["h200", "h100"])
def test_files_say_what_was_measured(name: str) -> None:
    table = FOLDER / f"{name}-micro.csv"
    machine = load_machine(name)
    assert isinstance(machine, Gpu)
    if not table.exists():
        assert "data sheet" in machine.measured
        return
    assert gpu_of_figures(read_figures(table), machine, machine.measured) == machine


WRONG = {
    "nothing": ("", "no rows"),
    "other columns": ("a,b\n1,2\n", "no name or no value"),
    "no number": ("name,value\nlaunch_s,soon\n", "no name or no value"),
    "below zero": ("name,value\nlaunch_s,-1\n", "no name or no value"),
}


@pytest.mark.parametrize("case", WRONG)
def test_damaged_figures(tmp_path: Path, case: str) -> None:
    text, message = WRONG[case]
    path = tmp_path / "micro.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_figures(path)
    with pytest.raises(InputError, match="no such file"):
        read_figures(tmp_path / "none.csv")

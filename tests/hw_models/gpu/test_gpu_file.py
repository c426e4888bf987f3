"""The files of GPUs: what comes with the package, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from einsum_cascades.errors import InputError
from hw_models.gpu.file import gpu_text
from hw_models.gpu.machine import Gpu
from hw_models.load import architecture_names, load_architecture, load_machine

FILE = """\
kind: gpu
name: small
sms: 2
launch_s: 1.0e-6
block_s: 0.0
sm: {registers: 65536, threads: 2048, blocks: 32}
tensor: {warp_flops_per_s: 1.0e12, latency_s: 0.0}
vector: {special_per_s: 1.0e9, fma_per_s: 4.0e9, alu_per_s: 2.0e9, product_flops_per_s: 8.0e9, latency_s: 0.0}
shared: {bytes: 65536, bytes_per_s: 1.0e12}
l2: {bytes: 1048576, bytes_per_s: 1.0e11, latency_s: 1.0e-7}
hbm: {bytes: 1073741824, bytes_per_s: 1.0e10, latency_s: 5.0e-7}
"""


def load(tmp_path: Path, text: str) -> Gpu:
    path = tmp_path / "small.yaml"
    path.write_text(text)
    machine = load_machine(str(path))
    assert isinstance(machine, Gpu)
    return machine


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    gpu = load(tmp_path, FILE)
    assert (gpu.name, gpu.kind, gpu.sms, gpu.value_bytes) == ("small", "gpu", 2, 2)
    assert gpu.flops_per_s("warpgroup") == gpu.flops_per_s("warp") == 1e12
    assert gpu.flops_per_s("vector") == 8e9
    assert [store.name for store in gpu.stores] == ["L2", "HBM"]


@pytest.mark.parametrize("name", ["h200", "h100", "a100"])
def test_gpus_that_come_with_the_package(name: str) -> None:
    gpu = load_machine(name)
    assert isinstance(gpu, Gpu)
    assert name in architecture_names()
    assert gpu.device == name.upper()
    assert all((gpu.measured, gpu.citation, gpu.title))
    assert ("data sheet" in gpu.measured) or ("fusemax measure gpu" in gpu.measured)
    assert gpu.vector.special_per_s < gpu.vector.alu_per_s <= gpu.vector.fma_per_s
    assert gpu.hbm.bytes_per_s < gpu.l2.bytes_per_s < gpu.shared_bytes_per_s
    assert gpu.l2.latency_s < gpu.hbm.latency_s


@pytest.mark.parametrize("name", ["h200", "h100", "a100"])
def test_a_file_is_written_as_it_is_read(tmp_path: Path, name: str) -> None:
    gpu = load_machine(name)
    assert isinstance(gpu, Gpu)
    assert load(tmp_path, gpu_text(gpu)) == gpu


def test_what_ifs() -> None:
    wider = load_machine("h200", ["sms=264", "hbm.bytes_per_s=1e13"])
    assert isinstance(wider, Gpu)
    assert (wider.sms, wider.hbm.bytes_per_s) == (264, 1e13)


WRONG = {
    "sms: 2": ("sms: 0", "sms"),
    "launch_s: 1.0e-6": ("launch_s: -1.0", "launch_s"),
    "warp_flops_per_s: 1.0e12": ("warp_flops: 1.0e12", "warp_flops"),
    "l2: {bytes: 1048576,": ("l2: {bytes: many,", "bytes"),
    "name: small\n": ("", "name"),
    "kind: gpu": ("kind: gpus", "kind of machine 'gpus'"),
}


@pytest.mark.parametrize("old", WRONG)
def test_wrong_files(tmp_path: Path, old: str) -> None:
    new, message = WRONG[old]
    with pytest.raises(InputError) as caught:
        load(tmp_path, FILE.replace(old, new))
    assert message in str(caught.value)
    assert "small.yaml" in str(caught.value)


def test_a_gpu_is_no_spatial_array() -> None:
    with pytest.raises(InputError, match="'h200' is a gpu, not a spatial array"):
        load_architecture("h200")

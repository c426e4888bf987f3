"""Evaluations on a CPU: the same face as on a spatial array, and what a CPU does not know is None."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plain_cpu import plain_cpu
from typer.testing import CliRunner

import fusemax
from einsum_cascades.errors import InputError
from einsum_cascades.workload import Workload
from fusemax.cli import app
from fusemax.evaluation import CpuEvaluation, SpatialEvaluation, evaluate
from hw_models.cpu.file import cpu_text
from hw_models.load import load_machine

CPU = ("attention-1-pass", "cpu", "cpu-tiles")
SIZES = {"batch": 2, "heads": 3, "head_dim": 64, "seq_len": 512}
OPTIONS = ("--batch", "2", "--heads", "3", "--head-dim", "64", "--seq-len", "512")
runner = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"})


def command(*arguments: str) -> list[str]:
    cascade, arch, mapper = CPU
    return ["evaluate", "--cascade", cascade, "--arch", arch, "--mapper", mapper, *OPTIONS, *arguments]


def test_one_face_for_all_machines() -> None:
    ours = evaluate(*CPU, **SIZES)
    spatial = evaluate("attention-1-pass", "fusemax-cloud", "fusemax-interleaved", **SIZES)
    assert isinstance(ours, CpuEvaluation)
    assert isinstance(ours, fusemax.Evaluation)
    assert isinstance(spatial, SpatialEvaluation)
    data = ours.as_dict()
    assert set(spatial.as_dict()) <= set(data)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [data[key] for key in ("energy_j", "area_mm2", "util_2d", "util_1d", "accounting")] == [None] * 5
    assert sum(data["parts_s"].values()) == pytest.approx(data["latency_s"])
    assert (data["passes"], data["value_bytes"], data["kind"]) == (1, 4, "cpu")
    assert data["dram_bytes"] == 4 * 6 * 4 * 512 * 64


@pytest.mark.parametrize("cascade", ["attention-1-pass", "attention-2-pass", "attention-3-pass"])
def test_a_mask_halves_the_products(cascade: str) -> None:
    def products(causal: bool) -> float:
        found = evaluate(cascade, "cpu", "cpu-tiles", heads=2, head_dim=64, seq_len=8192, causal=causal)
        return float(found.as_dict()["parts_s"]["products"])

    assert products(True) == pytest.approx(products(False) / 2, rel=0.05)


def test_json_is_the_python_face() -> None:
    result = runner.invoke(app, command("--causal", "--dtype", "float32", "--json"))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == evaluate(*CPU, **SIZES, causal=True).as_dict()


def test_text_shows_every_field() -> None:
    result = runner.invoke(app, command("--causal"))
    assert result.exit_code == 0, result.output
    for shown in (
        "attention-1-pass on cpu",
        "B 2, H 3, E 64, F 64, M 512, P 512; 32-bit values; causal",
        "not known",
        "from cold caches",
        "matrix products",
        "exponentials",
        "share of the latency",
    ):
        assert shown in result.stdout
    assert "accounting" not in result.stdout


def test_a_file_of_ones_own_and_what_ifs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(cpu_text(plain_cpu()))
    found = evaluate(CPU[0], path, CPU[2], **SIZES)
    assert found == evaluate(CPU[0], plain_cpu(), CPU[2], **SIZES)
    faster = evaluate(CPU[0], path, CPU[2], **SIZES, set_arch=["operators.exp=1e12"])
    assert faster.cost.latency_s < found.cost.latency_s
    alone = evaluate(CPU[0], path, CPU[2], **SIZES, set_arch=["threads=1"])
    assert alone.cost.latency_s > 1.5 * found.cost.latency_s


@pytest.mark.parametrize(
    ("cascade", "arch", "mapper", "changes", "message"),
    [
        ("attention-1-pass", "cpu", "unfused", {}, "'unfused' maps onto a spatial array, and the machine is a CPU"),
        ("attention-1-pass", "flat-cloud", "cpu-tiles", {}, "'cpu-tiles' maps onto a CPU"),
        ("attention-1-pass", "cpu", "cpu-tile", {}, "did you mean 'cpu-tiles'"),
        ("attention-1-pass", "cpu", "cpu-tiles", {"dtype": "float16"}, "cpu works on 32-bit values"),
        ("attention-1-pass", "cpu", "cpu-tiles", {"set_arch": ["array_2d.rows=8"]}, "unknown key 'array_2d.rows'"),
        ("attention-1-pass", "flat-cloud", "fusemax-serial", {"causal": True}, "has no causal mask"),
    ],
)
def test_refuses(cascade: str, arch: str, mapper: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        evaluate(cascade, arch, mapper, **SIZES, **changes)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_other_objects() -> None:
    with pytest.raises(InputError, match="not a Cpu object"):
        evaluate(CPU[0], load_machine("cpu"), CPU[2], **SIZES, set_arch=["threads=1"])
    with pytest.raises(InputError, match="2-byte values, cpu works on 4-byte values"):
        evaluate(*CPU, workload=Workload.attention(batch=1, heads=1, head_dim=8, seq_len=8))

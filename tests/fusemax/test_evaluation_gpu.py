"""``fusemax evaluate`` on GPUs: every column, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from einsum_cascades.errors import InputError
from fusemax.cli import app
from fusemax.evaluation import evaluate
from hw_models.gpu.cost import PARTS
from hw_models.gpu.machine import Gpu
from hw_models.load import load_machine

runner = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"})
LAYER: dict[str, Any] = {"batch": 2, "heads": 16, "seq_len": 4096, "head_dim": 128}
FLAGS = ["--batch", "2", "--heads", "16", "--seq-len", "4096", "--head-dim", "128"]


def run(*arguments: str) -> str:
    result = runner.invoke(app, ["evaluate", "--mapper", "gpu-tiles", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("arch", ["h200", "h100", "a100"])
def test_columns(arch: str) -> None:
    found = json.loads(run("--cascade", "attention-1-pass", "--arch", arch, "--causal", *FLAGS, "--json"))
    assert (found["arch"], found["kind"], found["mapper"]) == (arch, "gpu", "gpu-tiles")
    assert (found["causal"], found["dtype"], found["value_bytes"], found["passes"]) == (True, "bfloat16", 2, 1)
    assert found["energy_j"] is found["area_mm2"] is found["util_2d"] is None
    assert list(found["parts_s"]) == list(PARTS)
    assert sum(found["parts_s"].values()) == pytest.approx(found["latency_s"])
    assert found["bound"] == ("shared" if arch == "a100" else "tensor")
    assert found["dram_bytes"] == 4 * 2 * 16 * 4096 * 128 * 2
    assert {e["einsum"] for e in found["per_einsum"]} >= {"BQK", "SLN", "SLNV", "AV"}
    machine = load_machine(arch)
    assert isinstance(machine, Gpu)
    assert 2 * 2 * 16 * 4096**2 * 128 / found["latency_s"] < machine.flops_per_s("warpgroup")


def test_what_is_shown() -> None:
    shown = run("--cascade", "attention-3-pass", "--arch", "h200", "--dtype", "float16", *FLAGS)
    for text in ("attention-3-pass on h200", "float16", "three_pass", "bound by", "idle multiprocessors", "launches"):
        assert text in shown


def test_a_window_is_given_like_a_size() -> None:
    """A cascade of its own file; of the keys that a causal mask lets through, few tiles are in a narrow window."""
    flags = ("--cascade", "attention-sliding-window", "--arch", "h100", *FLAGS)
    whole, narrow = (json.loads(run(*flags, *more, "--json")) for more in ((), ("--set", "W=256")))
    assert narrow["latency_s"] < 0.5 * whole["latency_s"]
    assert (whole["scalars"], narrow["scalars"]) == ({}, {"W": 256})
    assert "W 256" in " ".join(run(*flags, "--set", "W=256").split())
    for arch, mapper, name in (("cpu", "cpu-tiles", "W"), ("flat-cloud", "unfused", "W"), ("h100", "gpu-tiles", "V")):
        with pytest.raises(InputError, match=f"'{name}' is .*, not a rank"):
            evaluate("attention-sliding-window", arch, mapper, **LAYER, sizes={name: 256})


def test_passes_tell_the_order() -> None:
    """At 16K and more, a pass more costs time."""
    for head_dim in (64, 128):
        for length in (16384, 32768):
            layer = {**LAYER, "batch": 1, "seq_len": length, "head_dim": head_dim}
            one, two, three = (
                evaluate(f"attention-{name}", "h200", "gpu-tiles", **layer).cost.latency_s
                for name in ("1-pass", "2-pass", "3-pass")
            )
            assert one < two < three


def test_what_ifs() -> None:
    plain, wider, slower = (
        evaluate("attention-1-pass", "h200", "gpu-tiles", **LAYER, set_arch=changes).cost.latency_s
        for changes in ([], ["sms=264"], ["vector.special_per_s=1e12"])
    )
    assert wider < plain < slower


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another machine's mapper": ({"mapper": "cpu-tiles"}, "maps onto a CPU, and the machine is a GPU"),
    "an unknown mapper": ({"mapper": "gpu-tile"}, "unknown mapper 'gpu-tile'"),
    "a type without rates": ({"dtype": "float32"}, "knows no 'float32'"),
    "an unknown type": ({"dtype": "bfloat17"}, "unknown dtype 'bfloat17'"),
    "another machine": ({"arch": "cpu"}, "maps onto a GPU, and the machine is a CPU"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    changes, message = REFUSED[case]
    given = {"cascade": "attention-1-pass", "arch": "h200", "mapper": "gpu-tiles", **LAYER, **changes}
    with pytest.raises(InputError, match=message):
        evaluate(**given)


def test_no_mask_without_scores() -> None:
    with pytest.raises(InputError, match="has no scores to mask"):
        evaluate("log-sum-exp", "h200", "gpu-tiles", sizes={"M": 64, "P": 64}, causal=True)

"""The mistakes that new users make most: each is answered with what is wrong, where, and what would be right."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

import einsum_cascades
import hw_models
from fusemax.cli import app

FUSEMAX = ["--arch", "fusemax-cloud", "--mapper", "fusemax-interleaved"]
EVALUATE = ["evaluate", "--cascade", "attention-1-pass", *FUSEMAX]
WORKLOAD = ["--model", "BERT", "--seq-len", "1024"]
FILES = {
    "tab.yaml": "name: x\n\theads: 1\n",
    "indent.yaml": "name: x\ndeclaration:\n  Q: [E, P]\n K: [E, M]\n",
    "model.yaml": "name: small\nheads: 6\nhead_dim: 32\nmodel_dim: 192\nffn_dim: 768\n",
    "config.json": '{"model_type": "llama"',
    "afile": "",
}

runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are not what they are taken for; commands run in it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for name, source in (
        ("arch", Path(hw_models.__file__).parent / "machines" / "fusemax-cloud.yaml"),
        ("casc", Path(einsum_cascades.__file__).parent / "library" / "attention-1-pass.yaml"),
    ):
        (tmp_path / f"{name}.yaml").write_bytes(source.read_bytes())
    (tmp_path / "dir").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        # names that are misspelt
        (
            ["evaluate", "--cascade", "attention-1pas", *FUSEMAX, *WORKLOAD],
            "unknown cascade 'attention-1pas'",
            "did you mean 'attention-1-pass'",
        ),
        ([*EVALUATE, "--model", "BRT", "--seq-len", "1024"], "unknown model 'BRT'", "did you mean 'bert'?"),
        ([*EVALUATE, *WORKLOAD, "--accounting", "phisical"], "unknown accounting", "did you mean 'physical'?"),
        ([*EVALUATE, *WORKLOAD, "--mapper", "interleaved"], "unknown mapper", "did you mean 'fusemax-interleaved'?"),
        # sizes that are missing or none
        ([*EVALUATE, "--model", "BERT"], "the sequence length is missing", "give --seq-len N"),
        (EVALUATE, "the workload lacks --heads, --head-dim, --seq-len", "give --model NAME --seq-len N"),
        (
            [*EVALUATE, "--heads", "4", "--head-dim", "0", "--seq-len", "64"],
            "the size --head-dim is 0",
            "from 1 to 2^50",
        ),
        ([*EVALUATE, *WORKLOAD, "--set", "Z=4"], "unknown rank of attention-1-pass 'Z'", "known names: E, F, M, P"),
        # files
        (["analyze", "arhc.yaml"], "arhc.yaml: no such file", "did you mean 'arch.yaml'"),
        (["analyze", "dir"], "dir: this is a directory, expected a file", "give the path of a file"),
        (["analyze", "tab.yaml"], "tab.yaml:2:1: this is not YAML", "indent with spaces"),
        (["analyze", "indent.yaml"], "indent.yaml:4:2: this is not YAML", "begin in the same column"),
        ([*EVALUATE, "--hf-config", "config.json", "--seq-len", "8"], "config.json:1:23: this is not JSON", "^"),
        # a file of another kind
        (
            [*EVALUATE, "--model", "arch.yaml", "--seq-len", "8"],
            "expected a model, but this describes an architecture",
            "a model has the keys heads",
        ),
        (
            ["evaluate", "--cascade", "model.yaml", *FUSEMAX, *WORKLOAD],
            "model.yaml:2:1: expected a cascade, but this describes a model",
            "a cascade has the keys declaration",
        ),
        (
            [*EVALUATE, *WORKLOAD, "--arch", "casc.yaml"],
            "expected an architecture, but this describes a cascade",
            "an architecture has the keys nodes",
        ),
        # what-ifs
        (
            [*EVALUATE, *WORKLOAD, "--set-arch", "array_2d.row=4"],
            "--set-arch:1:1: unknown key 'array_2d.row'",
            "did you mean 'array_2d.rows'",
        ),
        (
            [*EVALUATE, *WORKLOAD, "--set-arch", "global_buffer.bytes=8Mb"],
            "global_buffer.bytes is '8Mb'",
            "such as 262144, 256KiB or 2**18",
        ),
        (
            [*EVALUATE, *WORKLOAD, "--set-arch", "global_buffer.bytes"],
            "'global_buffer.bytes' is overridden without a value",
            "write KEY=VALUE",
        ),
        (
            [*EVALUATE, *WORKLOAD, "--set-arch", "global_buffer.bytes=16KiB"],
            "the global buffer of 16384 bytes is too small",
            "the smallest tile needs 132096 bytes",
        ),
        (["analyze", "attention-3-pass", "--buffer", "8Mb"], "'8Mb' is no number of bytes", "256KiB"),
        # places that cannot be written
        (["reproduce", "--out", "afile"], "'afile' is a file, not a folder", "choose another folder"),
        (["rewrite", "attention-3-pass", "--out", "dir"], "'dir' is a folder, not a file", "give the file's name"),
        (["analyze", "attention-3-pass", "--plot", "x.gif"], "'x.gif' is no figure's name", ".png, .pdf or .svg"),
        (["analyze", "attention-3-pass", "--plot", "afile/x.png"], "'afile' is a file, not a folder", "another folder"),
        # options that do not go together
        ([*EVALUATE, *WORKLOAD, "--heads", "3"], "--heads is given beside a model", "leave it out"),
        ([*EVALUATE, *WORKLOAD, "--arch", "h100"], "the machine is a GPU", "mappers that fit a GPU: gpu-tiles"),
    ],
)
def test_a_mistake_is_answered(arguments: list[str], message: str, hint: str) -> None:
    found = runner.invoke(app, arguments)
    assert found.exit_code == 2
    assert found.stdout == ""
    first, *others = found.stderr.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert hint in "\n".join(others)
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["analyse", "attention-3-pass"], "Did you mean 'analyze'?"),
        (["evaluate", *WORKLOAD], "the cascade is missing"),
        ([*EVALUATE, "--seqlen", "64"], "--seq-len"),
        ([*EVALUATE, "--seq-len", "64KiB"], "a whole number from 1 to 2^50 is expected"),
        (["cascades", "attention-1-pass", "--format", "svg"], "'latex'"),
    ],
)
def test_a_slip_of_the_command_line_is_answered(arguments: list[str], hint: str) -> None:
    found = runner.invoke(app, arguments, env={"COLUMNS": "200"})
    assert found.exit_code == 2
    assert hint in found.stderr


def test_nothing_is_computed_before_the_place_is_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusemax.analysis.analyze", lambda *_, **__: pytest.fail("computed in vain"))
    found = runner.invoke(app, ["analyze", "attention-3-pass", "--plot", "afile/x.png"])
    assert found.exit_code == 2
    assert not (folder / "x.png").exists()


def test_errors_are_objects_for_programs(folder: Path) -> None:
    told = runner.invoke(app, ["evaluate", "--cascade", "attention-1-pas", *FUSEMAX, *WORKLOAD, "--json"])
    assert (told.exit_code, told.stdout) == (2, "")
    unknown = json.loads(told.stderr)
    assert unknown["error"] == "unknown cascade 'attention-1-pas'"
    assert unknown["where"] is None
    assert "attention-1-pass" in unknown["hint"]
    (folder / "two.yaml").write_text(
        "name: x\nhead: 6\nhead_dim: 32\nmodel_dim: 192\nffn_dim: 768\nbatch: 1\nlayer: 2\n"
    )
    arguments = [*EVALUATE, "--model", "two.yaml", "--seq-len", "64"]
    faults = json.loads(runner.invoke(app, [*arguments, "--json"]).stderr)
    assert [fault["where"] for fault in faults["faults"]] == ["two.yaml:2:1", "two.yaml:7:1", "two.yaml:1:1"]
    assert "did you mean 'heads'" in faults["hint"]
    assert runner.invoke(app, arguments).stderr.startswith("error: two.yaml:2:1: ")


@pytest.mark.parametrize("name", ["pipe", "pipe.csv", "pipe.parquet"])
def test_a_pipe_is_no_table_whatever_it_is_called(name: str, folder: Path) -> None:
    os.mkfifo(folder / name)
    told = runner.invoke(app, ["report", name])
    assert told.exit_code == 2
    assert "not a regular file but a pipe" in told.stderr

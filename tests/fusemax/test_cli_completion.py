"""The Tab key: what is offered, that it is what there is, and that it comes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fusemax
from einsum_cascades.load import load_cascade
from fusemax.catalogue import DESCRIPTIONS
from fusemax.cli import app, completion, completion_values
from fusemax.evaluation import DTYPE_BITS
from fusemax.studies import study_names
from fusemax.sweep.names import COSTS
from fusemax.workloads import settable_ranks
from hw_models.accounting import ACCOUNTINGS
from hw_models.load import architecture_names, kind_of, read_machine_file

ROOT = Path(fusemax.__file__).parents[1]
HEAVY = ("numpy", "lark", "ruamel.yaml", "sympy", "pandas", "numba", "matplotlib", "networkx", "scipy")


def typed(line: str) -> dict[str, str]:
    """The environment in which bash asks for what may follow a line."""
    return {
        "_FUSEMAX_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }


def pressed(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bash is offered when Tab is pressed at the end of a line."""
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, [], prog_name="fusemax", env=typed(line))
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fusemax ev", ["evaluate"]),
        ("fusemax sim", ["simulate"]),
        ("fusemax simulate --mapper fusemax-s", ["fusemax-serial"]),
        ("fusemax measure ", ["cpu", "gpu"]),
        ("fusemax evaluate --casc", ["--cascade"]),
        ("fusemax evaluate --cascade attention-1", ["attention-1-pass"]),
        ("fusemax evaluate --arch fus", ["fusemax-cloud"]),
        ("fusemax evaluate --mapper flat", ["flat", "flat-searched"]),
        ("fusemax evaluate --model ", ["BERT", "T5", "TrXL", "XLM", "config.json", "mine.yaml"]),
        ("fusemax evaluate --model be", ["bert"]),
        ("fusemax evaluate --accounting p", ["published", "physical"]),
        ("fusemax evaluate --dtype bf", ["bfloat16"]),
        ("fusemax analyze mi", ["mine.yaml"]),
        ("fusemax cascades attention-1", ["attention-1-pass"]),
        ("fusemax rewrite attention-2", ["attention-2-pass"]),
        ("fusemax validate soft", ["softmax-matmul"]),
        ("fusemax measure cpu --arch cp", ["cpu"]),
        ("fusemax measure gpu --arch h1", ["h100"]),
        ("fusemax machines fus", ["fusemax-cloud"]),
        ("fusemax models ber", ["bert"]),
        ("fusemax mappers cpu", ["cpu-tiles"]),
        ("fusemax schema spa", ["spatial-array"]),
        ("fusemax cite cac", ["cacti"]),
        ("fusemax evaluate --hf-config ", ["config.json"]),
        ("fusemax evaluate --cascade attention-1-pass --set ", ["E=", "F=", "M=", "P="]),
        ("fusemax analyze attention-split-k --rank ", ["E", "F", "M", "P"]),
        ("fusemax rewrite softmax-matmul --rank M", ["M"]),
        (
            "fusemax evaluate --arch fusemax-cloud --set-arch global_buffer.b",
            ["global_buffer.bytes=", "global_buffer.bandwidth_bytes_per_s=", "global_buffer.banks="],
        ),
        ("fusemax evaluate --arch h100 --set-arch hbm.", ["hbm.bytes=", "hbm.bytes_per_s=", "hbm.latency_s="]),
        ("fusemax evaluate --arch cpu --set-arch levels.L1.b", ["levels.L1.bytes="]),
        ("fusemax evaluate --set-arch ", []),
        ("fusemax report table.csv --x lat", ["latency_s"]),
        ("fusemax report table.csv --objectives area_mm2,lat", ["area_mm2,latency_s"]),
        ("fusemax report table.csv --format png,s", ["png,svg"]),
        ("fusemax reproduce --format sv", ["svg"]),
        ("fusemax analyze nothing-like-it", []),
    ],
)
def test_what_is_offered(line: str, offered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine.yaml", "config.json", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "table.csv").write_text("point,latency_s,area_mm2\n")
    assert pressed(line, tmp_path, monkeypatch) == offered


def test_the_names_offered_are_those_that_there_are() -> None:
    assert completion.mappers("") == list(fusemax.mapper_names())
    assert completion.accountings("") == list(ACCOUNTINGS)
    assert completion.dtypes("") == list(DTYPE_BITS)
    for offered, known in (
        (completion.cascades, fusemax.library_names()),
        (completion.architectures, fusemax.architecture_names()),
        (completion.models, fusemax.model_names()),
        (completion.studies, study_names()),
    ):
        assert set(known) <= {name.lower() for name in offered("")}


def test_the_keys_offered_are_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(completion_values.COLUMNS) == [*(name for name in COSTS if name != "status"), "status"]
    for machine in architecture_names():
        file = read_machine_file(machine)
        offered = {
            key.rstrip("=") for key in pressed(f"fusemax evaluate --arch {machine} --set-arch ", ROOT, monkeypatch)
        }
        known = {key for key in kind_of(file).keys(file) if key not in DESCRIPTIONS and not key.endswith(".in")}
        assert offered <= known
        assert len(offered) > 15
        if kind_of(file).title == "spatial array":
            assert offered == known


def test_ranks_are_those_that_a_workload_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("attention-2-pass", "attention-split-k", "layer-norm", "cross-entropy"):
        offered = pressed(f"fusemax evaluate --cascade {name} --set ", ROOT, monkeypatch)
        assert sorted(f"{rank}=" for rank in settable_ranks(load_cascade(name))) == offered


def test_columns_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "sweep.yaml").write_text("axes:\n  cascade: [a]\n  array_2d.rows: [1]\nzip:\n  - [x, y]\n")
    assert pressed("fusemax report space --by array", tmp_path, monkeypatch) == ["array_2d.rows"]
    assert pressed("fusemax report space --y util", tmp_path, monkeypatch) == ["util_2d", "util_1d"]


def test_an_answer_imports_nothing_heavy(tmp_path: Path) -> None:
    script = "import sys\nfrom fusemax.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
    script += "print(*sys.modules, sep='\\n')\n"
    for line in ("fusemax evaluate --cascade ", "fusemax evaluate --arch fusemax-cloud --set-arch "):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            encoding="utf-8",
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **typed(line)},
        )
        assert done.stderr == ""
        loaded = set(done.stdout.split())
        assert "typer" in loaded
        assert not loaded & set(HEAVY)

"""The Tab key: what is offered, that it is what there is, and that it comes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fusemax
from fusemax.cli import completion, main
from fusemax.evaluation import DTYPE_BITS
from fusemax.studies import study_names
from hw_models.accounting import ACCOUNTINGS

ROOT = Path(fusemax.__file__).parents[1]
HEAVY = ("numpy", "lark", "ruamel.yaml", "sympy", "pandas", "numba", "matplotlib", "networkx", "scipy")


def pressed(line: str) -> dict[str, str]:
    """The environment in which bash asks what to offer when Tab is pressed at the end of a line."""
    return {
        "_FUSEMAX_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }


def in_a_process(line: str, folder: Path) -> tuple[list[str], set[str]]:
    """What is offered, and the modules that it took to find out."""
    script = "import sys\nfrom fusemax.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
    script += "print('--', *sys.modules, sep='\\n')\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        encoding="utf-8",
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **pressed(line)},
    )
    assert done.stderr == ""
    offered, modules = done.stdout.split("--\n")
    return offered.split(), set(modules.split())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fusemax ev", ["evaluate"]),
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
        ("fusemax analyze nothing-like-it", []),
    ],
)
def test_what_is_offered(
    line: str,
    offered: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("mine.yaml", "config.json", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fusemax"])
    for name, value in pressed(line).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main()
    found = capsys.readouterr()
    assert (found.out.split(), found.err) == (offered, "")


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


def test_an_answer_imports_nothing_heavy(tmp_path: Path) -> None:
    offered, loaded = in_a_process("fusemax evaluate --cascade ", tmp_path)
    assert set(offered) >= set(fusemax.library_names())
    assert "typer" in loaded
    assert not loaded & set(HEAVY)

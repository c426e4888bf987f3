"""``fusemax validate``: the table, JSON, the exit status, unusable input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fusemax.cli import app
from kernels import validate

run = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"}).invoke

MINE = """
name: mine
declaration: {A: [M, N], S: [M], Y: [M, N]}
expressions: ["S[m] = A[m, n]", "Y[m, n] = A[m, n] / S[m]"]
"""


@pytest.fixture
def as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels run as plain Python, which takes no time to compile."""
    original = validate.compile_cascade
    monkeypatch.setattr(validate, "compile_cascade", lambda cascade: original(cascade, jit=False))


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    return str(path)


@pytest.mark.usefixtures("as_python")
def test_a_file_and_a_name(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "_EXTENTS", ((1,), (2, 5, 3)))
    result = run(app, ["validate", mine, "variance"])
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines() if line.lstrip().startswith("compiled")]
    assert [(row[1], row[2], row[-1]) for row in rows] == [
        (name, dtype, "yes") for name in ("mine", "variance") for dtype in ("float32", "float64") for _ in range(2)
    ]
    assert "8 of 8 checks passed" in result.stdout


@pytest.mark.usefixtures("as_python")
def test_json_and_seed(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "_EXTENTS", ((2, 5, 3),))
    found = json.loads(run(app, ["validate", mine, "--json", "--seed", "7"]).stdout)
    assert found["seed"] == 7
    assert found["failed"] == 0
    assert [set(check) for check in found["checks"]] == [
        {"kernel", "cascade", "dtype", "shape", "causal", "error", "tolerance", "ok", "problem"}
    ] * 2
    assert found["checks"][0]["shape"] == {"M": 2, "N": 5}
    other = json.loads(run(app, ["validate", mine, "--json", "--seed", "8"]).stdout)
    assert [c["error"] for c in other["checks"]] != [c["error"] for c in found["checks"]]


def test_a_kernel_that_is_wrong_ends_with_status_1(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = validate.compile_cascade

    class Wrong:
        def __init__(self, cascade: Any) -> None:
            self.kernel = original(cascade, jit=False)

        def run(self, *arguments: Any) -> Any:
            return {name: array * 1.0001 for name, array in self.kernel.run(*arguments).items()}

    monkeypatch.setattr(validate, "_EXTENTS", ((2, 5, 3),))
    monkeypatch.setattr(validate, "compile_cascade", Wrong)
    result = run(app, ["validate", mine])
    assert result.exit_code == 1
    assert result.stdout.count(" NO\n") == 2
    assert "error: 2 of 2 checks failed" in result.stderr
    assert json.loads(run(app, ["validate", mine, "--json"]).stdout)["failed"] == 2


def test_a_kernel_that_breaks_down_fails_its_check(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, cascade: Any) -> None:
            self.cascade = cascade

        def run(self, *arguments: Any) -> Any:
            raise ValueError("total size must be unchanged")

    monkeypatch.setattr(validate, "_EXTENTS", ((2, 5, 3),))
    monkeypatch.setattr(validate, "compile_cascade", Broken)
    result = run(app, ["validate", mine])
    assert result.exit_code == 1
    assert "compiled mine: ValueError: total size must be unchanged" in result.stdout
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["no-such-cascade"], "no-such-cascade"), (["variance", "--seed", "-1"], "seed")],
)
def test_unusable_input(arguments: list[str], message: str) -> None:
    result = run(app, ["validate", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_everything() -> None:
    result = run(app, ["validate", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["failed"] == 0


def test_cascades_prints_the_compiled_kernel() -> None:
    result = run(app, ["cascades", "attention-1-pass", "--format", "numba"])
    assert result.exit_code == 0
    assert "for i_m1 in range(n_m1):" in result.stdout
    compile(result.stdout, "<printed>", "exec")

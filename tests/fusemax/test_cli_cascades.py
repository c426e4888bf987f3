"""``fusemax cascades``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from einsum_cascades.graph import to_dot
from einsum_cascades.latex import to_latex
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from fusemax.cli import app
from fusemax.cli.cascades import short_citation

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})


def test_lists_the_library() -> None:
    result = runner.invoke(app, ["cascades"])
    assert result.exit_code == 0
    for name in library_names():
        (line,) = (line for line in result.stdout.splitlines() if line.split()[:1] == [name])
        assert load_cascade(name).title in line
    assert "Nayak et al., MICRO 2024; Dao, ICLR 2024" in result.stdout


def test_lists_the_library_as_json() -> None:
    rows = json.loads(runner.invoke(app, ["cascades", "--json"]).stdout)["cascades"]
    assert [row["cascade"] for row in rows] == list(library_names())
    assert {row["cascade"]: (row["rank"], row["passes"]) for row in rows if row["cascade"] != "linear-layers"} == {
        "attention-1-pass": ("M", 1),
        "attention-2-pass": ("M", 2),
        "attention-3-pass": ("M", 3),
        "attention-3-pass-deferred": ("M", 2),
        "attention-alibi": ("M", 3),
        "attention-causal": ("M", 3),
        "attention-differential": ("M", 3),
        "attention-linear": ("E", 1),
        "attention-relu": ("M", 1),
        "attention-sigmoid": ("M", 1),
        "attention-sliding-window": ("M", 3),
        "attention-soft-cap": ("M", 3),
        "attention-softmax-unstable": ("M", 2),
        "attention-split-k": ("M", 1),
        "cross-entropy": ("M", 3),
        "layer-norm": ("M", 3),
        "log-sum-exp": ("M", 2),
        "rms-norm": ("M", 2),
        "softmax-matmul": ("M", 3),
        "variance": ("M", 2),
    }
    assert {row["cascade"]: row["einsums"] for row in rows}["attention-1-pass"] == 15


@pytest.mark.parametrize("name", library_names())
def test_text_reads_back(name: str) -> None:
    result = runner.invoke(app, ["cascades", name])
    assert result.exit_code == 0
    assert parse_cascade(result.stdout) == load_cascade(name)


def test_latex_and_dot() -> None:
    cascade = load_cascade("attention-1-pass")
    assert runner.invoke(app, ["cascades", cascade.name, "--format", "latex"]).stdout == to_latex(cascade) + "\n"
    assert runner.invoke(app, ["cascades", cascade.name, "--format", "dot"]).stdout == to_dot(cascade)


def test_one_cascade_as_json() -> None:
    data = json.loads(runner.invoke(app, ["cascades", "attention-2-pass", "--json", "--format", "latex"]).stdout)
    cascade = load_cascade("attention-2-pass")
    assert data["text"] == to_latex(cascade)
    assert (data["cascade"], data["format"], data["passes"]) == (cascade.name, "latex", 2)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("declaration: {A: [K], Z: [K]}\nexpressions: ['Z[k] = exp(A[k])']\n")
    result = runner.invoke(app, ["cascades", str(path), "--json"])
    data = json.loads(result.stdout)
    assert (data["cascade"], data["rank"], data["passes"], data["einsums"]) == ("mine", None, None, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"declaration: {A: [K], Z: []}\nexpressions: ['Z = A[k] * B[k]']", "unknown tensor 'B'"),
        (b"declaration: {A: [K], B: [K]}\nexpressions: ['A[k] = B[k]', 'B[k] = A[k]']", "circle"),
        (b"declaration: {A: [K], Z: []}\nexpressions: ['Z = A[k] *']", "mine.yaml:2:"),
        (b"declaration: {A: [K", "this is not YAML"),
        (b"- 1\n- 2\n", "expected a mapping, found a list"),
        (b"", "expected a mapping, found nothing"),
    ],
)
def test_a_file_that_is_no_cascade(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    result = runner.invoke(app, ["cascades", str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert "^" in result.stderr or not content


def test_what_is_no_text_file(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(bytes(range(128, 256)))
    for path, message in (
        (binary, "this is not UTF-8 text"),
        (tmp_path, "this is a directory"),
        (tmp_path / "gone.yaml", "no such file"),
    ):
        result = runner.invoke(app, ["cascades", str(path)])
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr


def test_unknown_name_and_format_without_a_cascade() -> None:
    result = runner.invoke(app, ["cascades", "atention-1-pass"])
    assert result.exit_code == 2
    assert "did you mean 'attention-1-pass'" in result.stderr
    result = runner.invoke(app, ["cascades", "--format", "dot"])
    assert result.exit_code == 2
    assert "--format is given without a cascade" in result.stderr


@pytest.mark.parametrize(
    ("citation", "short"),
    [
        ("", ""),
        ("see the lab's notes", "see the lab's notes"),
        ("x" * 80, "x" * 80),
        ("A. Vaswani, N. Shazeer. Attention Is All You Need. NeurIPS 2017.", "Vaswani et al., NeurIPS 2017"),
        (
            "S.-C. Kao, S. Lee. FLAT. ASPLOS 2023. T. Dao. B. ICLR 2024.",
            "Kao et al., ASPLOS 2023; Dao, ICLR 2024",
        ),
    ],
)
def test_short_citations(citation: str, short: str) -> None:
    assert short_citation(citation) == short

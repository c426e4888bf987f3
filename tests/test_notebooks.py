"""The notebooks run without a warning, show what they compute, and are fit to be committed."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest

import fusemax

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 600_000


BESIDE = {"fusemax", "numpy"}
"""What notebooks import besides Python's own modules."""


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


def source(path: Path) -> ast.Module:
    """All code of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_uses_the_public_interface_alone(path: Path) -> None:
    used = set()
    for node in ast.walk(source(path)):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            used.add(str(node.module))
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "fusemax":
            assert node.attr in fusemax.__all__, f"fusemax.{node.attr} is not public"
    assert "fusemax" in used
    assert {name for name in used if name.partition(".")[0] not in sys.stdlib_module_names} <= BESIDE


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_begins_with_its_question(path: Path) -> None:
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# .+\n\n\*\*[^*]+\?\*\*\n", first.source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_links_of_a_notebook_lead_somewhere(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    for link in re.findall(r"\]\(([^)#:]+)\)", "\n".join(c.source for c in cells if c.cell_type == "markdown")):
        assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_executed_small_and_names_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) <= MAX_BYTES
    assert not re.search(r"/(home|root|tmp|work|Users|usr|opt)/", text)
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_shows_what_it_computes(path: Path) -> None:
    from notebook_runner import execute, shown_text

    assert shown_text(execute(path)) == shown_text(nbformat.read(path, as_version=4))

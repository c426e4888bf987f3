"""The README: what it shows is what the commands print, its code runs, and what it links to is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import parse

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The text of every block of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


BESIDE = {"fusemax", "numpy", "torch"}
"""What the README's code imports besides Python's own modules."""


def test_code_imports_only_what_users_import() -> None:
    used = set()
    for code in blocks("python"):
        for node in ast.walk(ast.parse(code)):
            used |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            used |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
    assert "fusemax" in used
    assert {name.partition(".")[0] for name in used} - set(sys.stdlib_module_names) <= BESIDE


def test_no_module_is_named_that_users_do_not_import() -> None:
    named = re.findall(r"`((?:einsum_cascades|hw_models|kernels|mappers)\.[^`/]*)`", TEXT)
    assert not [name for name in named if not name.endswith((".py", ".yaml"))]


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


LINES = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("line", LINES)
def test_a_command_shown_without_output_is_there(line: str) -> None:
    command = line.partition("#")[0].split()
    if command[0] == "make":
        assert re.search(rf"^{command[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    else:
        assert parse(line)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_code_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_pictures_are_small() -> None:
    for picture in (ROOT / "notebooks" / "images").glob("*.png"):
        assert picture.stat().st_size < 300_000, picture


def test_output_is_shown_as_it_is_at_80_columns() -> None:
    from readme_runner import WIDTH

    assert WIDTH == 80
    shown = [line for block in blocks("console") for line in block.splitlines() if not line.startswith("$ ")]
    assert shown
    assert [line for line in shown if len(line) > WIDTH] == []


@pytest.mark.slow
def test_commands_print_what_the_readme_shows() -> None:
    from readme_runner import refreshed

    assert refreshed(TEXT).splitlines() == TEXT.splitlines(), "the README is behind: run 'make readme'"

"""How the wheel is made: what is rewritten in the copies of the rooms, and what is not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from hatch_build import PACKAGE, ROOMS, Moved, write_package

ROOT = Path(__file__).parent.parent
MOVED = Moved(ROOT)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from kernels import attention", "from fusemax.kernels import attention"),
        ("from mappers.rows import (\n    flat,\n)", "from fusemax.mappers.rows import (\n    flat,\n)"),
        ("import mappers.rows as f", "import fusemax.mappers.rows as f"),
        ("import kernels", "from fusemax import kernels"),
        ("import hw_models.load", "import fusemax.hw_models.load; from fusemax import hw_models"),
        ("import sys, kernels, os as o", "import sys; from fusemax import kernels; import os as o"),
        ("é = 'é'; import kernels.cpu as c", "é = 'é'; import fusemax.kernels.cpu as c"),
        ("x = 'kernels.cpu.tiles', \"kernels:x\"", "x = 'fusemax.kernels.cpu.tiles', \"kernels:x\""),
        ("x = 'einsum_cascades.interpreter:run'", "x = 'fusemax.einsum_cascades.interpreter:run'"),
        ("x = '''\nfrom kernels import y\n'''", "x = '''\nfrom fusemax.kernels import y\n'''"),
        ("x = 1  # `kernels.compile_cascade`", "x = 1  # `fusemax.kernels.compile_cascade`"),
        ("x = rb'python -m mappers.rows'", "x = rb'python -m fusemax.mappers.rows'"),
        ("x = f'kernels.gpu.{kernels.gpu:>{kernels.n}}'", "x = f'fusemax.kernels.gpu.{kernels.gpu:>{kernels.n}}'"),
        ("x = f'{{kernels.gpu}}'", "x = f'{{fusemax.kernels.gpu}}'"),
        ("x = f'''{\nkernels.gpu\n} kernels.gpu'''", "x = f'''{\nkernels.gpu\n} fusemax.kernels.gpu'''"),
    ],
)
def test_what_names_a_room_is_rewritten(source: str, expected: str) -> None:
    assert MOVED(f"{source}\n") == f"{expected}\n"


@pytest.mark.parametrize(
    "source",
    [
        "from fusemax.evaluation import evaluate",
        "from . import kernels\nfrom .kernels import x",
        "from torch.kernels import x\nimport torch.kernels",
        "kernels = [1]\nprint(kernels.count(1), kernels.cpu)",
        "x = 'activity.kernels.gpu', 'fusemax.kernels.cpu', 'the kernels. And', '/kernels.cpu'",
        "x = 'kernels', 'kernels.py', 'hw_models/machines', 'mappers.of_another_kind'",
    ],
)
def test_what_does_not_is_left(source: str) -> None:
    assert MOVED(f"{source}\n") == f"{source}\n"


def test_an_import_over_several_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        MOVED("import os\nimport kernels, \\\n  sys\n")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("package") / PACKAGE
    write_package(ROOT, target)
    return target


def test_the_package_imports_no_room_from_elsewhere(package: Path) -> None:
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {module.partition(".")[0] for module in modules} & set(ROOMS), path


def test_no_line_moves_and_no_file_is_lost(package: Path) -> None:
    for room in (PACKAGE, *ROOMS):
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                copy = package / path.relative_to(ROOT / PACKAGE if room == PACKAGE else ROOT)
                ours, theirs = path.read_bytes(), copy.read_bytes()
                assert theirs.count(b"\n") == ours.count(b"\n")
                assert path.suffix == ".py" or theirs == ours


def test_a_module_of_a_rooms_name_is_refused(tmp_path: Path) -> None:
    for room in (PACKAGE, *ROOMS):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("")
    (tmp_path / PACKAGE / "kernels").mkdir()
    with pytest.raises(ValueError, match="would hide the room kernels"):
        write_package(tmp_path, tmp_path / "out" / PACKAGE)

"""The repository as a package: floors, circles, declared dependencies, quick imports; test_wheel.py tries the wheel."""

from __future__ import annotations

import ast
import graphlib
import importlib
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from einsum_cascades.extras import PACKAGES

ROOT = Path(__file__).parent.parent
ROOMS = ("einsum_cascades", "hw_models", "kernels", "mappers", "fusemax")
FLOOR = {room: floor for floor, room in enumerate(ROOMS, start=1)}
EXTRAS = {
    "cluster": ("fusemax.sweep.cluster",),
    "components": ("hw_models.components.hwcomponents",),
    "gpu": ("kernels.gpu", "kernels.measure.gpu"),
    "kernels": (
        *("kernels.cpu", "kernels.compiler", "kernels.measure", "einsum_cascades.code_cache"),
        *("hw_models.simulator.dram", "hw_models.simulator.timed"),
    ),
    "report": ("fusemax.report", "fusemax.cli.report", "fusemax.figures.front"),
    "rtl": ("hw_models.simulator.rtl",),
    "sweep": ("fusemax.sweep", "fusemax.tables"),
}
"""Extra to the modules that may import what it brings."""
HEAVY = ("sympy", "pandas", "networkx", "pyarrow", "matplotlib")


def modules() -> dict[str, Path]:
    """Every module of the five rooms by its dotted name."""
    found = {}
    for path in sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: what only type checkers read is left out."""
    for child in ast.iter_child_nodes(node):
        if not _for_type_checkers(child):
            yield child
            yield from _walk(child)


def imported(path: Path, *, type_checking: bool) -> set[str]:
    """What a file imports anywhere, as dotted names; ``from package import module`` is the module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree) if type_checking else _walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else str(node.module))
    return found


def test_every_room_imports() -> None:
    for room in ROOMS:
        assert importlib.import_module(room).__doc__, f"{room} says nothing of what it is"


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_the_floors(name: str) -> None:
    room = name.partition(".")[0]
    for target in imported(MODULES[name], type_checking=True):
        other = target.partition(".")[0]
        assert FLOOR.get(other, 0) <= FLOOR[room], f"{name} imports {target}, which stands on a higher floor"


def test_no_import_circles_between_files() -> None:
    graph = {name: imported(path, type_checking=False) & MODULES.keys() for name, path in MODULES.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as circle:
        pytest.fail("imports form a circle: " + " -> ".join(reversed(circle.args[1])))


def test_tests_import_no_test_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def declared(extra: str = "") -> set[str]:
    """Import names of the declared runtime dependencies, or of those of an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = project["optional-dependencies"][extra] if extra else project["dependencies"]
    names = {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}  # type: ignore[index]
    return {name.replace("-", "_") for name in names}


@pytest.mark.parametrize("name", MODULES)
def test_third_party_imports_are_declared(name: str) -> None:
    extras = [declared(extra) for extra, users in EXTRAS.items() if name.startswith(users)]
    allowed = declared().union(*extras)
    for target in imported(MODULES[name], type_checking=True):
        top = target.partition(".")[0]
        if top in FLOOR or top in sys.stdlib_module_names:
            continue
        parts = target.split(".")
        prefixes = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
        assert prefixes & allowed, f"{name} imports {target}, which pyproject.toml does not declare"


def test_extras_bring_what_is_said_to_be_needed() -> None:
    for extra, packages in PACKAGES.items():
        assert set(packages) <= declared(extra) - declared()
    brought = set().union(*map(declared, EXTRAS)) - {"hwcomponents"}
    assert brought == {package for packages in PACKAGES.values() for package in packages}


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert all(re.fullmatch(r"[a-z0-9.-]+==[A-Za-z0-9.]+", line) for line in lines)
    pinned = {line.partition("==")[0] for line in lines}
    for requirement in itertools.chain.from_iterable(groups):
        name = re.split(r"[<>=!~ \[;]", requirement)[0]
        assert re.sub(r"[-_.]+", "-", name).lower() in pinned, f"{name} is not in constraints.txt"


@pytest.mark.parametrize("module", ["fusemax", "fusemax.cli"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

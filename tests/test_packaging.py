"""The repository as a package: floors, circles, declared dependencies, quick imports, and the wheel."""

from __future__ import annotations

import ast
import graphlib
import importlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fusemax.comparison import headline
from fusemax.experiments import reproduce

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
ROOMS = ("einsum_cascades", "hw_models", "kernels", "mappers", "fusemax")
FLOOR = {room: floor for floor, room in enumerate(ROOMS, start=1)}
EXTRAS = {
    "cluster": ("fusemax.sweep.cluster",),
    "components": ("hw_models.components.hwcomponents",),
    "gpu": ("kernels.gpu", "kernels.measure.gpu"),
    "report": ("fusemax.report",),
}
"""Extra to the modules that may import what it brings."""
HEAVY = ("sympy", "pandas", "networkx", "pyarrow", "matplotlib")
DATA_SUFFIXES = {".yaml", ".csv", ".lark", ".json", ".mplstyle", ".typed", ".html", ".css", ".js"}


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


@cache
def _at_once(path: Path) -> frozenset[str]:
    """What a file imports outside of functions, as dotted names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    found: set[str] = set()
    for node in _walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return frozenset(found)


def needed_at_once(name: str) -> set[str]:
    """Top-level names that a module imports outside of functions, those of its imports within the project included."""
    found, waiting = {name}, [name]
    while waiting:
        new = _at_once(MODULES[waiting.pop()]) - found
        found |= new
        waiting += [target for target in new if target in MODULES]
    return {target.partition(".")[0] for target in found}


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


def data_files() -> set[str]:
    """Everything in the rooms that is not Python: YAML, CSV, the grammar."""
    found = (p for room in ROOMS for p in (ROOT / room).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(ROOT).as_posix() for p in found if p.suffix in DATA_SUFFIXES}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(pip, check=True, stdin=subprocess.DEVNULL)
    (found,) = folder.glob("*.whl")
    return found


def interpreter(version: str) -> str:
    """A Python of a version: the running one, one on the path, or one that pyenv or uv has installed.

    Skips the test if there is none; nothing is downloaded.
    """
    kept = [("pyenv", ["pyenv", "root"], "versions"), ("uv", [sys.executable, "-m", "uv", "python", "dir"], "")]
    places = [sys.executable, shutil.which(f"python{version}") or ""]
    for program, command, inside in kept:
        if program == "uv" or shutil.which(program):
            folder = subprocess.run(command, capture_output=True, text=True).stdout.strip()
            places += sorted(map(str, (Path(folder) / inside).glob(f"*{version}*/bin/python"))) if folder else []
    ask = "import sys; print(f'{sys.version_info.major}.{sys.version_info.minor}')"
    for place in filter(None, places):
        answer = subprocess.run([place, "-c", ask], capture_output=True, text=True)
        if answer.returncode == 0 and answer.stdout.strip() == version:
            return place
    return pytest.skip(f"there is no Python {version} on the path, nor one that pyenv or uv has installed")


class Installed:
    """A new virtual environment that holds the wheel and what it declares, used from a folder of its own.

    uv fills it in seconds; where uv cannot, pip does.
    """

    def __init__(self, folder: Path, wheel: Path, python: str = sys.executable) -> None:
        self.bin = folder / "venv" / "bin"
        self.work = folder / "elsewhere"
        self.work.mkdir()
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
        wanted = ["install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel)]
        uv = [sys.executable, "-m", "uv", "pip", *wanted, "--python", str(self.bin / "python"), "--no-progress"]
        if subprocess.run(uv, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
            self.run("python", "-m", "pip", *wanted)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of the environment's programs; return what it prints."""
        hidden = ("PYTHON", "VIRTUAL_ENV")
        env = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=self.work,
            env=env | {"PATH": str(self.bin)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{program} {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"), wheel)


@pytest.mark.slow
def test_wheel_holds_code_and_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert data_files() <= names
    assert {p.relative_to(ROOT).as_posix() for p in MODULES.values()} <= names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(ROOMS)


@pytest.mark.slow
def test_every_module_imports_with_the_declared_dependencies_only(installed: Installed) -> None:
    """All but those that need what an extra brings as soon as they are imported."""
    extra: set[str] = set().union(*map(declared, EXTRAS))
    names = sorted(name for name in MODULES if not needed_at_once(name) & extra)
    assert "fusemax.sweep.cluster" in names
    assert len(names) > 0.9 * len(MODULES)
    code = f"""
import importlib, sys
for name in {names!r}:
    module = importlib.import_module(name)
    assert sys.prefix in (module.__file__ or ""), module.__file__
print(len({names!r}))
"""
    assert installed.run("python", "-c", code).strip() == str(len(names))


@pytest.mark.slow
def test_installed_commands_answer(installed: Installed) -> None:
    assert "reproduce" in installed.run("fusemax", "--help")
    assert "attention-1-pass" in installed.run("fusemax", "cascades")
    assert "RNV" in installed.run("fusemax", "cascades", "attention-1-pass")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cascade", "arch", "mapper"),
    [
        ("attention-3-pass", "flat-cloud", "unfused"),
        ("attention-3-pass", "flat-cloud", "flat"),
        ("attention-1-pass", "fusemax-cloud", "fusemax-interleaved"),
    ],
)
def test_installed_evaluate(installed: Installed, cascade: str, arch: str, mapper: str) -> None:
    where = ("--cascade", cascade, "--arch", arch, "--mapper", mapper)
    printed = installed.run("fusemax", "evaluate", *where, "--model", "BERT", "--seq-len", "4096", "--json")
    found = json.loads(printed)
    assert found["cascade"] == cascade
    assert found["latency_s"] > 0
    assert found["energy_j"] > 0


TABLES = {"attention.csv", "utilization_2d.csv", "end_to_end.csv", "pareto.csv", "comparison.csv"}


@pytest.mark.slow
def test_installed_reproduce_of_the_other_accounting(installed: Installed) -> None:
    installed.run("fusemax", "reproduce", "--no-figures", "--out", "physical", "--accounting", "physical")
    assert {*TABLES, "conclusions.csv"} <= {path.name for path in (installed.work / "physical").rglob("*.csv")}


@pytest.fixture(scope="module")
def headlines() -> dict[str, float]:
    """The headline figures as the working tree computes them."""
    return dict(headline(reproduce())[["metric", "ours"]].to_numpy())


@pytest.mark.slow
@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_reproduces_the_headline_figures_on(
    version: str, wheel: Path, headlines: dict[str, float], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The command's exit status is 1 if a published figure is missed; and the figures are the same everywhere."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = interpreter(version)
    here = request.getfixturevalue("installed") if version == running else Installed(tmp_path, wheel, python)
    assert here.run("python", "--version").startswith(f"Python {version}.")
    found = json.loads(here.run("fusemax", "reproduce", "--no-figures", "--json", "--out", "headline"))
    figures = {row["metric"]: row["ours"] for row in found["headline"]}
    assert found["failures"] == []
    assert figures["attention_speedup_binding_over_flat"] == pytest.approx(6.7226, abs=5e-5)
    assert figures == pytest.approx(headlines, rel=1e-12)
    assert {path.name for path in (here.work / "headline").glob("*.csv")} >= TABLES

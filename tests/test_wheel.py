"""The wheel: what it holds, what it needs, that it stands beside others, and that the suite passes on it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from einsum_cascades.extras import PACKAGES
from fusemax.comparison import headline
from fusemax.experiments import reproduce
from hatch_build import PACKAGE, ROOMS, Moved

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
NEED_EXTRAS = (
    *("fusemax.kernels.", "fusemax.einsum_cascades.code_cache"),
    *("fusemax.hw_models.simulator.rtl.", "fusemax.hw_models.simulator.timed.kernel."),
)
"""Modules that cannot be imported without an extra."""
HUGGING_FACE = "kernels==0.17.2"
"""Another distribution, whose one package has the name of a room."""
OF_THE_TREE = ("test_packaging.py", "test_hatch_build.py", "test_makefile.py", "test_wheel.py")
"""Tests of the repository itself."""


def held() -> dict[str, Path]:
    """The files that the wheel must hold, by their places in it."""
    found = {}
    for room in (PACKAGE, *ROOMS):
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                inside = path.relative_to(ROOT).as_posix()
                found[inside if room == PACKAGE else f"{PACKAGE}/{inside}"] = path
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--installer", "uv", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(folder.glob("*.tar.gz"))) == 1
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


def environment() -> dict[str, str]:
    """What processes find in their environment here, less what leads Python to the working tree."""
    hidden = ("PYTHON", "VIRTUAL_ENV", "PYTEST")
    return {key: value for key, value in os.environ.items() if not key.startswith(hidden)}


class Installed:
    """A new virtual environment with what is wanted in it, used from a folder of its own.

    Args:
        folder: where it is made.
        wanted: what is installed, one after the other.
        python: the Python that it is made with.
    """

    def __init__(self, folder: Path, *wanted: str, python: str = sys.executable) -> None:
        self.bin = folder / "venv" / "bin"
        self.work = folder / "elsewhere"
        self.work.mkdir()
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
        for requirement in wanted:
            self.install(requirement)

    def install(self, *requirements: str) -> None:
        """Install by uv, in seconds; where uv cannot, by pip."""
        command = ["install", "--quiet", "-c", str(ROOT / "constraints.txt"), *requirements]
        uv = [sys.executable, "-m", "uv", "pip", *command, "--python", str(self.bin / "python"), "--no-progress"]
        if subprocess.run(uv, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0:
            self.run("python", "-m", "pip", *command)

    def finish(self, program: str, *arguments: str, **others: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs, with what else its process finds in its environment."""
        return subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=self.work,
            env=environment() | {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", **others},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def run(self, program: str, *arguments: str) -> str:
        """Run a program that must succeed; return what it prints."""
        done = self.finish(program, *arguments)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    """What ``pip install fusemax`` gives."""
    return Installed(tmp_path_factory.mktemp("installed"), str(wheel))


def extras(wheel: Path, names: Iterable[str]) -> str:
    """The requirement for the wheel with extras."""
    return f"fusemax[{','.join(names)}] @ {wheel.as_uri()}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    """Hugging Face's kernels, then the wheel with what the suite needs."""
    wanted = extras(wheel, ("cluster", "kernels", "report", "rtl", "sweep", "test"))
    return Installed(tmp_path_factory.mktemp("whole"), HUGGING_FACE, wanted)


def test_it_holds_one_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == held().keys()


def test_every_module_imports_without_the_extras(installed: Installed) -> None:
    """All but those that are loops for a compiler, or of an extra that is there to be imported at once."""
    names = sorted(name[:-3].replace("/", ".").removesuffix(".__init__") for name in held() if name.endswith(".py"))
    code = f"""
import importlib, json, sys
needed = {{}}
for name in {[name for name in names if not name.endswith("__main__")]!r}:
    try:
        module = importlib.import_module(name)
        assert sys.prefix in (module.__file__ or ""), module.__file__
    except ModuleNotFoundError as error:
        needed[name] = error.name.partition(".")[0]
print(json.dumps(needed))
"""
    needed = json.loads(installed.run("python", "-c", code))
    assert len(needed) < len(names) / 10
    assert set(needed.values()) <= {package for packages in PACKAGES.values() for package in packages}
    assert all(name.startswith(NEED_EXTRAS) for name in needed)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_no_package_of_its_own(installed: Installed, room: str) -> None:
    assert installed.run("python", "-c", f"import importlib.util as u; print(u.find_spec({room!r}))").strip() == "None"
    assert installed.run("python", "-c", f"import fusemax.{room} as r; print(r.__name__)").strip() == f"fusemax.{room}"


def test_types_are_known_to_those_who_import_it(installed: Installed, tmp_path: Path) -> None:
    script = tmp_path / "uses.py"
    script.write_text(
        "import fusemax, fusemax.gpu\n\nreveal_type(fusemax.load_cascade)\nreveal_type(fusemax.gpu.compiled)\n"
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed.bin / "python")]
    done = subprocess.run(
        [*mypy, "--cache-dir", str(tmp_path / "cache"), "--follow-imports", "silent", script.name],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert "fusemax.einsum_cascades.ir.Cascade" in done.stdout, done.stdout + done.stderr
    assert "fusemax.kernels.gpu.generator.compiled.FusedKernel" in done.stdout
    assert "error" not in done.stdout


def test_installed_commands_answer(installed: Installed) -> None:
    assert "reproduce" in installed.run("fusemax", "--help")
    assert "attention-1-pass" in installed.run("fusemax", "cascades")
    assert "RNV" in installed.run("fusemax", "cascades", "attention-1-pass")
    assert "1 pass over M" in installed.run("fusemax", "analyze", "attention-1-pass")
    assert "iterate over M" in installed.run("fusemax", "rewrite", "attention-3-pass")


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("validate softmax-matmul", "kernels"),
        ("measure cpu", "kernels"),
        (
            "simulate --cascade attention-1-pass --arch fusemax-cloud --mapper unfused --model BERT --seq-len 64",
            "kernels",
        ),
        ("measure gpu", "gpu"),
        ("sweep figure-12 --out swept", "sweep"),
        ("report headline.csv", "report"),
    ],
)
def test_a_command_that_needs_an_extra_says_which(installed: Installed, command: str, extra: str) -> None:
    done = installed.finish("fusemax", *command.split())
    assert done.returncode == 2
    assert f"pip install 'fusemax[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("cascade", "arch", "mapper"),
    [
        ("attention-3-pass", "flat-cloud", "unfused"),
        ("attention-3-pass", "flat-cloud", "flat"),
        ("attention-1-pass", "fusemax-cloud", "fusemax-interleaved"),
        ("attention-1-pass", "cpu", "cpu-tiles"),
        ("attention-1-pass", "h100", "gpu-tiles"),
    ],
)
def test_installed_evaluate(installed: Installed, cascade: str, arch: str, mapper: str) -> None:
    where = ("--cascade", cascade, "--arch", arch, "--mapper", mapper)
    printed = installed.run("fusemax", "evaluate", *where, "--model", "BERT", "--seq-len", "4096", "--json")
    found = json.loads(printed)
    assert found["cascade"] == cascade
    assert found["latency_s"] > 0


TABLES = {"attention.csv", "utilization_2d.csv", "end_to_end.csv", "pareto.csv", "comparison.csv"}


def test_installed_reproduce_of_the_other_accounting(installed: Installed) -> None:
    """Figures too, and no Parquet, since the extra that brings it is not there."""
    said = installed.run("fusemax", "reproduce", "--out", "physical", "--accounting", "physical")
    assert "pip install 'fusemax[sweep]'" in " ".join(said.split())
    written = {path.name for path in (installed.work / "physical").rglob("*")}
    assert {*TABLES, "conclusions.csv"} <= written
    assert any(name.startswith("figure-07") for name in written)
    assert not any(name.endswith(".parquet") for name in written)


@pytest.fixture(scope="module")
def headlines() -> dict[str, float]:
    """The headline figures as the working tree computes them."""
    return dict(headline(reproduce())[["metric", "ours"]].to_numpy())


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_reproduces_the_headline_figures_on(
    version: str, wheel: Path, headlines: dict[str, float], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The command's exit status is 1 if a published figure is missed; and the figures are the same everywhere."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = interpreter(version)
    same = version == running
    here = request.getfixturevalue("installed") if same else Installed(tmp_path, str(wheel), python=python)
    assert here.run("python", "--version").startswith(f"Python {version}.")
    found = json.loads(here.run("fusemax", "reproduce", "--no-figures", "--json", "--out", "headline"))
    figures = {row["metric"]: row["ours"] for row in found["headline"]}
    assert found["failures"] == []
    assert figures["attention_speedup_binding_over_flat"] == pytest.approx(6.7226, abs=5e-5)
    assert figures == pytest.approx(headlines, rel=1e-12)
    assert {path.name for path in (here.work / "headline").glob("*.csv")} >= TABLES


BOTH = """
import kernels
import fusemax
import fusemax.gpu
import numpy as np

layer = kernels.LayerRepository(repo_id="kernels-community/activation", layer_name="SiluAndMul", version=1)
kernels.register_kernel_mapping({"SiluAndMul": {"cuda": layer}})
assert kernels.get_loaded_kernels() == []

cascade = fusemax.load_cascade("softmax-matmul")
rng = np.random.default_rng(0)
inputs = {name: rng.random((3, 3)) for name in cascade.inputs}
ours, expected = fusemax.compile_cascade(cascade).run(inputs), fusemax.interpret(cascade, inputs)
for name in ours:
    np.testing.assert_allclose(ours[name], expected[name], rtol=1e-12)
assert fusemax.gpu.compiled(fusemax.load_cascade("attention-alibi")).inputs
print(kernels.__name__, fusemax.compile_cascade.__module__)
"""


def test_it_stands_beside_another_package_named_kernels(whole: Installed, wheel: Path) -> None:
    """Installed after it, before it, and alone again."""
    expected = "kernels fusemax.kernels.compiler.compiled"
    assert whole.run("python", "-c", BOTH).strip() == expected
    whole.run("python", "-m", "pip", "uninstall", "--yes", "--quiet", "kernels")
    assert json.loads(whole.run("fusemax", "validate", "softmax-matmul", "--json"))["failed"] == 0
    whole.install(HUGGING_FACE)
    assert whole.run("python", "-c", BOTH).strip() == expected


FEW_OF_EACH = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    files = {}
    for item in items:
        tests = files.setdefault(item.path, {})
        if len(tests) < 4 and not item.get_closest_marker("slow"):
            tests.setdefault(getattr(item, "originalname", item.name), item)
    kept = {id(item) for tests in files.values() for item in tests.values()}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = [item for item in items if id(item) in kept]
"""


def test_the_default_suite_passes_on_it(whole: Installed) -> None:
    """Its imports rewritten as those of the wheel; the first tests of each file, for the first of their parameters and
    few examples of each law, since the suite itself tries all. What tests the repository itself is left out."""
    moved = Moved(ROOT)
    tests = whole.work / "tests"
    shutil.copytree(ROOT / "tests", tests, ignore=shutil.ignore_patterns("__pycache__", *OF_THE_TREE))
    for path in tests.rglob("*.py"):
        text = re.sub(r"max_examples=\d[\d_]*", "max_examples=3", moved(path.read_text(encoding="utf-8")))
        path.write_text(text, encoding="utf-8")
    for name in ("README.md", "Makefile", "pyproject.toml", "notebooks"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, whole.work / name)
    (whole.work / "conftest.py").write_text(FEW_OF_EACH, encoding="utf-8")
    spread = ("-n", "2") if importlib.util.find_spec("xdist") else ()
    left_out = ("--deselect", "tests/test_readme.py::test_links_lead_somewhere")
    cache = str(whole.work / "cache")
    done = whole.finish("python", "-m", "pytest", "-q", *spread, *left_out, XDG_CACHE_HOME=cache)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) > 500

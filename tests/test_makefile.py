"""Set-up by make: half-made environments, no network, interruptions; with a Python that only plays its part."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PLAYER = """#!/bin/sh
# A Python: the files beside say what its environments lack, and what pip says.
here='{here}'
echo "$*" >> "$here/calls"
case "$*" in
    "-c "*) exit 0 ;;
    "-m venv "*)
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        test -e "$here/no-ensurepip" && {{ echo "ensurepip is not available"; exit 1; }}
        touch "$3/has-pip" ;;
    "-m ensurepip") test -e "$here/no-ensurepip" && exit 1; touch "$(dirname "$0")/../has-pip" ;;
    "-m pip --version") test -e "$(dirname "$0")/../has-pip" ;;
    "-m pip install "*)
        while test "$1" != --log; do shift; done
        test -e "$here/pip-log" || exit 0
        cat "$here/pip-log" > "$2"
        cat "$here/pip-log" >&2
        exit 1 ;;
    *) exit 9 ;;
esac
"""
UNREACHABLE = (
    "WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(...)': /simple/hatchling/\n"
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what make reads, and the Python that plays its part."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "hatch_build.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    player = tmp_path / "player"
    player.write_text(PLAYER.format(here=tmp_path))
    player.chmod(0o755)
    return tmp_path


def make(clone: Path) -> subprocess.CompletedProcess[str]:
    """Run ``make install``; make's own settings, where a make runs this, stay out of it."""
    env = {key: value for key, value in os.environ.items() if "MAKE" not in key}
    return subprocess.run(
        ["make", "install", f"PYTHON={clone / 'player'}"], cwd=clone, env=env, capture_output=True, text=True
    )


def calls(clone: Path, what: str) -> int:
    return sum(line.startswith(f"-m {what}") for line in (clone / "calls").read_text().splitlines())


def test_an_environment_is_made_once(clone: Path) -> None:
    for _ in range(2):
        done = make(clone)
        assert done.returncode == 0, done.stderr
    assert (clone / ".venv" / ".installed").exists()
    assert (calls(clone, "venv"), calls(clone, "pip install")) == (1, 1)
    assert "-q" not in (clone / "calls").read_text().split()


def test_a_python_without_venv_leaves_nothing_behind(clone: Path) -> None:
    (clone / "no-ensurepip").touch()
    done = make(clone)
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr
    assert not (clone / ".venv").exists()
    assert not calls(clone, "pip install")
    (clone / "no-ensurepip").unlink()
    assert make(clone).returncode == 0


def test_a_half_made_environment_is_made_whole(clone: Path) -> None:
    (clone / "no-ensurepip").touch()
    subprocess.run([clone / "player", "-m", "venv", ".venv"], cwd=clone, capture_output=True)
    (clone / "no-ensurepip").unlink()
    assert (clone / ".venv" / "bin" / "python").exists()
    assert make(clone).returncode == 0
    assert calls(clone, "pip install") == 1


def test_an_environment_whose_python_is_gone_is_made_anew(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").symlink_to(clone / "gone")
    assert make(clone).returncode == 0
    assert calls(clone, "venv") == 1


def test_without_a_network_one_line_says_so(clone: Path) -> None:
    (clone / "pip-log").write_text(UNREACHABLE)
    done = make(clone)
    assert done.returncode != 0
    (said,) = [line for line in done.stderr.splitlines() if "No package index could be reached" in line]
    assert all(name in said for name in ("PIP_INDEX_URL", "PIP_FIND_LINKS"))
    assert not (clone / ".venv" / ".installed").exists()


def test_after_another_failure_it_goes_on(clone: Path) -> None:
    (clone / "pip-log").write_text("ERROR: No space left on device\n")
    done = make(clone)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
    assert "run make again" in done.stderr
    assert "No package index" not in done.stderr
    (clone / "pip-log").unlink()
    assert make(clone).returncode == 0
    assert calls(clone, "venv") == 1


def test_an_old_python_is_named(tmp_path: Path, clone: Path) -> None:
    (clone / "player").write_text("#!/bin/sh\nexit 1\n")
    done = make(clone)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr

"""The cache of machine code: used in later processes, never believed when damaged or another's."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import pytest

from einsum_cascades import code_cache

SOURCE = b"of the test"
NAME = "fusemax_test_module"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Warnings are given once in a process; here once in a test."""
    code_cache._unusable.cache_clear()
    yield
    code_cache._unusable.cache_clear()


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "fusemax" / "kernels"


def twice(x: float) -> float:
    return x + x


def run_anew(source: bytes = SOURCE) -> int:
    """Call a function that this process has not compiled; return how many signatures were found in the cache."""
    function = code_cache.kept(numba.njit(twice), source)
    assert function(2.0) == 4.0
    return sum(function._cache_hits.values())


def test_what_is_compiled_once_is_found_again(folder: Path) -> None:
    assert run_anew() == 0
    assert run_anew() == 1
    assert run_anew(b"another text") == 0
    assert {stat.S_IMODE(p.stat().st_mode) for p in (folder, folder.parent, folder.parent.parent)} == {0o700}
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def damaged(contents: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "cut": contents[: len(contents) // 2],
        "one byte": contents[:-1],
        "zeros": bytes(len(contents)),
        "a bit": contents[:100] + bytes([contents[100] ^ 1]) + contents[101:],
        "garbage": bytes(range(256)) * 20,
        "text": b"<html>",
        "more": contents + b"x",
    }


@pytest.mark.parametrize("kind", damaged(bytes(200)))
def test_damage_is_compiled_anew_and_mended(folder: Path, kind: str) -> None:
    run_anew()
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damaged(whole)[kind])
    assert code_cache.read(file) is None
    assert run_anew() == 0
    assert code_cache.read(file) is not None
    assert run_anew() == 1


def test_a_whole_file_of_something_else_is_compiled_anew(folder: Path) -> None:
    run_anew()
    (file,) = folder.iterdir()
    for contents in (b"no pickle", pickle.dumps(("another", "shape"))):
        code_cache.write(file, contents)
        assert run_anew() == 0
    assert run_anew() == 1


def test_folders_and_pipes_in_the_place_of_files(folder: Path) -> None:
    run_anew()
    (file,) = folder.iterdir()
    file.unlink()
    os.mkfifo(file)
    assert run_anew() == 0  # does not wait for a writer, and replaces it
    assert run_anew() == 1
    file.unlink()
    file.mkdir()
    with pytest.warns(UserWarning, match="not kept for later runs: Is a directory"):
        assert run_anew() == 0


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_read(folder: Path, mode: int) -> None:
    run_anew()
    (file,) = folder.iterdir()
    file.chmod(mode)
    assert code_cache.read(file) is None
    assert run_anew() == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
@pytest.mark.parametrize("level", [0, 1])
def test_a_folder_that_others_may_write_is_not_used(folder: Path, mode: int, level: int) -> None:
    run_anew()
    (folder, folder.parent)[level].chmod(mode)
    with pytest.warns(UserWarning, match="others may write to it; XDG_CACHE_HOME may name another folder"):
        assert run_anew() == 0
    assert run_anew() == 0  # told once: another warning would be an error
    assert len(list(folder.iterdir())) == 1


def test_what_belongs_to_another_user_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_anew()
    (file,) = folder.iterdir()
    mine = os.stat(file)
    theirs = os.stat_result((*mine[:4], 12345, *mine[5:]))
    assert code_cache._is_ours(mine)
    assert not code_cache._is_ours(theirs)
    assert code_cache._is_ours(os.stat_result((*mine[:4], 0, *mine[5:])))  # root may do anything anyway
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", lambda _: theirs)
        assert code_cache.read(file) is None
    if os.geteuid() == 0:
        os.chown(folder, 12345, -1)
        with pytest.warns(UserWarning, match="belongs to another user"):
            assert run_anew() == 0


def test_links_lead_to_what_is_checked(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.parent.mkdir(parents=True, mode=0o700)
    folder.symlink_to(elsewhere)
    assert (run_anew(), run_anew()) == (0, 1)
    elsewhere.chmod(0o777)
    with pytest.warns(UserWarning, match="others may write to it"):
        assert run_anew() == 0


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
    with pytest.warns(UserWarning, match="compiled kernels are not kept"):
        assert (run_anew(), run_anew()) == (0, 0)


def test_a_full_disk_is_told_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match="No space left on device") as found:
        assert (run_anew(), run_anew()) == (0, 0)
    assert len(found) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("given", "home"), [("", "/home/a"), ("relative/caches", "/home/a")])
def test_a_relative_folder_is_ignored(monkeypatch: pytest.MonkeyPatch, given: str, home: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", home)
    assert code_cache._base() == Path("/home/a/.cache")


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.warns(UserWarning, match="this user has no home folder"):
        assert run_anew() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run_anew() == 0  # told once


@pytest.mark.slow
def test_processes_that_compile_at_once(folder: Path) -> None:
    code = (
        "import numba; from einsum_cascades.code_cache import kept\n"
        "def f(x):\n    return x * 3\n"
        "g = kept(numba.njit(f), b'')\nprint(g(2.5))\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder.parent.parent)}
    together = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    assert [process.communicate()[0] for process in together] == ["7.5\n"] * 3
    assert len(list(folder.iterdir())) == 1

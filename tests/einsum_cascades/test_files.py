"""Files that users name: what is read, and what is refused at once, whatever stands behind the name."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from einsum_cascades import files
from einsum_cascades.errors import InputError
from einsum_cascades.files import MAX_TEXT_BYTES, read_bytes, read_text


def message(path: Path | str, most: int = MAX_TEXT_BYTES) -> str:
    with pytest.raises(InputError) as caught:
        read_text(path, most)
    assert caught.value.location is not None
    return str(caught.value)


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_text("a: ∨\n", encoding="utf-8-sig")
    assert read_text(good) == "a: ∨\n"
    assert read_bytes(str(good), 100) == b"\xef\xbb\xbfa: \xe2\x88\xa8\n"
    (tmp_path / "link.yaml").symlink_to(good)
    assert read_text(tmp_path / "link.yaml") == "a: ∨\n"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_text("a: 1\n")
    (tmp_path / "binary.yaml").write_bytes(b"a\nb\xff\xfe")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    cases: dict[Path | str, str] = {
        tmp_path: f"this is a directory, expected a file\n  give a file in it, such as {tmp_path}/binary.yaml",
        tmp_path / "god.yaml": "no such file\n  did you mean 'good.yaml'",
        tmp_path / "binary.yaml": "binary.yaml:2: this is not UTF-8 text: byte 3 is 0xff",
        tmp_path / "loop.yaml": "cannot be read: Too many levels of symbolic links",
        tmp_path / "a\0b": "cannot be read: ",
        tmp_path / "\ud800": "cannot be read: ",
        tmp_path / ("a" * 5000): "cannot be read: File name too long",
        good / "below": "cannot be read: Not a directory",
        "": "this is a directory",
    }
    for path, said in cases.items():
        assert said in message(path)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root reads everything, the system's refusal is stood in for."""
    path = tmp_path / "secret.yaml"
    path.write_text("a: 1\n")
    path.chmod(0)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert "cannot be read: Permission denied" in message(path)


def test_pipes_devices_and_sockets_are_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the name of a socket has 108 characters at most
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    monkeypatch.setattr(os, "open", None)
    for path, kind in {tmp_path / "pipe": "pipe", "/dev/zero": "device", "/dev/stdin": "", "socket": "socket"}.items():
        if kind or not stat.S_ISREG(os.stat(path).st_mode):
            assert f"this is not a regular file but a {kind}" in message(path)


def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Between the look at it and its opening; in a process of its own, which is ended if it hangs."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    code = """
import os, sys
from einsum_cascades.errors import InputError
from einsum_cascades.files import Path, read_bytes
file, pipe = sys.argv[1:]
Path.stat = lambda self: os.stat(file)
try:
    read_bytes(pipe, 100)
except InputError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "file"), str(tmp_path / "pipe")]
    root = Path(files.__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
    assert "this is not a regular file but a pipe" in done.stdout


def test_sizes_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"a" * 1024)
    assert len(read_text(path, 1024)) == 1024
    assert "the file has 1,025 bytes, more than 1 KiB" in (path.write_bytes(b"a" * 1025), message(path, 1024))[1]
    os.truncate(path, 2**40)  # a hole: nothing is read of it
    assert "the file has 1,099,511,627,776 bytes, more than 1 MiB" in message(path)


def test_a_file_that_says_it_is_empty_is_read_up_to_the_limit() -> None:
    endless = Path("/proc/self/status")
    if not endless.exists():
        pytest.skip("this system has no /proc")
    assert endless.stat().st_size == 0
    assert "more than 100" in message(endless, 100)

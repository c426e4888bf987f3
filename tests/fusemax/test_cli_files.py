"""Every file that a command reads or writes: what is no regular file is refused, and no command waits for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_sweep import environment

from fusemax import InputError
from fusemax.tables import check_file, write_atomically

COMMANDS = """
import json, sys
from typer.testing import CliRunner
from fusemax.cli import app

pipe, table, parquet, spec, out = sys.argv[1:]
shape = ["--mapper", "fusemax-serial", "--seq-len", "64"]
cascade, arch, model = (["--cascade", "attention-1-pass"], ["--arch", "fusemax-cloud"], ["--model", "BERT"])
for arguments in (
    ["analyze", pipe],
    ["cascades", pipe],
    ["rewrite", pipe],
    ["validate", pipe],
    ["evaluate", "--cascade", pipe, *arch, *model, *shape],
    ["evaluate", *cascade, "--arch", pipe, *model, *shape],
    ["evaluate", *cascade, *arch, "--model", pipe, *shape],
    ["evaluate", *cascade, *arch, "--hf-config", pipe, *shape],
    ["sweep", pipe, "--out", out],
    ["sweep", spec, "--out", out],
    ["report", table],
    ["report", parquet],
    ["measure", "cpu", "--compare", "--against", table],
    ["measure", "cpu", "--compare", "--arch", pipe],
    ["measure", "gpu", "--compare", "--against", table],
    ["rewrite", "softmax-matmul", "--out", pipe],
    ["measure", "cpu", "--out", table],
    ["measure", "cpu", "--arch-out", pipe],
    ["analyze", "attention-1-pass", "--plot", pipe.replace(".yaml", ".png")],
):
    done = CliRunner().invoke(app, arguments)
    print(json.dumps([arguments, done.exit_code, done.stderr]), flush=True)
"""


def test_no_command_waits_for_a_pipe(tmp_path: Path) -> None:
    """All in one process, which is ended if it hangs."""
    names = ["pipe.yaml", "pipe.csv", "pipe.parquet", "pipe.png"]
    for name in names:
        os.mkfifo(tmp_path / name)
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"axes: {{cascade: {tmp_path}/pipe.yaml, arch: fusemax-cloud, mapper: unfused, seq_len: 64}}")
    places = [*(tmp_path / name for name in names[:3]), spec, tmp_path / "out"]
    command = [sys.executable, "-c", COMMANDS, *map(str, places)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == COMMANDS.count('    ["')
    for arguments, status, errors in found:
        assert status == 2, arguments
        assert "not a regular file" in errors, arguments
    assert all((tmp_path / name).is_fifo() for name in names)
    assert not (tmp_path / "out").exists()


def test_a_file_replaces_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, message in {
        "pipe": "is not a regular file",
        "folder": "is a folder, not a file",
        "a" * 300: "is no name of a file",
        "a\0b": "is no name of a file",
    }.items():
        with pytest.raises(InputError, match=message):
            check_file(tmp_path / name)
        with pytest.raises(InputError, match=message if len(name) < 9 and "\0" not in name else "cannot write"):
            write_atomically(tmp_path / name, b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_is_followed_and_a_long_name_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("link", "a" * 255):
        check_file(tmp_path / name)
        write_atomically(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"

"""Run the commands that the README shows, and write what they print under them.

In a ``console`` block each line that starts with ``$`` is a command and the lines under it are its output. A ``yaml``
block whose first line is ``# NAME.yaml`` is a file that the commands may name. Used by ``make readme`` and by
``tests/test_readme.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
WIDTH = 80

_CONSOLE = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^```yaml\n(# ([\w-]+\.yaml)\n.*?)^```$", re.MULTILINE | re.DOTALL)


def refreshed(text: str) -> str:
    """Return the README with the output of every command as it is now."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for content, name in _FILE.findall(text):
            (work / name).write_text(content, encoding="utf-8")
        return _CONSOLE.sub(lambda block: _run_all(block[0], work), text)


def _run_all(block: str, work: Path) -> str:
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    return "\n".join(f"{command}\n{_run(command[2:], work)}" for command in commands)


def _run(command: str, work: Path) -> str:
    program = f'fusemax() {{ "{sys.executable}" -m fusemax "$@"; }}\n{command}'
    done = subprocess.run(
        ["bash", "-c", program],
        cwd=work,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    return "".join(f"{line}\n" for line in "\n".join(lines).strip("\n").splitlines())


if __name__ == "__main__":
    README.write_text(refreshed(README.read_text(encoding="utf-8")), encoding="utf-8")

"""How long commands take, from the start of Python to the last line: ``python tests/benchmarks/commands.py``.

Each runs once to fill the caches of files, then a few times; the median is printed as a row of a Markdown table.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

ROUNDS = 5
POINT = "--arch fusemax-cloud --mapper fusemax-interleaved --model BERT --seq-len 65536"
COMMANDS = (
    "--help",
    f"evaluate --cascade attention-1-pass {POINT}",
    "analyze attention-3-pass",
    "analyze attention-3-pass --model BERT --seq-len 65536 --buffer 16MiB --curve",
    "rewrite attention-3-pass",
    "evaluate --cascade attention-1-pass --arch h100 --mapper gpu-tiles --model BERT --seq-len 16384",
    "measure gpu --compare",
    "reproduce --no-figures",
    "reproduce",
)


def seconds(command: str, folder: Path) -> float:
    """Return how long one run takes.

    Raises:
        subprocess.CalledProcessError: the command fails.
    """
    start = perf_counter()
    subprocess.run([sys.executable, "-m", "fusemax", *command.split()], check=True, capture_output=True, cwd=folder)
    return perf_counter() - start


def main() -> None:
    print("| command | seconds |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            seconds(command, Path(folder))
            taken = median(seconds(command, Path(folder)) for _ in range(ROUNDS))
            print(f"| `fusemax {command}` | {taken:.2f} |", flush=True)


if __name__ == "__main__":
    main()

"""How fast half a million points get into a store, from the command line, and how much memory that takes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from small_sweep import environment

SPEC = """
axes:
  cascade: attention-1-pass
  arch: fusemax-cloud
  mapper: [fusemax-serial, fusemax-interleaved]
  model: [BERT, TrXL, T5, XLM]
  seq_len: {log_range: [1024, 2**20], factor: 4}
  array_2d.rows: {range: [16, 512, 16]}
  array_2d.columns: {range: [16, 512, 16]}
  array_1d.columns: [64, 128, 192, 256, 320, 384, 448, 512, 1024, 2048]
"""


def test_half_a_million_points_into_the_store(benchmark: Any, tmp_path: Path) -> None:
    spec = tmp_path / "space.yaml"
    spec.write_text(SPEC)
    runs = iter(range(1000))

    def sweep() -> None:
        out = tmp_path / str(next(runs))
        command = [sys.executable, "-m", "fusemax", "sweep", str(spec), "--out", str(out), "--workers", "2", "--json"]
        running = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
        benchmark.extra_info["peak_bytes"] = peak_bytes(running)

    benchmark.pedantic(sweep, rounds=3)


def peak_bytes(running: subprocess.Popen[bytes]) -> int:
    """Return the most memory that a process and its children had at a time, until its end."""
    peak, process = 0, psutil.Process(running.pid)
    while running.poll() is None:
        try:
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(member.memory_info().rss for member in family))
        except psutil.Error:
            pass
        time.sleep(0.02)
    assert running.returncode == 0
    return peak

"""How long a trace of a million tasks, two million events and a quarter more of occupancy, takes to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recordings import EPOCH, pipelined

from fusemax.simulation.perfetto import write_trace


def test_a_million_tasks(benchmark: Any, tmp_path: Path) -> None:
    recording, path = pipelined(1_000_000 // len(EPOCH) + 1), tmp_path / "run.pftrace"
    benchmark.pedantic(lambda: write_trace(path, recording), rounds=5, warmup_rounds=1)
    benchmark.extra_info["tasks"] = len(recording.tasks)
    benchmark.extra_info["bytes"] = path.stat().st_size

"""A sweep that needs no model: figures from closed forms, so that tests of the store and the runner are quick."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

SCHEMA = pa.schema(
    [
        ("point", pa.int64()),
        ("arch", pa.string()),
        ("array_2d.rows", pa.int64()),
        ("seq_len", pa.int64()),
        ("status", pa.string()),
        ("latency_s", pa.float64()),
        ("energy_j", pa.float64()),
        ("dram_bytes", pa.int64()),
        ("area_mm2", pa.float64()),
    ]
)


@dataclass(frozen=True)
class SmallSweep:
    """Points of a grid of rows and lengths; every seventh is filtered out, every eleventh has no cost.

    Attributes:
        points: before the filter.
        name: makes one spec another.
        seed: makes one sample another.
        point_s: how long each point takes at least.
        quick: so many points at the beginning take no time.
    """

    points: int
    name: str = "small"
    seed: int | None = 7
    point_s: float = 0.0
    quick: int = 0

    @property
    def text(self) -> str:
        return f"name: {self.name}\npoints: {self.points}\nseed: {self.seed}\n"

    @property
    def schema(self) -> pa.Schema:
        return SCHEMA


def evaluate(sweep: SmallSweep, start: int, stop: int) -> pa.Table:
    """Return the rows of some points."""
    time.sleep(sweep.point_s * max(0, stop - max(start, sweep.quick)))
    point = np.arange(start, stop)
    point = point[point % 7 != 3]
    rows, seq_len = 1 + point % 97, 1024 << point % 3
    failed = point % 11 == 5
    latency = seq_len / rows + 1e-3 * np.sin(point)
    energy = seq_len * np.sqrt(rows) + np.cos(point)
    columns = [
        pa.array(point, pa.int64()),
        pa.array(np.where(point % 2, "one", "two")),
        pa.array(rows, pa.int64()),
        pa.array(seq_len, pa.int64()),
        pa.array(np.where(failed, "no mapping fits", "ok")),
        pa.array(latency, pa.float64(), mask=failed),
        pa.array(energy, pa.float64(), mask=failed),
        pa.array(seq_len * 2, pa.int64(), mask=failed),
        pa.array(rows * 0.5, pa.float64(), mask=failed),
    ]
    return pa.table(columns, schema=SCHEMA)


RUN = """
import sys, fusemax, fusemax.sweep
from small_sweep import SmallSweep, evaluate
try:
    fusemax.sweep.run({sweep!r}, {folder!r}, evaluate=evaluate, **{options!r})
except fusemax.InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""
WRITE = """
import pyarrow.dataset, pyarrow.parquet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from fusemax.sweep.runner import run_sweep
from fusemax.sweep.writer import writing
from small_sweep import SmallSweep, evaluate
with ThreadPoolExecutor(2) as executor, writing({sweep!r}, Path({folder!r}), **{options!r}) as writer:
    run_sweep(writer=writer, sweep={sweep!r}, executor=executor, evaluate=evaluate)
"""


def start_run(folder: Path, sweep: SmallSweep, code: str = RUN, **options: object) -> subprocess.Popen[str]:
    """Start a process that runs a sweep: on processes of its own, or with ``WRITE`` on threads and at once."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code.format(sweep=sweep, folder=str(folder), options=options)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environment() -> dict[str, str]:
    """Return the environment in which a process finds fusemax and this file."""
    here = Path(__file__).parent
    path = os.pathsep.join(filter(None, (str(here.parents[1]), str(here), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", "NO_COLOR": "1"}


def gone(pids: list[int], seconds: float = 600.0) -> bool:
    """Whether all processes end within some time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids):
            return True
        time.sleep(0.02)
    return False


def write_half_a_result(begun: str) -> None:
    """In a worker, do as if the result were being written and did not fit the pipe: a length, and a part of so much."""
    frame = sys._getframe()
    while "result_queue" not in frame.f_locals:
        assert frame.f_back is not None
        frame = frame.f_back
    os.write(frame.f_locals["result_queue"]._writer.fileno(), b"\0\0\1\0half")
    Path(begun).touch()
    time.sleep(600)


def expected(sweep: SmallSweep) -> pa.Table:
    """Return the whole table, computed without a store."""
    return evaluate(replace(sweep, point_s=0.0), 0, sweep.points)

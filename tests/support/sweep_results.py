"""Stand-ins for what a sweep writes: tables of made-up points, and folders of parts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fusemax.sweep.parts import Header, encode

TOO_SMALL = "the buffer is too small for any mapping"
SPEC = "array_2d.rows: [16, 32, 64]\ncascade: [attention-1-pass, attention-3-pass]\n"


def sweep_table(points: int, *, seed: int = 0, failed: float = 0.1) -> pa.Table:
    """A table as a sweep writes it: axes, status, costs; rows that failed have no costs."""
    rng = np.random.default_rng(seed)
    rows = rng.choice([16, 32, 64], points)
    fails = rng.random(points) < failed
    latency = np.round(rng.lognormal(size=points) / rows, 4) + 1e-4

    def cost(values: Any) -> pa.Array:
        return pa.array(values, mask=fails)

    return pa.table(
        {
            "point": np.arange(points),
            "cascade": rng.choice(["attention-1-pass", "attention-3-pass"], points),
            "array_2d.rows": rows,
            "accounting": np.full(points, "physical"),
            "status": np.where(fails, TOO_SMALL, "ok"),
            "latency_s": cost(latency),
            "energy_j": cost(rng.lognormal(size=points)),
            "dram_bytes": cost(rng.integers(1, 50, points) * 4096),
            "area_mm2": cost(np.round(rows * rng.uniform(0.5, 1.5, points), 1)),
            "util_2d": cost(rng.random(points)),
            "bound": cost(rng.choice(["memory", "2d", "1d"], points)),
        }
    )


def write_sweep(
    folder: Path, table: pa.Table, *, points: int | None = None, batch_points: int = 100, spec: str = SPEC
) -> Path:
    """Write a sweep's folder with the rows of a table, batch by batch."""
    (folder / "points").mkdir(parents=True)
    whole = table.num_rows if points is None else points
    header = Header("0.1.0", 7, whole, batch_points, hashlib.sha256(spec.encode()).hexdigest())
    for start in range(0, table.num_rows, batch_points):
        batch = header.batch(start // batch_points)
        rows = table.slice(start, batch_points)
        (folder / "points" / batch.name).write_bytes(encode(rows, batch, header))
    (folder / "sweep.json").write_bytes(header.as_json())
    (folder / "sweep.yaml").write_text(spec)
    return folder


def brute_front(points: np.ndarray, maximize: list[bool]) -> list[int]:
    """The rows that no other row beats, by comparing all pairs; rows with a value that is not finite never count."""
    signed = points * np.where(maximize, -1.0, 1.0)
    usable = [i for i in range(len(points)) if np.isfinite(points[i]).all()]
    return [
        i for i in usable if not any((signed[j] <= signed[i]).all() and (signed[j] < signed[i]).any() for j in usable)
    ]

"""What the sweep ``area-split.yaml`` says: the best split of a chip's area, and how much it matters.

For each model, length and bandwidth: the split of the least latency (or energy times latency), of equals the smallest;
what it gains over the split of ``fusemax-cloud`` (a 256 by 256 array, 256 lanes, 16 MiB) at the same bandwidth; what
half as many lanes would cost; and what the splits within 5 % of the best have in common.
``python -m fusemax.studies.area_split DIR`` prints this as a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from einsum_cascades.errors import InputError, unknown

if TYPE_CHECKING:
    from pandas import DataFrame, Series

NEAR: Final = 1.05
"""Splits whose measure is at most this many times the least are near the best."""

OBJECTIVES: Final = ("latency", "energy-delay")
_CASE: Final = ["model", "seq_len", "dram.bandwidth_bytes_per_s"]
_PUBLISHED: Final = {
    "array_2d.rows": 256,
    "array_2d.columns": 256,
    "array_1d.columns": 256,
    "global_buffer.bytes": 16 * 2**20,
    "global_buffer.row_values": 256,
}
_GIB: Final = 2**30
_HEADS: Final = (
    "model",
    "keys",
    "GiB/s",
    "2D array",
    "lanes",
    "buffer, row",
    "latency",
    "gain",
    "half the lanes",
    "within 5 %",
    "their columns",
    "their buffers",
)


def best_splits(points: DataFrame, objective: str = "latency", accounting: str = "physical") -> DataFrame:
    """Return the best split of each case and what is near it.

    Args:
        points: rows of the sweep, in any order.
        objective: ``latency`` or ``energy-delay`` (energy times latency).
        accounting: which of the sweep's accountings.

    Returns:
        A row per model, length and bandwidth: ``rows``, ``columns``, ``lanes``, ``buffer_bytes`` and ``row_values`` (of
        a row of the buffer) of the best split, its ``latency_s``, ``energy_j`` and ``bound``; ``gain``, the published
        split's measure over the best's; ``half_lanes``, the measure of the best split with at most half a lane per
        column over the best's; ``splits`` that could be mapped and how many of them are ``near`` the best; of those the
        least and most ``columns`` and ``buffer_bytes``.
    """
    import pandas as pd

    there = points[(points["status"] == "ok") & (points["accounting"] == accounting)]
    there = there.assign(
        measure=there["latency_s"] * (there["energy_j"] if objective == "energy-delay" else 1),
        model=there["model"].astype(str),
    )
    return pd.DataFrame([_case(case, group) for case, group in there.groupby(_CASE)])


def _case(case: Any, splits: DataFrame) -> dict[str, Any]:
    best: Series[Any] = splits.sort_values(["measure", "area_mm2"]).iloc[0]
    half = splits[splits["array_1d.columns"] <= splits["array_2d.columns"] / 2]
    near = splits[splits["measure"] <= NEAR * best["measure"]]
    published = splits[(splits[list(_PUBLISHED)] == list(_PUBLISHED.values())).all(axis=1)]
    row = {
        **dict(zip(("model", "seq_len", "bandwidth_bytes_per_s"), case, strict=True)),
        "rows": best["array_2d.rows"],
        "columns": best["array_2d.columns"],
        "lanes": best["array_1d.columns"],
        "buffer_bytes": best["global_buffer.bytes"],
        "row_values": best["global_buffer.row_values"],
        "latency_s": best["latency_s"],
        "energy_j": best["energy_j"],
        "bound": best["bound"],
        "gain": float(published["measure"].iloc[0] / best["measure"]) if len(published) else float("nan"),
        "half_lanes": half["measure"].min() / best["measure"],
        "splits": len(splits),
        "near": len(near),
    }
    for name, column in {"columns": "array_2d.columns", "buffer_bytes": "global_buffer.bytes"}.items():
        row |= {f"least_{name}": near[column].min(), f"most_{name}": near[column].max()}
    return row


def markdown(splits: DataFrame) -> str:
    """Return best splits as a table in Markdown."""
    lines = [_HEADS, ("---",) * len(_HEADS)]
    for row in splits.to_dict("records"):
        lines.append(
            (
                str(row["model"]),
                f"{row['seq_len']:,}",
                f"{row['bandwidth_bytes_per_s'] / _GIB:g}",
                f"{row['rows']} × {row['columns']}",
                str(row["lanes"]),
                f"{_mib(row['buffer_bytes'])}, {row['row_values']}",
                f"{row['latency_s']:.4g} s",
                f"{row['gain']:.3f}",
                f"{row['half_lanes']:.2f}",
                f"{row['near']} of {row['splits']}",
                f"{row['least_columns']}–{row['most_columns']}",
                f"{_mib(row['least_buffer_bytes'])}–{_mib(row['most_buffer_bytes'])}",
            )
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mib(size: float) -> str:
    return f"{size / 2**20:g} MiB" if size >= 2**20 else f"{size / 2**10:g} KiB"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what the sweep area-split says: the best splits, and how much they matter."""
    parser = argparse.ArgumentParser("python -m fusemax.studies.area_split", description=main.__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path, help="what fusemax sweep wrote")
    parser.add_argument("--objective", choices=OBJECTIVES, default=OBJECTIVES[0])
    parser.add_argument("--accounting", choices=("physical", "published"), default="physical")
    parser.add_argument("--model", help="one model only")
    asked = parser.parse_args(arguments)

    try:
        splits = best_splits(_points(asked.folder), asked.objective, asked.accounting)
        if asked.model and asked.model not in set(splits["model"]):
            raise unknown("model", asked.model, set(splits["model"]))
    except InputError as error:
        parser.exit(2, f"error: {error}\n")
    print(markdown(splits[splits["model"] == asked.model] if asked.model else splits))


def _points(folder: Path) -> DataFrame:
    """Return the rows of the study's sweep.

    Raises:
        InputError: the folder holds no sweep, or another one.
    """
    from fusemax.sweep.store import open_store

    points = open_store(folder).frame()
    for name in ("accounting", *_CASE, *_PUBLISHED):
        if name not in points:
            raise InputError(
                f"'{folder}' holds another sweep: it does not vary '{name}'",
                hint="run 'fusemax sweep area-split --out DIR' first",
            )
    return points


if __name__ == "__main__":
    main()

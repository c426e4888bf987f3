"""The published evaluation's figures 6a to 12, drawn from our tables with the published values marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fusemax.figures import style
from fusemax.figures.attention import energy, speedup, utilization
from fusemax.figures.breakdown import breakdown_2d
from fusemax.figures.pareto import area_latency

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

Tables = Mapping[str, "DataFrame"]

FIGURES: Final[dict[str, Callable[[Tables], Figure]]] = {
    "figure-06a-utilization-1d": lambda t: utilization(t["attention"], "1d"),
    "figure-06b-utilization-2d": lambda t: utilization(t["attention"], "2d"),
    "figure-07-attention-speedup": lambda t: speedup(t["attention"], "attention"),
    "figure-08-attention-energy": lambda t: energy(t["attention"], "attention"),
    "figure-09-utilization-2d-by-einsum": lambda t: breakdown_2d(t["utilization_2d"]),
    "figure-10-end-to-end-speedup": lambda t: speedup(t["end_to_end"], "end_to_end"),
    "figure-11-end-to-end-energy": lambda t: energy(t["end_to_end"], "end_to_end"),
    "figure-12-area-latency": lambda t: area_latency(t["pareto"]),
}
"""File name (no suffix) to the function that draws it from the tables."""


def draw_all(
    tables: Tables,
    out_dir: Path | str,
    progress: Callable[[Path], None] | None = None,
    formats: Sequence[str] = style.USUAL_FORMATS,
) -> list[Path]:
    """Draw every figure as PNG and PDF, or in the formats named; the same tables give the same bytes.

    Args:
        tables: ``attention``, ``utilization_2d``, ``end_to_end`` and ``pareto``.
        out_dir: folder for the files, made if missing.
        progress: called with each path once it is written.
        formats: of each figure.

    Returns:
        The paths written, in the figures' order.

    Raises:
        InputError: the folder cannot be written.
        KeyError: a table is missing.
    """
    paths: list[Path] = []
    with style.style():
        for name, draw in FIGURES.items():
            for path in style.save(draw(tables), Path(out_dir) / name, formats):
                paths.append(path)
                if progress is not None:
                    progress(path)
    return paths

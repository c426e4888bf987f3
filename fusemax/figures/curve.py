"""The least off-chip traffic of a cascade against the capacity on chip: its ski-slope curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusemax.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fusemax.analysis import Analysis


def traffic_curve(analysis: Analysis) -> Figure:
    """Draw the curve, the compulsory traffic, and the buffer that was asked for, if one was.

    Args:
        analysis: one with a curve.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(style.COLUMN_WIDTH_IN, 2.6), layout="constrained")
    axes = figure.subplots()
    capacities = [point.buffer_bytes for point in analysis.curve]
    axes.plot(
        capacities,
        [point.dram_bytes for point in analysis.curve],
        color=style.BLUE,
        linewidth=1.2,
        label=f"{analysis.cascade.name}, {analysis.passes} pass{'es' * (analysis.passes != 1)} over {analysis.rank}",
    )
    axes.axhline(float(analysis.compulsory), label="each input and result once", **style.BASELINE_LINE)
    if analysis.bound is not None:
        axes.plot(
            [analysis.bound.buffer_bytes],
            [analysis.bound.dram_bytes],
            linestyle="none",
            marker="o",
            color=style.VERMILION,
            markersize=4,
            label="the buffer given",
        )
    axes.set(xscale="log", yscale="log", xlabel="Capacity on chip (bytes)", ylabel="Least off-chip traffic (bytes)")
    axes.grid()
    axes.legend(loc="upper right")
    return figure

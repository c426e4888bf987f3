"""The least off-chip traffic of a cascade against the capacity on chip: its ski-slope curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fusemax.figures import style
from fusemax.figures.ticks import readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fusemax.analysis import Analysis

COLOURS: Final = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE)
LINE_IN: Final = 0.15
DASHES: Final = ("solid", "dashed", "dotted")


def traffic_curve(*analyses: Analysis) -> Figure:
    """Draw the curve of each, the compulsory traffic, and the buffer that was asked for, if one was.

    Args:
        analyses: with a curve; of cascades that read and write the same, the compulsory traffic is one line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(style.COLUMN_WIDTH_IN, 2.6 + LINE_IN * (len(analyses) + 1)), layout="constrained")
    axes = figure.subplots()
    for place, analysis in enumerate(analyses):
        axes.plot(
            [point.buffer_bytes for point in analysis.curve],
            [point.dram_bytes for point in analysis.curve],
            color=COLOURS[place % len(COLOURS)],
            linestyle=DASHES[place // len(COLOURS) % len(DASHES)],
            linewidth=1.2,
            label=_label(analysis),
        )
    for number, least in enumerate(sorted({float(analysis.compulsory) for analysis in analyses})):
        axes.axhline(least, label="" if number else "each input and result once", **style.BASELINE_LINE)
    given = [analysis.bound for analysis in analyses if analysis.bound is not None]
    if given:
        axes.plot(
            [bound.buffer_bytes for bound in given],
            [bound.dram_bytes for bound in given],
            linestyle="none",
            marker="o",
            color=style.VERMILION,
            markersize=4,
            label="the buffer given",
        )
    axes.set(xscale="log", yscale="log", xlabel="Capacity on chip", ylabel="Least off-chip traffic")
    for axis in (axes.xaxis, axes.yaxis):
        readable(axis, "B")
    axes.grid()
    figure.legend(loc="outside upper left", title="cascade")
    return figure


def _label(analysis: Analysis) -> str:
    return f"{analysis.cascade.name}, {analysis.passes} pass{'es' * (analysis.passes != 1)} over {analysis.rank}"

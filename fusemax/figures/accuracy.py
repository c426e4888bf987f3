"""Predicted against measured time: one panel per device, a point for each kernel and shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fusemax.figures import style
from fusemax.figures.measured import COLOURS
from fusemax.figures.ticks import readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fusemax.measurement import Compared

BAND: Final = 0.2
"""Half the width of the shaded band: predictions off by this share of the measured time."""
PANEL_IN: Final = 3.0


def predicted_against_measured(rows: Sequence[Compared]) -> Figure:
    """Draw all that is predicted, on logarithmic axes; on the diagonal the model is right.

    Args:
        rows: measurements and predictions; those without a prediction are left out.
    """
    known = [row for row in rows if row.predicted_s is not None]
    devices = list(dict.fromkeys(row.measured.device for row in known))
    kernels = style.ordered((row.measured.kernel for row in known), tuple(COLOURS))
    figure = style.full_width(PANEL_IN + 0.4)
    for place, device in enumerate(devices, start=1):
        axes = figure.add_subplot(1, max(2, len(devices)), place)
        _panel(axes, [row for row in known if row.measured.device == device], kernels)
        axes.set_title(device)
        if place == 1:
            axes.set_ylabel("Predicted (s)")
    _legend(figure, kernels)
    return figure


def _panel(axes: Axes, rows: Sequence[Compared], kernels: Sequence[str]) -> None:
    for kernel in kernels:
        points = [(row.measured.median_s, row.predicted_s or 0.0) for row in rows if row.measured.kernel == kernel]
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            linestyle="none",
            marker="o",
            markersize=2.2,
            color=style.colour(kernel, COLOURS, kernels),
        )
    times = [time for row in rows for time in (row.measured.median_s, row.predicted_s or 0.0) if time > 0]
    ends = [min(times) / 2, max(times) * 2]
    axes.plot(ends, ends, **style.BASELINE_LINE)
    below, above = ([(1 + share) * end for end in ends] for share in (-BAND, BAND))
    axes.fill_between(ends, below, above, color=style.GREY, alpha=0.25, linewidth=0)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="Measured (s)", aspect="equal")
    readable(axes.xaxis)
    readable(axes.yaxis)
    axes.grid()


def _legend(figure: Figure, kernels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=3,
            color=style.colour(kernel, COLOURS, kernels),
            label=kernel.removeprefix("attention-"),
        )
        for kernel in kernels
    ]
    band = Patch(facecolor=style.GREY, alpha=0.25, label=f"within {BAND:.0%}")
    figure.legend(handles=[*handles, band], loc="outside upper center", ncols=min(len(handles) + 1, 5), title="kernel")

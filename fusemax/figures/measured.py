"""Measured and predicted rates of attention kernels against length: one panel per head size and mask.

The rate is that of the two matrix products that attention needs, masked scores left out, whatever a kernel multiplies:
kernels with more passes show lower rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fusemax.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fusemax.measurement import Compared
    from kernels.measure.table import Measurement

COLOURS: Final = {
    "attention-1-pass": style.BLUE,
    "attention-2-pass": style.GREEN,
    "attention-3-pass-deferred": style.ORANGE,
    "attention-3-pass": style.VERMILION,
    "cudnn": style.BLACK,
    "flash": style.GREY,
    "efficient": style.SKY,
    "math": style.PURPLE,
}
PREDICTED_LINE: Final = (0, (4, 3))
PANEL_IN: Final = 2.2


def rates_against_length(rows: Sequence[Compared]) -> Figure:
    """Draw square attentions (as many queries as keys), all devices in rows of panels.

    Args:
        rows: measurements and predictions; those with few queries are left out. Of several with one length, the one
            with most work is drawn.
    """
    square = [row for row in rows if row.measured.q_len == row.measured.kv_len]
    devices = list(dict.fromkeys(row.measured.device for row in square))
    panels = sorted({(row.measured.head_dim, row.measured.causal) for row in square}, key=lambda p: (-p[0], p[1]))
    figure = style.full_width(PANEL_IN * max(1, len(devices)) + 0.4)
    kernels = style.ordered((row.measured.kernel for row in square), tuple(COLOURS))
    if square:
        grid = figure.subplots(len(devices), len(panels), squeeze=False, sharey="row", sharex=True)
        for axes_row, device in zip(grid, devices, strict=True):
            for axes, (head_dim, causal) in zip(axes_row, panels, strict=True):
                chosen = [
                    row
                    for row in square
                    if (row.measured.device, row.measured.head_dim, row.measured.causal) == (device, head_dim, causal)
                ]
                _panel(axes, chosen, kernels)
                axes.set_title(f"Head size {head_dim}" + ", causal" * causal)
        for axes in grid[-1]:
            axes.set_xlabel("Length (queries and keys)")
        for axes, device in zip(grid[:, 0], devices, strict=True):
            axes.set_ylabel(f"TFLOP/s, {device}")
    _legend(figure, kernels)
    return figure


def _panel(axes: Axes, rows: Sequence[Compared], kernels: Sequence[str]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    lengths = sorted({row.measured.q_len for row in rows})
    ticks = [length for length in lengths if length & (length - 1) == 0] or lengths
    for kernel in kernels:
        most: dict[int, Compared] = {}
        for row in rows:
            length = row.measured.q_len
            if row.measured.kernel == kernel and (
                length not in most or _heads(row.measured) > _heads(most[length].measured)
            ):
                most[length] = row
        found = [most[length] for length in sorted(most)]
        if not found:
            continue
        colour = style.colour(kernel, COLOURS, kernels)
        x = [row.measured.q_len for row in found]
        measured = [_flops(row.measured) / row.measured.median_s / 1e12 for row in found]
        axes.plot(x, measured, color=colour, linewidth=1.0, marker="o", markersize=2.5)
        known = [row for row in found if row.predicted_s is not None]
        axes.plot(
            [row.measured.q_len for row in known],
            [_flops(row.measured) / (row.predicted_s or 1.0) / 1e12 for row in known],
            color=colour,
            linewidth=0.9,
            linestyle=PREDICTED_LINE,
        )
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(FixedLocator(ticks[:: max(1, len(ticks) // 4)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.length_label(round(value))))
    axes.grid()


def _heads(row: Measurement) -> int:
    return row.batch * row.heads


def _flops(row: Measurement) -> int:
    from kernels.measure.shapes import Shape

    return Shape(*row.shape).flops


def _legend(figure: Figure, kernels: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style.colour(kernel, COLOURS, kernels), label=kernel.removeprefix("attention-"))
        for kernel in kernels
    ]
    handles.append(Line2D([], [], color=style.CHARCOAL, marker="o", markersize=2.5, label="measured"))
    handles.append(Line2D([], [], color=style.CHARCOAL, linestyle=PREDICTED_LINE, label="predicted"))
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), 6), borderaxespad=0.2, title="kernel"
    )

"""Figure 12: latency against chip area over sizes of the 2D array, at 256K (Nayak et al., MICRO 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fusemax.figures import style
from fusemax.figures.ticks import readable
from fusemax.published import published

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from pandas import DataFrame

Design = tuple[float, float, int]
"""Chip area in mm2, latency in seconds, and rows (and columns) of the 2D array."""

LABEL_ROOM: Final = 8.0
_LINES: Final = (
    (style.BLUE, "o", "-"),
    (style.ORANGE, "s", "--"),
    (style.GREEN, "^", "-."),
    (style.PURPLE, "v", ":"),
)


def area_latency(pareto: DataFrame) -> Figure:
    """Draw one curve per model over its design points, labelled with the size of the 2D array.

    Designs that another design of the same model beats in both area and latency are drawn hollow.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(style.COLUMN_WIDTH_IN, 2.6), layout="constrained")
    axes = figure.subplots()
    models = style.models_in(pareto["model"])
    handles: list[Artist] = [_curve(axes, model, _designs(pareto, model), i) for i, model in enumerate(models)]
    for area, latency, pe_dim in _designs(pareto, models[0]):
        axes.annotate(f"{pe_dim}×{pe_dim}", (area, latency), (6, 4), textcoords="offset points", va="bottom", ha="left")
    known = [d[:2] for m in models for d in _designs(published("pareto"), m)]
    style.mark_published(axes, known)
    axes.set(xscale="log", yscale="log", xlabel="Chip area (mm²)", ylabel="Attention latency at 256K (s)")
    axes.set_xlim(pareto["area_mm2"].min() / 2, pareto["area_mm2"].max() * LABEL_ROOM)
    axes.margins(y=0.12)
    readable(axes.xaxis)
    readable(axes.yaxis)
    axes.grid()
    if known:
        handles.append(style.published_handle())
    axes.legend(handles=handles, loc="upper right", title="model")
    return figure


def _curve(axes: Axes, model: str, designs: list[Design], place: int) -> Line2D:
    shade, marker, dash = _LINES[place % len(_LINES)]
    best = [d for d in designs if not any(_beats(other, d) for other in designs)]
    worse = [d for d in designs if d not in best]
    (line,) = axes.plot(
        [area for area, _, _ in best],
        [latency for _, latency, _ in best],
        color=shade,
        marker=marker,
        linestyle=dash,
        markersize=5,
        linewidth=1.0,
        label=model,
    )
    axes.plot(
        [area for area, _, _ in worse],
        [latency for _, latency, _ in worse],
        color=shade,
        marker=marker,
        linestyle="none",
        markersize=5,
        markerfacecolor="none",
    )
    return line


def _designs(table: DataFrame, model: str) -> list[Design]:
    """Return a model's designs by size."""
    rows = table[table["model"] == model].sort_values("pe_dim")
    return [
        (float(a), float(t), int(n))
        for a, t, n in zip(rows["area_mm2"], rows["latency_s"], rows["pe_dim"], strict=True)
    ]


def _beats(one: Design, other: Design) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one[:2] != other[:2]

"""Figure 9: what keeps the 2D array busy, by Einsum, as a fraction of latency (Nayak et al., MICRO 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fusemax.figures import style
from fusemax.published import published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

BAR_WIDTH: Final = 0.72
STACK: Final = ("QK", "LM", "SLN", "SLD", "SLNV", "AV")

Fractions = dict[tuple[str, str, int, str], float]
"""A fraction of latency per (config, model, seq_len, einsum)."""


def breakdown_2d(utilization_2d: DataFrame) -> Figure:
    """Draw stacked fractions: one row per model, one column per configuration, one bar per length.

    Published values mark the top of each Einsum's share that is known, on the bar's right edge.
    """
    ours, theirs = _fractions(utilization_2d), _fractions(published("utilization_2d"))
    models = style.models_in(utilization_2d["model"])
    configs = style.configs_in(utilization_2d["config"])
    einsums = style.ordered(utilization_2d["einsum"], STACK)
    lengths = sorted({n for _, _, n, _ in ours})
    figure = style.full_width(0.75 + 0.95 * len(models))
    grid = figure.subplots(len(models), len(configs), sharex=True, sharey=True, squeeze=False)
    for i, model in enumerate(models):
        for j, config in enumerate(configs):
            _panel(grid[i][j], config, model, lengths, einsums, ours, theirs)
            if i == 0:
                grid[i][j].set_title(style.CONFIG_LABELS.get(config, config))
        grid[i][0].set_ylabel(model)
    figure.supxlabel("Sequence length", fontsize=style.FONT_PT)
    figure.supylabel("Fraction of latency the 2D array is busy", fontsize=style.FONT_PT)
    entries = [(e, style.colour(e, style.EINSUM_COLOURS, einsums)) for e in einsums]
    style.legend(figure, "Einsum", entries, published=any(point in ours for point in theirs))
    return figure


def _fractions(table: DataFrame) -> Fractions:
    rows = zip(table["config"], table["model"], table["seq_len"], table["einsum"], table["fraction"], strict=True)
    return {(str(c), str(m), int(n), str(e)): float(f) for c, m, n, e, f in rows}


def _panel(
    axes: Axes,
    config: str,
    model: str,
    lengths: list[int],
    einsums: list[str],
    ours: Fractions,
    theirs: Fractions,
) -> None:
    below = [0.0] * len(lengths)
    published_top = [0.0] * len(lengths)
    marks: list[tuple[float, float]] = []
    for einsum in einsums:
        share = [ours.get((config, model, n, einsum), 0.0) for n in lengths]
        axes.bar(
            range(len(lengths)),
            share,
            bottom=below,
            width=BAR_WIDTH,
            color=style.colour(einsum, style.EINSUM_COLOURS, einsums),
        )
        below = [b + s for b, s in zip(below, share, strict=True)]
        for place, n in enumerate(lengths):
            if (config, model, n, einsum) in theirs and (config, model, n, einsum) in ours:
                published_top[place] += theirs[config, model, n, einsum]
                marks.append((place + BAR_WIDTH / 2, published_top[place]))
    style.mark_published(axes, marks)
    axes.set_xlim(-0.6, len(lengths) - 0.4)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1.0], ["0", "0.5", "1"])
    labels = [style.length_label(n) if place % 2 == 0 else "" for place, n in enumerate(lengths)]
    axes.set_xticks(range(len(lengths)), labels)
    style.plain_panel(axes)

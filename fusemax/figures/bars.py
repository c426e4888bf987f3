"""Grouped bars: one panel per model, one group per sequence length, one bar per configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fusemax.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = Mapping[tuple[str, str, int], float]
"""A figure per (config, model, seq_len)."""

GROUP_WIDTH: Final = 0.84


@dataclass(frozen=True)
class BarSpec:
    """What a grouped bar chart says besides its values.

    Attributes:
        label: the y axis, with its unit or what it is relative to.
        limit: the top of the y axis, or None to fit the data.
        baseline: name of what the values are relative to, drawn as a dashed line at 1; empty for none.
    """

    label: str
    limit: float | None = None
    baseline: str = ""


def grouped_bars(values: Values, published: Values, spec: BarSpec) -> Figure:
    """Draw ours as bars and the published values as marks.

    Args:
        values: ours.
        published: the published values, any subset of the same points.
        spec: axis text and limits.
    """
    models = style.models_in(model for _, model, _ in values)
    configs = style.configs_in(config for config, _, _ in values)
    lengths = sorted({seq_len for _, _, seq_len in values})
    columns = min(2, len(models))
    rows = -(-len(models) // columns)
    figure = style.full_width(0.7 + 1.2 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.flat)
    for axes, model in zip(panels, models, strict=False):
        _panel(axes, model, configs, lengths, values, published)
        axes.set_title(model)
        if spec.baseline:
            axes.axhline(1.0, **style.BASELINE_LINE, zorder=3)
    for axes in panels[len(models) :]:
        axes.remove()
    panels[0].set_ylim(0, spec.limit)
    style.plain_ticks(panels[0].yaxis)
    figure.supxlabel("Sequence length", fontsize=style.FONT_PT)
    figure.supylabel(spec.label, fontsize=style.FONT_PT)
    entries = [(style.CONFIG_LABELS.get(c, c), style.colour(c, style.CONFIG_COLOURS, configs)) for c in configs]
    marked = any(point in values for point in published)
    style.legend(figure, "configuration", entries, published=marked, baseline=spec.baseline)
    return figure


def _panel(axes: Axes, model: str, configs: list[str], lengths: list[int], values: Values, published: Values) -> None:
    width = GROUP_WIDTH / len(configs)
    marks: list[tuple[float, float]] = []
    for place, config in enumerate(configs):
        offset = (place - (len(configs) - 1) / 2) * width
        points = [(i + offset, (config, model, n)) for i, n in enumerate(lengths)]
        axes.bar(
            [x for x, _ in points],
            [values.get(point, float("nan")) for _, point in points],
            width=width,
            color=style.colour(config, style.CONFIG_COLOURS, configs),
            edgecolor="white",
            linewidth=0.3,
        )
        marks += [(x, published[point]) for x, point in points if point in published and point in values]
    style.mark_published(axes, marks)
    axes.set_xlim(-0.55, len(lengths) - 0.45)
    axes.set_xticks(range(len(lengths)), [style.length_label(n) for n in lengths])
    style.plain_panel(axes)

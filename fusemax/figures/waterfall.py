"""What runs when, over a few epochs: a row for each array, port and link, a bar for each task; below, memories.

Bars have the colour of their Einsum or tensor, paler in odd epochs, and say which as far as there is room. Behind them,
lines mark where an epoch of the busiest array begins. As the binding's picture in Nayak et al., "FuseMax", MICRO 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from einsum_cascades.errors import short
from fusemax.figures import style
from fusemax.figures.levels import HEIGHT_IN as LEVEL_IN
from fusemax.figures.levels import LONGEST, draw_level, levels
from fusemax.figures.steady import boundaries, window
from hw_models.simulator.recording import KINDS, Recording, Tasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EPOCHS: Final = 3
ROW_IN: Final = 0.3
FILLED: Final = 0.86
"""Share of a row's height that bars take."""
HEADER: Final = 0.62
GAP: Final = 0.3
"""Room above the rows for the epochs' numbers, and between arrays, ports and links; in rows."""
LABEL_PT: Final = 6.0
LONG: Final = 10**9
"""Cycles whose number takes the room of two shorter ones."""
LANE: Final = "#F2F2F2"
HATCH: Final = "#DDDDDD"
PALER: Final = 0.5
"""How far bars of odd epochs are on the way to white."""
_POINTS: Final = 72.0
_PAD_PT: Final = 2.5
_AXIS_IN: Final = 0.4
_RIGHT_IN: Final = 0.74
_LINE_IN: Final = 0.15
_RIM: Final = 0.01

COLOURS: Final = {
    "BQK": style.VERMILION,
    "QK": style.VERMILION,
    "LM": style.CHARCOAL,
    "SLN": style.YELLOW,
    "SLD": "#AA9D00",
    "SLNV": style.PURPLE,
    "AV": style.WINE,
}
SPARE: Final = (
    style.BLUE,
    style.GREEN,
    style.ORANGE,
    style.SKY,
    "#332288",
    "#44AA99",
    "#8C6D31",
    "#AA4499",
    "#117733",
    "#CC6677",
    "#6699CC",
    "#DDCC77",
)


def waterfall(
    recording: Recording,
    *,
    first: int | None = None,
    last: int | None = None,
    epochs: int = EPOCHS,
    cycles: int | None = None,
) -> Figure:
    """Draw a stretch of a run.

    Args:
        recording: of the run.
        first: the first cycle; with neither, a few steady epochs from the middle.
        last: the cycle after the last.
        epochs: how many, where no cycle is named.
        cycles: of the whole run, if the recording is a part of it.

    Raises:
        InputError: nothing runs there, or more than a picture can show.
    """
    first, last = window(recording, first, last, epochs)
    shown = recording.between(first, last)
    rows = _rows(shown)
    colours = _colours(recording)
    subjects = [subject for subject in colours if subject in {recording.labels[k].subject for k in shown.tasks.labels}]
    page = _page(shown, rows, [(subject, colours[subject]) for subject in subjects], (first, last))
    _title(page, recording, cycles or recording.end)
    _lanes(page.axes, shown, rows, first, last)
    _epochs(page, recording, first, last)
    _bars(page, shown, rows, colours)
    _skipped(page, shown, rows)
    _time_axes(page, recording.frequency_hz)
    return page.figure


@dataclass(frozen=True)
class _Page:
    """A figure with its panel for tasks, and what has to fit into it.

    Attributes:
        figure: the whole.
        axes: the tasks' panel; x is cycles, y is rows from the top.
        lowest: the lowest panel, which has the axis of cycles.
        first, last: cycles at its ends.
        points: its width.
    """

    figure: Figure
    axes: Axes
    lowest: Axes
    first: int
    last: int
    points: float

    def width(self, begin: int, end: int) -> float:
        """Return the width of what is seen of some cycles, in points."""
        return max(0, min(end, self.last) - max(begin, self.first)) * self.points / (self.last - self.first)


def _rows(shown: Recording) -> dict[int, float]:
    """Return the top of the row of each track on which something runs, by kind."""
    used = set(shown.tasks.tracks.tolist())
    tops, top = dict[int, float](), HEADER
    for kind in KINDS:
        mine = [place for place, track in enumerate(shown.tracks) if track.kind == kind and place in used]
        for place in mine:
            tops[place], top = top, top + 1
        top += GAP * bool(mine)
    return tops


def _colours(recording: Recording) -> dict[str, str]:
    """Return a colour for each subject of the whole run, so that two pictures of it agree."""
    subjects = list(dict.fromkeys(label.subject for label in recording.labels))
    others = [subject for subject in subjects if subject not in COLOURS]
    spare = {subject: SPARE[place % len(SPARE)] for place, subject in enumerate(others)}
    return {subject: COLOURS.get(subject) or spare[subject] for subject in subjects}


def _page(
    shown: Recording, rows: dict[int, float], entries: Sequence[tuple[str, str]], stretch: tuple[int, int]
) -> _Page:
    """Lay out the page: title, legend, tasks, levels; all sizes are known, so that labels can be fitted."""
    from matplotlib.figure import Figure

    held = levels(shown, *stretch)
    names = [short(name, LONGEST) for name in (*(shown.tracks[k].name for k in rows), *(level.name for level in held))]
    left = (max(text_points(name, style.FONT_PT) for name in names) + 10) / _POINTS
    width = style.FULL_WIDTH_IN - left - _RIGHT_IN
    paler = len({epoch % 2 for epoch in shown.tasks.epochs.tolist() if epoch >= 0}) > 1
    columns, lines = _legend_shape(entries, paler)
    tall = (max(rows.values()) + 1 + (1 - FILLED) / 2) * ROW_IN
    top = (lines + 1) * _LINE_IN + 0.08 + _AXIS_IN
    height = top + tall + len(held) * LEVEL_IN + _AXIS_IN
    figure = Figure(figsize=(style.FULL_WIDTH_IN, height))

    def panel(above: float, inches: float) -> Axes:
        place = (left / style.FULL_WIDTH_IN, 1 - (above + inches) / height)
        return figure.add_axes((*place, width / style.FULL_WIDTH_IN, inches / height), xlim=stretch)

    axes = panel(top, tall)
    axes.set_ylim(tall / ROW_IN, 0)
    lowest = axes
    for number, level in enumerate(held):
        lowest = panel(top + tall + number * LEVEL_IN, LEVEL_IN)
        draw_level(lowest, level)
    _legend(figure, entries, columns, top=1 - (_LINE_IN + 0.06) / height, paler=paler)
    return _Page(figure, axes, lowest, *stretch, width * _POINTS)


def _legend_shape(entries: Sequence[tuple[str, str]], paler: bool) -> tuple[int, int]:
    """Return how many columns of the legend fit on the page, and how many lines that makes."""
    names = [*(name for name, _ in entries), *["paler: odd epochs"] * paler]
    entry = max(text_points(name, style.FONT_PT) for name in names[: len(entries)]) + 28
    columns = max(1, min(len(names), int(style.FULL_WIDTH_IN * _POINTS / entry) - paler))
    return columns, -(-len(names) // columns)


def _legend(figure: Figure, entries: Sequence[tuple[str, str]], columns: int, *, top: float, paler: bool) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, label=_plain(name)) for name, colour in entries]
    if paler:
        handles.append(Patch(facecolor=_pale(style.CHARCOAL), label="paler: odd epochs"))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, top),
        ncols=columns,
        borderaxespad=0,
        borderpad=0.2,
        labelspacing=0.25,
        columnspacing=1.0,
    )


def _title(page: _Page, recording: Recording, cycles: int) -> None:
    begins, _, numbers = boundaries(recording)
    seen = np.unique(numbers[(begins >= page.first) & (begins < page.last)]).tolist()
    said = f"Cycles {page.first:,} to {page.last:,} of {cycles:,}"
    if seen:
        said += f": epoch{'s' * (len(seen) > 1)} {seen[0]:,}" + f" to {seen[-1]:,}" * (len(seen) > 1)
    page.figure.text(2 / _POINTS / style.FULL_WIDTH_IN, 1 - 0.04 / page.figure.get_figheight(), said, va="top")


def _lanes(axes: Axes, shown: Recording, rows: dict[int, float], first: int, last: int) -> None:
    """Draw a lane for each row, with its name, and for which share of the time that was simulated it works."""
    tasks = shown.tasks
    seen = np.minimum(tasks.ends, last) - np.maximum(tasks.begins, first)
    skipped = sum(min(stretch.end, last) - max(stretch.begin, first) for stretch in shown.skipped)
    busy = np.bincount(tasks.tracks, seen, len(shown.tracks)) / max(1, last - first - skipped)
    for place, top in rows.items():
        axes.axhspan(top + (1 - FILLED) / 2, top + (1 + FILLED) / 2, facecolor=LANE, linewidth=0, zorder=0)
        _beside(axes, top + 0.5, f"{100 * busy[place]:.0f} %")
    _beside(axes, HEADER / 2 + 0.1, "busy")
    axes.set_yticks([top + 0.5 for top in rows.values()], [_plain(short(shown.tracks[k].name, LONGEST)) for k in rows])
    axes.tick_params(axis="y", length=0, pad=4)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _beside(axes: Axes, y: float, text: str) -> None:
    axes.annotate(text, (1, y), (5, 0), ("axes fraction", "data"), "offset points", va="center", annotation_clip=False)


def _epochs(page: _Page, recording: Recording, first: int, last: int) -> None:
    """Mark where epochs begin, and number those whose number fits."""
    begins, ends, numbers = boundaries(recording)
    seen = (ends > first) & (begins < last)
    for begin, end, number in zip(*(column[seen].tolist() for column in (begins, ends, numbers)), strict=True):
        room = page.width(begin, end)
        if first <= begin < last and room > 4:
            page.axes.axvline(begin, color=style.GREY, linewidth=0.5, linestyle=(0, (2, 2)), zorder=1)
        said = _longest((f"epoch {number:,}", f"{number:,}"), room)
        if said:
            middle = (max(begin, first) + min(end, last)) / 2
            page.axes.text(middle, HEADER / 2 + 0.1, said, ha="center", va="center", fontsize=LABEL_PT + 0.5)


def _bars(page: _Page, shown: Recording, rows: dict[int, float], colours: dict[str, str]) -> None:
    """Draw the tasks: one collection for each row, label and shade."""
    tasks = shown.tasks
    odd = tasks.epochs % 2 * (tasks.epochs >= 0)
    for place, label, shade in sorted(
        set(zip(tasks.tracks.tolist(), tasks.labels.tolist(), odd.tolist(), strict=True))
    ):
        mine = tasks.where((tasks.tracks == place) & (tasks.labels == label) & (odd == shade))
        base = colours[shown.labels[label].subject]
        colour = _pale(base) if shade else base
        lengths = mine.ends - mine.begins
        wide = int(lengths.max()) * page.points / (page.last - page.first)
        page.axes.broken_barh(
            list(zip(mine.begins.tolist(), lengths.tolist(), strict=True)),
            (rows[place] + (1 - FILLED) / 2, FILLED),
            facecolor=colour,
            edgecolor="white" if wide > 3 else colour,
            linewidth=0.4 if wide > 3 else 0.1,
            zorder=2,
            gid=f"{place}:{label}",
        )
        _names(page, mine, shown.labels[label].name, rows[place] + 0.5, _contrast(colour))


def _names(page: _Page, tasks: Tasks, name: str, y: float, colour: Any) -> None:
    """Write into each bar what it is, with its epoch, as far as there is room; upright where a bar is narrow."""
    last = name.split()[-1] if name.split() else name
    for begin, end, epoch in zip(tasks.begins.tolist(), tasks.ends.tolist(), tasks.epochs.tolist(), strict=True):
        room = page.width(begin, end)
        said = _longest((*([f"{name} {epoch}"] * (epoch >= 0)), name, last), room)
        upright = not said and room >= LABEL_PT + 1
        said = said or (_longest((name, last), ROW_IN * FILLED * _POINTS + _PAD_PT) if upright else "")
        if said:
            middle = (max(begin, page.first) + min(end, page.last)) / 2
            page.axes.text(
                middle,
                y,
                said,
                ha="center",
                va="center_baseline" if not upright else "center",
                rotation=90 if upright else 0,
                fontsize=LABEL_PT,
                color=colour,
                zorder=3,
                parse_math=False,
            )


def _skipped(page: _Page, shown: Recording, rows: dict[int, float]) -> None:
    """Hatch stretches in which nothing was simulated, and say why."""
    for stretch in shown.skipped:
        for panel in page.figure.axes:
            low, high = sorted(panel.get_ylim())
            cover = (low + _RIM * (high - low), (1 - 2 * _RIM) * (high - low))
            times = [(stretch.begin, stretch.end - stretch.begin)]
            panel.broken_barh(times, cover, facecolor="white", edgecolor=HATCH, hatch="////", linewidth=0, zorder=1.5)
        if said := _longest((stretch.label, "alike"), page.width(stretch.begin, stretch.end), style.FONT_PT):
            middle = (max(stretch.begin, page.first) + min(stretch.end, page.last)) / 2
            y = (HEADER + max(rows.values()) + 1) / 2
            page.axes.text(middle, y, said, ha="center", va="center", parse_math=False, backgroundcolor="white")


def _time_axes(page: _Page, frequency_hz: float) -> None:
    """Put cycles below and seconds above."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    span = (page.last - page.first) / frequency_hz
    unit, scale = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)) if span * s >= 1), ("ns", 1e9))
    per = scale / frequency_hz
    above = page.axes.secondary_xaxis("top", functions=(lambda x: np.asarray(x) * per, lambda x: np.asarray(x) / per))
    above.set_xlabel(f"Time ({unit})")
    page.lowest.set_xlabel("Cycle")
    for panel in page.figure.axes:
        panel.tick_params(axis="x", bottom=panel is page.lowest, labelbottom=panel is page.lowest)
    page.lowest.spines["bottom"].set_visible(True)
    for axis in (above.xaxis, page.lowest.xaxis):
        axis.set_major_locator(MaxNLocator(7 if page.last < LONG else 4, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.13g}"))


def _longest(texts: Sequence[str], room: float, size: float = LABEL_PT) -> str:
    """Return the first text that fits into some points, or none."""
    return next((text for text in texts if text and text_points(text, size) + 2 * _PAD_PT <= room), "")


@cache
def text_points(text: str, size: float) -> float:
    """Return the width of a text in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    found = FontProperties(family="DejaVu Sans", size=size)
    return float(text_to_path.get_text_width_height_descent(text, found, ismath=False)[0])


def _plain(text: str) -> str:
    """Return text in which matplotlib sees no formula."""
    return text.replace("$", r"\$")


def _pale(colour: str) -> Any:
    from matplotlib.colors import to_rgb

    return tuple(part + (1 - part) * PALER for part in to_rgb(colour))


def _contrast(colour: Any) -> str:
    """Return black or white, whichever is read better on a colour."""
    from matplotlib.colors import to_rgb

    red, green, blue = (((part + 0.055) / 1.055) ** 2.4 if part > 0.04045 else part / 12.92 for part in to_rgb(colour))
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "white"

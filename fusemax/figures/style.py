"""What all figures share: page sizes, fonts, colours, the published mark, and reproducible files.

Colours are Okabe and Ito's palette for colour-blind readers ("Color Universal Design", 2008), one fixed
colour per configuration in every figure. Figures use matplotlib's object interface only: no window system
and no pyplot state.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from einsum_cascades.errors import unknown
from fusemax.published import CONFIGS, MODELS
from fusemax.tables import write_atomically

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

FULL_WIDTH_IN: Final = 7.16
COLUMN_WIDTH_IN: Final = 3.5
FONT_PT: Final = 8.0
DPI: Final = 300

GREY: Final = "#999999"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
BLACK: Final = "#000000"
CHARCOAL: Final = "#555555"
WINE: Final = "#882255"

CONFIG_COLOURS: Final = dict(zip(CONFIGS, (GREY, ORANGE, SKY, GREEN, BLUE), strict=True))
CONFIG_LABELS: Final = {
    "unfused": "Unfused",
    "flat": "FLAT",
    "cascade": "+Cascade",
    "architecture": "+Architecture",
    "binding": "+Binding (FuseMax)",
}
EINSUM_COLOURS: Final = {
    "QK": VERMILION,
    "LM": BLACK,
    "SLN": YELLOW,
    "SLD": CHARCOAL,
    "SLNV": PURPLE,
    "AV": WINE,
}
SPARE_COLOURS: Final = (PURPLE, VERMILION, YELLOW, BLACK)
BASELINE_LINE: Final[Any] = {"color": BLACK, "linewidth": 0.7, "linestyle": (0, (4, 3))}

FORMATS: Final = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
"""Formats of figures, and what is left out of each so that the same figure gives the same bytes."""
USUAL_FORMATS: Final = ("png", "pdf")
"""Formats that figures are written in if none is asked for."""

_RC: Final[Any] = {
    "svg.hashsalt": "fusemax",
    "font.family": "DejaVu Sans",
    "font.size": FONT_PT,
    "axes.titlesize": FONT_PT,
    "axes.labelsize": FONT_PT,
    "xtick.labelsize": FONT_PT,
    "ytick.labelsize": FONT_PT,
    "legend.fontsize": FONT_PT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlepad": 4.0,
    "axes.labelpad": 3.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.handleheight": 0.8,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.4,
    "pdf.fonttype": 42,
    "savefig.dpi": DPI,
}


def full_width(height_in: float) -> Figure:
    """Return an empty figure as wide as the page, whose panels are laid out tightly when it is drawn."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.03, hspace=0.02)
    return Figure(figsize=(FULL_WIDTH_IN, height_in), layout=layout)


@contextmanager
def style() -> Iterator[None]:
    """Draw and save in the project's style, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def ordered(names: Iterable[object], first: Sequence[str]) -> list[str]:
    """Return the distinct names: those of ``first`` in its order, then the others as they come."""
    present = list(dict.fromkeys(map(str, names)))
    return [n for n in first if n in present] + [n for n in present if n not in first]


def models_in(names: Iterable[object]) -> list[str]:
    """Return the distinct models in the paper's order."""
    return ordered(names, MODELS)


def configs_in(names: Iterable[object]) -> list[str]:
    """Return the distinct configurations in the paper's order."""
    return ordered(names, CONFIGS)


def colour(name: str, known: dict[str, str], names: Sequence[str]) -> str:
    """Return the fixed colour of a name, or a spare one by its place among the names without one."""
    if name in known:
        return known[name]
    others = [n for n in names if n not in known]
    return SPARE_COLOURS[others.index(name) % len(SPARE_COLOURS)]


def length_label(seq_len: int) -> str:
    """Return a sequence length as papers write it: 1K, 256K, 1M; others in full."""
    for unit, size in (("M", 2**20), ("K", 2**10)):
        if seq_len >= size and seq_len % size == 0:
            return f"{seq_len // size}{unit}"
    return str(seq_len)


def mark_published(axes: Axes, points: Iterable[tuple[float, float]]) -> None:
    """Mark published values (x, y): small black diamonds with a white rim, readable on every bar."""
    marks = list(points)
    if marks:
        axes.plot(
            [x for x, _ in marks],
            [y for _, y in marks],
            linestyle="none",
            marker="D",
            markersize=2.8,
            markerfacecolor=BLACK,
            markeredgecolor="white",
            markeredgewidth=0.4,
            zorder=5,
            clip_on=False,
            label="published",
        )


def published_handle() -> Artist:
    """Return the legend's entry for published values."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker="D", markersize=3.2, color=BLACK, label="published")


def legend(figure: Figure, entries: Sequence[tuple[str, str]], *, published: bool, baseline: str = "") -> None:
    """Put one legend in a row above the panels.

    Args:
        figure: where.
        entries: (label, colour) of each kind of bar.
        published: whether published values are marked.
        baseline: name of the dashed line, empty for none.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = [Patch(facecolor=shade, label=label) for label, shade in entries]
    if baseline:
        handles.insert(0, Line2D([], [], label=baseline, **BASELINE_LINE))
    if published:
        handles.append(published_handle())
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), borderaxespad=0.2)


def plain_ticks(axis: Axis) -> None:
    """Write tick labels as plain numbers, as short as they go: 2.5, 10, 1,000."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def plain_panel(axes: Axes) -> None:
    """Leave the y axis to the leftmost panel of a row, and drop the ticks under bars."""
    place = axes.get_subplotspec()
    first = place is None or place.is_first_col()
    axes.spines["left"].set_visible(first)
    axes.tick_params(axis="y", left=first)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")


def formats_named(text: str) -> tuple[str, ...]:
    """Return the formats of a list with commas, such as ``svg`` or ``png,svg``.

    Raises:
        InputError: there is no such format.
    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    return names


def save(figure: Figure, stem: Path, formats: Iterable[str] = USUAL_FORMATS) -> list[Path]:
    """Write a figure as PNG and PDF, or in the formats named; the same figure gives the same bytes.

    Raises:
        InputError: the place cannot be written.
    """
    paths = []
    for suffix in formats:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, metadata=FORMATS[suffix])
        path = stem.with_name(f"{stem.name}.{suffix}")
        write_atomically(path, buffer.getvalue())
        paths.append(path)
        figure.set_layout_engine("none")
    return paths

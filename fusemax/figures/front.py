"""A Pareto front over any two columns of a result table: the front in front, the other points behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fusemax.figures import style
from fusemax.figures.ticks import UNITS_AT_TICKS, readable
from fusemax.report import columns
from fusemax.report.front import Objective, front_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from pandas import DataFrame
    from pyarrow import Table

    Rows = NDArray[np.int64]

COLOURS: Final = (style.SKY, style.ORANGE, style.GREEN, style.PURPLE, style.VERMILION, style.BLUE)
MANY_POINTS: Final = 2000
LOG_RATIO: Final = 30.0
"""Positive values that span more than this are drawn on a logarithmic axis."""


def plot_front(
    table: DataFrame | Table,
    x: str,
    y: str,
    *,
    objectives: Sequence[Objective] | None = None,
    by: Sequence[str] = (),
    front: Rows | None = None,
    shown: Rows | None = None,
    colour: str | None = None,
) -> Figure:
    """Draw the rows of a table and their Pareto front, under ``fusemax.figures.style.style()`` or any other style.

    Args:
        table: a row per point; those without a finite value in ``x`` or ``y`` are not drawn.
        x: column of the horizontal axis, logarithmic where the values span much.
        y: column of the vertical axis.
        objectives: what the front is over; the two axes if not given, high for utilisation, low for others.
        by: columns; each combination of their values has a front of its own.
        front: numbers of the rows on the front, if they are known already.
        shown: numbers of the rows to draw, if not all of them; the front is drawn whole.
        colour: column of few values that colours the other points.

    Returns:
        The figure.

    Raises:
        InputError: a column is unknown or holds no numbers, or moocore is not installed.
    """
    import pyarrow as pa
    from matplotlib.figure import Figure

    from fusemax.tables import arrow_table

    arrow: Table = table if isinstance(table, pa.Table) else arrow_table(table)
    columns.check_numeric(arrow, (x, y))
    columns.check_there(arrow, by)
    goals = tuple(objectives) if objectives is not None else (Objective.natural(x), Objective.natural(y))
    groups = columns.group(arrow, by)
    best = front_rows(arrow, goals, groups) if front is None else front
    figure = Figure(figsize=(style.COLUMN_WIDTH_IN, 2.9), layout="constrained")
    axes = figure.subplots()
    at = columns.values(arrow, x), columns.values(arrow, y)
    there = np.flatnonzero(np.isfinite(at[0]) & np.isfinite(at[1]))
    drawn = np.setdiff1d(there if shown is None else np.intersect1d(shown, there), best)
    _others(axes, at, drawn, arrow, colour)
    if {o.column for o in goals} == {x, y}:
        right = Objective(x, True) in goals
        for number in np.unique(groups[best]):
            _border(axes, at, best[groups[best] == number], right=right)
    _front(axes, at, best)
    every = np.concatenate([drawn, best])
    for name, found, axis, scale in ((x, at[0], axes.xaxis, axes.set_xscale), (y, at[1], axes.yaxis, axes.set_yscale)):
        if _spans(found[every], LOG_RATIO):
            scale("log")
        readable(axis, columns.unit(name))
    axes.set(xlabel=plain_text(_label(x)), ylabel=plain_text(_label(y)))
    axes.grid()
    title = plain_text(columns.title(colour)) if colour is not None else "points"
    figure.legend(loc="outside upper center", ncols=2, borderaxespad=0.2, title=title)
    return figure


def _label(column: str) -> str:
    """Return an axis's text, with its unit if the ticks do not have it."""
    return columns.title(column) if columns.unit(column) in UNITS_AT_TICKS else columns.label(column)


def _spans(found: NDArray[np.float64], ratio: float) -> bool:
    """Return whether values are all positive, and the largest is more than a multiple of the smallest."""
    finite = found[np.isfinite(found)]
    return bool(finite.size and finite.min() > 0 and finite.max() > ratio * finite.min())


def _others(axes: Axes, at: tuple[Any, Any], rows: Rows, table: Table, colour: str | None) -> None:
    """Draw the points that are not on the front, in any order, and as one picture even in a PDF."""
    from matplotlib.lines import Line2D

    shades = np.full(len(rows), style.GREY, dtype=object)
    entries = {"other points": style.GREY}
    if colour is not None:
        shades, entries = _shades(table.select([colour]).take(rows), colour)
    order = np.random.default_rng(0).permutation(len(rows))
    axes.scatter(
        at[0][rows][order],
        at[1][rows][order],
        s=1.5 if len(rows) > MANY_POINTS else 6.0,
        c=shades[order].tolist(),
        linewidths=0,
        rasterized=True,
    )
    for name, shade in entries.items():
        axes.add_line(Line2D([], [], linestyle="none", marker="o", markersize=3.5, color=shade, label=plain_text(name)))


def _shades(table: Table, column: str) -> tuple[NDArray[Any], dict[str, str]]:
    """Return each row's colour, and the colour of each value: the most frequent have one of their own."""
    codes, count = columns.encode(table, column)
    first = np.unique(codes, return_index=True)[1]
    names = columns.texts(table.take(first), column)
    frequent = np.argsort(-np.bincount(codes, minlength=count), kind="stable")[: len(COLOURS)].tolist()
    ordered = sorted(frequent) if columns.is_numeric(table, column) else sorted(frequent, key=lambda c: names[c] or "")
    shades = np.full(count, style.GREY, dtype=object)
    shades[ordered] = COLOURS[: len(ordered)]
    entries = {names[code] or "none": shade for code, shade in zip(ordered, COLOURS, strict=False)}
    return shades[codes], entries | ({"others": style.GREY} if count > len(ordered) else {})


def _border(axes: Axes, at: tuple[Any, Any], rows: Rows, *, right: bool) -> None:
    """Draw the border of what a front over the two axes dominates."""
    order = rows[np.lexsort((at[1][rows], at[0][rows]))]
    where: Any = "pre" if right else "post"
    axes.step(at[0][order], at[1][order], where=where, color=style.BLACK, linewidth=0.8, zorder=4)


def _front(axes: Axes, at: tuple[Any, Any], rows: Rows) -> None:
    axes.plot(
        at[0][rows],
        at[1][rows],
        linestyle="none",
        marker="D",
        markersize=3.4,
        markerfacecolor=style.BLACK,
        markeredgecolor="white",
        markeredgewidth=0.4,
        zorder=5,
        label="Pareto front",
    )


def plain_text(text: str) -> str:
    """Return text that matplotlib draws as it is: no formula between dollars, no hidden label."""
    shown = text.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown

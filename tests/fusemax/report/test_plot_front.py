"""The figure of a front: what is drawn where, on which axes, in which colours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sweep_results import brute_front, sweep_table

from einsum_cascades.errors import InputError
from fusemax.figures import style
from fusemax.figures.front import plot_front
from fusemax.report.front import Objective

TABLE = sweep_table(400, failed=0.0)
AT = np.column_stack([TABLE["area_mm2"].to_numpy(), TABLE["latency_s"].to_numpy()])


def draw(*arguments: object, **options: object) -> Figure:
    with style.style():
        figure = plot_front(TABLE, *arguments, **options)  # type: ignore[arg-type]
        figure.draw_without_rendering()
    return figure


def marked(figure: Figure) -> set[tuple[float, float]]:
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "Pareto front"]
    return {(float(x), float(y)) for x, y in line.get_xydata()}  # type: ignore[union-attr]


def test_front_and_others() -> None:
    figure = draw("area_mm2", "latency_s")
    best = brute_front(AT, [False, False])
    assert marked(figure) == {(x, y) for x, y in AT[best].tolist()}
    others = figure.axes[0].collections[0].get_offsets()
    assert len(others) == 400 - len(best)
    assert figure.axes[0].get_xlabel() == "Chip area (mm²)"
    assert figure.axes[0].get_ylabel() == "Latency (s)"
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize(("maximize", "drawn"), [(False, "steps-post"), (True, "steps-pre")])
def test_the_border_encloses_what_is_beaten(maximize: bool, drawn: str) -> None:
    figure = draw("area_mm2", "latency_s", objectives=(Objective("area_mm2", maximize), Objective("latency_s")))
    (border,) = [line for line in figure.axes[0].lines if line.get_drawstyle() != "default"]
    assert border.get_drawstyle() == drawn
    assert len(border.get_xdata()) == len(brute_front(AT, [maximize, False]))  # type: ignore[arg-type]


def test_a_front_over_other_objectives_has_no_border() -> None:
    goals = tuple(map(Objective, ("area_mm2", "latency_s", "energy_j")))
    figure = draw("area_mm2", "latency_s", objectives=goals)
    assert all(line.get_drawstyle() == "default" for line in figure.axes[0].lines)
    points = np.column_stack([TABLE[o.column].to_numpy() for o in goals])
    assert len(marked(figure)) == len(brute_front(points, [False] * 3))


def test_a_front_for_each_value() -> None:
    figure = draw("area_mm2", "latency_s", by=["bound"])
    bounds = np.array(TABLE["bound"].to_pylist())
    expected: set[tuple[float, float]] = set()
    for bound in ("memory", "2d", "1d"):
        rows = AT[bounds == bound]
        expected |= {(x, y) for x, y in rows[brute_front(rows, [False, False])].tolist()}
    assert marked(figure) == expected
    assert sum(line.get_drawstyle() == "steps-post" for line in figure.axes[0].lines) == 3


def test_colours_of_values() -> None:
    figure = draw("area_mm2", "latency_s", colour="bound")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["1d", "2d", "memory", "Pareto front"]
    assert len(np.unique(figure.axes[0].collections[0].get_facecolors(), axis=0)) == 3  # type: ignore[attr-defined]


def test_a_frame_with_names_that_are_formulas() -> None:
    frame = pd.DataFrame(
        {"_a$x": [1.0, 2.0, 3.0, 0.5], "b": [3.0, 1.0, np.nan, np.inf], "kind": ["$\\frac$", "_k", None, "k"]}
    )
    with style.style():
        figure = plot_front(frame, "_a$x", "b", colour="kind")
        figure.draw_without_rendering()
    assert len(marked(figure)) == 2


def test_one_point_and_none() -> None:
    with style.style():
        for rows in (1, 0):
            figure = plot_front(TABLE.slice(0, rows), "area_mm2", "latency_s")
            figure.draw_without_rendering()
            assert len(marked(figure)) == rows


def test_unknown_columns() -> None:
    with pytest.raises(InputError, match="did you mean 'area_mm2'"):
        plot_front(TABLE, "area", "latency_s")

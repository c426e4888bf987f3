"""Ticks of axes: enough of them wherever an axis begins and ends, and in units that can be read."""

from __future__ import annotations

from math import log2

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from fusemax.figures import style
from fusemax.figures.ticks import LEAST, log_ticks, readable

EXPONENT = st.floats(-12, 15)


@given(EXPONENT, st.floats(0.02, 12))
def test_a_logarithmic_axis_has_ticks_wherever_it_lies(start: float, decades: float) -> None:
    low, high = 10.0**start, 10.0 ** (start + decades)
    found = log_ticks(low, high)
    assert LEAST <= len(found) <= 12
    assert found == sorted(set(found))
    assert all(low <= place <= high for place in found)


@given(st.floats(3, 60), st.floats(0.1, 40))
def test_bytes_have_powers_of_two(start: float, octaves: float) -> None:
    low, high = 2.0**start, 2.0 ** (start + octaves)
    found = log_ticks(low, high, binary=True)
    assert LEAST <= len(found) <= 12
    assume(octaves > 4)
    assert all(log2(place).is_integer() for place in found)


@pytest.mark.parametrize(
    ("ends", "scale", "unit", "labels"),
    [
        ((2, 9), "log", "s", ["2", "3", "5", "7"]),
        ((40, 90), "log", "s", ["40", "50", "60", "70", "80", "90"]),
        ((4, 700), "log", "mm²", ["5", "10", "20", "50", "100", "200", "500"]),
        ((2**20, 2**23), "log", "B", ["1 MiB", "2 MiB", "4 MiB", "8 MiB"]),
        ((0, 2**22), "linear", "B", ["0 B", "1 MiB", "2 MiB", "3 MiB", "4 MiB"]),
        ((1e9, 5e11), "log", "B/s", ["1 GB/s", "10 GB/s", "100 GB/s"]),
        ((1e-3, 1e9), "log", "s", None),
    ],
)
def test_labels(ends: tuple[float, float], scale: str, unit: str, labels: list[str] | None) -> None:
    with style.style():
        figure = style.full_width(2.0)
        axes = figure.subplots()
        axes.set_xscale(scale)
        axes.set_xlim(ends)
        readable(axes.xaxis, unit)
        FigureCanvasAgg(figure).draw()
        found = [tick.label1.get_text() for tick in axes.xaxis.get_major_ticks()]
        assert not axes.xaxis.get_minor_ticks()
    if labels is None:
        assert all("10^" in text for text in found)
    else:
        assert found == labels or (len(found) > len(labels) >= 2 and set(labels) < set(found))

"""Figures 6a to 8, 10 and 11: utilization, speedup and energy of attention and of a whole encoder layer.

Nayak et al., MICRO 2024, figures 6-8 (attention), 10 and 11 (end to end); speedup and energy are
relative to the unfused baseline at the same model and length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fusemax.figures import style
from fusemax.figures.bars import BarSpec, Values, grouped_bars
from fusemax.published import published

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

BASELINE: Final = "unfused"
SUBJECTS: Final = {"attention": "Attention", "end_to_end": "End-to-end"}


def utilization(attention: DataFrame, array: str) -> Figure:
    """Draw the utilization of an array, ``1d`` or ``2d`` (figures 6a and 6b)."""
    column = f"util_{array}"
    spec = BarSpec(f"{array.upper()} array utilization", limit=1.0)
    return grouped_bars(_values(attention, column), _values(published("attention"), column), spec)


def speedup(table: DataFrame, name: str) -> Figure:
    """Draw latency as speedup over unfused (figure 7 for ``attention``, figure 10 for ``end_to_end``)."""
    spec = BarSpec(f"{SUBJECTS[name]} speedup over unfused (×)", baseline=style.CONFIG_LABELS[BASELINE])
    ours, theirs = (_relative(_values(t, "latency_s"), invert=True) for t in (table, published(name)))
    return grouped_bars(_without_baseline(ours), theirs, spec)


def energy(table: DataFrame, name: str) -> Figure:
    """Draw energy relative to unfused (figure 8 for ``attention``, figure 11 for ``end_to_end``)."""
    spec = BarSpec(f"{SUBJECTS[name]} energy relative to unfused", baseline=style.CONFIG_LABELS[BASELINE])
    ours, theirs = (_relative(_values(t, "energy_j"), invert=False) for t in (table, published(name)))
    return grouped_bars(_without_baseline(ours), theirs, spec)


def _values(table: DataFrame, column: str) -> dict[tuple[str, str, int], float]:
    rows = zip(table["config"], table["model"], table["seq_len"], table[column], strict=True)
    return {(str(config), str(model), int(n)): float(value) for config, model, n, value in rows}


def _relative(values: Values, *, invert: bool) -> dict[tuple[str, str, int], float]:
    pairs = {
        point: (value, values[BASELINE, *point[1:]])
        for point, value in values.items()
        if (BASELINE, *point[1:]) in values
    }
    return {point: base / value if invert else value / base for point, (value, base) in pairs.items()}


def _without_baseline(values: Values) -> dict[tuple[str, str, int], float]:
    return {point: value for point, value in values.items() if point[0] != BASELINE}

"""Does what we compute reproduce what was published? Every published figure has a tolerance.

    flat, cascade, architecture, binding   traffic, latency and utilisation within 1e-9, energy within 0.1%
    unfused and the linear layers          our own search: latency and traffic never more than the published
                                           mapper's, latency within 1% of it, energy at most 1% above
    end to end                             the sum of the two
    areas                                  within 2%
    averages                               attention within 1%, end to end within 2%

Relative errors are (ours - published) / published. The utilisation of a searched mapping follows from its
latency and has no tolerance of its own. Published figures: Nayak et al., "FuseMax", MICRO 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from fusemax.comparison import TABLES, compare, headline
from fusemax.published import KEYS, published

if TYPE_CHECKING:
    from pandas import DataFrame


class Tolerance(NamedTuple):
    """Relative errors that pass, from the lowest to the highest."""

    lowest: float
    highest: float

    def __str__(self) -> str:
        if self.lowest == -self.highest:
            return f"±{self.highest:.3g}"
        low = "any less" if self.lowest == -inf else f"{self.lowest:.3g}"
        return f"{low} to {self.highest:+.3g}"


ROUNDING: Final = 1e-15
"""Latency that counts as equal: sums taken in another order differ in the last bits."""

EXACT: Final = Tolerance(-1e-9, 1e-9)
ENERGY: Final = Tolerance(-1e-3, 1e-3)
AREA: Final = Tolerance(-0.02, 0.02)
SEARCHED: Final = {
    "latency_s": Tolerance(-0.01, ROUNDING),
    "dram_bytes": Tolerance(-inf, 0.0),
    "energy_j": Tolerance(-inf, 0.01),
}
SUMMED: Final = {
    "latency_s": Tolerance(-0.01, EXACT.highest),
    "dram_bytes": Tolerance(-inf, EXACT.highest),
    "energy_j": Tolerance(-inf, 0.01),
}
AVERAGES: Final = {
    "attention": Tolerance(-0.01, 0.01),
    "util": Tolerance(-0.01, 0.01),
    "end_to_end": Tolerance(-0.02, 0.02),
    "pareto": Tolerance(-0.02, 0.02),
}
COLUMNS: Final = ("table", "row", "metric", "published", "ours", "relative_error", "allowed")


def tolerance(table: str, config: str, metric: str) -> Tolerance | None:
    """Return the relative errors that pass, or None where a figure has no tolerance of its own.

    Args:
        table: a published table.
        config: the row's configuration, empty where the table has none.
        metric: the column, or for ``headline`` the name of the figure.
    """
    if table == "headline":
        return next(t for prefix, t in AVERAGES.items() if metric.startswith(prefix))
    if table == "linear" or config == "unfused":
        return SEARCHED.get(metric)
    if table == "end_to_end":
        return SUMMED[metric]
    if metric in ("area_mm2", "array_2d_area_mm2"):
        return AREA
    return ENERGY if metric == "energy_j" else EXACT


def failures(tables: Mapping[str, DataFrame]) -> DataFrame:
    """Return the published figures that our tables miss; none if the publication is reproduced.

    Args:
        tables: what ``fusemax.experiments.reproduce`` returned under the accounting ``published``.

    Returns:
        Columns ``COLUMNS``; a row that our tables lack has NaN in ``ours``.
    """
    import pandas as pd

    found = []
    for table, row, metric, theirs, ours, error in _figures(tables):
        allowed = tolerance(table, row.split(" ", 1)[0], metric)
        if allowed is not None and not allowed.lowest <= error <= allowed.highest:
            found.append((table, row, metric, theirs, ours, error, str(allowed)))
    return pd.DataFrame(found, columns=list(COLUMNS))


def _figures(tables: Mapping[str, DataFrame]) -> list[tuple[str, str, str, float, float, float]]:
    """Every published figure: table, row, metric, published, ours, relative error."""
    compared = compare({name: tables[name] for name in TABLES})
    figures = [
        (
            str(record["table"]),
            " ".join(str(record[key]) for key in KEYS[record["table"]]),
            str(record["metric"]),
            float(record["published"]),
            float(record["ours"]),
            float(record["relative_error"]),
        )
        for record in compared.to_dict("records")
    ]
    keys = list(KEYS["linear"])
    both = published("linear").merge(tables["linear"], on=keys, how="left", suffixes=("", "_ours"))
    for record in both.to_dict("records"):
        for metric in SEARCHED:
            theirs, ours = float(record[metric]), float(record[f"{metric}_ours"])
            row = " ".join(str(record[key]) for key in keys)
            figures.append(("linear", row, metric, theirs, ours, (ours - theirs) / theirs))
    for record in headline(tables).to_dict("records"):
        theirs, ours = float(record["published"]), float(record["ours"])
        metric = str(record["metric"])
        figures.append(("headline", "", metric, theirs, ours, float(record["relative_error"])))
    return figures

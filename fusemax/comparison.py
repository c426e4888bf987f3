"""Our figures beside the published ones: every published row, and the headline averages.

``relative_error`` is (ours - published) / published throughout, so its sign tells whether ours is larger.
Headline averages follow the paper: arithmetic means, over models and lengths, of the ratio at each point
(Nayak et al., MICRO 2024, evaluation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from einsum_cascades.errors import unknown
from fusemax.published import KEYS, published

if TYPE_CHECKING:
    from pandas import DataFrame, Series

TABLES: Final = ("attention", "utilization_2d", "end_to_end", "pareto")
KEY_COLUMNS: Final = ("config", "model", "seq_len", "einsum", "pe_dim")
COLUMNS: Final = ("table", *KEY_COLUMNS, "metric", "published", "ours", "relative_error")

Tables = Mapping[str, "DataFrame"]


class Headline(Protocol):
    """One headline figure, computed from the result tables."""

    def value(self, tables: Tables) -> float:
        """Return the figure, NaN where the tables have no row for it."""


@dataclass(frozen=True)
class MeanRatio:
    """Mean over models and lengths of ``column`` of one configuration over that of another."""

    table: str
    column: str
    numerator: str
    denominator: str

    def value(self, tables: Tables) -> float:
        """Return the arithmetic mean of the per-point ratios."""
        return float(point_ratios(tables[self.table], self.column, self.numerator, self.denominator).mean())


@dataclass(frozen=True)
class Cell:
    """One figure of one row."""

    table: str
    column: str
    where: tuple[tuple[str, str | int], ...]

    def value(self, tables: Tables) -> float:
        """Return the figure at the one row that ``where`` names."""
        rows = tables[self.table]
        for column, key in self.where:
            rows = rows[rows[column] == key]
        return float(rows[self.column].iloc[0]) if len(rows) else float("nan")


def _headlines() -> dict[str, Headline]:
    figures: dict[str, Headline] = {
        f"attention_speedup_{config}_over_flat": MeanRatio("attention", "latency_s", "flat", config)
        for config in ("cascade", "architecture")
    }
    for table in ("attention", "end_to_end"):
        for base in ("flat", "unfused"):
            figures[f"{table}_speedup_binding_over_{base}"] = MeanRatio(table, "latency_s", base, "binding")
            figures[f"{table}_energy_binding_over_{base}"] = MeanRatio(table, "energy_j", "binding", base)
    for label, seq_len in (("1k", 2**10), ("1m", 2**20)):
        where = (("config", "binding"), ("model", "BERT"), ("seq_len", seq_len))
        figures[f"util_2d_binding_bert_{label}"] = Cell("attention", "util_2d", where)
    for pe_dim in (256, 512):
        for column in ("latency_s", "area_mm2"):
            at = (("model", "BERT"), ("pe_dim", pe_dim))
            figures[f"pareto_{pe_dim}_{column}"] = Cell("pareto", column, at)
    return figures


HEADLINES: Final = _headlines()
"""How each figure of the published table ``headline`` is computed from result tables."""


def point_ratios(frame: DataFrame, column: str, numerator: str, denominator: str) -> Series[float]:
    """Return ``column`` of one configuration over that of another, indexed by model and seq_len.

    Points that only one of the two configurations has are left out.
    """
    points = frame.set_index(["model", "seq_len"])[["config", column]]
    above = points.loc[points["config"] == numerator, column].astype(float)
    below = points.loc[points["config"] == denominator, column].astype(float)
    return (above / below).dropna()


def compare(tables: Tables) -> DataFrame:
    """Set every published row of ``tables`` beside ours.

    Args:
        tables: result tables by name, any of ``TABLES``; other names are refused.

    Returns:
        Columns ``COLUMNS``, one row per published figure. Keys that a table lacks are missing values; a
        published row that ours lacks has NaN in ``ours`` and ``relative_error``.

    Raises:
        InputError: a table of another name.
    """
    import pandas as pd

    for name in tables:
        if name not in TABLES:
            raise unknown("result table", name, TABLES)
    parts = [_compare_table(name, tables[name]) for name in TABLES if name in tables]
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS))
    both = pd.concat(parts, ignore_index=True)
    for key in ("seq_len", "pe_dim"):
        both[key] = both[key].astype("Int64")
    return both


def headline(tables: Tables) -> DataFrame:
    """Compute the headline figures from our rows.

    Averages run over the models and lengths that the tables hold; the published ones are over four models
    and six lengths.

    Args:
        tables: the result tables ``attention``, ``end_to_end`` and ``pareto``.

    Returns:
        Columns metric, published, ours, relative_error, in the published table's order.

    Raises:
        KeyError: one of the three tables is missing.
    """
    figures = published("headline")
    figures["ours"] = [HEADLINES[metric].value(tables) for metric in figures["metric"]]
    figures["relative_error"] = (figures["ours"] - figures["published"]) / figures["published"]
    return figures


def deviations(tables: Tables) -> DataFrame:
    """Return, for each table and metric, the relative error that is largest in magnitude.

    Returns:
        Columns table, metric, rows (published figures compared), relative_error.
    """
    import pandas as pd

    both = compare(tables)
    rows: list[tuple[str, str, int, float]] = []
    for table, metric in dict.fromkeys(zip(both["table"], both["metric"], strict=True)):
        errors = both["relative_error"][(both["table"] == table) & (both["metric"] == metric)].dropna()
        rows.append((table, metric, len(errors), float(max(errors, key=abs, default=float("nan")))))
    return pd.DataFrame(rows, columns=["table", "metric", "rows", "relative_error"])


def _compare_table(name: str, ours: DataFrame) -> DataFrame:
    import pandas as pd

    keys = list(KEYS[name])
    theirs = published(name)
    metrics = [c for c in theirs.columns if c not in keys]
    both = theirs.merge(ours[keys + metrics], on=keys, how="left", suffixes=("", "_ours"), validate="1:1")
    long = pd.concat(
        [
            both[keys].assign(metric=m, published=both[m].astype(float), ours=both[f"{m}_ours"].astype(float))
            for m in metrics
        ],
        ignore_index=True,
    )
    long["relative_error"] = (long["ours"] - long["published"]) / long["published"]
    missing = {key: pd.Series(None, index=long.index, dtype=object) for key in KEY_COLUMNS if key not in keys}
    return long.assign(table=name, **missing)[list(COLUMNS)]

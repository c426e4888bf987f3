"""The published evaluation's figures, as tables in this project's columns and units.

Source: Nayak, Wu, Odemuyiwa, Pellauer, Emer, Fletcher, "FuseMax: Leveraging Extended Einsums to Optimize
Attention Accelerator Design", MICRO 2024 (arXiv:2406.10491), and its public artifact's results. Rows of
two models (BERT, T5) are published; ``headline`` holds the averages over four.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from einsum_cascades.errors import unknown

if TYPE_CHECKING:
    from pandas import DataFrame

CONFIGS: Final = ("unfused", "flat", "cascade", "architecture", "binding")
MODELS: Final = ("BERT", "TrXL", "T5", "XLM")

KEYS: Final[dict[str, tuple[str, ...]]] = {
    "attention": ("config", "model", "seq_len"),
    "utilization_2d": ("config", "model", "seq_len", "einsum"),
    "end_to_end": ("config", "model", "seq_len"),
    "pareto": ("model", "pe_dim"),
    "linear": ("array", "model", "seq_len"),
    "headline": ("metric",),
}
"""The columns that name a row of each published table; the other columns are figures."""

LINEAR_ARRAY: Final = {
    "unfused": "flat",
    "flat": "flat",
    "cascade": "flat",
    "architecture": "fusemax",
    "binding": "fusemax",
}
"""The array on which each configuration runs the linear layers (table ``linear``)."""


def published(table: str) -> DataFrame:
    """Return one published table, key columns first.

    Args:
        table: a name in ``KEYS``. ``end_to_end`` is the sum of ``attention`` and ``linear``, as published.

    Returns:
        One row per observation; SI units as the column names say.

    Raises:
        InputError: no published table has that name.
    """
    if table not in KEYS:
        raise unknown("published table", table, KEYS)
    return _end_to_end() if table == "end_to_end" else _read(table)


def _read(table: str) -> DataFrame:
    from importlib.resources import files

    from fusemax.tables import parse_csv

    resource = files("fusemax") / "published" / f"{table}.csv"
    frame = parse_csv(resource.read_text(encoding="utf-8"), resource.name)
    keys = list(KEYS[table])
    return frame[keys + [c for c in frame.columns if c not in keys]]


def _end_to_end() -> DataFrame:
    attention, linear = _read("attention"), _read("linear")
    attention["array"] = attention["config"].map(LINEAR_ARRAY)
    both = attention.merge(linear, on=["array", "model", "seq_len"], suffixes=("", "_linear"), validate="m:1")
    total = both[list(KEYS["end_to_end"])].copy()
    for column in ("dram_bytes", "latency_s", "energy_j"):
        total[column] = both[column] + both[f"{column}_linear"]
    return total

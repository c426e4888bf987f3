"""The off-chip memories whose timing is known by name: figures in ``dram.csv``, which cites their sources."""

from __future__ import annotations

from functools import cache

from einsum_cascades.errors import unknown
from hw_models.components.tables import rows
from hw_models.dram_timing import DramTiming


@cache
def _presets() -> dict[str, DramTiming]:
    columns: dict[str, dict[str, int]] = {}
    for row in rows("dram.csv"):
        figure = row.pop("figure")
        for name, value in row.items():
            columns.setdefault(name, {})[figure] = int(value)
    return {name: DramTiming(**figures) for name, figures in columns.items()}


def dram_presets() -> tuple[str, ...]:
    """Return the names of the memories whose timing is known."""
    return tuple(_presets())


def dram_timing(name: str) -> DramTiming:
    """Return the timing of a memory by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in _presets():
        raise unknown("timing", name, _presets())
    return _presets()[name]

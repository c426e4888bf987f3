"""Figure 12 of the FuseMax paper (Nayak et al., MICRO 2024) from the sweep ``figure-12.yaml``.

The sweep holds, for each size of the 2D array, every buffer with which the traffic hides behind the 1D array's work;
the published design is the one of the least area, as the paper's rule stops at the first such buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw_models.load import load_architecture
from hw_models.prices import node_prices

if TYPE_CHECKING:
    from pandas import DataFrame


def figure_12(points: DataFrame) -> DataFrame:
    """Return the table ``pareto`` of the sweep's points: the same that ``fusemax reproduce`` makes.

    Args:
        points: rows of the sweep, in any order.
    """
    there = points[points["status"] == "ok"]
    best = there.sort_values("area_mm2").drop_duplicates(["model", "array_2d.rows"]).sort_values("array_2d.rows")
    table = best.drop(columns="buffer_bytes")
    table = table.rename(columns={"array_2d.rows": "pe_dim", "global_buffer.bytes": "buffer_bytes"})
    table["array_2d_area_mm2"] = [
        _array_area_mm2(str(arch), int(dim)) for arch, dim in zip(best["arch"], best["array_2d.rows"], strict=True)
    ]
    columns = ["model", "pe_dim", "buffer_bytes", "dram_bytes", "latency_s", "array_2d_area_mm2", "area_mm2"]
    return table[columns].astype({"model": str}).reset_index(drop=True)


def _array_area_mm2(architecture: str, dim: int) -> float:
    overrides = [f"array_2d.rows={dim}", f"array_2d.columns={dim}"]
    return float(node_prices(load_architecture(architecture, overrides)).nodes["array_2d"].area_mm2)

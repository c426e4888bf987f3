"""The table of a sweep: a row per point, its axes, its status and its costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from fusemax.sweep.axes import Axis, AxisKind

if TYPE_CHECKING:
    import pyarrow as pa

OK: Final = "ok"
POINT: Final = "point"


def schema(axes: Iterable[Axis]) -> pa.Schema:
    """Return the columns: the point's index, one per axis, then status and costs."""
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string())
    kinds: dict[AxisKind, pa.DataType] = {"name": text, "flag": pa.bool_(), "whole": pa.int64(), "number": pa.float64()}
    costs = {
        "status": text,
        "latency_s": pa.float64(),
        "energy_j": pa.float64(),
        "dram_bytes": pa.int64(),
        "buffer_bytes": pa.int64(),
        "area_mm2": pa.float64(),
        "util_2d": pa.float64(),
        "util_1d": pa.float64(),
        "passes": pa.int64(),
        "bound": text,
    }
    fields = [(POINT, pa.int64()), *((a.name, kinds[a.kind]) for a in axes), *costs.items()]
    return pa.schema([pa.field(name, kind, nullable=name in costs) for name, kind in fields])

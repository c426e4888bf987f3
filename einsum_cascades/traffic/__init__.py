"""The least off-chip traffic of a cascade against the capacity of the buffer.

Every public name can be imported from here.
"""

from __future__ import annotations

from einsum_cascades.traffic.bound import (
    CurvePoint,
    SegmentPlan,
    TrafficBound,
    compulsory_bytes,
    separate_bound,
    traffic_bound,
    traffic_curve,
)

__all__ = [
    "CurvePoint",
    "SegmentPlan",
    "TrafficBound",
    "compulsory_bytes",
    "separate_bound",
    "traffic_bound",
    "traffic_curve",
]

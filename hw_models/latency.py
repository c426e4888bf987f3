"""Latency: phases follow one another, and each takes the longer of its computation and its off-chip traffic.

    latency = Σ over phases of max(cycles / frequency, DRAM bytes / bandwidth)

Source: the evaluation of FuseMax (Nayak et al., MICRO 2024), in which traffic overlaps computation perfectly.
"""

from __future__ import annotations

from hw_models.activity import Activity
from hw_models.architecture import Architecture


def latency_s(activity: Activity, architecture: Architecture) -> float:
    """Return an activity's latency in seconds: the number that strategies minimise and ``cost`` reports."""
    frequency, bandwidth = architecture.frequency_hz, architecture.bandwidth_bytes_per_s
    seconds = 0.0
    for phase in activity.phases:
        seconds += max(phase.cycles / frequency, phase.dram_bytes / bandwidth)
    return seconds


def dependence_s(activity: Activity, architecture: Architecture) -> dict[str, float]:
    """Return for how many seconds the latency depends on the memory and on each array (``bound.py``)."""
    frequency, bandwidth = architecture.frequency_hz, architecture.bandwidth_bytes_per_s
    found = {"memory": 0.0, "2d": 0.0, "1d": 0.0}
    for phase in activity.phases:
        compute, transfer = phase.cycles / frequency, phase.dram_bytes / bandwidth
        if transfer >= compute:
            found["memory"] += transfer
        if compute >= transfer:
            found["2d"] += phase.waits_2d / frequency
            found["1d"] += phase.waits_1d / frequency
    return found

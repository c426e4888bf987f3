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


def memory_s(activity: Activity, architecture: Architecture) -> float:
    """Return the part of the latency, in seconds, of the phases that off-chip traffic limits."""
    frequency, bandwidth = architecture.frequency_hz, architecture.bandwidth_bytes_per_s
    times = ((p.cycles / frequency, p.dram_bytes / bandwidth) for p in activity.phases)
    return sum(transfer for compute, transfer in times if transfer > compute)

"""The off-chip memory of a machine as arrays of integers, for ``dram.transfer``.

Ratios of clocks, and of bytes to cycles, are fractions whose denominators are at most 2^12 (2^16 between clocks), less
than a millionth off; times up to 2^40 cycles stay within 64 bits. A latency is rounded up to cycles and comes after all
else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.dram_timing import DramTiming
from hw_models.machine import Memory
from hw_models.simulator import dram

Integers = NDArray[np.int64]
_FREE = 1 << 60


@dataclass(frozen=True, eq=False)
class OffChip:
    """A memory's model.

    Attributes:
        params: for ``dram.transfer``; it is not changed.
        timing: of its channels, their number and clock such that they have the stated bandwidth; None for bandwidth and
            latency alone.
    """

    params: Integers
    timing: DramTiming | None

    def state(self) -> Integers:
        """Return the state of a memory that has not been used."""
        if self.timing is None:
            return np.zeros(3, dtype=np.int64)
        groups, banks = self.timing.groups, self.timing.banks
        bank = [-1, dram.NEVER, dram.NEVER, 0]
        head = np.full(dram.HEAD, dram.NEVER)
        head[dram.DUE], head[dram.TURN] = self.timing.t_refi or _FREE, 0
        channel = [*head, *[dram.NEVER] * (dram.GROUP * groups), *bank * (groups * banks)]
        return np.array(channel * self.timing.channels, dtype=np.int64)


def off_chip(memory: Memory, frequency_hz: float) -> OffChip:
    """Return the model of an off-chip memory: by its timing if it has one, else by bandwidth and latency.

    Args:
        memory: its numbers are single ones.
        frequency_hz: of the machine, whose cycles the model counts.
    """
    params = np.zeros(dram.PARAMS, dtype=np.int64)
    params[dram.LATENCY] = math.ceil(round(memory.latency_s * frequency_hz, 6))
    if memory.timing is None:
        for server, rate in enumerate(memory.rates):
            if rate is not None:
                place = dram.RATES + 2 * server
                params[place : place + 2] = _ratio(rate, frequency_hz, 1 << 12)
        return OffChip(params, None)
    timing = memory.timing.matched(memory.rates[0])
    params[dram.CLOCK], params[dram.MACHINE] = _ratio(timing.clock_hz, frequency_hz, 1 << 16)
    params[dram.CHANNELS] = timing.channels
    params[dram.GROUPS], params[dram.BANKS] = timing.groups, timing.banks
    params[dram.COLUMNS], params[dram.BURST] = timing.row_bytes // timing.burst_bytes, timing.burst_bytes
    for name in ("BL", "CCD_L", "CL", "CWL", "RCD", "RP", "RAS", "RRD_S", "RRD_L", "FAW", "RTP", "WR"):
        params[getattr(dram, name)] = getattr(timing, f"t_{name.lower()}")
    for name in ("WTR_S", "WTR_L", "RTW", "RFC", "REFI"):
        params[getattr(dram, name)] = getattr(timing, f"t_{name.lower()}")
    return OffChip(params, timing)


def _ratio(one: Any, other: float, largest: int) -> tuple[int, int]:
    found = (Fraction(float(one)) / Fraction(float(other))).limit_denominator(largest)
    return found.numerator, found.denominator

"""Timing of an off-chip memory: how a channel is built, and how long its commands keep others waiting.

peak rate = channels · burst bytes / t_bl · clock
row cycle = t_ras + t_rp
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeAlias

Number: TypeAlias = Any
"""A number, or an array with a value per machine."""


@dataclass(frozen=True)
class DramTiming:
    """Timing of a memory; times are in cycles of its command clock, of which JEDEC's names are tXXX.

    Attributes:
        clock_hz: of commands.
        channels: each with a data bus of its own; None is as many as a stated bandwidth takes.
        groups: bank groups of a channel; bursts to different ones follow each other without a gap.
        banks: of a group.
        row_bytes: of a bank: what an activation opens.
        burst_bytes: of one column command.
        t_bl: cycles of the data bus that a burst takes.
        t_ccd_l: from column command to column command, in a group.
        t_cl, t_cwl: from a read, a write, to its first data.
        t_rcd: from activation to column command.
        t_rp: from precharge to activation.
        t_ras: from activation to precharge.
        t_rrd_s, t_rrd_l: from activation to activation, of any groups, of one group.
        t_faw: in which at most four activations begin; 0 is without limit.
        t_rtp: from read to precharge.
        t_wr: from the end of written data to precharge.
        t_wtr_s, t_wtr_l: from the end of written data to a read, of any groups, of one group.
        t_rtw: from read to write.
        t_rfc: of a refresh.
        t_refi: from refresh to refresh; 0 is without refresh.
    """

    clock_hz: Number
    channels: Number
    groups: Number
    banks: Number
    row_bytes: Number
    burst_bytes: Number
    t_bl: Number
    t_ccd_l: Number
    t_cl: Number
    t_cwl: Number
    t_rcd: Number
    t_rp: Number
    t_ras: Number
    t_rrd_s: Number
    t_rrd_l: Number
    t_faw: Number
    t_rtp: Number
    t_wr: Number
    t_wtr_s: Number
    t_wtr_l: Number
    t_rtw: Number
    t_rfc: Number
    t_refi: Number

    @property
    def channel_bytes_per_s(self) -> Number:
        """Peak rate of one channel, bytes per second."""
        return self.burst_bytes / self.t_bl * self.clock_hz

    @property
    def peak_bytes_per_s(self) -> Number:
        """Peak rate of all channels, bytes per second."""
        return self.channels * self.channel_bytes_per_s

    def matched(self, bytes_per_s: float | None) -> DramTiming:
        """Return the timing of a memory with this peak rate; itself if None.

        Where the number of channels is open, it is the whole number next to the rate over a channel's. The clock is the
        one that gives the rate; all times in cycles stay as they are.
        """
        if bytes_per_s is None:
            return self
        channels = self.channels or max(1, round(bytes_per_s / self.channel_bytes_per_s))
        return replace(self, channels=channels, clock_hz=bytes_per_s / channels / self.burst_bytes * self.t_bl)


FIGURES: Final = tuple(field.name for field in fields(DramTiming))
"""What must be known of a memory."""

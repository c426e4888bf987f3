"""An off-chip memory burst by burst and command by command.

Nothing is kept but the list of all commands: the first cycle in which one is legal follows from all those before, by a
table of how long each kind keeps each other waiting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from hw_models.dram_timing import DramTiming


class Command(NamedTuple):
    at: int
    kind: str
    group: int = -1
    bank: int = -1
    row: int = -1


@dataclass
class PlainChannel:
    """One channel; times are cycles of its clock."""

    timing: DramTiming
    history: list[Command] = field(default_factory=list)
    refreshes: int = 0

    def __post_init__(self) -> None:
        """Make the table: how long a kind of command keeps another waiting, anywhere, in its group, in its bank."""
        t = self.timing
        written = t.t_cwl + t.t_bl
        self.anywhere = {
            ("ACT", "ACT"): t.t_rrd_s,
            ("RD", "RD"): t.t_bl,
            ("WR", "WR"): t.t_bl,
            ("RD", "WR"): t.t_rtw,
            ("WR", "RD"): written + t.t_wtr_s,
            ("REF", "ACT"): t.t_rfc,
            ("PRE", "REF"): t.t_rp,
        }
        self.in_group = {
            ("ACT", "ACT"): t.t_rrd_l,
            **{(one, other): t.t_ccd_l for one in ("RD", "WR") for other in ("RD", "WR")},
        }
        self.in_group["WR", "RD"] = max(t.t_ccd_l, written + t.t_wtr_l)
        self.in_bank = {
            ("ACT", "RD"): t.t_rcd,
            ("ACT", "WR"): t.t_rcd,
            ("ACT", "PRE"): t.t_ras,
            ("PRE", "ACT"): t.t_rp,
            ("RD", "PRE"): t.t_rtp,
            ("WR", "PRE"): written + t.t_wr,
        }

    def free(self, before: Command, kind: str, group: int, bank: int) -> int:
        """The first cycle in which a command allows one of a kind."""
        pair = before.kind, kind
        waits = [self.anywhere.get(pair)]
        if before.group == group:
            waits.append(self.in_group.get(pair))
            waits.append(self.in_bank.get(pair) if before.bank == bank else None)
        return max((before.at + wait for wait in waits if wait is not None), default=0)

    def issue(self, since: int, kind: str, group: int = -1, bank: int = -1, row: int = -1) -> int:
        """Append a command in the first cycle in which it is legal."""
        since = max([since, *(self.free(c, kind, group, bank) for c in self.history)])
        acts = [c.at for c in self.history if c.kind == kind == "ACT"]
        while sum(since < at + self.timing.t_faw for at in acts) >= 4:
            since += 1
        self.history.append(Command(since, kind, group, bank, row))
        return since

    def open_row(self, group: int, bank: int) -> int:
        of_bank = [c for c in self.history if (c.group, c.bank) == (group, bank) and c.kind in ("ACT", "PRE")]
        return of_bank[-1].row if of_bank else -1

    def refresh(self, due: int) -> None:
        t = self.timing
        for group in range(t.groups):
            for bank in range(t.banks):
                if self.open_row(group, bank) >= 0:
                    self.issue(due, "PRE", group, bank)
        self.issue(due, "REF")
        self.refreshes += 1

    def burst(self, arrival: int, group: int, bank: int, row: int, write: bool) -> int:
        """The end of the data of one burst."""
        t = self.timing
        while True:
            known = len(self.history)
            since = arrival
            if self.open_row(group, bank) != row:
                if self.open_row(group, bank) >= 0:
                    since = self.issue(since, "PRE", group, bank)
                since = self.issue(since, "ACT", group, bank, row)
            column = self.issue(since, "WR" if write else "RD", group, bank)
            due = (self.refreshes + 1) * t.t_refi
            if t.t_refi == 0 or column < due:
                return column + (t.t_cwl if write else t.t_cl) + t.t_bl
            del self.history[known:]
            self.refresh(due)


class PlainMemory:
    """A memory of several channels, with its address mapping."""

    def __init__(self, timing: DramTiming) -> None:
        self.timing = timing
        self.channels = [PlainChannel(timing) for _ in range(timing.channels)]

    def place(self, number: int) -> tuple[int, int, int, int]:
        """Channel, group, bank and row of a burst."""
        t = self.timing
        channel = sum(number // t.channels**power for power in range(4)) % t.channels
        rest, group = divmod(number // t.channels, t.groups)
        rest //= t.row_bytes // t.burst_bytes
        row, bank = divmod(rest, t.banks)
        return channel, group, (bank + row) % t.banks, row

    def transfer(self, start: int, address: int, runs: int, run_bytes: int, stride_bytes: int, write: bool) -> int:
        size, end = self.timing.burst_bytes, start
        if stride_bytes == run_bytes:
            runs, run_bytes = 1, runs * run_bytes
        for run in range(runs):
            begin = address + run * stride_bytes
            for number in range(begin // size, (begin + run_bytes - 1) // size + 1):
                channel, *place = self.place(number)
                end = max(end, self.channels[channel].burst(start, *place, write))
        return end

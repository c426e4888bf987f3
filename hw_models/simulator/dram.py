"""When a transfer to or from the off-chip memory is done: by bandwidth and latency, or by banks, rows and refresh.

Both models have one interface. A transfer is a set of runs of bytes; its time is that of its last byte:

    finish = transfer(state, params, start, address, runs, run_bytes, stride_bytes, write)

``off_chip.py`` makes ``params`` and ``state``, int64 arrays, of a machine's memory. All functions here are plain
loops over integers, which Numba compiles (``compiled``).

Bandwidth and latency. Each rate that is stated (shared, of reads, of writes) is a server: a transfer begins when it
is free, and takes its bytes over the rate; fractions of cycles are kept from transfer to transfer.

Timing. Address mapping, from the lowest part of an address: byte of a burst, channel, bank group, column, bank, row.
For C channels, the channel is the sum of the burst's number over 1, C, C^2 and C^3, modulo C, and the bank has the
row's number added to it modulo the banks, so that neither strides nor tensors that are read side by side fall on one
(Zhang, Zhu, Zhang, "A Permutation-based Page Interleaving Scheme to Reduce Row-buffer Conflicts and Exploit Data
Locality", MICRO 2000). Rows stay open until another one of the bank is needed or a refresh. A channel serves bursts
in the order in which they are called for; it sees a whole transfer, so rows are opened as early as activations, bank
and the transfer's start allow, while earlier data flow. With times as in ``hw_models/dram_timing.py``, commands of a
burst come at

    precharge  max(start, activation + t_ras, read + t_rtp, write's end + t_wr)              if another row is open
    activate   max(precharge + t_rp, last of the channel + t_rrd_s, of the group + t_rrd_l, fourth last + t_faw)
    column     max(activation + t_rcd, last of the channel + t_bl, of the group + t_ccd_l, turnaround of the bus)
    data end   column + t_cl (t_cwl for a write) + t_bl

Turnaround: t_rtw after a read, t_wtr_s after the end of a write's data, t_wtr_l in its group. Every t_refi a channel
stops: no column command comes from then on, all rows are closed, and nothing is opened until t_rfc later; refreshes
that fall due while nothing is called for pass unseen. Not modelled: reordering of transfers, contention on command
buses, refresh of single banks, several ranks. Bursts of one row follow in closed form, so the cost of a transfer
grows with the rows, and with the refreshes, that it meets.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from einsum_cascades.extras import require

# Places in params.
CHANNELS: Final = 0  # 0 is bandwidth and latency
LATENCY: Final = 1
CLOCK: Final = 2
MACHINE: Final = 3  # CLOCK cycles of the memory are MACHINE cycles of the machine
GROUPS: Final = 4
BANKS: Final = 5
COLUMNS: Final = 6
BURST: Final = 7
BL, CCD_L, CL, CWL, RCD, RP, RAS, RRD_S, RRD_L, FAW, RTP, WR, WTR_S, WTR_L, RTW, RFC, REFI = range(8, 25)
PARAMS: Final = 25
RATES: Final = 4  # bandwidth alone: bytes per cycle, as numerator and denominator, shared, of reads, of writes

# A channel's state; then GROUP places for each group, then BANK places for each bank.
DUE, READ, WRITE, TURN = range(4)
ACTS: Final = 4  # the last four activations
HEAD: Final = 8
ACT, COLUMN, WRITTEN = range(3)
GROUP: Final = 3
ROW, OPENED, CLOSABLE, OPENABLE = range(4)
BANK: Final = 4
NEVER: Final = -(1 << 40)


def transfer(
    state: Any, params: Any, start: int, address: int, runs: int, run_bytes: int, stride_bytes: int, write: bool
) -> Any:
    """Return when a transfer is done, in cycles of the machine, and keep in ``state`` what later ones meet.

    Args:
        state, params: of the memory.
        start: first cycle in which the transfer may begin. Transfers are served in the order of calls.
        address: of the first byte, at least 0.
        runs: number of runs.
        run_bytes: bytes of a run.
        stride_bytes: from the beginning of a run to that of the next; runs that follow without a gap are one.
        write: whether it writes; else it reads.
    """
    if runs <= 0 or run_bytes <= 0:
        return start
    if params[CHANNELS] == 0:
        return paced(state, params, start, runs * run_bytes, write)
    if stride_bytes == run_bytes:
        runs, run_bytes = 1, runs * run_bytes
    clock, machine = params[CLOCK], params[MACHINE]
    arrival = -(-start * clock // machine)
    end = arrival
    for run in range(runs):
        end = max(end, run_end(state, params, arrival, address + run * stride_bytes, run_bytes, write))
    return -(-end * machine // clock) + params[LATENCY]


def paced(state: Any, params: Any, start: int, size: int, write: bool) -> Any:
    """Return when so many bytes have passed the servers of their rates."""
    end = start
    for server in range(3):
        rate, per = params[RATES + 2 * server], params[RATES + 2 * server + 1]
        if rate > 0 and (server == 0 or (server == 2) == write):
            state[server] = max(state[server], start * rate) + size * per
            end = max(end, -(-state[server] // rate))
    return end + params[LATENCY]


def run_end(state: Any, params: Any, arrival: int, address: int, size: int, write: bool) -> Any:
    """Return when the bytes of a run are done, in cycles of the memory, as all below."""
    channels = params[CHANNELS]
    first, last = address // params[BURST], (address + size - 1) // params[BURST]
    end = arrival
    if last - first < channels:
        for burst in range(first, last + 1):
            line = burst // channels
            channel = (burst + skew(line, channels)) % channels
            end = max(end, bursts_end(state, params, arrival, channel, line, line + 1, write))
        return end
    top, bottom = first // channels, last // channels
    top_skew, bottom_skew = skew(top, channels), skew(bottom, channels)
    for channel in range(channels):
        begin = top + ((channel - top_skew) % channels < first % channels)
        after = bottom + ((channel - bottom_skew) % channels <= last % channels)
        if begin < after:
            end = max(end, bursts_end(state, params, arrival, channel, begin, after, write))
    return end


def skew(line: int, channels: int) -> Any:
    """Return by how many channels a line of bursts, one for each channel, is shifted."""
    return line + line // channels + line // (channels * channels)


def bursts_end(state: Any, params: Any, arrival: int, channel: int, begin: int, after: int, write: bool) -> Any:
    """Return when bursts of a channel are done, given by their numbers in it."""
    span = params[GROUPS] * params[COLUMNS]
    base = channel * (HEAD + params[GROUPS] * (GROUP + BANK * params[BANKS]))
    end = arrival
    while begin < after:
        stop = min(after, (begin // span + 1) * span)
        end = max(end, row_end(state, params, arrival, base, begin, stop, write))
        begin = stop
    return end


def row_end(state: Any, params: Any, arrival: int, base: int, begin: int, stop: int, write: bool) -> Any:
    """Return when bursts are done that lie in one row of each bank group: one after another, group by group."""
    groups, step = params[GROUPS], params[BL]
    place = begin // (groups * params[COLUMNS])
    row = place // params[BANKS]
    bank = (place + row) % params[BANKS]
    column = arrival
    while begin < stop:
        due = state[base + DUE]
        opened = min(groups, stop - begin)
        for index in range(begin, begin + opened):
            column = burst_column(state, params, arrival, base, index % groups, bank, row, write)
        begin += opened
        if begin < stop and state[base + DUE] == due:
            more = min(stop - begin, (due - 1 - column) // step)
            for index in range(max(0, more - groups), more):
                at = column + (index + 1) * step
                note(state, params, base, (begin + index) % groups, bank, at, write)
            column += more * step
            begin += more
    return column + step + (params[CWL] if write else params[CL])


def burst_column(state: Any, params: Any, arrival: int, base: int, group: int, bank: int, row: int, write: bool) -> Any:
    """Return when a burst's column command comes; its bank's row is opened before, if it is not open."""
    place = bank_place(params, base, group, bank)
    while True:
        opened = state[place + OPENED]
        if state[place + ROW] != row:
            opened = activation(state, params, arrival, base, group, place)
        column = max(arrival, opened + params[RCD], bus_free(state, params, base, group, write))
        if column < state[base + DUE]:
            break
        refresh(state, params, base, arrival)
    if state[place + ROW] != row:
        state[place + ROW] = row
        state[place + OPENED] = opened
        state[place + CLOSABLE] = opened + params[RAS]
        state[base + HEAD + GROUP * group + ACT] = opened
        turn = state[base + TURN]
        state[base + ACTS + turn] = opened
        state[base + TURN] = (turn + 1) % 4
    note(state, params, base, group, bank, column, write)
    return column


def bank_place(params: Any, base: int, group: int, bank: int) -> Any:
    """Return where a bank's state begins."""
    return base + HEAD + GROUP * params[GROUPS] + BANK * (group * params[BANKS] + bank)


def activation(state: Any, params: Any, arrival: int, base: int, group: int, place: int) -> Any:
    """Return when a bank's row can be opened, the one that is open closed before."""
    if state[place + ROW] >= 0:
        free = max(arrival, state[place + CLOSABLE]) + params[RP]
    else:
        free = max(arrival, state[place + OPENABLE])
    turn = state[base + TURN]
    before = state[base + ACTS + (turn + 3) % 4] + params[RRD_S]
    fourth = state[base + ACTS + turn] + params[FAW]
    return max(free, before, fourth, state[base + HEAD + GROUP * group + ACT] + params[RRD_L])


def bus_free(state: Any, params: Any, base: int, group: int, write: bool) -> Any:
    """Return when the data bus and the group take the next column command."""
    place = base + HEAD + GROUP * group
    free = state[place + COLUMN] + params[CCD_L]
    if write:
        return max(free, state[base + WRITE] + params[BL], state[base + READ] + params[RTW])
    written = params[CWL] + params[BL]
    free = max(free, state[place + WRITTEN] + written + params[WTR_L])
    return max(free, state[base + READ] + params[BL], state[base + WRITE] + written + params[WTR_S])


def note(state: Any, params: Any, base: int, group: int, bank: int, column: int, write: bool) -> None:
    """Keep what a column command makes later ones wait for."""
    place, of_group = bank_place(params, base, group, bank), base + HEAD + GROUP * group
    state[of_group + COLUMN] = column
    closable = column + params[RTP]
    if write:
        state[of_group + WRITTEN] = column
        state[base + WRITE] = column
        closable = column + params[CWL] + params[BL] + params[WR]
    else:
        state[base + READ] = column
    state[place + CLOSABLE] = max(state[place + CLOSABLE], closable)


def refresh(state: Any, params: Any, base: int, arrival: int) -> None:
    """Refresh a channel once, and as often as it falls due until a transfer arrives."""
    due, interval = state[base + DUE], params[REFI]
    banks = params[GROUPS] * params[BANKS]
    first = bank_place(params, base, 0, 0)
    begin = due
    for place in range(first, first + BANK * banks, BANK):
        if state[place + ROW] >= 0:
            begin = max(begin, max(due, state[place + CLOSABLE]) + params[RP])
    due += interval
    if arrival >= due:
        begin = due + (arrival - due) // interval * interval
        due = begin + interval
    state[base + DUE] = due
    for place in range(first, first + BANK * banks, BANK):
        state[place + ROW] = -1
        state[place + OPENABLE] = begin + params[RFC]


_HELPERS: Final = (
    paced,
    run_end,
    skew,
    bursts_end,
    row_end,
    burst_column,
    bank_place,
    activation,
    bus_free,
    note,
    refresh,
)


@cache
def compiled() -> Any:
    """Return ``transfer`` as a function of ``numba.njit``, which others may call.

    Raises:
        InputError: the extra ``kernels`` is not installed.
    """
    require("kernels", "a compiled model of a memory")
    from numba import njit
    from numba.extending import register_jitable

    for helper in _HELPERS:
        register_jitable(error_model="numpy")(helper)
    return njit(error_model="numpy")(transfer)

"""Ports carry what is filled and written back; off-chip memories of banks and rows say when it has arrived."""

from __future__ import annotations

from typing import Any

from numba import carray, njit  # type: ignore[attr-defined]

from hw_models.simulator import dram
from hw_models.simulator.timed import layout as lay
from hw_models.simulator.timed.codes import PORT, RING, TICKS
from hw_models.simulator.timed.kernel.access import record, visit_number
from hw_models.simulator.timed.kernel.memories import take

TRANSFER = dram.compiled()


@njit
def serve(p: Any, s: Any, e: Any, row: int, visit: int, name: int, at: int, asked: int) -> Any:
    """Let a port work, and return when it is done: after those before it, or sooner by its share of the bandwidth.

    Banks and rows of an off-chip memory have been asked for what comes as soon as ``asked``.
    """
    port, ticks = p[p[lay.PORT] + row], p[p[lay.DEMAND] + p[p[lay.PORT_DEMAND] + row] + visit]
    if ticks == 0:
        return at
    begin = max(at, s[s[lay.FREE] + port])
    end = begin + ticks
    s[s[lay.SERVED] + port] += ticks
    if p[p[lay.RUNS_FROM] + row] < p[p[lay.RUNS_FROM] + row + 1]:
        end = max(end, _off_chip(p, s, row, visit, asked))
        s[s[lay.FREE] + port] = begin + ticks
        record(s, e, p[p[lay.PORT_TRACK] + port], name, begin, begin + ticks)
        return end
    s[s[lay.FREE] + port] = end
    record(s, e, p[p[lay.PORT_TRACK] + port], name, begin, end)
    return min(end, at + ticks * p[p[lay.PORT_USERS] + port])


@njit
def _off_chip(p: Any, s: Any, row: int, visit: int, at: int) -> Any:
    """Transfer tensors to or from an off-chip memory of banks and rows; return when it is done."""
    state = carray(s, (s[lay.LENGTH],))[s[lay.BANKS] :]
    params = carray(p, (p[lay.DRAM] + dram.PARAMS,))[p[lay.DRAM] :]
    start, end = -(-at // TICKS), 0
    for k in range(p[p[lay.RUNS_FROM] + row], p[p[lay.RUNS_FROM] + row + 1]):
        place = p[p[lay.RUNS_TABLE] + k] + 3 * visit
        runs, size, stride = p[p[lay.RUNS] + place], p[p[lay.RUNS] + place + 1], p[p[lay.RUNS] + place + 2]
        if runs > 0:
            tensor = p[p[lay.RUNS_TENSOR] + k]
            address = p[p[lay.RUNS_BASE] + k] + s[s[lay.CURSOR] + tensor]
            s[s[lay.CURSOR] + tensor] = (s[s[lay.CURSOR] + tensor] + runs * size) % p[p[lay.RUNS_SIZE] + k]
            write = p[p[lay.RUNS_WRITE] + k] > 0
            end = max(end, TRANSFER(state, params, start, address, runs, size, stride, write))
    return end * TICKS


@njit
def fetch(p: Any, s: Any, e: Any, th: int, hold: int, start: int) -> None:
    number = visit_number(p, s, th, p[p[lay.HOLD_TABLE] + hold])
    end = alone = start
    for k in range(p[p[lay.FETCH_PORT_FROM] + hold], p[p[lay.FETCH_PORT_FROM] + hold + 1]):
        visit = number - p[p[lay.TABLE_BASE] + p[p[lay.HOLD_TABLE] + hold]]
        end = max(end, serve(p, s, e, k, visit, p[p[lay.FETCH_NAME] + hold], start, start))
        alone = max(alone, start + p[p[lay.DEMAND] + p[p[lay.PORT_DEMAND] + k] + visit])
    entry = s[s[lay.FETCHED] + hold] & (RING - 1)
    s[s[lay.FETCHED_AT] + hold * RING + entry] = end + (p[p[lay.LATENCY] + hold] if end > start else 0)
    s[s[lay.FETCH_CAUSE] + hold * RING + entry] = PORT if end > alone else s[s[lay.CAUSE] + th]
    s[s[lay.FETCHED] + hold] += 1
    s[s[lay.TIME] + th] = alone if p[p[lay.TIMED]] else end
    if p[p[lay.HOLD_MEMORY] + hold] >= 0:
        take(p, s, e, p[p[lay.HOLD_MEMORY] + hold], p[p[lay.ROOM] + number])


@njit
def write(p: Any, s: Any, e: Any, th: int, hold: int, start: int) -> None:
    entry = s[s[lay.WRITTEN] + hold] & (RING - 1)
    number = s[s[lay.LEFT_NUMBER] + hold * RING + entry]
    end = start
    for k in range(p[p[lay.WRITE_PORT_FROM] + hold], p[p[lay.WRITE_PORT_FROM] + hold + 1]):
        visit = number - p[p[lay.TABLE_BASE] + p[p[lay.HOLD_TABLE] + hold]]
        end = max(end, serve(p, s, e, k, visit, p[p[lay.WRITE_NAME] + hold], start, start))
    s[s[lay.WRITTEN_AT] + hold * RING + entry] = end + (p[p[lay.LATENCY] + hold] if end > start else 0)
    s[s[lay.WRITTEN] + hold] += 1
    s[s[lay.TIME] + th] = start if p[p[lay.TIMED]] else end
    s[s[lay.CLOCK] + 2] = max(s[s[lay.CLOCK] + 2], s[s[lay.WRITTEN_AT] + hold * RING + entry])
    if p[p[lay.HOLD_MEMORY] + hold] >= 0:
        take(p, s, e, p[p[lay.HOLD_MEMORY] + hold], -p[p[lay.ROOM] + number])

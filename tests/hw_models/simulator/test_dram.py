"""Off-chip memories: a plain model of every command, closed forms, laws, presets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_dram import PlainMemory

from einsum_cascades.errors import InputError
from hw_models.components import dram_presets, dram_timing
from hw_models.dram_timing import FIGURES, DramTiming
from hw_models.machine import Memory
from hw_models.simulator import dram
from hw_models.simulator.off_chip import OffChip, off_chip

Call = tuple[int, int, int, int, int, bool]
"""Start, address, runs, bytes of a run, stride, write."""
ONE = replace(dram_timing("ddr4-3200"), clock_hz=1e9, t_refi=0)
GHZ = 1e9


def model(timing: DramTiming, **figures: Any) -> OffChip:
    """A memory whose clock is the machine's."""
    return off_chip(Memory("dram", timing=replace(timing, **{"clock_hz": GHZ, **figures})), GHZ)


class Used:
    """A memory that keeps its state."""

    def __init__(self, of: OffChip) -> None:
        self.params, self.state = of.params, of.state()

    def __call__(self, start: int, address: int, runs: int, size: int, stride: int, write: bool = False) -> int:
        return int(dram.transfer(self.state, self.params, start, address, runs, size, stride, write))

    def read(self, start: int, address: int, size: int) -> int:
        return self(start, address, 1, size, size)


@st.composite
def timings(draw: st.DrawFn) -> DramTiming:
    """Small memories of any proportions."""
    few = st.integers(1, 12)
    found = {figure: draw(few) for figure in FIGURES}
    found |= {"clock_hz": GHZ, "channels": draw(st.integers(1, 4)), "burst_bytes": 4}
    found |= {"groups": draw(st.integers(1, 3)), "banks": draw(st.integers(1, 3)), "row_bytes": 4 * draw(few)}
    found |= {"t_faw": draw(st.integers(0, 30)), "t_wtr_s": draw(st.integers(0, 6)), "t_bl": draw(st.integers(1, 5))}
    found["t_ccd_l"] = draw(st.integers(1, found["groups"] * found["t_bl"]))
    least = sum(found[f"t_{name}"] for name in ("rfc", "rp", "ras", "rcd", "faw", "cwl", "bl", "wr"))
    found["t_refi"] = draw(st.sampled_from([0, least + 1, least + draw(few), 3 * least]))
    return DramTiming(**found)


@st.composite
def calls(draw: st.DrawFn) -> list[Call]:
    """A few transfers that begin one after another, long after, or before the ones before are done."""
    found, start = [], 0
    for _ in range(draw(st.integers(1, 6))):
        start += draw(st.integers(0, 40)) * draw(st.sampled_from([0, 1, 20]))
        size = draw(st.integers(1, 90))
        stride = draw(st.sampled_from([size, size + 3, 64, 128, 256]))
        found.append((start, draw(st.integers(0, 500)), draw(st.integers(1, 4)), size, stride, draw(st.booleans())))
    return found


@settings(max_examples=30)
@given(timings(), calls())
def test_every_command_of_a_plain_model(timing: DramTiming, sequence: list[Call]) -> None:
    used, plain = Used(model(timing)), PlainMemory(timing)
    for call in sequence:
        assert used(*call) == plain.transfer(*call)


@pytest.mark.slow
@settings(max_examples=400)
@given(timings(), calls())
def test_every_command_of_a_plain_model_often(timing: DramTiming, sequence: list[Call]) -> None:
    used, plain = Used(model(timing)), PlainMemory(timing)
    for call in sequence:
        assert used(*call) == plain.transfer(*call)


@pytest.mark.parametrize("name", dram_presets())
def test_presets_command_by_command(name: str) -> None:
    """Short random transfers over a few rows, and refreshes between."""
    timing = replace(dram_timing(name), channels=2)
    used, plain = Used(model(timing)), PlainMemory(timing)
    random = np.random.default_rng(19)
    start = 0
    for _ in range(25):
        start += int(random.integers(0, 60)) * int(random.choice([1, 1, 1, 50]))
        address = int(random.integers(0, 1 << 18))
        size = int(random.integers(1, 700))
        call = start, address, int(random.integers(1, 4)), size, 2048, bool(random.integers(0, 2))
        assert used(*call) == plain.transfer(*call), call


@given(timings(), st.integers(0, 4000), st.integers(1, 400), st.integers(1, 400), st.booleans())
def test_a_run_may_be_cut_anywhere_between_bursts(
    timing: DramTiming, address: int, one: int, other: int, write: bool
) -> None:
    """Two transfers of neighbouring bytes that begin together are one, and leave the same behind."""
    address, one, other = 4 * address, 4 * one, 4 * other
    whole, cut = Used(model(timing)), Used(model(timing))
    end = whole(0, address, 1, one + other, 1, write)
    ends = cut(0, address, 1, one, 1, write), cut(0, address + one, 1, other, 1, write)
    assert end == max(ends)
    np.testing.assert_array_equal(whole.state, cut.state)


@pytest.mark.parametrize("name", dram_presets())
def test_a_long_read_flows_at_the_peak_rate(name: str) -> None:
    """Without refresh: the first rows of all groups are opened, then a burst follows another without a gap."""
    t = replace(dram_timing(name), channels=1, t_refi=0)
    bursts = 40 * t.groups * t.row_bytes // t.burst_bytes
    opening = t.t_rcd + (t.groups - 1) * max(t.t_rrd_s, t.t_bl)
    expected = opening + (bursts - t.groups) * t.t_bl + t.t_cl + t.t_bl
    assert Used(model(t)).read(0, 0, bursts * t.burst_bytes) == expected


@pytest.mark.parametrize("name", dram_presets())
def test_refresh_takes_its_share_of_the_peak_rate(name: str) -> None:
    """Each t_refi loses closing, refresh and opening; what is left is filled with bursts. One row holds them all."""
    t = replace(dram_timing(name), channels=1, row_bytes=1 << 22)
    opening = t.t_rcd + (t.groups - 1) * max(t.t_rrd_s, t.t_bl)  # until the last group's first column command
    bursts = last = begin = 0
    for interval in range(1, 41):
        due = interval * t.t_refi
        more = (due - 1 - begin - opening) // t.t_bl
        bursts += t.groups + more
        last = begin + opening + more * t.t_bl
        begin = max(due, last + t.t_rtp) + t.t_rp + t.t_rfc
    assert Used(model(t)).read(0, 0, bursts * t.burst_bytes) == last + t.t_cl + t.t_bl
    long = replace(dram_timing(name), channels=1)
    rate = (1 << 22) / Used(model(long)).read(0, 0, 1 << 22) / (t.burst_bytes / t.t_bl)
    assert rate == pytest.approx(1 - (t.t_rp + t.t_rfc + opening) / t.t_refi, abs=0.005)


def conflicts(t: DramTiming, count: int, bank: int = 0) -> list[int]:
    """Addresses in the first group of one bank, each in another row."""
    row = t.channels * t.groups * t.row_bytes
    return [(number * t.banks + (bank - number) % t.banks) * row for number in range(count)]


@pytest.mark.parametrize("name", dram_presets())
def test_rows_of_one_bank_are_a_row_cycle_apart(name: str) -> None:
    t = replace(dram_timing(name), channels=1, t_refi=0)
    used = Used(model(t))
    ends = [used.read(0, address, 1) for address in conflicts(t, 9)]
    cycle = max(t.t_ras, t.t_rcd + t.t_rtp) + t.t_rp
    assert ends == [t.t_rcd + t.t_cl + t.t_bl + number * cycle for number in range(9)]
    wrote = Used(model(t))
    ends = [wrote(0, address, 1, 1, 1, True) for address in conflicts(t, 9)]
    cycle = max(t.t_ras, t.t_rcd + t.t_cwl + t.t_bl + t.t_wr) + t.t_rp
    assert ends == [t.t_rcd + t.t_cwl + t.t_bl + number * cycle for number in range(9)]


@pytest.mark.parametrize("name", dram_presets())
def test_rows_of_different_banks_overlap(name: str) -> None:
    """Single bursts in closed banks, group by group: only the bus and the rate of activations hold them up."""
    t = replace(dram_timing(name), channels=1, t_refi=0)
    used = Used(model(t))
    row = t.groups * t.row_bytes
    ends, acts = [], []
    for number in range(t.groups * t.banks):
        group, bank = number % t.groups, number // t.groups
        ends.append(used.read(0, bank * row + group * t.burst_bytes, 1))
        before = [at + (t.t_rrd_l if (number - i) % t.groups == 0 else t.t_rrd_s) for i, at in enumerate(acts)]
        acts.append(max([0, *before, *([acts[-4] + t.t_faw] if number >= 4 else [])]))
    columns = [acts[0] + t.t_rcd]
    for act in acts[1:]:
        columns.append(max(act + t.t_rcd, columns[-1] + t.t_bl))
    assert ends == [column + t.t_cl + t.t_bl for column in columns]
    assert ends[-1] < (t.groups * t.banks) * (t.t_ras + t.t_rp)


def test_the_bus_turns_round() -> None:
    """Bursts of one open row: reads, a write t_rtw later, a read t_wtr_l after the write's data, in the same group."""
    used, t = Used(model(ONE)), ONE
    first = used.read(0, 0, 64) - t.t_cl - t.t_bl
    write = used(0, 256, 1, 64, 64, True) - t.t_cwl - t.t_bl
    again = used.read(0, 512, 64) - t.t_cl - t.t_bl
    assert (write - first, again - write) == (t.t_rtw, t.t_cwl + t.t_bl + t.t_wtr_l)
    other = used(0, 64, 1, 64, 64, True) - t.t_cwl - t.t_bl
    assert used.read(0, 640 + 64 * 2, 64) - t.t_cl - t.t_bl >= other + t.t_cwl + t.t_bl + t.t_wtr_s


def test_channels_work_side_by_side() -> None:
    """Eight channels take an eighth of the time, but for what comes before the first burst."""
    one, eight = Used(model(ONE)), Used(model(ONE, channels=8))
    size = 1 << 22
    before = ONE.t_rcd + ONE.t_cl
    assert one.read(0, 0, size) - before == 8 * (eight.read(0, 0, size) - before)


@pytest.mark.parametrize("channels", [4, 6, 16])
def test_strides_do_not_fall_on_one_channel(channels: int) -> None:
    """Columns of a matrix whose rows are a power of the number of channels long: near the best that can be."""
    timing = replace(dram_timing("hbm2"), channels=channels, t_refi=0)
    memory = PlainMemory(timing)
    for stride in (channels, channels**2, channels**3):
        used = [memory.place(number * stride)[0] for number in range(channels)]
        assert len(set(used)) > channels // 2


def test_refreshes_that_nobody_waits_for_pass() -> None:
    """After a long idle time all rows are closed; a transfer that arrives within a refresh waits for its end."""
    t = replace(dram_timing("ddr4-3200"), channels=1)
    used = Used(model(t))
    opened = t.t_rcd + t.t_cl + t.t_bl
    assert used.read(0, 0, 64) == opened
    late = 1000 * t.t_refi + t.t_rfc
    assert used.read(late, 64, 64) == late + opened
    within = 2000 * t.t_refi + 100
    assert used.read(within, 64, 64) == 2000 * t.t_refi + t.t_rfc + opened


def test_clocks_are_converted() -> None:
    """Times are cycles of the machine: rounded up both ways."""
    timing = replace(ONE, clock_hz=1.6e9)
    found = off_chip(Memory("dram", timing=timing, latency_s=10e-9), 0.94e9)
    assert tuple(found.params[[dram.CLOCK, dram.MACHINE, dram.LATENCY]]) == (80, 47, 10)
    begin = math.ceil(7 * 80 / 47)
    done = Used(found).read(7, 0, 64)
    assert done == math.ceil((begin + ONE.t_rcd + ONE.t_cl + ONE.t_bl) * 47 / 80) + 10


@pytest.mark.slow
def test_compiled_is_the_same() -> None:
    pytest.importorskip("numba")
    compiled = dram.compiled()
    random = np.random.default_rng(23)
    for timing in (dram_timing("hbm2"), replace(dram_timing("ddr4-3200"), channels=3), None):
        memory = Memory("dram", timing=timing, shared_bytes_per_s=3e10 if timing is None else None, latency_s=1e-8)
        found = off_chip(memory, 0.94e9)
        one, other = found.state(), found.state()
        start = 0
        for _ in range(25):
            start += int(random.integers(0, 3000))
            address, runs = int(random.integers(0, 1 << 30)), int(random.integers(1, 9))
            call = start, address, runs, int(random.integers(1, 5000)), 8192, bool(random.integers(0, 2))
            assert compiled(one, found.params, *call) == dram.transfer(other, found.params, *call)
        np.testing.assert_array_equal(one, other)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9999), st.booleans()), min_size=1, max_size=20))
def test_a_bandwidth_is_kept_to_the_byte(transfers: list[tuple[int, int, bool]]) -> None:
    """Back to back, so many bytes take their time over the rate, rounded up once; idle time is lost."""
    rate = 456.91673531914893  # 400 GiB/s in cycles of 940 MHz
    used = Used(off_chip(Memory("dram", shared_bytes_per_s=400 * 2**30), 0.94e9))
    free, start = 0.0, 0
    for wait, size, write in transfers:
        start += wait
        free = max(free, start) + size / rate
        assert abs(used(start, 0, 1, size, size, write) - free) < 1 + 1e-3


def test_reads_and_writes_have_bandwidths_of_their_own() -> None:
    memory = Memory("dram", read_bytes_per_s=8e9, write_bytes_per_s=2e9, latency_s=5e-9)
    used = Used(off_chip(memory, GHZ))
    assert used.read(0, 0, 64) == 8 + 5
    assert used(0, 0, 1, 64, 64, True) == 32 + 5
    assert used.read(0, 0, 64) == 16 + 5
    free = Used(off_chip(Memory("dram", latency_s=3e-9), GHZ))
    assert free.read(11, 0, 1 << 40) == 11 + 3
    assert free.read(11, 0, 0) == 11


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("ddr4-3200", 25.6e9),
        ("lpddr4x-4266", 34.128e9),
        ("lpddr5-6400", 51.2e9),
        ("hbm2", 256e9),
        ("hbm2e", 409.6e9),
        ("hbm3", 819.2e9),
    ],
)
def test_peak_rates_are_those_of_the_standards(name: str, rate: float) -> None:
    """Of a DIMM, of a package of four channels of 16 bits, of a stack."""
    assert dram_timing(name).peak_bytes_per_s == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "rate", "channels"), [("hbm2", 400 * 2**30, 27), ("hbm2", 1e9, 1), ("ddr4-3200", 51.2e9, 2)]
)
def test_a_stated_bandwidth_is_the_peak_rate(name: str, rate: float, channels: int) -> None:
    open_timing = replace(dram_timing(name), channels=None)
    found = off_chip(Memory("dram", shared_bytes_per_s=rate, timing=open_timing), 0.94e9)
    assert found.timing is not None
    assert found.timing.channels == channels
    assert found.timing.peak_bytes_per_s == pytest.approx(rate, rel=1e-12)
    fixed = open_timing.matched(rate).matched(2 * rate)
    assert (fixed.channels, fixed.peak_bytes_per_s) == (channels, pytest.approx(2 * rate))


def test_unknown_presets() -> None:
    with pytest.raises(InputError, match="unknown timing 'hbm4'"):
        dram_timing("hbm4")

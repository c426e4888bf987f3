"""Traces: they hold the recording, in Perfetto's own schema, and open however the run ended."""

import errno
import os
from dataclasses import replace
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perfetto_reader import Trace, packets, read, schema
from recordings import EPOCH, LABELS, TRACKS, chunks, pipelined, recordings

from einsum_cascades.errors import InputError
from fusemax.simulation import packets as fields
from fusemax.simulation.perfetto import GROUPS, INTERRUPTED, SKIPPED, TraceWriter, write_trace
from fusemax.simulation.wire import Rows, number, varint
from hw_models.simulator.recording import Recording

FIRST = len(GROUPS) + 2
"""The number of the first track of a recording."""


def written(folder: Path, parts: list[Recording]) -> bytes:
    with TraceWriter(folder / "run.pftrace") as writer:
        for part in parts:
            writer.add(part)
    return (folder / "run.pftrace").read_bytes()


def shown(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def check_whole(trace: Trace, recording: Recording) -> None:
    """Compare a trace with its recording: tracks, each slice and counter, in order."""
    tasks, frequency = recording.tasks, Fraction(recording.frequency_hz)

    def near(ns: int | None, cycle: int) -> bool:
        exact = cycle * 10**9 / frequency
        return ns is not None and abs(ns - exact) <= Fraction(1, 2) + exact / 2**51

    for place, track in enumerate(recording.tracks):
        described = trace.tracks[FIRST + place]
        assert (described.name, described.group) == (shown(track.name), GROUPS[track.kind])
        mine = np.flatnonzero(tasks.tracks == place).tolist()
        assert len(trace.slices.get(FIRST + place, [])) == len(mine)
        for task, found in zip(mine, trace.slices.get(FIRST + place, []), strict=True):
            label, epoch = recording.labels[tasks.labels[task]], int(tasks.epochs[task])
            assert (found.name, found.correlation) == (shown(label.name), shown(label.subject))
            assert found.category == track.kind
            assert found.annotations == ({} if epoch < 0 else {"epoch": epoch})
            assert near(found.begin_ns, int(tasks.begins[task]))
            assert near(found.end_ns, int(tasks.ends[task]))
    for place, counter in enumerate(recording.counters, FIRST + len(recording.tracks)):
        assert trace.tracks[place].name == shown(counter.name)
        mine = recording.changes.counters == place - FIRST - len(recording.tracks)
        held = recording.changes.bytes[mine].tolist()
        assert [value for _, value in trace.counters.get(place, [])] == held
        for (ns, _), cycle in zip(trace.counters.get(place, []), recording.changes.at[mine].tolist(), strict=True):
            assert near(ns, cycle)
    assert [s.name for s in trace.slices.get(FIRST - 1, [])] == [shown(s.label) for s in recording.skipped]
    for found, stretch in zip(trace.slices.get(FIRST - 1, []), recording.skipped, strict=True):
        assert near(found.begin_ns, stretch.begin)
        assert near(found.end_ns, stretch.end)


@given(recording=recordings(), cuts=st.lists(st.integers(0, 2**32), max_size=3))
def test_a_trace_is_the_recording(
    recording: Recording, cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    recording.check()
    folder = tmp_path_factory.getbasetemp()
    whole = read(written(folder, [recording]))
    check_whole(whole, recording)
    assert [ns for ns, _ in whole.order] == sorted(ns for ns, _ in whole.order)
    parts = [replace(part, complete=recording.complete) for part in chunks(recording, cuts)]
    in_parts = read(written(folder, parts))
    assert (in_parts.slices, in_parts.counters) == (whole.slices, whole.counters)
    marks = [name for _, name in whole.instants.get(FIRST - 1, [])]
    assert marks == ([] if recording.complete else [INTERRUPTED])


def test_tracks_stand_in_groups_from_arrays_to_occupancy(tmp_path: Path) -> None:
    trace = read(written(tmp_path, [pipelined(3, skipped=True)]))
    groups = sorted(trace.processes.values(), key=lambda process: process[1])
    assert [name for name, _ in groups] == ["Run", "Arrays", "Memory ports", "Links", "Occupancy"]
    ranks = [track.rank for track in trace.tracks.values()]
    assert ranks == sorted(set(ranks))
    run, *tracks = trace.tracks.values()
    assert (run.name, run.description) == (SKIPPED, "940 MHz: a cycle takes 1.064 ns")
    assert [t.name for t in tracks] == [*(t.name for t in TRACKS), "global_buffer", "staging"]
    assert tracks[-2].description == "capacity 128 KiB (131,072 bytes)"
    assert [s.name for s in trace.slices.get(FIRST - 1, [])] == ["3 iterations alike"]


def test_cycles_can_be_had_back_from_nanoseconds(tmp_path: Path) -> None:
    recording = pipelined(40, first=10**12)
    trace = read(written(tmp_path, [recording]))
    for place in range(len(TRACKS)):
        cycles = [round(s.begin_ns * Fraction(940, 1000)) for s in trace.slices.get(FIRST + place, [])]
        assert cycles == recording.tasks.begins[recording.tasks.tracks == place].tolist()


def test_one_colour_for_one_tensor_wherever_it_goes(tmp_path: Path) -> None:
    trace = read(written(tmp_path, [pipelined(2)]))
    colours = {(s.name, s.correlation) for slices in trace.slices.values() for s in slices}
    assert colours == {(label.name, label.subject) for label in LABELS}
    assert ("fetch BK", "BK") in colours


def test_a_million_tasks_fit_into_60_megabytes(tmp_path: Path) -> None:
    """Late in a long run, where numbers are long: 31 bytes for a beginning, 16 for an end, 21 for a change."""

    def size(iterations: int, *, changing: bool) -> int:
        run = pipelined(iterations, first=2**34)
        late = replace(run, tasks=replace(run.tasks, epochs=run.tasks.epochs + 2**20))
        return len(written(tmp_path, [late if changing else replace(late, changes=Recording(1.0, (), ()).changes)]))

    tasks = 1000 * len(EPOCH)
    assert size(2000, changing=False) - size(1000, changing=False) == 47 * tasks
    assert size(2000, changing=True) < 60 * 2 * tasks


def test_every_cut_leaves_the_packets_before_it(tmp_path: Path) -> None:
    recording = pipelined(3, skipped=True)
    data = written(tmp_path, chunks(recording, [1000, 2000]))
    whole, full = packets(data), read(data)
    assert b"".join(whole) == data
    size, count = 0, 0
    for cut in range(len(data)):
        if count < len(whole) and size + len(whole[count]) <= cut:
            size, count = size + len(whole[count]), count + 1
        assert packets(data[:cut]) == whole[:count]
    for count in range(len(whole)):
        part = read(b"".join(whole[:count]))
        for track, slices in part.slices.items():
            last = [s for s in slices if s.end_ns is None]
            assert len(last) <= 1
            kept = slices[: len(slices) - len(last)]
            assert kept == full.slices[track][: len(kept)]
        for track, levels in part.counters.items():
            assert levels == full.counters[track][: len(levels)]


def test_a_chunk_can_be_read_once_it_is_added(tmp_path: Path) -> None:
    first, second = chunks(pipelined(20), [9000])
    path = tmp_path / "run.pftrace"
    with TraceWriter(path) as writer:
        writer.add(first)
        check_whole(read(path.read_bytes()), first)
        writer.add(second)
    check_whole(read(path.read_bytes()), pipelined(20))


class Failing:
    """A file that takes some bytes and then fails."""

    def __init__(self, file: Any, room: int, error: BaseException) -> None:
        self.file, self.room, self.error = file, room, error

    def write(self, data: memoryview) -> int:
        if self.room == 0:
            self.room = 10**9
            raise self.error
        taken = self.file.write(data[: self.room])
        self.room -= taken
        return taken

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 1000, 10_000, 30_000])
def test_an_interruption_while_writing_leaves_whole_packets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(fields, "BLOCK", 64)
    path = tmp_path / "run.pftrace"
    writer = TraceWriter(path)
    writer._file = Failing(writer._file, room, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt), writer:
        writer.add(pipelined(50))
    data = path.read_bytes()
    assert b"".join(packets(data)) == data
    assert room - 2500 < len(data) < max(1, room + 100)
    trace = read(data)
    assert trace.instants[FIRST - 1] == ([(max(trace.order)[0], INTERRUPTED)] if data else [])


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.pftrace"
    writer = TraceWriter(path)
    writer.add(pipelined(1))
    before = path.read_bytes()
    writer._file = Failing(writer._file, 30, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(InputError, match=r"cannot write '.*run.pftrace': No space left"):
        writer.add(pipelined(1, first=5000))
    writer.close()
    assert path.read_bytes() == before


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "file" / "x", "is a file"),
        (Path(os.devnull), "regular"),
    ):
        with pytest.raises(InputError, match=said):
            TraceWriter(path)


def test_folders_are_made_and_links_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "new" / "run.pftrace")
    write_trace(tmp_path / "link", pipelined(1))
    assert (tmp_path / "link").is_symlink()
    check_whole(read((tmp_path / "new" / "run.pftrace").read_bytes()), pipelined(1))


def test_chunks_of_two_runs_or_out_of_order_are_refused(tmp_path: Path) -> None:
    early, late = chunks(pipelined(4), [2000])
    with TraceWriter(tmp_path / "run") as writer:
        writer.add(late)
        with pytest.raises(ValueError, match="out of order"):
            writer.add(early)
        with pytest.raises(ValueError, match="one run"):
            writer.add(replace(late, frequency_hz=1e9))


NAMES = {
    fields.Packet: (
        schema.TracePacket,
        "timestamp trusted_packet_sequence_id track_event interned_data sequence_flags trace_packet_defaults"
        " track_descriptor",
    ),
    fields.Descriptor: (
        schema.TrackDescriptor,
        "uuid name process parent_uuid counter child_ordering sibling_order_rank description process_ordering",
    ),
    fields.Process: (schema.ProcessDescriptor, "pid process_name"),
    fields.Event: (
        schema.TrackEvent,
        "category_iids debug_annotations type name_iid counter_value correlation_id_str_iid",
    ),
    fields.Interned: (
        schema.InternedData,
        "event_categories event_names debug_annotation_names correlation_id_str",
    ),
}


@pytest.mark.parametrize("ours", NAMES)
def test_field_numbers_are_perfettos(ours: type[IntEnum]) -> None:
    message, names = NAMES[ours]
    known = {described.name: described.number for described in message.DESCRIPTOR.fields}
    assert [known[name] for name in names.split()] == [int(field) for field in ours]


def test_other_numbers_are_perfettos() -> None:
    packet, track, event = schema.TracePacket, schema.TrackDescriptor, schema.TrackEvent
    assert (packet.SEQ_INCREMENTAL_STATE_CLEARED, packet.SEQ_NEEDS_INCREMENTAL_STATE) == (
        fields.CLEARED,
        fields.NEEDED,
    )
    assert (track.EXPLICIT, track.PROCESS_ORDERING_EXPLICIT) == (fields.EXPLICIT, fields.PROCESSES_EXPLICIT)
    assert schema.CounterDescriptor.UNIT_SIZE_BYTES == fields.SIZE_BYTES
    assert list(fields.Kind) == [event.TYPE_SLICE_BEGIN, event.TYPE_SLICE_END, event.TYPE_INSTANT, event.TYPE_COUNTER]


@given(
    values=st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 300), min_size=1, max_size=20),
    field=st.integers(1, 2**20),
    data=st.data(),
)
def test_many_numbers_are_written_as_one_is(values: list[int], field: int, data: st.DataObject) -> None:
    where = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    rows = Rows(len(values))
    rows.numbers(field, np.array(values, np.int64), np.array(where))
    expected = [number(field, value) if here else b"" for value, here in zip(values, where, strict=True)]
    assert rows.data() == b"".join(expected)
    assert rows.sizes().tolist() == [len(one) for one in expected]


@pytest.mark.parametrize(
    ("value", "data"), [(0, "00"), (1, "01"), (150, "9601"), (16384, "808001"), (2**63, "80" * 9 + "01")]
)
def test_varints(value: int, data: str) -> None:
    assert varint(value).hex() == data

"""Reads a Perfetto trace as its documentation says a viewer does, with the schema that Perfetto's own package ships."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema

NEEDED = schema.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
CLEARED = schema.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED


@dataclass(frozen=True)
class Slice:
    """A slice: ``end_ns`` is None where the trace stops before it does."""

    name: str
    begin_ns: int
    end_ns: int | None
    correlation: str
    category: str
    annotations: dict[str, int]


@dataclass(frozen=True)
class Described:
    """A track and the process that it belongs to."""

    name: str
    group: str
    rank: int
    description: str
    is_counter: bool


@dataclass
class Sequence:
    """What the packets of a sequence have said since it was last cleared."""

    track: int
    names: dict[int, str] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)
    annotations: dict[int, str] = field(default_factory=dict)
    correlations: dict[int, str] = field(default_factory=dict)


@dataclass
class Trace:
    """What a trace says, by track number; ``order`` is when its events are, and on which tracks."""

    processes: dict[int, tuple[str, int]] = field(default_factory=dict)
    tracks: dict[int, Described] = field(default_factory=dict)
    slices: dict[int, list[Slice]] = field(default_factory=lambda: defaultdict(list))
    counters: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    instants: dict[int, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    order: list[tuple[int, int]] = field(default_factory=list)


def packets(data: bytes) -> list[bytes]:
    """Return the whole packets at the beginning of a trace, each with its tag and length."""
    found, place = [], 0
    while place < len(data):
        assert data[place] == 1 << 3 | 2
        size, shift, at = 0, 0, place + 1
        while at < len(data) and data[at] & 128:
            size, shift, at = size | (data[at] & 127) << shift, shift + 7, at + 1
        if at >= len(data):
            break
        end = at + 1 + (size | data[at] << shift)
        if end > len(data):
            break
        found.append(data[place:end])
        place = end
    return found


def parsed(data: bytes) -> list[Any]:
    """Return the packets of a whole trace, after a look for fields that the schema does not have."""
    trace = schema.Trace.FromString(data)
    assert trace.IsInitialized()
    assert trace.ByteSize() == len(data)
    trace.DiscardUnknownFields()
    assert trace.ByteSize() == len(data)
    return list(trace.packet)


def read(data: bytes) -> Trace:
    """Return what a whole trace says.

    Raises:
        AssertionError: it breaks a rule of the format.
    """
    trace, sequences = Trace(), dict[int, Sequence]()
    lasts: dict[int, int] = defaultdict(int)
    open_slices: dict[int, list[int]] = defaultdict(list)
    for packet in parsed(data):
        if packet.HasField("track_descriptor"):
            _describe(trace, packet.track_descriptor)
        number = packet.trusted_packet_sequence_id
        if packet.sequence_flags & CLEARED:
            assert packet.trace_packet_defaults.track_event_defaults.track_uuid in trace.tracks
            sequences[number] = Sequence(packet.trace_packet_defaults.track_event_defaults.track_uuid)
        if packet.sequence_flags & NEEDED:
            assert number > 0
            assert number in sequences
        if packet.HasField("interned_data"):
            _intern(sequences[number], packet.interned_data)
        if packet.HasField("track_event"):
            assert packet.HasField("timestamp")
            assert packet.timestamp >= lasts[number]
            lasts[number] = packet.timestamp
            _event(trace, sequences[number], packet, open_slices)
    return trace


def _describe(trace: Trace, track: Any) -> None:
    assert track.uuid not in trace.tracks
    if track.HasField("process"):
        assert track.child_ordering == schema.TrackDescriptor.EXPLICIT
        trace.processes[track.uuid] = (track.process.process_name, track.sibling_order_rank)
    elif track.uuid:
        group, _ = trace.processes[track.parent_uuid]
        counter = track.HasField("counter")
        assert not counter or track.counter.unit == schema.CounterDescriptor.UNIT_SIZE_BYTES
        described = Described(track.name, group, track.sibling_order_rank, track.description, counter)
        trace.tracks[track.uuid] = described
    else:
        assert track.process_ordering == schema.TrackDescriptor.PROCESS_ORDERING_EXPLICIT


def _intern(sequence: Sequence, data: Any) -> None:
    for table, entries in (
        (sequence.names, [(e.iid, e.name) for e in data.event_names]),
        (sequence.categories, [(e.iid, e.name) for e in data.event_categories]),
        (sequence.annotations, [(e.iid, e.name) for e in data.debug_annotation_names]),
        (sequence.correlations, [(e.iid, e.str.decode()) for e in data.correlation_id_str]),
    ):
        for number, name in entries:
            assert number > 0
            assert number not in table
            table[number] = name


def _event(trace: Trace, sequence: Sequence, packet: Any, open_slices: dict[int, list[int]]) -> None:
    event, track, ns = packet.track_event, sequence.track, packet.timestamp
    trace.order.append((ns, track))
    assert trace.tracks[track].is_counter == (event.type == event.TYPE_COUNTER)
    if event.type == event.TYPE_COUNTER:
        trace.counters[track].append((ns, event.counter_value))
    elif event.type == event.TYPE_SLICE_BEGIN:
        assert not open_slices[track]
        open_slices[track].append(ns)
        trace.slices[track].append(
            Slice(
                sequence.names[event.name_iid],
                ns,
                None,
                sequence.correlations[event.correlation_id_str_iid],
                *(sequence.categories[iid] for iid in event.category_iids),
                {sequence.annotations[note.name_iid]: note.uint_value for note in event.debug_annotations},
            )
        )
    elif event.type == event.TYPE_SLICE_END:
        assert open_slices[track].pop() <= ns
        last = trace.slices[track][-1]
        trace.slices[track][-1] = Slice(last.name, last.begin_ns, ns, last.correlation, last.category, last.annotations)
    else:
        assert event.type == event.TYPE_INSTANT
        trace.instants[track].append((ns, sequence.names[event.name_iid]))

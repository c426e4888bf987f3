"""Packets of a Perfetto trace: descriptors of tracks, names, and slices and counters by the hundred thousand.

A trace is a row of ``TracePacket``. Each track has a packet sequence of its own, which states its track and its names
once; the events after that hold numbers only. Times are nanoseconds since the run began. The viewer colours a slice by
its correlation id, which is here the Einsum or tensor that it is about.

Source: perfetto.protos of Perfetto 59 (``trace_packet.proto``, ``track_descriptor.proto``, ``track_event.proto``,
``interned_data.proto``); ``test_perfetto.py`` compares every field number with the descriptor that its package ships.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fusemax.simulation.wire import Rows, message, number, text

ROOT: Final = 0
"""The track that orders the processes, by its number."""
CLEARED: Final = 1
NEEDED: Final = 2
"""Flags of a packet: it begins a sequence's state, or needs it."""
EXPLICIT: Final = 3
PROCESSES_EXPLICIT: Final = 1
SIZE_BYTES: Final = 3
EPOCH: Final = 1
"""The number of the one annotation's name, ``epoch``."""
BLOCK: Final = 20_000
"""Events that are written at a time; no power of two, lest columns of bytes compete for the same lines of the cache."""


class Packet(IntEnum):
    """Fields of ``TracePacket``; a trace itself has one field, packet, which is 1."""

    TIMESTAMP = 8
    SEQUENCE = 10
    TRACK_EVENT = 11
    INTERNED = 12
    FLAGS = 13
    DEFAULTS = 59
    TRACK = 60


class Descriptor(IntEnum):
    """Fields of ``TrackDescriptor``."""

    UUID = 1
    NAME = 2
    PROCESS = 3
    PARENT = 5
    COUNTER = 8
    CHILD_ORDERING = 11
    RANK = 12
    DESCRIPTION = 14
    PROCESS_ORDERING = 19


class Process(IntEnum):
    """Fields of ``ProcessDescriptor``."""

    PID = 1
    NAME = 6


class Event(IntEnum):
    """Fields of ``TrackEvent``; an annotation has its name's number in field 1 and a number in field 3."""

    CATEGORY = 3
    ANNOTATION = 4
    TYPE = 9
    NAME = 10
    COUNTER_VALUE = 30
    CORRELATION = 54


class Interned(IntEnum):
    """Fields of ``InternedData``; in each, field 1 is the number and field 2 the text."""

    CATEGORIES = 1
    NAMES = 2
    ANNOTATION_NAMES = 3
    CORRELATIONS = 43


class Kind(IntEnum):
    """Types of track events."""

    BEGIN = 1
    END = 2
    INSTANT = 3
    COUNTER = 4


def packet(*parts: bytes) -> bytes:
    """Return a packet as it stands in a trace."""
    return message(1, *parts)


def root() -> bytes:
    """Return the packet that says that processes have an order."""
    return packet(
        message(Packet.TRACK, number(Descriptor.UUID, ROOT), number(Descriptor.PROCESS_ORDERING, PROCESSES_EXPLICIT))
    )


def process(uuid: int, name: str, description: str = "") -> bytes:
    """Return the packet of a process, which is a group of tracks here; lower numbers stand further up."""
    return packet(
        message(
            Packet.TRACK,
            number(Descriptor.UUID, uuid),
            message(Descriptor.PROCESS, number(Process.PID, uuid), text(Process.NAME, name)),
            number(Descriptor.CHILD_ORDERING, EXPLICIT),
            number(Descriptor.RANK, uuid),
            *([text(Descriptor.DESCRIPTION, description)] if description else []),
        )
    )


def track(uuid: int, group: int, name: str, *, counter: bool = False, description: str = "") -> bytes:
    """Return the packets of a track in a group, and of the sequence of the same number, whose events are on it."""
    described = message(
        Packet.TRACK,
        number(Descriptor.UUID, uuid),
        number(Descriptor.PARENT, group),
        text(Descriptor.NAME, name),
        number(Descriptor.RANK, uuid),
        *([message(Descriptor.COUNTER, number(3, SIZE_BYTES))] if counter else []),
        *([text(Descriptor.DESCRIPTION, description)] if description else []),
    )
    defaults = message(Packet.DEFAULTS, message(11, number(11, uuid)))  # track_event_defaults.track_uuid
    begins = packet(number(Packet.SEQUENCE, uuid), number(Packet.FLAGS, CLEARED | NEEDED), defaults)
    return packet(described) + begins


def names(sequence: int, entries: Iterable[tuple[Interned, int, str]]) -> bytes:
    """Return the packet that tells a sequence's names: what they name, their number from 1 on, and the name."""
    said = [message(kind, number(1, iid), text(2, name)) for kind, iid, name in entries]
    return packet(number(Packet.SEQUENCE, sequence), number(Packet.FLAGS, NEEDED), message(Packet.INTERNED, *said))


def instant(sequence: int, ns: int, name: int) -> bytes:
    """Return the packet of a mark on a track."""
    return packet(
        number(Packet.TIMESTAMP, ns),
        number(Packet.SEQUENCE, sequence),
        number(Packet.FLAGS, NEEDED),
        message(Packet.TRACK_EVENT, number(Event.TYPE, Kind.INSTANT), number(Event.NAME, name)),
    )


@dataclass(frozen=True, eq=False)
class Events:
    """Events, one per place of the arrays, which are equally long.

    Attributes:
        kinds: of ``Kind``, no instants.
        sequences: each one's sequence, which is its track.
        ns: when, in nanoseconds.
        values: of beginnings, the number of the name; of counters, the value; else it does not matter.
        correlations: of beginnings, the number of the correlation id.
        categories: of beginnings, the number of the category.
        epochs: of beginnings, the epoch; below 0 for none.
    """

    kinds: NDArray[np.uint8]
    sequences: NDArray[np.int64]
    ns: NDArray[np.int64]
    values: NDArray[np.int64]
    correlations: NDArray[np.int64]
    categories: NDArray[np.int64]
    epochs: NDArray[np.int64]


def blocks(events: Events) -> Iterator[tuple[bytes, int]]:
    """Yield the packets of events in their order, some ten thousand at a time, and when the last of them is."""
    columns = [getattr(events, name) for name in events.__dataclass_fields__]
    for first in range(0, len(events.kinds), BLOCK):
        block = Events(*(column[first : first + BLOCK] for column in columns))
        yield _encoded(block), int(block.ns[-1])


def _encoded(events: Events) -> bytes:
    count = len(events.kinds)
    begins, counters = events.kinds == Kind.BEGIN, events.kinds == Kind.COUNTER
    event = Rows(count)
    event.numbers(Event.CATEGORY, events.categories, begins)
    numbered = begins & (events.epochs >= 0)
    event.messages(Event.ANNOTATION, _annotation(events.epochs), numbered)
    event.numbers(Event.TYPE, events.kinds)
    event.numbers(Event.NAME, events.values, begins)
    event.numbers(Event.COUNTER_VALUE, events.values, counters)
    event.numbers(Event.CORRELATION, events.correlations, begins)
    whole = Rows(count)
    whole.numbers(Packet.TIMESTAMP, events.ns)
    whole.numbers(Packet.SEQUENCE, events.sequences)
    whole.messages(Packet.TRACK_EVENT, event)
    whole.constant(number(Packet.FLAGS, NEEDED))
    trace = Rows(count)
    trace.messages(1, whole)
    return trace.data()


def _annotation(values: NDArray[Any]) -> Rows:
    rows = Rows(len(values))
    rows.constant(number(1, EPOCH))
    rows.numbers(3, np.maximum(values, 0))
    return rows

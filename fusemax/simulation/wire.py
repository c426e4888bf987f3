"""Protocol Buffers' wire format, written: single messages, and many of one shape at once in NumPy.

    field     varint of (number << 3 | kind), then a varint (kind 0), or a length as a varint and as many bytes (kind 2)
    varint    groups of 7 bits, lowest first, each in a byte whose top bit says that another follows

Source: "Encoding", Protocol Buffers documentation.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

VARINT: Final = 0
BYTES: Final = 2

Mask = NDArray[np.bool_]


def varint(value: int) -> bytes:
    """Return a number from 0 on as a varint."""
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def tag(field: int, kind: int) -> bytes:
    """Return what stands before the value of a field."""
    return varint(field << 3 | kind)


def number(field: int, value: int) -> bytes:
    """Return a field that holds a number from 0 on, an enumerator or a truth value."""
    return tag(field, VARINT) + varint(value)


def message(field: int, *parts: bytes) -> bytes:
    """Return a field that holds a message of these fields."""
    data = b"".join(parts)
    return tag(field, BYTES) + varint(len(data)) + data


def text(field: int, value: str) -> bytes:
    """Return a field that holds text; what is no Unicode, such as half of a pair, is replaced."""
    return message(field, value.encode("utf-8", "replace"))


class Rows:
    """Bytes of many messages of one shape, a row each: columns of bytes, some of which a row leaves out.

    Args:
        count: how many messages.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._columns: list[NDArray[np.uint8]] = []
        self._used: list[Mask] = []

    def constant(self, data: bytes, where: Mask | None = None) -> None:
        """Append the same bytes to each row, or to the rows of a mask."""
        used = np.ones(self._count, bool) if where is None else where
        for byte in data:
            self._columns.append(np.full(self._count, byte, np.uint8))
            self._used.append(used)

    def varints(self, values: NDArray[Any], where: Mask | None = None) -> None:
        """Append a varint to each row, or to the rows of a mask.

        Args:
            values: integers from 0 on; those that the mask leaves out do not matter.
            where: the rows.
        """
        used = np.ones(self._count, bool) if where is None else where
        rest = np.where(used, values, 0).astype(np.uint64)
        while True:
            later = rest >> np.uint64(7)
            more = later != 0
            low = rest.astype(np.uint8)  # modulo 256
            self._columns.append(np.where(more, low | 128, low & 127).astype(np.uint8))
            self._used.append(used)
            if not more.any():
                return
            used, rest = more, later

    def numbers(self, field: int, values: NDArray[Any], where: Mask | None = None) -> None:
        """Append a field that holds a number to each row, or to the rows of a mask."""
        self.constant(tag(field, VARINT), where)
        self.varints(values, where)

    def messages(self, field: int, rows: Rows, where: Mask | None = None) -> None:
        """Append a field that holds a message to each row, or to the rows of a mask; others have none of its bytes."""
        self.constant(tag(field, BYTES), where)
        self.varints(rows.sizes(), where)
        self._columns += rows._columns
        self._used += rows._used if where is None else [used & where for used in rows._used]

    def sizes(self) -> NDArray[np.int64]:
        """Return the bytes of each row."""
        total = np.zeros(self._count, np.int64)
        for used in self._used:
            total += used
        return total

    def data(self) -> bytes:
        """Return the rows, one after another."""
        if not self._columns:
            return b""
        columns = np.ascontiguousarray(np.stack(self._columns).T)
        return columns[np.ascontiguousarray(np.stack(self._used).T)].tobytes()

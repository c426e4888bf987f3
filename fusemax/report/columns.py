"""What a report knows of a table's columns: which hold numbers, what they are called, which way is better."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from einsum_cascades.errors import InputError, nearest, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyarrow import Table

KEY: Final = "point"
"""The column that numbers the points of a sweep."""

STATUS: Final = "status"
"""The column that holds ``ok``, or the reason why a row has no cost."""

COSTS: Final = ("latency_s", "area_mm2", "energy_j", "dram_bytes", "buffer_bytes", "util_2d", "util_1d")
"""Columns that are results, the first choices for a front first."""

HIGHER_IS_BETTER: Final = ("util_2d", "util_1d")

_NAMES: Final = {
    "latency_s": "Latency",
    "area_mm2": "Chip area",
    "energy_j": "Energy",
    "dram_bytes": "Off-chip traffic",
    "buffer_bytes": "Buffer",
    "util_2d": "2D array used",
    "util_1d": "1D array used",
    "bound": "Bound by",
    "arch": "Architecture",
    "seq_len": "Sequence length",
    "kv_len": "Keys",
}
PREFIXED: Final = ("s", "J", "J·s", "B", "bit", "Hz", "W", "B/s", "bit/s", "flop/s", "/s")
"""Units that are written with a prefix: ``13.39 ms``; those of bytes are binary, ``16 MiB``, but not those of rates."""

_UNITS: Final = {
    "s": "s",
    "j": "J",
    "js": "J·s",
    "pj": "pJ",
    "m2": "m²",
    "mm2": "mm²",
    "um2": "µm²",
    "nm": "nm",
    "bytes": "B",
    "bits": "bit",
    "hz": "Hz",
    "w": "W",
    "flop": "flop",
    "flops": "flop",
}
_UNIT: Final = "|".join(_UNITS)
_SUFFIXES: Final = (
    re.compile(rf"(?P<stem>(?:.+[_.])?)(?P<unit>{_UNIT})_per_(?P<per>[a-z0-9]+)"),
    re.compile(r"(?P<stem>.+)(?P<unit>)_per_(?P<per>s)"),
    re.compile(rf"(?P<stem>.+[_.])(?P<unit>{_UNIT})(?P<per>)"),
)
"""How a unit ends a name: one unit per another, a number of things per second, one unit; a rate is no time."""

_PLAIN: Final = re.compile(r"[a-z][a-z0-9_]*")


def unit(column: str) -> str:
    """Return the unit that a column's name ends in, as it is written, or nothing.

    ``latency_s`` gives ``s``, ``bandwidth_bytes_per_s`` gives ``B/s``, ``tokens_per_s`` gives ``/s``.
    """
    return _split(column)[1]


def _split(column: str) -> tuple[str, str]:
    """Return a column's name without its unit, and the unit."""
    for suffix in _SUFFIXES:
        match = suffix.fullmatch(column)
        if match:
            rate = f"/{match['per']}" if match["per"] else ""
            stem = match["stem"].rstrip("_")
            return (column if not stem or stem.endswith(".") else stem), _UNITS.get(match["unit"], "") + rate
    return column, ""


def title(column: str) -> str:
    """Return a column's name for people, without its unit; dotted names, as users write them, stay as they are."""
    if column in _NAMES:
        return _NAMES[column]
    stem = _split(column)[0]
    if not _PLAIN.fullmatch(stem):
        return stem
    spaced = stem.replace("_", " ").strip()
    return spaced[:1].upper() + spaced[1:]


def label(column: str) -> str:
    """Return a column's name for people, with its unit: ``Latency (s)``."""
    return f"{title(column)} ({unit(column)})" if unit(column) else title(column)


def is_numeric(table: Table, column: str) -> bool:
    """Return whether a column holds numbers (truth values are none)."""
    import pyarrow as pa

    kind = table.schema.field(column).type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def numeric_columns(table: Table) -> list[str]:
    """Return the columns of numbers that have a value in some row, but the points' own numbers."""
    names = [c for c in table.column_names if c != KEY and is_numeric(table, c)]
    return [c for c in names if np.isfinite(values(table, c)).any()]


def workload_columns(table: Table) -> list[str]:
    """Return the columns that say what is computed and how it is counted, if they vary.

    What is asked of a machine is no choice: points of different workloads are not to be compared.
    """
    from fusemax.sweep.names import is_asked

    return [c for c in filter(is_asked, table.column_names) if encode(table, c)[1] > 1]


def values(table: Table, column: str) -> NDArray[np.float64]:
    """Return a column of numbers as float64, with NaN where there is none."""
    import pyarrow as pa

    array = table.column(column).cast(pa.float64(), safe=False)
    found: NDArray[np.float64] = array.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    return found


def texts(table: Table, column: str) -> list[str | None]:
    """Return a column of anything as text, None where there is nothing."""
    found: list[Any] = table.column(column).to_pylist()
    return [None if v is None else str(v) for v in found]


def encode(table: Table, column: str) -> tuple[NDArray[np.int64], int]:
    """Return each row's value as a code from 0, and how many codes there are; no value has a code of its own."""
    if is_numeric(table, column):
        distinct, codes = np.unique(values(table, column), return_inverse=True)
        return codes, len(distinct)
    import pyarrow as pa

    array = table.column(column)
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if not len(array):
        return np.zeros(0, dtype=np.int64), 0
    if pa.types.is_nested(array.type):
        return np.zeros(table.num_rows, dtype=np.int64), 1
    encoded = array.dictionary_encode(null_encoding="encode").combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = pa.chunked_array(encoded.chunks).unify_dictionaries().combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), len(encoded.dictionary)


def group(table: Table, names: Sequence[str]) -> NDArray[np.int64]:
    """Return each row's group as a number from 0: rows with the same values in all columns named are of one."""
    groups = np.zeros(table.num_rows, dtype=np.int64)
    for name in names:
        codes, count = encode(table, name)
        groups = np.unique(groups * count + codes, return_inverse=True)[1]
    return groups


def check_there(table: Table, names: Iterable[str]) -> None:
    """Check that a table has columns.

    Raises:
        InputError: one is unknown.
    """
    for name in names:
        if name not in table.column_names:
            raise unknown("column", name, table.column_names)


def check_numeric(table: Table, names: Sequence[str]) -> None:
    """Check that columns are there and hold numbers.

    Raises:
        InputError: one does not.
    """
    check_there(table, names)
    for name in names:
        if not is_numeric(table, name):
            raise InputError(
                f"column '{name}' holds no numbers", hint=nearest(name, numeric_columns(table)) or "choose another"
            )


def common_reasons(reasons: Iterable[tuple[str, int]], most: int) -> list[tuple[str, int]]:
    """Return the most frequent reasons, and the others in one line."""
    ranked = sorted(reasons, key=lambda pair: (-pair[1], pair[0]))
    rest = ranked[most:]
    return ranked[:most] + [(f"{len(rest)} other reasons", sum(n for _, n in rest))] * bool(rest)

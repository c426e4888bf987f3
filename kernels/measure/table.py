"""The table of measurements: one row per kernel, shape and mask that were timed together."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final

from einsum_cascades.errors import InputError, Location, nearest
from einsum_cascades.files import MAX_TABLE_BYTES, read_text
from einsum_cascades.spreadsheets import guarded, unguarded

FOLDER: Final = Path(__file__).parents[1] / "measurements"
"""Recorded measurements, one table per kind of device."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One kernel on one shape.

    Attributes:
        device: the processor.
        kernel: such as ``attention-1-pass``, or ``flash`` and ``math`` of PyTorch.
        cascade: the cascade that the kernel runs; empty where it is another's kernel.
        dtype: type of the values.
        batch, heads, q_len, kv_len, head_dim: the shape.
        causal: whether queries see only the keys up to their own.
        median_s, min_s: seconds, over the repeats.
        repeats: how often it was timed.
        software: versions of what ran, the number of threads included.
        date: when, as YYYY-MM-DD.
    """

    device: str
    kernel: str
    cascade: str
    dtype: str
    batch: int
    heads: int
    q_len: int
    kv_len: int
    head_dim: int
    causal: bool
    median_s: float
    min_s: float
    repeats: int
    software: str
    date: str

    @property
    def shape(self) -> tuple[int, int, int, int, int, bool]:
        """Batch, heads, queries, keys, head size, and whether masked."""
        return self.batch, self.heads, self.q_len, self.kv_len, self.head_dim, self.causal


COLUMNS: Final = tuple(field.name for field in fields(Measurement))
_SHORTEST_S, _LONGEST_S = 1e-12, 1e9
_SIZES: Final = ("batch", "heads", "q_len", "kv_len", "head_dim", "repeats")


def format_table(rows: Iterable[Measurement]) -> bytes:
    """Return measurements as a CSV file that ``parse_table`` reads back exactly."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([guarded(v) if isinstance(v, str) else v for v in astuple(row)] for row in rows)
    return stream.getvalue().encode()


def read_table(path: Path) -> tuple[Measurement, ...]:
    """Read a table of measurements.

    Raises:
        InputError: the file cannot be read, is too large, or is damaged.
    """
    return parse_table(read_text(path, MAX_TABLE_BYTES), str(path))


def parse_table(text: str, name: str) -> tuple[Measurement, ...]:
    """Parse a table of measurements; the order of its columns is free.

    Args:
        text: the whole file.
        name: what to call it in messages.

    Raises:
        InputError: a column is missing, unknown or twice there, a row has another width, the last line is cut short,
            a value is no value of its column, or there is no row.
    """
    lines = text.splitlines()
    if not lines:
        raise _fault(name, 1, "the table is empty", "expected a header line: " + ", ".join(COLUMNS))
    if not text.endswith("\n"):
        raise _fault(name, len(lines), "the last line has no end: the file was cut short", text=lines[-1])
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Measurement] = []
    try:
        header = next(reader)
        _check_header(header, name, lines[0])
        for values in reader:
            if len(values) != len(header):
                problem = f"expected {len(header)} fields, found {len(values)}"
                raise _fault(name, reader.line_num, problem, text=",".join(values))
            rows.append(_measurement(dict(zip(header, values, strict=True)), name, reader.line_num))
    except csv.Error as error:
        raise _fault(name, reader.line_num, str(error)) from error
    if not rows:
        raise _fault(name, len(lines), "the table has no rows", "measure --out FILE writes one that has")
    return tuple(rows)


def _check_header(header: list[str], name: str, text: str) -> None:
    for column in header:
        if column not in COLUMNS:
            raise _fault(name, 1, f"unknown column '{column[:60]}'", nearest(column, COLUMNS), text)
        if header.count(column) > 1:
            raise _fault(name, 1, f"the column '{column}' stands twice", text=text)
    for column in COLUMNS:
        if column not in header:
            raise _fault(name, 1, f"the column '{column}' is missing", "expected: " + ", ".join(COLUMNS), text)


def _measurement(row: dict[str, str], name: str, line: int) -> Measurement:
    def fault(column: str, expected: str) -> InputError:
        return _fault(name, line, f"'{row[column][:40]}' in column '{column}' is not {expected}")

    sizes = {}
    for column in _SIZES:
        if not (row[column].isascii() and row[column].isdigit() and 0 < len(row[column]) < 16 and int(row[column])):
            raise fault(column, "a whole number of 1 or more")
        sizes[column] = int(row[column])
    seconds = {}
    for column in ("median_s", "min_s"):
        try:
            seconds[column] = float(row[column])
        except ValueError:
            raise fault(column, "a number") from None
        if not _SHORTEST_S <= seconds[column] <= _LONGEST_S:
            raise fault(column, f"a time from {_SHORTEST_S:g} to {_LONGEST_S:g} seconds")
    if row["causal"] not in ("True", "False"):
        raise fault("causal", "True or False")
    texts = {c: unguarded(row[c]) for c in ("device", "kernel", "cascade", "dtype", "software", "date")}
    if not row["kernel"]:
        raise fault("kernel", "a kernel's name")
    return Measurement(**texts, **sizes, **seconds, causal=row["causal"] == "True")  # type: ignore[arg-type]


def _fault(name: str, line: int, problem: str, hint: str = "", text: str = "") -> InputError:
    place = Location(name, line, 1 if text else 0, text[:200], max(1, len(text[:200])))
    return InputError(problem, location=place, hint=hint or "measure --out FILE writes the table anew")

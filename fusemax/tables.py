"""Result tables, in memory and on disk as CSV and Parquet.

The same table gives the same bytes: floats are written by their shortest form that reads back exactly,
Parquet without library metadata. A file appears whole or not at all: it is written beside its place under
a temporary name and moved there.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

from einsum_cascades.errors import InputError, Location, unknown
from einsum_cascades.extras import lacking, require
from einsum_cascades.files import MAX_PARQUET_BYTES, MAX_TABLE_BYTES, check_regular, read_bytes, read_text
from einsum_cascades.source_text import one_line
from einsum_cascades.spreadsheets import guarded, unguarded

if TYPE_CHECKING:
    import pyarrow
    from pandas import DataFrame, Series

FORMATS: Final = (".csv", ".parquet")
_LONGEST_NAME: Final = 255
MOST_CELLS: Final = 2**30
"""Rows times columns: a few bytes of Parquet can stand for more than memory holds."""

_INTEGER = re.compile(r"-?[0-9]+")
_MOST_DIGITS = 308
_FLOAT = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|-?inf|nan")
_NUMERIC_NAME = re.compile(
    r".*_(bytes|s|j|mm2|um2|hz)|util_[12]d|fraction|seq_len|kv_len|pe_dim|published|ours|relative_error"
)


class Result(Protocol):
    """What can be a row of a table: an evaluation, an analysis, a measurement beside its prediction."""

    def as_dict(self) -> Mapping[str, Any]:
        """Return plain data by column."""
        ...


Row = Result | Mapping[str, Any]


def as_table(results: Iterable[Row] | Mapping[str, Row], columns: Sequence[str] = ()) -> DataFrame:
    """Return results as a table, one row each.

    Args:
        results: any that have ``as_dict``, or plain rows; a mapping of them gives the rows its keys as labels.
        columns: those to show, in order; all if none are named.

    Raises:
        InputError: no result has such a column.
    """
    import pandas as pd

    labels = list(results) if isinstance(results, Mapping) else None
    found = results.values() if isinstance(results, Mapping) else results
    rows = [dict(row if isinstance(row, Mapping) else row.as_dict()) for row in found]
    known = dict.fromkeys(column for row in rows for column in row)
    for column in columns:
        if column not in known:
            raise unknown("column", column, known)
    shown = [{column: row.get(column) for column in columns or known} for row in rows]
    return pd.DataFrame(shown, index=None if labels is None else pd.Index(labels))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is seen whole or not at all; missing folders are made, and links are followed.

    Raises:
        InputError: the place cannot be written, or something else than a file is there.
    """
    try:
        place = Path(os.path.realpath(path))
        _check_replaceable(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{uuid4().hex}.tmp")
        try:
            temporary.write_bytes(data)
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError | ValueError) -> InputError:
    """Return the error for a file that could not be written."""
    reason = error.strerror if isinstance(error, OSError) else error
    return InputError(f"cannot write '{path}': {reason}", hint="choose a folder that can be written")


def _check_replaceable(path: Path) -> None:
    """Refuse to put a file in the place of what is none: a device would be gone."""
    if path.is_dir():
        raise InputError(f"'{path}' is a folder, not a file", hint="give the file's name as well")
    if path.exists() and not path.is_file():
        raise InputError(f"'{path}' is not a regular file", hint="choose a file, or the name of a new one")


def check_folder(folder: Path) -> None:
    """Check, before long work, that files can be written to a folder or to one made at its place.

    Raises:
        InputError: a file is in the way, or the place cannot be written.
    """
    shown = str(folder).replace("\0", "\N{REPLACEMENT CHARACTER}")
    if "\0" in str(folder):
        raise InputError(f"'{shown}' is no name of a folder")
    try:
        there = next((p for p in (folder, *folder.parents) if os.path.lexists(p)), None)
        if there is None:
            return
        if not there.is_dir():
            raise InputError(f"'{there}' is a file, not a folder", hint="choose another folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"cannot write in '{there}'", hint="choose a folder that can be written")
        for part in folder.relative_to(there).parts:
            if len(os.fsencode(part)) > os.pathconf(there, "PC_NAME_MAX"):
                raise InputError(f"'{shown[:60]}...' is too long a name", hint="choose another folder")
    except OSError as error:
        raise InputError(f"cannot write in '{shown[:200]}': {error.strerror}") from error


def check_file(path: Path) -> None:
    """Check, before long work, that a file can be written.

    Raises:
        InputError: a folder is in the way, or the place cannot be written.
    """
    check_folder(path.parent)
    if "\0" in path.name or len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise InputError(
            f"'{one_line(path.name.replace(chr(0), '?'))}' is no name of a file", hint="choose another name"
        )
    _check_replaceable(path)


def written_formats() -> tuple[str, ...]:
    """Return the formats that tables are written in: Parquet where pyarrow is installed, CSV in any case."""
    return FORMATS[:1] if "pyarrow" in lacking("sweep") else FORMATS


def write_table(df: DataFrame, path_stem: Path | str) -> tuple[Path, ...]:
    """Write a table as ``<path_stem>.csv`` and, where `written_formats` has it, ``<path_stem>.parquet``.

    Integers beyond 64 bits are exact in the CSV and rounded to float64 in the Parquet file.

    Returns:
        The paths.

    Raises:
        InputError: the place cannot be written.
    """
    stem = Path(path_stem)
    paths = tuple(stem.with_name(stem.name + suffix) for suffix in written_formats())
    for path in paths:
        write_atomically(path, format_csv(df).encode() if path.suffix == ".csv" else _parquet_bytes(df))
    return paths


def read_table(path: Path | str) -> DataFrame:
    """Read a table that ``write_table`` wrote, from either format.

    Returns:
        The table; columns of integers with gaps have the nullable dtype ``Int64``.

    Raises:
        InputError: the file is missing, of another kind, cut short or damaged.
    """
    path = Path(path)
    check_regular(path)
    if path.suffix not in FORMATS:
        raise InputError(f"'{path}' is not a result table", hint=f"expected a file ending in {' or '.join(FORMATS)}")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    return parse_csv(read_text(path, MAX_TABLE_BYTES), str(path))


def format_csv(df: DataFrame) -> str:
    """Return a table as CSV text that ``parse_csv`` reads back exactly; its index is not kept.

    Text that a spreadsheet would run is guarded; see ``einsum_cascades/spreadsheets.py``.
    """
    df = _guarded(df)
    text: str = df.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # Python's csv writer leaves a lone carriage return unquoted before 3.13
        text = df.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text


def _guarded(df: DataFrame) -> DataFrame:
    import pandas as pd

    def cell(value: Any) -> Any:
        return guarded(value) if isinstance(value, str) else value

    texts = [name for name in df.columns if not pd.api.types.is_numeric_dtype(df[name])]
    cells = df.assign(**{str(name): df[name].astype(object).map(cell) for name in texts})
    return cells.rename(columns=lambda name: guarded(str(name)))


def parse_csv(text: str, name: str) -> DataFrame:
    """Parse a CSV table whose leading lines may be ``#`` comments.

    Floats read back exactly; empty fields are missing values.

    Args:
        text: the whole file.
        name: what to call it in messages.

    Raises:
        InputError: no header, a repeated column, a row of another width, a last line without its end, or
            text where a column's name promises a number, or a number beyond floating point.
    """
    import pandas as pd

    body = text.splitlines(keepends=True)
    skipped = next((i for i, line in enumerate(body) if not line.startswith("#")), len(body))
    if not body[skipped:]:
        raise _damaged(name, "the table is empty", hint="expected a header line with column names")
    if not body[-1].endswith("\n"):
        raise _damaged(name, "the last line has no end: the file was cut short", line=len(body), text=body[-1])
    lines, rows = _csv_rows(io.StringIO("".join(body[skipped:]), newline=""), name, skipped)
    header = list(map(unguarded, rows[0]))
    if len(set(header)) < len(header) or "" in header:
        raise _damaged(name, "a column name is empty or stands twice", line=skipped + 1, text=body[skipped])
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise _damaged(name, f"expected {len(header)} fields, found {len(row)}", line=line, text=",".join(row))
    columns = {}
    for number, column in enumerate(header):
        values = [row[number] for row in rows[1:]]
        if _NUMERIC_NAME.fullmatch(column):
            _check_numbers(values, column, name, lines[1:])
        columns[column] = _typed(values)
        if columns[column].dtype == "float64":
            _check_finite(values, column, name, lines[1:])
    return pd.DataFrame(columns)


def _csv_rows(stream: io.StringIO, name: str, skipped: int) -> tuple[list[int], list[list[str]]]:
    """Return the rows and the line at which each ends."""
    reader = csv.reader(stream, strict=True)
    lines: list[int] = []
    rows: list[list[str]] = []
    try:
        for row in reader:
            rows.append(row)
            lines.append(skipped + reader.line_num)
    except csv.Error as error:
        raise _damaged(name, str(error), line=skipped + reader.line_num) from error
    return lines, rows


def _check_numbers(values: Sequence[str], column: str, name: str, lines: Sequence[int]) -> None:
    for value, line in zip(values, lines, strict=True):
        if value and not (_INTEGER.fullmatch(value) or _FLOAT.fullmatch(value)):
            raise _damaged(name, f"'{one_line(value)}' in column '{column}' is not a number", line=line)


def _check_finite(values: Sequence[str], column: str, name: str, lines: Sequence[int]) -> None:
    for value, line in zip(values, lines, strict=True):
        if value and isinf(float(value)) and not value.endswith("inf"):
            raise _damaged(name, f"'{one_line(value)}' in column '{column}' is beyond 1e308", line=line)


def _typed(values: list[str]) -> Series[Any]:
    """Return a column as integers, floats, truth values or text: the first that fits all its values."""
    import pandas as pd

    present = [v for v in values if v]
    if present and all(map(_INTEGER.fullmatch, present)) and max(map(len, present)) <= _MOST_DIGITS:
        integers = [int(v) if v else None for v in values]
        if any(i is not None and not -(2**63) <= i < 2**63 for i in integers):
            return pd.Series(integers, dtype=object)
        return pd.Series(integers, dtype="int64" if len(present) == len(values) else "Int64")
    if all(map(_FLOAT.fullmatch, present)):
        return pd.Series([float(v) if v else float("nan") for v in values], dtype="float64")
    if present == values and set(values) <= {"True", "False"}:
        return pd.Series([v == "True" for v in values], dtype="bool")
    return pd.Series([unguarded(v) or None for v in values], dtype="str")


def arrow_table(df: DataFrame) -> pyarrow.Table:
    """Return a frame as an Arrow table without its index; integers beyond 64 bits become float64.

    Raises:
        InputError: a column holds an integer beyond floating point, or values of several kinds.
    """
    import pyarrow as pa

    def column(name: str, values: Series[Any]) -> Any:
        try:
            return pa.Array.from_pandas(values)
        except (OverflowError, TypeError, pa.ArrowException):
            pass
        try:
            return pa.Array.from_pandas(values.astype("float64"))
        except (OverflowError, TypeError, ValueError):
            said = f"column '{name}' holds numbers beyond 1e308, or values of several kinds"
            raise InputError(said, hint="give each column values of one kind") from None

    return pa.table({str(name): column(str(name), df[name]) for name in df.columns})


def data_frame(table: pyarrow.Table) -> DataFrame:
    """Return an Arrow table as a frame; columns of integers with gaps have the nullable dtype ``Int64``."""
    import pandas as pd
    import pyarrow as pa

    frame: DataFrame = table.to_pandas(ignore_metadata=True)
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_integer(field.type) and column.null_count:
            frame[field.name] = pd.array(column.to_pylist(), dtype="Int64")
    return frame


def read_arrow(path: Path) -> pyarrow.Table:
    """Read a Parquet file, with its checksums checked.

    Raises:
        InputError: the file is missing, too large, cut short or damaged.
    """
    return parse_parquet(read_bytes(path, MAX_PARQUET_BYTES), path)


def _parquet_bytes(df: DataFrame) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(arrow_table(df), sink, write_page_checksum=True)
    return sink.getvalue()


def parse_parquet(data: bytes, path: Path) -> pyarrow.Table:
    """Return the table that a Parquet file's bytes hold, with its checksums checked.

    Raises:
        InputError: they are cut short or damaged, the table would not fit into memory, or pyarrow is not installed.
    """
    require("sweep", "a Parquet file")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        if (cells := file.metadata.num_rows * file.metadata.num_columns) > MOST_CELLS:
            raise _damaged(path, f"it has {cells:,} values, more than {MOST_CELLS:,}", hint="give a part of it")
        table = file.read()
        table.validate(full=True)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise _damaged(path, str(error).splitlines()[0][:120] if str(error) else "unreadable") from error
    return table


def _read_parquet(path: Path) -> DataFrame:
    import pyarrow as pa

    table = read_arrow(path)
    try:
        return data_frame(table)
    except (pa.ArrowException, ValueError, MemoryError) as error:
        raise _damaged(path, str(error).splitlines()[0][:120] if str(error) else "unreadable") from error


def _damaged(name: object, what: str, *, line: int = 0, text: str = "", hint: str = "") -> InputError:
    return InputError(
        f"cannot read this table: {what}",
        location=Location(str(name), line, text=text.rstrip("\n")[:200]),
        hint=hint or "write it again, for instance with 'fusemax reproduce'",
    )

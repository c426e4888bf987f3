"""A sweep's dataset on disk, to be read back; ``writer.py`` writes it, batch by batch, and resumes.

A folder holds

- ``sweep.yaml``: the spec's canonical text, and ``sweep.json``: version, seed, points, batch size, digest of the text;
- ``points/part-<start>-<stop>.parquet``: the rows of a batch. The batches are fixed when the folder is made, so that a
  run that was interrupted and resumed leaves the same files as one that was not;
- ``damaged/``: files that were found damaged and set aside; ``lock``: held by the process that writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from einsum_cascades.errors import InputError, Location, unknown
from einsum_cascades.extras import require
from einsum_cascades.files import MAX_TABLE_BYTES, MAX_TEXT_BYTES, read_bytes, read_text
from fusemax.sweep.parts import Batch, DamageError, Header, Part, batch_named, read_part

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as pads

ROWS: Final = 2**17
"""Rows that are read at a time."""
MEND: Final = "run the sweep again: it finds what is damaged and computes it anew"
SPEC, HEADER, POINTS = "sweep.yaml", "sweep.json", "points"


@dataclass(frozen=True)
class Store:
    """A dataset to read from, finished or not.

    Attributes:
        folder: where it lies.
        header: what it was made from.
        text: the spec's canonical text.
    """

    folder: Path
    header: Header
    text: str

    @property
    def done(self) -> list[Batch]:
        """The batches whose parts are there, in order."""
        found = (batch_named(path.name) for path in (self.folder / POINTS).glob("part-*"))
        return sorted(batch for batch in found if batch and self.header.has(batch))

    @property
    def points_done(self) -> int:
        """Number of points, before filters, whose rows are there."""
        return sum(map(len, self.done))

    def dataset(self, parts: Sequence[Batch] | None = None) -> pads.Dataset:
        """Return what is there as an Arrow dataset, in the order of the points: for data larger than memory.

        Args:
            parts: the batches wanted; all that are done if not given.

        Raises:
            InputError: nothing is there yet, or a part is no regular file.
        """
        import pyarrow.dataset as pads

        files = [self.folder / POINTS / batch.name for batch in (self._some if parts is None else parts)]
        for path in files:
            if not path.is_file():
                raise _unreadable(path, "it is not a regular file")
        options = pads.ParquetFragmentScanOptions(page_checksum_verification=True)
        scanned = pads.ParquetFileFormat(default_fragment_scan_options=options)
        return pads.dataset(list(map(str, files)), format=scanned)

    @property
    def schema(self) -> pa.Schema:
        """The columns.

        Raises:
            InputError: nothing is there yet, or the first part is damaged.
        """
        return self._part(self._some[0]).schema

    def tables(
        self, columns: Sequence[str] | None = None, *, rows: int = ROWS, parts: Sequence[Batch] | None = None
    ) -> Iterator[pa.Table]:
        """Yield the rows that are there, in the order of the points, some at a time: memory for all is not needed.

        Every part is verified, byte for byte, before its first row comes.

        Args:
            columns: names of the columns wanted; all if not given.
            rows: that a table has at least, but for the last, and twice as many at most.
            parts: the batches wanted; all that are done if not given.

        Raises:
            InputError: nothing is there yet, a column is unknown, or a part, which is named, is damaged.
        """
        import pyarrow as pa

        done = list(self._some if parts is None else parts)
        schema = self._part(done[0]).schema if done else pa.schema([])
        for name in columns or ():
            if name not in schema.names:
                raise unknown("column", name, schema.names)
        waiting: list[pa.Table] = []
        for batch in done:
            for table in self._part(batch, schema).tables(columns, rows):
                waiting.append(table)
                if sum(map(len, waiting)) >= rows:
                    yield pa.concat_tables(waiting)
                    waiting = []
        if waiting:
            yield pa.concat_tables(waiting)

    @property
    def _some(self) -> list[Batch]:
        """The batches that are there, of which there must be one."""
        if not (done := self.done):
            raise InputError(f"'{self.folder}' has no rows yet", hint="run 'fusemax sweep' first")
        return done

    def _part(self, batch: Batch, schema: pa.Schema | None = None) -> Part:
        """Return a part that is whole and belongs here; with certain columns, if they are given."""
        path = self.folder / POINTS / batch.name
        try:
            part = read_part(path, batch)
            if part.header != self.header:
                raise DamageError("it belongs to another sweep or version")
            if schema is not None and not part.schema.equals(schema):
                raise DamageError("it has other columns than the first part")
        except DamageError as error:
            raise _unreadable(path, str(error)) from None
        return part

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows that are there, in the order of the points; see ``tables``."""
        import pyarrow as pa

        found = list(self.tables(columns))
        if found:
            return pa.concat_tables(found, promote_options="permissive")
        schema = self.schema
        return schema.empty_table().select(list(columns if columns is not None else schema.names))

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows that are there as a pandas table; see ``table``."""
        frame: pd.DataFrame = self.table(columns).to_pandas()
        return frame


def open_store(folder: Path | str) -> Store:
    """Open a dataset to read, also while a run writes to it.

    Raises:
        InputError: there is none, what it was made from cannot be read, or the extra ``sweep`` is not installed.
    """
    require("sweep", "a sweep's folder")
    folder = Path(folder)
    try:
        header = read_header(folder)
        text = read_text(folder / SPEC, MAX_TABLE_BYTES)
    except FileNotFoundError:
        raise InputError(f"'{folder}' holds no sweep", hint="make one with 'fusemax sweep SPEC --out DIR'") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"what '{folder}' was made from cannot be read: {error}", hint="run the sweep again: it mends this"
        ) from error
    return Store(folder, header, text)


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(f"this part of a sweep is damaged: {why}", location=Location(str(path)), hint=MEND)


def read_header(folder: Path) -> Header:
    """Read ``sweep.json``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not what was written.
    """
    path = folder / HEADER
    if not os.path.lexists(path):
        raise FileNotFoundError(path)
    try:
        return Header.from_json(read_bytes(path, MAX_TEXT_BYTES))
    except InputError as error:
        raise ValueError(f"{HEADER}: {error.message}") from None
    except ValueError as error:
        raise ValueError(f"{HEADER} {error}") from None

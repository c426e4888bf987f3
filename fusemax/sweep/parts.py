"""Parts of a sweep's dataset: one Parquet file for each batch of points, which vouches for itself.

The footer of a part says which sweep it belongs to, which points it holds, and the SHA-256 of the whole file, taken
with zeros in the digest's own place. Any byte that changes is found, and a file of another sweep, too.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from einsum_cascades.errors import InputError
from einsum_cascades.files import MAX_PARQUET_BYTES, read_bytes

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Evaluate: TypeAlias = Callable[[Any, int, int], "pa.Table"]
"""Returns the rows of a sweep's points from one index up to, and without, another."""

_NAME = re.compile(r"part-(\d{12,})-(\d{12,})\.parquet")
_HEADER, _POINTS, _DIGEST = b"fusemax.sweep", b"fusemax.points", b"fusemax.sha256"
_BLANK = b"0" * 64
_PARTS_WANTED, _LEAST, _MOST = 256, 64, 4096
MOST_BATCH_POINTS = 2**24
"""A batch of so many points takes about 2 GB, in a worker and to be read."""


@runtime_checkable
class Sweep(Protocol):
    """What the store and the runner know of a sweep."""

    @property
    def points(self) -> int:
        """Number of points before filters."""

    @property
    def text(self) -> str:
        """Canonical text of the spec: equal sweeps have equal texts."""

    @property
    def seed(self) -> int | None:
        """Of the random sample, if there is one."""

    @property
    def schema(self) -> pa.Schema:
        """Columns of the table."""


class DamageError(Exception):
    """Raised for a file that is not the part that its name promises; the message says why."""


@dataclass(frozen=True, order=True)
class Batch:
    """The points from ``start`` up to, and without, ``stop``."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        """Of the file that holds its rows; names sort as the points do."""
        return f"part-{self.start:012d}-{self.stop:012d}.parquet"


@dataclass(frozen=True)
class Header:
    """What a dataset was made from: in ``sweep.json``, and in the footer of each part.

    Attributes:
        version: of fusemax.
        seed: of the sweep's random sample, if it has one.
        points: number of points before filters.
        batch_points: number of points of a batch; the last may have fewer.
        digest: SHA-256 of the spec's canonical text.
    """

    version: str
    seed: int | None
    points: int
    batch_points: int
    digest: str

    @property
    def batch_count(self) -> int:
        """Number of batches."""
        return -(-self.points // self.batch_points)

    def batch(self, number: int) -> Batch:
        """Return a batch by its number, from 0."""
        return Batch(number * self.batch_points, min((number + 1) * self.batch_points, self.points))

    def has(self, batch: Batch) -> bool:
        """Whether it is one of the batches."""
        number = batch.start // self.batch_points
        return number < self.batch_count and batch == self.batch(number)

    def as_json(self) -> bytes:
        """Return it as text."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Header:
        """Return what ``as_json`` wrote.

        Raises:
            ValueError: it is not that.
        """
        try:
            found = json.loads(data)
            header = cls(**{field.name: found[field.name] for field in fields(cls)})
            whole = type(header.points) is type(header.batch_points) is int and header.batch_points > 0
        except (ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole or header.as_json() != data:
            raise ValueError("is not what was written")
        return header


@dataclass(frozen=True)
class Part:
    """A part that is whole, and what it says of itself.

    Attributes:
        header: of the dataset that it belongs to.
        schema: its columns.
        rows: number of its rows.
        file: to read them from.
    """

    header: Header
    schema: pa.Schema
    rows: int
    file: pq.ParquetFile = field(repr=False, compare=False)

    def tables(self, columns: Sequence[str] | None, rows: int) -> Iterator[pa.Table]:
        """Yield its rows, at most so many at a time; of all columns, or of some."""
        import pyarrow as pa

        chosen = None if columns is None else list(columns)
        for batch in self.file.iter_batches(batch_size=rows, columns=chosen):
            yield pa.table(batch).select(chosen or self.schema.names).replace_schema_metadata(None)


def batch_named(name: str) -> Batch | None:
    """Return the batch that a file's name stands for, if it is a part's."""
    match = _NAME.fullmatch(name)
    batch = Batch(int(match[1]), int(match[2])) if match else None
    return batch if batch and batch.name == name else None


def usual_batch_points(points: int) -> int:
    """Return how many points go into a batch, if nobody says: about 256 batches of 64 to 4096 points."""
    return min(_MOST, max(_LEAST, -(-points // _PARTS_WANTED)))


def encode(table: pa.Table, batch: Batch, header: Header) -> bytes:
    """Return a part's file: the same table gives the same bytes."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(table)
        said = {_HEADER: header.as_json(), _POINTS: f"{batch.start} {batch.stop}", _DIGEST: _BLANK}
        writer.add_key_value_metadata(said)
    data = sink.getvalue()
    place = data.rindex(_BLANK)
    return data[:place] + _sha256(data) + data[place + len(_BLANK) :]


def read_part(path: Path, batch: Batch) -> Part:
    """Verify a part, byte for byte.

    Args:
        path: the file.
        batch: the points that it must hold.

    Raises:
        DamageError: it does not hold them, a byte of it has changed, or it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = read_bytes(path, MAX_PARQUET_BYTES)
    except InputError as error:
        raise DamageError(error.message) from None
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        said, schema, rows = file.metadata.metadata or {}, file.schema_arrow.remove_metadata(), file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError, MemoryError):
        raise DamageError("it is no whole Parquet file") from None
    digest = said.get(_DIGEST, b"")
    place = data.rfind(digest) if len(digest) == len(_BLANK) else -1
    if place < 0 or _sha256(data[:place] + _BLANK + data[place + len(digest) :]) != digest:
        raise DamageError("its checksum does not match")
    if said.get(_POINTS) != f"{batch.start} {batch.stop}".encode():
        raise DamageError("it holds other points than its name says")
    try:
        return Part(Header.from_json(said.get(_HEADER, b"")), schema, rows, file)
    except ValueError:
        raise DamageError("it does not say which sweep it is of") from None


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()

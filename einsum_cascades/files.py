"""Reading a file that a user names: a regular file, whole, and no larger than its kind may be.

Every command reads every file through ``read_bytes`` or ``read_text``. A pipe or a device never ends and a wrong name
may be anything, so that neither costs time or memory.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from einsum_cascades.errors import InputError, Location, nearest

MAX_TEXT_BYTES: Final = 2**20
"""A cascade, machine, model, specification or configuration: the largest that come with the package have 20 kB."""
MAX_TABLE_BYTES: Final = 2**28
"""A CSV table: a million rows of 20 columns; read as text, a larger one would not fit into a laptop's memory."""
MAX_PARQUET_BYTES: Final = 2**32
"""A Parquet file: read whole, so no more than a workstation's memory holds."""

_UNITS: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_SUFFIXES: Final = (".yaml", ".yml", ".json", ".csv", ".parquet")


def read_bytes(path: str | Path, most: int) -> bytes:
    """Return what a regular file holds.

    Args:
        path: its name; opening it never waits.
        most: bytes that such a file may have.

    Raises:
        InputError: there is no such file, it is no regular file, it may not be read, or it is larger.
    """
    path = Path(path)
    place = Location(str(path).encode("utf-8", "replace").decode())
    try:
        _check_regular(path.stat(), path, place)  # before it is opened: that can move a tape
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            _check_regular(status, path, place)
            data = b"" if status.st_size > most else file.read(most + 1)
    except FileNotFoundError:
        raise InputError("no such file", location=place, hint=_siblings(path)) from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"the file cannot be read: {reason}", location=place) from None
    size = max(status.st_size, len(data))
    if size > most:
        raise InputError(f"the file has {size:,} bytes, more than {_shown(most)}", location=place)
    return data


def check_regular(path: str | Path) -> None:
    """Check that a file is a regular one, if there is any; opening it never waits.

    Raises:
        InputError: it is a folder, a pipe, a device, ...
    """
    path = Path(path)
    try:
        status = path.stat()
    except (OSError, ValueError):
        return
    _check_regular(status, path, Location(str(path).encode("utf-8", "replace").decode()))


def read_text(path: str | Path, most: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Raises:
        InputError: as ``read_bytes``, or it is not UTF-8 text.
    """
    data = read_bytes(path, most)
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        place = Location(str(path), data.count(b"\n", 0, error.start) + 1)
        raise InputError(
            f"this is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}", location=place
        ) from None


def _check_regular(status: os.stat_result, path: Path, place: Location) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InputError("this is a directory, expected a file", location=place, hint=_inside(path))
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        hint = "write what it holds to a file, and name that"
        raise InputError(f"this is not a regular file but {kind}", location=place, hint=hint)


_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def _shown(most: int) -> str:
    """Return a limit as people say it."""
    return next((f"{most // unit:,} {name}" for unit, name in _UNITS if most % unit == 0), f"{most:,}")


def _inside(folder: Path) -> str:
    try:
        found = min((str(p) for p in folder.iterdir() if p.suffix in _SUFFIXES), default="")
    except OSError:
        return ""
    return f"give a file in it, such as {found}" if found else "give the path of a file"


def _siblings(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir() if p.suffix == path.suffix]
    except OSError:
        return ""
    return nearest(path.name, names) if len(names) <= 20 else ""

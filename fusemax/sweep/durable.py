"""Files that outlive a crash, and a folder that one process writes at a time.

A file is written beside its place under a temporary name, flushed to the disk, moved to its place, and the folder is
flushed too. At every moment, a power cut included, its place holds nothing, the old file whole, or the new one whole.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from einsum_cascades.errors import InputError

LOCK = "lock"

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
_HELD = (errno.EACCES, errno.EAGAIN)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens.

    Raises:
        OSError: it cannot be written; nothing is left of the attempt.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, durably.

    Raises:
        OSError: it cannot be made.
    """
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for part in reversed(missing):
        flush_folder(part.parent)


def remove_temporaries(folder: Path) -> None:
    """Remove what interrupted writes left in a folder that no other process writes."""
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for writing; the system lets go of it when this process ends, however it ends.

    The lock is ``flock`` on the file ``lock`` in the folder, which names the process and its machine. On a network
    file system it holds between machines only as far as that file system carries such locks; NFS does from
    Linux 2.6.12.

    Raises:
        InputError: another process holds it, or the file system knows no locks.
        OSError: the folder cannot be written.
    """
    import fcntl

    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _HELD:
                raise InputError(
                    f"'{folder}' cannot be locked: {error.strerror}", hint="choose a folder on a local disk"
                ) from error
            file.seek(0)
            holder = file.read(200).strip()
            raise InputError(
                f"another run{f' ({holder})' * bool(holder)} is writing to '{folder}'",
                hint="wait for it to end, or choose another folder",
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield

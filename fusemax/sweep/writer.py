"""A sweep's dataset as the process that writes it sees it: made, resumed, verified and mended.

The folder's shape is told in ``store.py``. One process holds it at a time, by the file ``lock``.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from uuid import uuid4

import fusemax
from einsum_cascades.errors import InputError, check_name
from einsum_cascades.files import MAX_TABLE_BYTES, read_bytes
from einsum_cascades.numbers import whole
from fusemax.sweep.durable import LOCK, flush_folder, locked, make_folder, remove_temporaries, write_durably
from fusemax.sweep.parts import (
    MOST_BATCH_POINTS,
    Batch,
    DamageError,
    Header,
    Sweep,
    batch_named,
    read_part,
    usual_batch_points,
)
from fusemax.sweep.store import HEADER, POINTS, SPEC, Store, read_header

OnChange = Literal["refuse", "restart"]
Warn = Callable[[str], None]

DAMAGED = "damaged"
_DISCARDED = ".discarded-"
_DIFF_LINES = 40


@dataclass(frozen=True)
class Writer:
    """A dataset that this process may write, and no other does.

    Attributes:
        store: the dataset; what parts it has are good.
        recomputed: files that were found damaged and set aside.
    """

    store: Store
    recomputed: tuple[Path, ...]

    @property
    def points_left(self) -> int:
        """Number of points, before filters, whose rows are not there."""
        return self.store.header.points - self.store.points_done

    def left(self) -> Iterator[Batch]:
        """Yield the batches that have no part now, in order."""
        header, done = self.store.header, set(self.store.done)
        return (batch for batch in map(header.batch, range(header.batch_count)) if batch not in done)

    def write(self, batch: Batch, data: bytes) -> None:
        """Write a part whole, or not at all.

        Raises:
            InputError: the disk is full or cannot be written; what is there stays good.
        """
        try:
            write_durably(self.store.folder / POINTS / batch.name, data)
        except OSError as error:
            raise InputError(
                f"cannot write to '{self.store.folder}': {error.strerror or error}",
                hint=f"{self.store.points_done:,} of {self.store.header.points:,} points are there and stay good; "
                "when there is room, run the same command again to go on",
            ) from error


def check_on_change(on_change: str) -> None:
    """Check what is to be done with another sweep's folder, before anything is done.

    Raises:
        InputError: it is neither ``refuse`` nor ``restart``.
    """
    check_name("on_change", on_change, get_args(OnChange))


@contextmanager
def writing(
    sweep: Sweep,
    folder: Path,
    *,
    batch_points: int | None = None,
    on_change: OnChange = "refuse",
    warn: Warn = lambda _: None,
) -> Iterator[Writer]:
    """Hold a folder for a sweep's dataset: a new one, or one of the same sweep to go on with.

    Parts that are there are verified, byte for byte; what is damaged is named, moved to ``damaged/`` and stands among
    the batches to do.

    Args:
        sweep: what is to be computed.
        folder: where it goes; made if it is not there.
        batch_points: points of a part of a new dataset; fixed from then on.
        on_change: what to do if the folder holds another sweep, or one of another version.
        warn: told each thing that is found damaged.

    Raises:
        InputError: the folder holds something else, another process writes to it, it cannot be written, or an argument
            is unusable.
    """
    check_on_change(on_change)
    if batch_points is not None:
        batch_points = whole("batch_points", batch_points, maximum=MOST_BATCH_POINTS)
    with ExitStack() as held:
        try:
            make_folder(folder)
            if not (folder / HEADER).exists():
                _check_free(folder)
            held.enter_context(locked(folder))
            writer = _opened(sweep, folder, batch_points, on_change, warn)
        except OSError as error:
            raise InputError(
                f"cannot write to '{folder}': {error.strerror or error}", hint="choose a folder that can be written"
            ) from error
        yield writer


def _opened(sweep: Sweep, folder: Path, batch_points: int | None, on_change: OnChange, warn: Warn) -> Writer:
    aside: list[Path] = []

    def set_aside(path: Path, why: str) -> None:
        place = _set_aside(folder, path)
        warn(f"'{path}' is damaged: {why}; moved to '{place}'; what is missing is made anew")
        aside.append(path)

    remove_temporaries(folder)
    for stale in folder.glob(f"{_DISCARDED}*"):
        shutil.rmtree(stale)
    header = _settled(sweep, folder, batch_points, on_change, set_aside)
    make_folder(folder / POINTS)
    remove_temporaries(folder / POINTS)
    _verify(sweep, folder, header, set_aside)
    return Writer(Store(folder, header, sweep.text), tuple(aside))


def _settled(
    sweep: Sweep, folder: Path, batch_points: int | None, on_change: OnChange, set_aside: Callable[[Path, str], None]
) -> Header:
    """Return the header that the dataset has from now on, on disk beside the spec."""
    old = _old_header(folder, set_aside)
    digest = hashlib.sha256(sweep.text.encode()).hexdigest()
    points = batch_points or (old.batch_points if old else usual_batch_points(sweep.points))
    new = Header(fusemax.__version__, sweep.seed, sweep.points, points, digest)
    changed = _change(old, new, sweep, folder) if old else None
    if changed and on_change == "refuse":
        raise changed
    if changed:
        _discard(folder)
    elif old and points != old.batch_points:
        raise InputError(
            f"'{folder}' has {old.batch_points:,} points to a batch, not {points:,}",
            hint="that is fixed when the folder is made: leave it out, or choose another folder",
        )
    spec, text = folder / SPEC, sweep.text.encode()
    kept = _text_in(folder) == text
    if old and not changed and os.path.lexists(spec) and not kept:
        set_aside(spec, "it is not the text that was written")
    if not kept:
        write_durably(spec, text)
    if not (folder / HEADER).exists():
        write_durably(folder / HEADER, new.as_json())
    return new


def _old_header(folder: Path, set_aside: Callable[[Path, str], None]) -> Header | None:
    """Return what the folder was made for, from its good parts if the header is lost; nothing if it is new."""
    try:
        return read_header(folder)
    except FileNotFoundError:
        pass
    except ValueError as error:
        set_aside(folder / HEADER, str(error))
    for path in sorted((folder / POINTS).glob("part-*")):
        batch = batch_named(path.name)
        if batch is not None:
            with suppress(DamageError):
                return read_part(path, batch).header
    return None


def _text_in(folder: Path) -> bytes:
    """Return the spec that a folder was made for, or nothing if it cannot be read."""
    try:
        return read_bytes(folder / SPEC, MAX_TABLE_BYTES)
    except InputError:
        return b""


def _check_free(folder: Path) -> None:
    """Raise unless a folder without ``sweep.json`` may become a dataset."""
    ours = {LOCK, SPEC, POINTS, DAMAGED}
    strange = sorted(path.name for path in folder.iterdir() if path.name not in ours and path.name[0] != ".")
    if strange:
        raise InputError(
            f"'{folder}' holds other files, such as '{strange[0]}'", hint="choose an empty folder, or a new one"
        )


def _change(old: Header, new: Header, sweep: Sweep, folder: Path) -> InputError | None:
    """Return the error that says how a dataset differs from the sweep, if it does."""
    otherwise = "choose another folder, or discard what is there with --on-change restart"
    if old.digest != new.digest:
        was = folder / SPEC
        text = _text_in(folder).decode("utf-8", errors="replace")
        names = f"{was}", "the spec given"
        lines = list(difflib.unified_diff(text.splitlines(), sweep.text.splitlines(), *names, lineterm="", n=1))
        shown = lines[:_DIFF_LINES] + ["..."] * (len(lines) > _DIFF_LINES)
        diff = "\n".join(f"  {line}" for line in shown)
        return InputError(f"'{folder}' holds another sweep: the spec has changed\n{diff}", hint=otherwise)
    if old.version != new.version:
        said = f"'{folder}' was computed by fusemax {old.version}, and this is {new.version}: costs may differ"
        return InputError(said, hint=otherwise)
    if (old.points, old.seed) != (new.points, new.seed):
        said = f"'{folder}' says {old.points:,} points and seed {old.seed}, "
        return InputError(said + f"the spec gives {new.points:,} and {new.seed}", hint=otherwise)
    return None


def _discard(folder: Path) -> None:
    """Remove a dataset; from the first step on no part of it can be taken for one of another."""
    points, gone = folder / POINTS, folder / f"{_DISCARDED}{uuid4().hex}"
    if points.exists():
        points.rename(gone)
    for name in (HEADER, SPEC):
        (folder / name).unlink(missing_ok=True)
    flush_folder(folder)
    shutil.rmtree(gone, ignore_errors=True)


def _verify(sweep: Sweep, folder: Path, header: Header, set_aside: Callable[[Path, str], None]) -> None:
    """Set aside what lies among the parts and is none, or is damaged."""
    for path in sorted((folder / POINTS).iterdir()):
        if path.name.startswith("."):
            continue
        batch = batch_named(path.name)
        try:
            if batch is None or not header.has(batch):
                raise DamageError("it is no part of this sweep")
            part = read_part(path, batch)
            if part.header != header:
                raise DamageError("it belongs to another sweep or version")
            if not part.schema.equals(sweep.schema):
                raise DamageError("it has other columns")
        except DamageError as error:
            set_aside(path, str(error))


def _set_aside(folder: Path, path: Path) -> Path:
    """Move a file to ``damaged/``, under a name that is free there, and return its place."""
    aside = folder / DAMAGED
    make_folder(aside)
    place = aside / path.name
    number = 1
    while place.exists():
        number += 1
        place = aside / f"{path.name}.{number}"
    path.rename(place)
    flush_folder(path.parent)
    flush_folder(aside)
    return place

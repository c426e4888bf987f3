"""A user's text and the places in it, and reading it from a file.

Sizes are bounded, so that a wrong file name costs neither time nor memory.
"""

from __future__ import annotations

import bisect
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from einsum_cascades.errors import InputError, Location, nearest

MAX_CHARACTERS = 128 * 1024
MAX_BYTES = 1024 * 1024
_SHOWN = 100

UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Finds a character that is not for reading: a control character, a lone surrogate, a line separator."""


@dataclass(frozen=True)
class Source:
    """A text and the name that the user knows it by."""

    file: str
    text: str

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(m.end() for m in re.finditer(r"\r\n|\n|\r", self.text))]

    def location(self, start: int, end: int | None = None) -> Location:
        """Return the place of ``text[start:end]``, underlined as far as its first line goes."""
        starts = self._line_starts
        start = min(max(start, 0), len(self.text))
        line = bisect.bisect_right(starts, start)
        first = starts[line - 1]
        last = starts[line] if line < len(starts) else len(self.text)
        column = start - first + 1
        shown = "" if column > _SHOWN else self.text[first : min(last, first + 2 * _SHOWN)].rstrip("\r\n")
        shown = "".join(c if c.isprintable() else "\ufffd" for c in shown.replace("\t", " "))
        width = max(1, min(end or start + 1, last) - start)
        return Location(self.file, line, column, shown, width)


def short(text: str, length: int = 40) -> str:
    """Return a text on one line, cut to a length."""
    text = " ".join(text[: 2 * length].split())
    return text if len(text) <= length else text[: length - 3] + "..."


def read_text(path: str | Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        InputError: there is no such file, it is no regular file, it is too large, or it is not UTF-8 text.
    """
    path = Path(path)
    place = Location(str(path).encode("utf-8", "replace").decode())
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError("this is a directory, expected a file", location=place, hint=_inside(path))
        if not stat.S_ISREG(status.st_mode):
            raise InputError("this is not a regular file", location=place)
        if status.st_size > MAX_BYTES:
            raise InputError(f"the file has {status.st_size} bytes, more than {MAX_BYTES}", location=place)
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8")
    except FileNotFoundError:
        raise InputError("no such file", location=place, hint=_siblings(path)) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"this is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}", location=place
        ) from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"the file cannot be read: {reason}", location=place) from None


def _inside(folder: Path) -> str:
    try:
        found = sorted(str(p) for p in folder.iterdir() if p.suffix in (".yaml", ".yml", ".json"))
    except OSError:
        return ""
    return f"give a file in it, such as {found[0]}" if found else "give the path of a file"


def _siblings(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir() if p.suffix == path.suffix]
    except OSError:
        return ""
    return nearest(path.name, names) if len(names) <= 20 else ""

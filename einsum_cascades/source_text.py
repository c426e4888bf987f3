"""A user's text and the places in it."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from functools import cached_property

from einsum_cascades.errors import Location, short

MAX_CHARACTERS = 128 * 1024
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


def one_line(text: str, length: int = 40) -> str:
    """Return a text on one line, cut to a length."""
    return short(" ".join(text[: 2 * length].split()), length)

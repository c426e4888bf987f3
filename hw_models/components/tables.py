"""The component tables as files: CSV beside this module, with lines of comments that cite the source."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent


def rows(file: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a table, as text by column."""
    with (_FOLDER / file).open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(line for line in lines if not line.startswith("#"))

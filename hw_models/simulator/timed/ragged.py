"""Lists of rows of integers in flat arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


class Ragged:
    """Lists of rows of integers, one after another."""

    def __init__(self, width: int) -> None:
        self.width, self.rows, self.starts = width, [], [0]  # type: ignore[var-annotated]

    def add(self, rows: Iterable[tuple[int, ...]]) -> None:
        """Append a list."""
        self.rows += rows
        self.starts.append(len(self.rows))

    def arrays(self) -> tuple[Any, ...]:
        """Return where each list starts, and the columns."""
        table = np.array(self.rows, np.int64).reshape(len(self.rows), self.width)
        return np.array(self.starts, np.int64), *(np.ascontiguousarray(table[:, i]) for i in range(self.width))

"""Which rows a page holds when there are more than it can.

The front is held whole, unless it alone is too much. After it come the fronts that a reader is likely to
ask for, so that they are exact too: over any two of the first costs, and over the two axes among the rows
that share a value of a column with few values. The rest is a random sample, the same for the same table.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from fusemax.report.choose import Choice
from fusemax.report.columns import COSTS, KEY, encode, group, numeric_columns
from fusemax.report.front import Objective, front_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyarrow import Table

PAIRED_COSTS: Final = 4
FEW_VALUES: Final = 24
SEED: Final = 0


def sample_rows(table: Table, front: NDArray[np.int64], choice: Choice, most: int) -> NDArray[np.int64]:
    """Return the numbers of the rows to show, in the table's order.

    Args:
        table: all rows.
        front: numbers of the rows on the front.
        choice: what the page opens with.
        most: how many rows to show.
    """
    if table.num_rows <= most:
        return np.arange(table.num_rows)
    random = np.random.default_rng(SEED)
    if len(front) >= most:
        return np.sort(random.choice(front, size=most, replace=False))
    chosen = np.zeros(table.num_rows, dtype=np.bool_)
    chosen[front] = True
    room = most - len(front)
    for rows in _likely_fronts(table, choice):
        fresh = rows[~chosen[rows]]
        if len(fresh) <= room:
            chosen[fresh] = True
            room -= len(fresh)
    others = np.flatnonzero(~chosen)
    chosen[random.choice(others, size=room, replace=False)] = True
    return np.flatnonzero(chosen)


def _likely_fronts(table: Table, choice: Choice) -> Iterator[NDArray[np.int64]]:
    numeric = numeric_columns(table)
    groups = group(table, choice.by)
    axes = choice.x, choice.y
    yield front_rows(table, axes, groups)
    for pair in combinations([c for c in COSTS if c in numeric][:PAIRED_COSTS], 2):
        yield front_rows(table, [Objective.natural(column) for column in pair], groups)
    for column in table.column_names:
        if column not in (KEY, *COSTS, *choice.by):
            codes, count = encode(table, column)
            if 1 < count <= FEW_VALUES:
                yield front_rows(table, axes, groups * count + codes)

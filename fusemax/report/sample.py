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

from fusemax.report.columns import COSTS, KEY, is_numeric, numeric_columns, values
from fusemax.report.front import Objective, front_rows, nondominated

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyarrow import Table

PAIRED_COSTS: Final = 4
FEW_VALUES: Final = 24
SEED: Final = 0


def sample_rows(
    table: Table, front: NDArray[np.int64], axes: tuple[Objective, Objective], most: int
) -> NDArray[np.int64]:
    """Return the numbers of the rows to show, in the table's order.

    Args:
        table: all rows.
        front: numbers of the rows on the front.
        axes: what the page opens with.
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
    for rows in _likely_fronts(table, axes):
        fresh = rows[~chosen[rows]]
        if len(fresh) <= room:
            chosen[fresh] = True
            room -= len(fresh)
    others = np.flatnonzero(~chosen)
    chosen[random.choice(others, size=room, replace=False)] = True
    return np.flatnonzero(chosen)


def _likely_fronts(table: Table, axes: tuple[Objective, Objective]) -> Iterator[NDArray[np.int64]]:
    numeric = numeric_columns(table)
    yield front_rows(table, axes)
    for pair in combinations([c for c in COSTS if c in numeric][:PAIRED_COSTS], 2):
        yield front_rows(table, [Objective.natural(column) for column in pair])
    points = np.column_stack([values(table, axis.column) for axis in axes])
    maximize = [axis.maximize for axis in axes]
    for codes, count in _groups(table):
        for code in range(count):
            rows = np.flatnonzero(codes == code)
            yield rows[nondominated(points[rows], maximize)]


def _groups(table: Table) -> Iterator[tuple[NDArray[np.int64], int]]:
    """For each column of few values that is no cost: each row's value as a code, and how many codes there are."""
    for column in table.column_names:
        if column == KEY or column in COSTS:
            continue
        codes, distinct = encode(table, column)
        if 1 < distinct <= FEW_VALUES:
            yield codes, distinct


def encode(table: Table, column: str) -> tuple[NDArray[np.int64], int]:
    """Return each row's value as a code from 0, and how many codes there are; no value has a code of its own."""
    if is_numeric(table, column):
        distinct, codes = np.unique(values(table, column), return_inverse=True)
        return codes, len(distinct)
    import pyarrow as pa

    array = table.column(column)
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_nested(array.type):
        return np.zeros(table.num_rows, dtype=np.int64), 1
    encoded = array.dictionary_encode(null_encoding="encode").combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = pa.chunked_array(encoded.chunks).unify_dictionaries().combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), len(encoded.dictionary)

"""Conditions that rows of a table hold, in the language of a sweep's filters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from einsum_cascades.errors import Location
from fusemax.report.columns import encode, is_numeric, texts, values
from fusemax.sweep.conditions import Column, Kind, Names, evaluate, parse_condition
from hw_models.load import load_architecture
from hw_models.prices import node_prices

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyarrow import Table


def rows_where(table: Table, conditions: Sequence[str]) -> NDArray[np.int64]:
    """Return the numbers of the rows that hold all conditions.

    Raises:
        InputError: one is no condition, or names what is no column.
    """
    known = {name: _kind(table, name) for name in table.column_names}
    holds = np.ones(table.num_rows, dtype=np.bool_)
    for text in conditions:
        condition = parse_condition(text, partial(_place, text), known)
        holds &= evaluate(condition, lambda name: _column(table, name), _area_of)
    return np.flatnonzero(holds)


def _place(text: str, start: int, width: int) -> Location:
    return Location("--where", 1, start + 1, text, width)


def _kind(table: Table, name: str) -> Kind:
    import pyarrow as pa

    if is_numeric(table, name):
        return "number"
    return "truth" if pa.types.is_boolean(table.schema.field(name).type) else "text"


def _column(table: Table, name: str) -> Column:
    kind = _kind(table, name)
    if kind == "number":
        return values(table, name)
    if kind == "truth":
        found: NDArray[np.bool_] = table.column(name).fill_null(False).to_numpy()
        return found
    codes, count = encode(table, name)
    names = [""] * count
    first = np.unique(codes, return_index=True)[1]
    for place, text in enumerate(texts(table.take(first), name)):
        names[place] = text or ""
    return Names(codes, tuple(names))


def _area_of(name: str) -> float:
    return float(node_prices(load_architecture(name)).area_mm2)

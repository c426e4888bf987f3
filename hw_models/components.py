"""Prices of the parts of machines: energy per action and area per instance, from cited tables.

Logic is looked up by name (``components/logic.csv``). Memories are characterised on a grid of widths and
capacities (``components/memories.csv``, each row with its source); between the grid's points every figure
is interpolated linearly in log-log space, first over capacity, then over width:

    log cost(w, c) = (1 - t) log cost(w0, c) + t log cost(w1, c),   t = (log w - log w0) / (log w1 - log w0)

because the cost of an SRAM is close to a power law of its size. Outside the grid the last segment is
continued and the result says so.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from math import exp, log
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from einsum_cascades.errors import InputError, unknown
from hw_models.architecture import Array, Memory

_Logs: TypeAlias = tuple[float, ...]
_Curve: TypeAlias = tuple[list[float], list[_Logs]]

_TABLES = Path(__file__).parent / "components"

DRAM_ACCESS_BYTES = 8
"""Bytes that one action of the ``dram`` component moves."""


class Logic(NamedTuple):
    """A component that is not a memory on chip.

    Attributes:
        energy_pj: energy of one action.
        area_um2: area of one instance.
        within: the component that contains this one, or "": beside it, this one takes no area of its own.
    """

    energy_pj: float
    area_um2: float
    within: str


class MemoryCost(NamedTuple):
    """What one instance of a memory costs.

    Attributes:
        read_pj, write_pj: energy of one access of the memory's whole width.
        leak_pj: energy that leaks per clock cycle.
        area_um2: area.
        extrapolated: whether the size lies outside the table.
    """

    read_pj: float
    write_pj: float
    leak_pj: float
    area_um2: float
    extrapolated: bool = False


def _rows(file: str) -> Iterator[dict[str, str]]:
    with (_TABLES / file).open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(line for line in lines if not line.startswith("#"))


@cache
def logic_table() -> dict[str, Logic]:
    """The logic components by name."""
    return {
        row["name"]: Logic(float(row["energy_pj"]), float(row["area_um2"]), row["within"]) for row in _rows("logic.csv")
    }


@cache
def memory_table() -> dict[tuple[str, int, int], MemoryCost]:
    """The characterised memories by kind, width in bits, and capacity in bytes."""
    return {
        (row["kind"], int(row["width_bits"]), int(row["bytes"])): MemoryCost(
            float(row["read_pj"]),
            float(row["write_pj"]),
            float(row["leak_pj_per_cycle"]),
            float(row["area_um2"]),
        )
        for row in _rows("memories.csv")
    }


def logic(name: str) -> Logic:
    """Return a logic component.

    Raises:
        InputError: no component has that name.
    """
    table = logic_table()
    if name not in table:
        raise unknown("component", name, table)
    return table[name]


@lru_cache(maxsize=4096)
def memory(kind: str, width_bits: int, capacity_bytes: int) -> MemoryCost:
    """Return the cost of a memory: the table's own figures at its points, interpolated elsewhere.

    Args:
        kind: ``regfile`` or ``sram``.
        width_bits: bits moved by one access.
        capacity_bytes: capacity of one instance.

    Raises:
        InputError: the kind is unknown, a size is not positive, or a kind characterised at one width only is
            wanted at another.
    """
    exact = memory_table().get((kind, width_bits, capacity_bytes))
    if exact is not None:
        return exact
    curves = _curves()
    if kind not in curves:
        raise unknown("kind of memory", kind, curves)
    if width_bits < 1 or capacity_bytes < 1:
        raise InputError(f"a memory of {capacity_bytes} bytes, {width_bits} bits wide", hint="sizes are 1 or more")
    widths = curves[kind]
    if width_bits in widths:
        costs, outside = _along(*widths[width_bits], log(capacity_bytes))
    elif len(widths) == 1:
        raise InputError(
            f"no cost is known for a {kind} {width_bits} bits wide",
            hint=f"they are {next(iter(widths))} bits wide",
        )
    else:
        known = [*widths]
        right = min(max(bisect_left(known, width_bits), 1), len(known) - 1)
        pair = known[right - 1 : right + 1]
        columns = [_along(*widths[w], log(capacity_bytes)) for w in pair]
        costs, outside = _along([log(w) for w in pair], [column for column, _ in columns], log(width_bits))
        outside = outside or any(flag for _, flag in columns)
    read, write, leak, area = (exp(c) for c in costs)
    return MemoryCost(read, write, leak, area, outside)


def memory_costs(kind: str, width_bits: Any, capacity_bytes: Any) -> MemoryCost:
    """Return the costs of many memories, as ``memory`` does of one; the figures are arrays.

    Args:
        width_bits, capacity_bytes: whole numbers of 1 or more, or arrays of them.

    Raises:
        InputError: the kind is unknown, or known at other widths only.
    """
    import numpy as np

    if kind not in _curves():
        raise unknown("kind of memory", kind, _curves())
    known, grid, starts, table = _stacked(kind)
    given = [np.asarray(x).astype(np.int64) for x in (width_bits, capacity_bytes)]
    widths, capacities = np.broadcast_arrays(*given)
    x = np.log(capacities)
    place, weight, beyond = [], [], []
    for xs in grid:
        right = np.clip(np.searchsorted(xs, x), 1, len(xs) - 1)
        place.append(right)
        weight.append((x - xs[right - 1]) / (xs[right] - xs[right - 1]))
        beyond.append((x < xs[0]) | (x > xs[-1]))

    def along(curve: Any) -> tuple[Any, Any]:
        """Interpolate along a curve at each memory: logarithms of the costs, and whether it is outside."""
        which, start = starts[0][curve], starts[1][curve]
        right, t, outside = (
            parts[0] if len(grid) == 1 else np.choose(which, parts) for parts in (place, weight, beyond)
        )
        low, high = table[start + right - 1], table[start + right]
        return low + t[..., None] * (high - low), outside

    if len(known) == 1:
        if bad := [w for w in np.unique(widths).tolist() if w != known[0]]:
            memory(kind, bad[0], 1)
        logs, outside = along(np.zeros(widths.shape, np.int64))
    else:
        right = np.clip(np.searchsorted(known, widths), 1, len(known) - 1)
        stops = np.log(known)
        t = (np.log(widths) - stops[right - 1]) / (stops[right] - stops[right - 1])
        (low, under), (high, over) = along(right - 1), along(right)
        logs = low + t[..., None] * (high - low)
        outside = (t < 0) | (t > 1) | (under & (t < 1)) | (over & (t > 0))
    read, write, leak, area = np.moveaxis(np.exp(logs), -1, 0)
    return MemoryCost(read, write, leak, area, outside)


@cache
def _stacked(kind: str) -> tuple[Any, list[Any], tuple[Any, Any], Any]:
    """Widths of a kind, its different grids of capacities, the grid and first row of each width, and all rows."""
    import numpy as np

    grids: list[_Logs] = []
    which: list[int] = []
    starts: list[int] = []
    rows: list[_Logs] = []
    for xs, costs in _curves()[kind].values():
        if tuple(xs) not in grids:
            grids.append(tuple(xs))
        which.append(grids.index(tuple(xs)))
        starts.append(len(rows))
        rows += costs
    known = np.asarray([*_curves()[kind]])
    return known, [np.asarray(g) for g in grids], (np.asarray(which), np.asarray(starts)), np.asarray(rows)


def register_file_cost(array: Array, value_bytes: int) -> MemoryCost:
    """Return the cost of one PE's register file, which moves one value per access."""
    return memory("regfile", 8 * value_bytes, array.registers * value_bytes)


def buffer_cost(buffer: Memory, value_bytes: int) -> MemoryCost:
    """Return the cost of a buffer, which moves one row of values per access."""
    return memory("sram", 8 * value_bytes * buffer.row_values, buffer.bytes)


@cache
def _curves() -> dict[str, dict[int, _Curve]]:
    """Per kind and width the logarithms of the capacities and of their costs, in rising order."""
    grid: dict[str, dict[int, list[tuple[float, _Logs]]]] = {}
    for (kind, width, capacity), cost in sorted(memory_table().items()):
        logs = tuple(log(c) for c in cost[:4])
        grid.setdefault(kind, {}).setdefault(width, []).append((log(capacity), logs))
    return {
        kind: {width: ([x for x, _ in points], [y for _, y in points]) for width, points in widths.items()}
        for kind, widths in grid.items()
    }


def _along(xs: Sequence[float], rows: Sequence[_Logs], x: float) -> tuple[_Logs, bool]:
    """Interpolate rows linearly at ``x``, continuing the end segments; also say whether ``x`` is outside."""
    right = min(max(bisect_left(xs, x), 1), len(xs) - 1)
    weight = (x - xs[right - 1]) / (xs[right] - xs[right - 1])
    between = tuple(a + weight * (b - a) for a, b in zip(rows[right - 1], rows[right], strict=True))
    return between, not xs[0] <= x <= xs[-1]

"""The price of a memory on chip, by the table that is asked for.

| table | kinds | over | at other process nodes |
|---|---|---|---|
| ``accelergy`` | ``regfile``, ``sram`` | width, capacity | 45 nm scaled, 7 to 130 nm |
| ``cacti`` | ``sram`` | process node, ports, width, capacity | 22 to 90 nm |
| ``hwcomponents`` | ``sram`` | the same, computed by CACTI itself (extra ``components``) | 22 to 90 nm |

Every memory is one bank, however large.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from einsum_cascades.errors import InputError, check_name
from einsum_cascades.numbers import finite, whole
from einsum_cascades.sizes import as_size
from hw_models.components.accelergy import memories, memory, memory_table
from hw_models.components.cacti import sram, sram_table, srams
from hw_models.components.costs import MemoryCost
from hw_models.components.hwcomponents import cacti_sram
from hw_models.components.technology import BASE_NM
from hw_models.machine import StatedCost

_TABLES: Final = {"regfile": ("accelergy",), "sram": ("cacti", "accelergy", "hwcomponents")}
"""Kinds of memory, and the tables that know them: the first is taken if none is named."""

NOTHING: Final = MemoryCost(0.0, 0.0, 0.0, 0.0)
"""What a memory costs of which no table is asked."""


def memory_cost(
    kind: str = "sram",
    *,
    bytes: int | str,
    width_bits: int,
    ports: int = 1,
    technology_nm: float = BASE_NM,
    table: str | None = None,
    extrapolate: bool = False,
) -> MemoryCost:
    """Return what a memory costs.

    Args:
        kind: ``sram`` or ``regfile``.
        bytes: capacity of one instance, such as 262144 or ``256KiB``.
        width_bits: bits moved by one access.
        ports: ports, each of which can read or write in every cycle.
        technology_nm: process node.
        table: ``cacti``, ``accelergy`` or ``hwcomponents``; ``cacti`` for SRAMs if left out.
        extrapolate: whether a size outside the table is answered by continuing its last segment.

    Raises:
        InputError: a name is unknown, a size is not positive, the table has no such kind, number of ports or
            process node, or the size lies outside it and ``extrapolate`` is false.
    """
    check_name("kind of memory", kind, _TABLES)
    name = _TABLES[kind][0] if table is None else table
    check_name(f"table of the kind {kind}", name, _TABLES[kind])
    bytes = as_size(bytes, "bytes", "bytes")
    width_bits, ports = whole("width_bits", width_bits), whole("ports", ports)
    technology_nm = finite("technology_nm", technology_nm, above=0)
    if name == "accelergy" and ports != 1:
        other = [t for t in _TABLES[kind] if t != name]
        hint = f"tables with ports: {', '.join(other)}" if other else "its figures are those of one port"
        raise InputError(f"the table accelergy characterises no {kind} of {ports} ports", hint=hint)
    found = priced(name, kind, bytes, width_bits, ports, technology_nm)
    if found.extrapolated and not extrapolate:
        what = f"a {kind} of {bytes} bytes, {width_bits} bits wide, with {ports} ports"
        raise InputError(f"{what} lies outside the table {name}", hint=_reach(name, kind))
    return found


def priced(table: str, kind: str, capacity: Any, width_bits: Any, ports: Any, technology_nm: Any) -> MemoryCost:
    """Return what a table that knows the kind says of a memory; ``accelergy`` prices one port, whatever their number.

    Numbers may be arrays with a value per memory. CACTI itself runs once for each distinct one.

    Raises:
        InputError: as ``memory_cost``, sizes outside the table apart.
    """
    sizes = (capacity, width_bits, ports, technology_nm)
    if any(isinstance(size, np.ndarray) for size in sizes if table != "accelergy" or size is not ports):
        if table == "accelergy":
            return memories(kind, width_bits, capacity, technology_nm)
        return srams(*sizes) if table == "cacti" else _each_cacti_sram(*sizes)
    if table == "accelergy":
        return memory(kind, width_bits, capacity, technology_nm)
    return (sram if table == "cacti" else cacti_sram)(capacity, width_bits, ports, technology_nm)


def _each_cacti_sram(*sizes: Any) -> MemoryCost:
    given = np.broadcast_arrays(*(np.asarray(size, float) for size in sizes))
    distinct, which = np.unique(np.stack([size.reshape(-1) for size in given]), axis=1, return_inverse=True)
    costs = [cacti_sram(int(c), int(w), int(p), node) for c, w, p, node in distinct.T.tolist()]
    figures = (np.asarray(figure)[which.reshape(-1)].reshape(given[0].shape) for figure in zip(*costs, strict=True))
    return MemoryCost(*figures)


def laid_over(found: MemoryCost, stated: StatedCost) -> MemoryCost:
    """Return what the tables say with what a machine states laid over it; figures may be arrays."""
    given = (stated.read_j, stated.write_j, stated.leak_w, stated.area_mm2)
    own = MemoryCost.si(*(0.0 if value is None else value for value in given))
    read, write, leak, area = (
        known if value is None else mine for known, mine, value in zip(found[:4], own[:4], given, strict=True)
    )
    return MemoryCost(read, write, leak, area, found.extrapolated)


def _reach(table: str, kind: str) -> str:
    """What sizes a table covers, for a hint."""
    sizes: Iterable[tuple[int, int, int]]
    if table == "accelergy":
        sizes = [(1, width, capacity) for known, width, capacity in memory_table() if known == kind]
    else:
        sizes = [(ports, width, capacity) for _, ports, width, capacity in sram_table()]
    ports, widths, capacities = ({size[axis] for size in sizes} for axis in range(3))
    rows = ", at least 64 rows" if kind == "sram" else ""
    return (
        f"it reaches from {min(capacities)} to {max(capacities)} bytes{rows}, {min(widths)} to {max(widths)} bits, "
        f"{min(ports)} to {max(ports)} ports; extrapolate=True goes beyond"
    )

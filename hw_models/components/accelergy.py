"""Memories as Accelergy characterises them: the table that the published evaluation of FuseMax used.

Register files of 16 bits and SRAMs at 45 nm over width and capacity (``memories.csv``, each row with its source); bank
and port counts changed no figure. Other sizes: ``interpolation.py``; other process nodes: ``technology.py``.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import log

from einsum_cascades.errors import InputError, unknown
from hw_models.components.costs import MemoryCost
from hw_models.components.interpolation import Curve
from hw_models.components.tables import rows
from hw_models.components.technology import BASE_NM, scale


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
        for row in rows("memories.csv")
    }


@lru_cache(maxsize=4096)
def memory(kind: str, width_bits: int, capacity_bytes: int, technology_nm: float = BASE_NM) -> MemoryCost:
    """Return the cost of a memory: the table's own figures at its points, interpolated or extrapolated elsewhere.

    Args:
        kind: ``regfile`` or ``sram``.
        width_bits: bits moved by one access.
        capacity_bytes: capacity of one instance.
        technology_nm: process node, to which figures are scaled.

    Raises:
        InputError: the kind is unknown, a size is not positive, a kind characterised at one width only is wanted at
            another, or no scaling is known to the process node.
    """
    found = memory_table().get((kind, width_bits, capacity_bytes)) or _between(kind, width_bits, capacity_bytes)
    if technology_nm == BASE_NM:
        return found
    factor = scale(technology_nm)
    return found._replace(
        read_pj=found.read_pj * factor.energy,
        write_pj=found.write_pj * factor.energy,
        leak_pj=found.leak_pj * factor.energy,
        area_um2=found.area_um2 * factor.area,
    )


def _between(kind: str, width_bits: int, capacity_bytes: int) -> MemoryCost:
    table = curve(kind)
    if width_bits < 1 or capacity_bytes < 1:
        raise InputError(f"a memory of {capacity_bytes} bytes, {width_bits} bits wide", hint="sizes are 1 or more")
    if len(table.points) == 1 and log(width_bits) != table.points[0]:
        only = next(width for known, width, _ in memory_table() if known == kind)
        raise InputError(f"no cost is known for a {kind} {width_bits} bits wide", hint=f"they are {only} bits wide")
    (read, write, leak, area), outside = table.at((log(width_bits), log(capacity_bytes)))
    return MemoryCost(read, write, leak, area, outside)


@cache
def curve(kind: str) -> Curve:
    """Return the table of a kind of memory over width and capacity.

    Raises:
        InputError: the kind is unknown.
    """
    kinds = {known for known, _, _ in memory_table()}
    if kind not in kinds:
        raise unknown("kind of memory", kind, kinds)
    return Curve.of(((w, c), cost[:4]) for (k, w, c), cost in memory_table().items() if k == kind)

"""Memories as Accelergy characterises them: the table that the published evaluation of FuseMax used.

Register files of 16 bits and SRAMs at 45 nm over width and capacity (``memories.csv``, each row with its source); bank
and port counts changed no figure. Other sizes: ``interpolation.py``; other process nodes: ``technology.py``.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, Final

import numpy as np

from einsum_cascades.errors import InputError, unknown
from hw_models.components.costs import MemoryCost
from hw_models.components.interpolation import Curve
from hw_models.components.tables import rows
from hw_models.components.technology import BASE_NM, scale

FILE_BITS: Final = 16
"""Width of the register files that are characterised."""


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
        InputError: the kind is unknown, a size is not positive, a register file is not 16 bits wide, or no scaling is
            known to the process node.
    """
    return memories(kind, width_bits, capacity_bytes, technology_nm)


def memories(kind: str, width_bits: Any, capacity_bytes: Any, technology_nm: Any = BASE_NM) -> MemoryCost:
    """Return the costs of memories whose numbers may be arrays, as ``memory`` does of one.

    Raises:
        InputError: as ``memory``.
    """
    table = curve(kind)
    if np.any(np.less(width_bits, 1)) or np.any(np.less(capacity_bytes, 1)):
        raise InputError(f"a memory of {capacity_bytes} bytes, {width_bits} bits wide", hint="sizes are 1 or more")
    if kind == "regfile" and np.any(np.not_equal(width_bits, FILE_BITS)):
        what = f"no cost is known for a {kind} {width_bits} bits wide"
        raise InputError(what, hint=f"they are {FILE_BITS} bits wide")
    (read, write, leak, area), outside = table.at(width_bits, capacity_bytes)
    factor = scale(technology_nm)
    return MemoryCost(read * factor.energy, write * factor.energy, leak * factor.energy, area * factor.area, outside)


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

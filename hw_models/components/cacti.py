"""SRAMs as CACTI characterises them, over process node, read-write ports, width and capacity.

``sram.csv`` restates what ``characterise.py`` found. At 45 nm and one port it agrees with the table of
``accelergy.py``, which CACTI is behind too. Other sizes, ports and process nodes: ``interpolation.py``.

CACTI takes the layout of each memory that leaks least, so its figures jump where the layout changes: they rise with the
capacity but for 7 of 930 neighbours in the table, and fall now and then over width and ports.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, Final

import numpy as np

from einsum_cascades.errors import InputError
from hw_models.components.costs import MemoryCost
from hw_models.components.interpolation import Curve
from hw_models.components.tables import rows

NODES_NM: Final = (22, 32, 45, 65, 90)
"""Process nodes that CACTI describes."""


@cache
def sram_table() -> dict[tuple[float, int, int, int], MemoryCost]:
    """The characterised SRAMs by process node in nm, ports, width in bits, and capacity in bytes."""
    return {
        (float(row["technology_nm"]), int(row["ports"]), int(row["width_bits"]), int(row["bytes"])): MemoryCost.si(
            float(row["read_j"]), float(row["write_j"]), float(row["leak_w"]), float(row["area_mm2"])
        )
        for row in rows("sram.csv")
    }


@lru_cache(maxsize=4096)
def sram(capacity_bytes: int, width_bits: int, ports: int = 1, technology_nm: float = 45) -> MemoryCost:
    """Return the cost of an SRAM: the table's own figures at its points, interpolated or extrapolated elsewhere.

    Raises:
        InputError: a size is not positive, or the process node lies outside the table.
    """
    return srams(capacity_bytes, width_bits, ports, technology_nm)


def srams(capacity_bytes: Any, width_bits: Any, ports: Any = 1, technology_nm: Any = 45) -> MemoryCost:
    """Return the costs of SRAMs whose numbers may be arrays, as ``sram`` does of one.

    Raises:
        InputError: as ``sram``.
    """
    if any(np.any(np.less(size, 1)) for size in (capacity_bytes, width_bits, ports)):
        what = f"an SRAM of {capacity_bytes} bytes, {width_bits} bits wide, with {ports} ports"
        raise InputError(what, hint="sizes are 1 or more")
    for node in np.unique(technology_nm).tolist():
        check_technology(node)
    (read, write, leak, area), outside = sram_curve().at(technology_nm, ports, width_bits, capacity_bytes)
    return MemoryCost(read, write, leak, area, outside)


def check_technology(technology_nm: float) -> None:
    """Refuse a process node that CACTI does not describe.

    Raises:
        InputError: it is smaller than 22 nm or larger than 90 nm.
    """
    if not NODES_NM[0] <= technology_nm <= NODES_NM[-1]:
        hint = f"its process nodes reach from {NODES_NM[-1]} to {NODES_NM[0]} nm; table accelergy is scaled beyond"
        raise InputError(f"CACTI has no SRAM at {technology_nm:g} nm", hint=hint)


@cache
def sram_curve() -> Curve:
    """The table over process node, ports, width and capacity."""
    return Curve.of((size, cost[:4]) for size, cost in sram_table().items())

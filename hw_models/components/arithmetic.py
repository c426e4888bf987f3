"""Components that are no memory on chip: arithmetic units, and the accesses of the off-chip memory."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from einsum_cascades.errors import unknown
from hw_models.components.tables import rows
from hw_models.components.technology import scale

DRAM_ACCESS_BYTES: Final = 8
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


@cache
def logic_table() -> dict[str, Logic]:
    """The logic components by name, at 45 nm."""
    return {
        row["name"]: Logic(float(row["energy_pj"]), float(row["area_um2"]), row["within"]) for row in rows("logic.csv")
    }


def logic(name: str, technology_nm: float = 45) -> Logic:
    """Return a logic component at a process node; off-chip memory is no part of the chip and keeps its energy.

    Raises:
        InputError: no component has that name, or the node lies outside the scaling factors.
    """
    table = logic_table()
    if name not in table:
        raise unknown("component", name, table)
    part = table[name]
    factor = scale(technology_nm)
    if name == "dram" or factor.energy == factor.area == 1:
        return part
    return part._replace(energy_pj=part.energy_pj * factor.energy, area_um2=part.area_um2 * factor.area)

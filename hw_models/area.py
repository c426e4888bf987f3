"""Chip area: PEs, one-dimensional lanes and the global buffer.

A PE is its register file and one instance of each distinct component that its units use; a component within
another one of the same PE (the adder of a multiply-accumulator) takes no area of its own. The chip is both
arrays and the global buffer; wires and control are not modelled. Source: the evaluation of FuseMax (Nayak
et al., MICRO 2024), whose chip areas this reproduces.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from hw_models.architecture import Architecture, Array
from hw_models.components import buffer_cost, logic, register_file_cost, scale


class Area(NamedTuple):
    """Area by part, in µm²."""

    array_2d_um2: float
    array_1d_um2: float
    global_buffer_um2: float

    @property
    def chip_um2(self) -> float:
        """Area of the chip in µm²."""
        return self.array_2d_um2 + self.array_1d_um2 + self.global_buffer_um2

    @property
    def chip_mm2(self) -> float:
        """Area of the chip in mm²."""
        return self.chip_um2 * 1e-6


@lru_cache(maxsize=1024)
def area(architecture: Architecture) -> Area:
    """Return the area of an architecture's parts.

    Raises:
        InputError: the component tables lack a component, a memory or the process node.
    """
    return Area(
        array_2d_um2=architecture.array_2d.pes * pe_area_um2(architecture, "array_2d"),
        array_1d_um2=architecture.array_1d.pes * pe_area_um2(architecture, "array_1d"),
        global_buffer_um2=buffer_cost(architecture).area_um2,
    )


def pe_area_um2(architecture: Architecture, array: str) -> float:
    """Return the area of one PE of ``array_2d`` or ``array_1d`` in µm²."""
    own = logic_area_um2(architecture.array(array)) * scale(architecture.technology_nm).area
    found: float = register_file_cost(architecture, array).area_um2 + own
    return found


def logic_area_um2(array: Array) -> float:
    """Return the area at 45 nm of one PE without its register file in µm²."""
    components = {unit.component: logic(unit.component) for _, unit in array.units}
    return sum(part.area_um2 for part in components.values() if part.within not in components)

"""What one instance of a memory costs."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

LEAK_CLOCK_HZ: Final = 940e6
"""Clock at which leakage in pJ per cycle is stated, whatever the machine's."""

_PICO: Final = 1e-12


class MemoryCost(NamedTuple):
    """Energy and area of one instance of a memory; figures may be arrays with a value per machine.

    Attributes:
        read_pj, write_pj: energy of one access of the memory's whole width.
        leak_pj: energy that leaks per clock cycle of 940 MHz.
        area_um2: area.
        extrapolated: whether the size lies outside the table.
    """

    read_pj: Any
    write_pj: Any
    leak_pj: Any
    area_um2: Any
    extrapolated: Any = False

    @classmethod
    def si(cls, read_j: Any, write_j: Any, leak_w: Any, area_mm2: Any) -> MemoryCost:
        """Return the cost given in joules, watts and mm²."""
        return cls(read_j / _PICO, write_j / _PICO, leak_w / LEAK_CLOCK_HZ / _PICO, area_mm2 * 1e6)

    @property
    def read_j(self) -> Any:
        """Energy of one read in joules."""
        return self.read_pj * _PICO

    @property
    def write_j(self) -> Any:
        """Energy of one write in joules."""
        return self.write_pj * _PICO

    @property
    def leak_w(self) -> Any:
        """Leakage in watts."""
        return self.leak_pj * _PICO * LEAK_CLOCK_HZ

    @property
    def area_mm2(self) -> Any:
        """Area in mm²."""
        return self.area_um2 * 1e-6

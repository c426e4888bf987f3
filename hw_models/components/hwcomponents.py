"""SRAMs by CACTI itself, as the package hwcomponents runs it (extra ``components``, Python 3.12 or newer).

Sources: N. Muralimanohar, R. Balasubramonian, N. P. Jouppi, "CACTI 6.0", HP Laboratories, 2009, and its successor
CACTI 7 (R. Balasubramonian et al., ACM TACO 14(2), 2017); T. Andrulis, J. S. Emer, V. Sze, "CiMLoop", ISPASS 2024, for
hwcomponents. Process nodes are those of CACTI: below and above them the package extrapolates from 22 nm.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path

from einsum_cascades.errors import InputError
from einsum_cascades.extras import require
from hw_models.components.cacti import check_technology
from hw_models.components.costs import MemoryCost


@lru_cache(maxsize=4096)
def cacti_sram(size: int, width_bits: int, ports: int = 1, technology_nm: float = 45, banks: int = 1) -> MemoryCost:
    """Return the cost of an SRAM by CACTI, which takes about a second.

    Args:
        size: capacity in bytes, all banks together.
        width_bits: bits moved by one access.
        ports: read-write ports of each bank.
        technology_nm: process node, from 22 to 90 nm.
        banks: banks, each as wide as the whole memory.

    Raises:
        InputError: no such process node, the extra is not installed, or CACTI does not run or finds no such memory.
    """
    check_technology(technology_nm)
    require("components", "CACTI (with Python 3.12 or newer)")
    import hwcomponents_cacti

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # the package leaves a file to be closed by itself
            found = hwcomponents_cacti.SRAM(
                tech_node=technology_nm / 1e9, width=width_bits, size=8 * size, n_rw_ports=ports, n_banks=banks
            )
    except Exception as error:
        what = f"CACTI fails for an SRAM of {size} bytes, {width_bits} bits wide, with {ports} ports"
        folder = Path(hwcomponents_cacti.__file__).parent / "cacti"
        hint = f"if its program does not start on this system, build it anew: make -C {folder} clean dbg"
        raise InputError(f"{what}: {_first_line(error)}", hint=hint) from None
    return MemoryCost.si(found.read_energy, found.write_energy, found.leak_power, found.area * 1e6)


def _first_line(error: Exception) -> str:
    return str(error).partition(". Please")[0].partition("\n")[0][:200] or type(error).__name__

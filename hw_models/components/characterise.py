"""Characterises SRAMs with CACTI: ``python -m hw_models.components.characterise`` prints the rows of ``sram.csv``.

Needs the extra ``components``; takes about fifteen minutes. Capacities of fewer than 64 rows are left out.
"""

from __future__ import annotations

import csv
import sys
from itertools import product
from typing import Final, TextIO

from hw_models.components.cacti import NODES_NM
from hw_models.components.hwcomponents import cacti_sram

PORTS: Final = (1, 2, 4)
WIDTHS_BITS: Final = (64, 256, 1024, 4096, 8192)
CAPACITIES_BYTES: Final = tuple(2**n for n in range(12, 27))
ROWS: Final = 64
COLUMNS: Final = ("technology_nm", "ports", "width_bits", "bytes", "read_j", "write_j", "leak_w", "area_mm2")


def characterise(out: TextIO) -> None:
    """Write the table of SRAMs as CSV, figures to six digits.

    Raises:
        InputError: the extra is not installed, or CACTI does not run.
    """
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for node, ports, width, capacity in product(NODES_NM, PORTS, WIDTHS_BITS, CAPACITIES_BYTES):
        if 8 * capacity >= ROWS * width:
            found = cacti_sram(capacity, width, ports, node)
            figures = (found.read_j, found.write_j, found.leak_w, found.area_mm2)
            table.writerow((node, ports, width, capacity, *(f"{f:.6g}" for f in figures)))


if __name__ == "__main__":
    characterise(sys.stdout)

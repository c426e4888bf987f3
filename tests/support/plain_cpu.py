"""A CPU of round figures, on which costs can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hw_models.cpu.file import RATES
from hw_models.cpu.machine import Cpu, Level
from hw_models.cpu.product_rates import ProductRates

FLAT = ProductRates.of({(1, 1, 1): 2e9})
"""2 Gflop/s at any size."""


def plain_cpu(**changes: Any) -> Cpu:
    """Two threads, 1e9 operations per second each, no overheads; changes by field name."""
    cpu = Cpu(
        name="plain",
        threads=2,
        levels=(
            Level("L1", 2**15, 2**15, False, 16e9, 32e9, 1e18),
            Level("L2", 2**18, 2**18, False, 8e9, 16e9, 1e18),
            Level("L3", 2**22, 2**22, True, 4e9, 8e9, 4e9),
            Level("memory", None, None, True, 2e9, 2e9, 1e9),
        ),
        products=FLAT,
        operators=tuple((name, 1e9) for name in RATES),
    )
    return replace(cpu, **changes)

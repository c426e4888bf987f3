"""Prices of the parts of machines: energy per action and area per instance, from cited tables.

Logic is looked up by name (``logic.csv``). A memory on chip is priced by kind, capacity, width, ports and process node,
from one of three tables: ``accelergy`` (``memories.csv``, the one that the published evaluation used), ``cacti``
(``sram.csv``), or ``hwcomponents``, which asks the package of that name instead of a table. Process nodes that a
table does not characterise follow published scaling factors (``technology.csv``). The timing of off-chip memories is
that of their standards (``dram.csv``).
"""

from hw_models.components.accelergy import memory, memory_table
from hw_models.components.arithmetic import DRAM_ACCESS_BYTES, Logic, logic, logic_table
from hw_models.components.cacti import check_technology
from hw_models.components.costs import LEAK_CLOCK_HZ, MemoryCost
from hw_models.components.dram import dram_presets, dram_timing
from hw_models.components.memories import memory_cost
from hw_models.components.technology import Scale, scale

__all__ = [
    "DRAM_ACCESS_BYTES",
    "LEAK_CLOCK_HZ",
    "Logic",
    "MemoryCost",
    "Scale",
    "check_technology",
    "dram_presets",
    "dram_timing",
    "logic",
    "logic_table",
    "memory",
    "memory_cost",
    "memory_table",
    "scale",
]

"""What hardware is, and what work on it costs: machine trees, component tables, latency, energy, area."""

from hw_models.accounting import ACCOUNTINGS, PHYSICAL, PUBLISHED, Accounting, accounting_named
from hw_models.components import Logic, MemoryCost, logic, memory, memory_cost
from hw_models.links import Link
from hw_models.machine import Array, Machine, Memory, Unit
from hw_models.prices import NodePrice, Prices, node_prices

__all__ = [
    "ACCOUNTINGS",
    "PHYSICAL",
    "PUBLISHED",
    "Accounting",
    "Array",
    "Link",
    "Logic",
    "Machine",
    "Memory",
    "MemoryCost",
    "NodePrice",
    "Prices",
    "Unit",
    "accounting_named",
    "logic",
    "memory",
    "memory_cost",
    "node_prices",
]

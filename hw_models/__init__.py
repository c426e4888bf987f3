"""What hardware is, and what work on it costs: architectures, component tables, latency, energy, area."""

from hw_models.accounting import ACCOUNTINGS, PHYSICAL, PUBLISHED, Accounting, accounting_named
from hw_models.activity import Activity, Count, EinsumActivity, Phase
from hw_models.architecture import Architecture, Array, Memory, Unit
from hw_models.area import Area, area
from hw_models.components import Logic, MemoryCost, logic, memory, memory_cost
from hw_models.cost import Cost, EinsumCost, cost
from hw_models.energy import Energy, energy
from hw_models.latency import latency_s
from hw_models.load import architecture_names, load_architecture

__all__ = [
    "ACCOUNTINGS",
    "PHYSICAL",
    "PUBLISHED",
    "Accounting",
    "Activity",
    "Architecture",
    "Area",
    "Array",
    "Cost",
    "Count",
    "EinsumActivity",
    "EinsumCost",
    "Energy",
    "Logic",
    "Memory",
    "MemoryCost",
    "Phase",
    "Unit",
    "accounting_named",
    "architecture_names",
    "area",
    "cost",
    "energy",
    "latency_s",
    "load_architecture",
    "logic",
    "memory",
    "memory_cost",
]

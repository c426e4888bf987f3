"""Runs loop trees on real values: every memory is a store of its capacity, and every read must find its value there.

It shares no counting code with the engine, whose results, accesses and capacities it is the judge of.
"""

from hw_models.simulator.functional.errors import SimulationError
from hw_models.simulator.functional.interpreted import max_error, reference
from hw_models.simulator.functional.simulation import Executed, simulate

__all__ = ["Executed", "SimulationError", "max_error", "reference", "simulate"]

"""Runs loop trees on real values: every memory is a store of its capacity, every read finds its value there or fails."""

from hw_models.simulator.functional.errors import SimulationError
from hw_models.simulator.functional.reference import max_error, reference
from hw_models.simulator.functional.simulation import Executed, simulate

__all__ = ["Executed", "SimulationError", "max_error", "reference", "simulate"]

"""Spatial-array machines by name or from a YAML file, under the names of before; ``hw_models.load`` has them all."""

from __future__ import annotations

from hw_models.load import FOLDER, architecture_names, load_machine
from hw_models.load import load_architecture as spatial_machine
from hw_models.load import read_machine_file as read_spatial_file
from hw_models.machine import Machine

__all__ = ["FOLDER", "read_spatial_file", "spatial_machine", "spatial_names"]


def spatial_names() -> tuple[str, ...]:
    """Return the names of the spatial arrays that come with the package."""
    return tuple(name for name in architecture_names() if isinstance(load_machine(name), Machine))

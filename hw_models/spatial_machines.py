"""Spatial-array machines by name (``hw_models/machines``) or from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from einsum_cascades import named_files
from einsum_cascades.schema import Overrides
from einsum_cascades.yaml_source import Node
from hw_models.machine import Machine
from hw_models.machine_file import load_spatial

FOLDER: Final = Path(__file__).parent / "machines"


def spatial_names() -> tuple[str, ...]:
    """Return the names of the spatial arrays that come with the package."""
    return named_files.names(FOLDER)


def read_spatial_file(name_or_path: str) -> Node:
    """Return the YAML tree of a machine's file, by name or path.

    Raises:
        InputError: no such name or file, or no YAML.
    """
    kind = "architecture"
    return named_files.load(kind, named_files.find(kind, str(name_or_path), FOLDER), FOLDER)


def spatial_machine(name_or_path: str, overrides: Overrides = ()) -> Machine:
    """Return a spatial-array machine by name or from a YAML file.

    Args:
        name_or_path: one of ``spatial_names()``, or a path.
        overrides: values to change, as ``{"array_2d.rows": "128"}`` or ``["array_2d.rows=128"]``; sizes may have
            suffixes, as ``8MiB``, or be the key of another value, as ``array_2d.columns``.

    Raises:
        InputError: no such name or file, no YAML, or a key or value that a machine cannot have.
    """
    return load_spatial(read_spatial_file(name_or_path), overrides)

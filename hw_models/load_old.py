"""Machines as the old engine of sweeps has them; goes with it.

A file's ``kind`` says what the machine is, and so which schema the file follows and what it describes; a file without
one describes a spatial array.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from einsum_cascades import named_files
from einsum_cascades.errors import InputError, unknown
from einsum_cascades.schema import Overrides, check
from einsum_cascades.yaml_source import Node
from hw_models.architecture import Architecture
from hw_models.cpu.file import CpuSpec, cpu_of
from hw_models.cpu.machine import Cpu
from hw_models.gpu.file import GpuSpec, gpu_of
from hw_models.gpu.machine import Gpu
from hw_models.spatial_file import ArchitectureSpec, architecture_of

Machine: TypeAlias = Architecture | Cpu | Gpu

_FOLDER = Path(__file__).parent / "architectures"
_NEW = Path(__file__).parent / "machines"
_SPATIAL: Final = "spatial-array"
_KINDS: Final[dict[str, Callable[[Node, Overrides], Machine]]] = {
    _SPATIAL: lambda node, overrides: architecture_of(check(ArchitectureSpec, node, overrides)),
    "cpu": lambda node, overrides: cpu_of(check(CpuSpec, node, overrides)),
    "gpu": lambda node, overrides: gpu_of(check(GpuSpec, node, overrides)),
}


def architecture_names() -> tuple[str, ...]:
    """Return the names of the machines that come with the package, of every kind."""
    return tuple(sorted({*named_files.names(_FOLDER), *named_files.names(_NEW)}))


def load_machine(name_or_path: str, overrides: Overrides = ()) -> Machine:
    """Return a machine of any kind by name or from a YAML file.

    Args:
        name_or_path: one of ``architecture_names()``, or a path.
        overrides: values to change, as ``{"array_2d.rows": "128"}`` or ``["array_2d.rows=128"]``; sizes may
            have suffixes, as ``8MiB``.

    Raises:
        InputError: no such name or file, no YAML, or a key or value that a machine of its kind cannot have.
    """
    return machine_of(read_machine_file(name_or_path), overrides)


def machine_of(node: Node, overrides: Overrides = ()) -> Machine:
    """Return the machine that a file's YAML tree describes, as ``load_machine`` does.

    Raises:
        InputError: a key or value that a machine of its kind cannot have.
    """
    return _KINDS[_kind(node)](node, overrides)


def load_architecture(name_or_path: str, overrides: Overrides = ()) -> Architecture:
    """Return a spatial-array machine by name or from a YAML file, as ``load_machine`` does.

    Raises:
        InputError: as ``load_machine``, and when the machine is no spatial array.
    """
    machine = load_machine(name_or_path, overrides)
    if not isinstance(machine, Architecture):
        raise InputError(
            f"'{machine.name}' is a {machine.kind}, not a spatial array",
            hint="name a spatial array, such as fusemax-cloud",
        )
    return machine


def read_machine_file(name_or_path: str) -> Node:
    """Return the YAML tree of a machine's file, by name or path.

    Raises:
        InputError: no such name or file, or no YAML.
    """
    kind = "architecture"
    folder = _FOLDER if str(name_or_path).casefold() in named_files.names(_FOLDER) else _NEW
    return named_files.load(kind, named_files.find(kind, str(name_or_path), folder), folder)


def _kind(node: Node) -> str:
    """The kind that a file states."""
    stated = node.value.get("kind") if isinstance(node.value, dict) else None
    if stated is None:
        return _SPATIAL
    if not isinstance(stated.value, str) or stated.value not in _KINDS:
        raise unknown("kind of machine", stated.raw, _KINDS, location=stated.location)
    return stated.value

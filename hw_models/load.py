"""Machines from YAML files: one file per machine, in ``hw_models/machines`` or anywhere else.

A file's ``kind`` says what the machine is, and so which schema the file follows and what it describes; a file without
one describes a spatial array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from einsum_cascades import named_files
from einsum_cascades.errors import InputError, unknown
from einsum_cascades.schema import Overrides, Section, check, leaves
from einsum_cascades.yaml_source import Node
from hw_models.cpu.file import CpuSpec, cpu_of
from hw_models.cpu.machine import Cpu
from hw_models.gpu.file import GpuSpec, gpu_of
from hw_models.gpu.machine import Gpu
from hw_models.machine import Machine
from hw_models.machine_file import load_spatial, machine_keys
from hw_models.machine_schema import file_section

AnyMachine: TypeAlias = Machine | Cpu | Gpu

FOLDER: Final = Path(__file__).parent / "machines"
SPATIAL: Final = "spatial-array"


@dataclass(frozen=True)
class Kind:
    """A kind of machine.

    Attributes:
        title: what one is called in a sentence.
        read: the machine that a file's tree describes, overrides laid over it.
        keys: the dotted keys of a file's values that may be set, with their types.
        schema: the shape of its files.
    """

    title: str
    read: Callable[[Node, Overrides], AnyMachine]
    keys: Callable[[Node], Mapping[str, type]]
    schema: Callable[[], type[Section]]


KINDS: Final[dict[str, Kind]] = {
    SPATIAL: Kind("spatial array", load_spatial, machine_keys, file_section),
    "cpu": Kind("CPU", lambda file, o: cpu_of(check(CpuSpec, file, o)), lambda _: leaves(CpuSpec), lambda: CpuSpec),
    "gpu": Kind("GPU", lambda file, o: gpu_of(check(GpuSpec, file, o)), lambda _: leaves(GpuSpec), lambda: GpuSpec),
}
"""All kinds of machines, by what ``kind`` says in a file."""


def architecture_names() -> tuple[str, ...]:
    """Return the names of the machines that come with the package, of every kind."""
    return named_files.names(FOLDER)


def load_machine(name_or_path: str, overrides: Overrides = ()) -> AnyMachine:
    """Return a machine of any kind by name or from a YAML file.

    Args:
        name_or_path: one of ``architecture_names()``, or a path.
        overrides: values to change, as ``{"array_2d.rows": "128"}`` or ``["array_2d.rows=128"]``; sizes may
            have suffixes, as ``8MiB``, and in a spatial array be the key of another value, as ``array_2d.columns``.

    Raises:
        InputError: no such name or file, no YAML, or a key or value that a machine of its kind cannot have.
    """
    return machine_of(read_machine_file(name_or_path), overrides)


def machine_of(node: Node, overrides: Overrides = ()) -> AnyMachine:
    """Return the machine that a file's YAML tree describes, as ``load_machine`` does.

    Raises:
        InputError: a key or value that a machine of its kind cannot have.
    """
    return kind_of(node).read(node, overrides)


def load_architecture(name_or_path: str, overrides: Overrides = ()) -> Machine:
    """Return a spatial-array machine by name or from a YAML file, as ``load_machine`` does.

    Raises:
        InputError: as ``load_machine``, and when the machine is no spatial array.
    """
    machine = load_machine(name_or_path, overrides)
    if not isinstance(machine, Machine):
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
    return named_files.load(kind, named_files.find(kind, str(name_or_path), FOLDER), FOLDER)


def kind_of(node: Node) -> Kind:
    """Return the kind of machine that a file describes.

    Raises:
        InputError: there is no kind of the name that it states.
    """
    stated = node.value.get("kind") if isinstance(node.value, dict) else None
    if stated is None:
        return KINDS[SPATIAL]
    if not isinstance(stated.value, str) or stated.value not in KINDS:
        raise unknown("kind of machine", stated.raw, KINDS, location=stated.location)
    return KINDS[stated.value]

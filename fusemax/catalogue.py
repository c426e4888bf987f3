"""What there is to choose from: machines, models and mappers, each as plain data with where it comes from."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.models import Model, ModelSpec, load_model
from einsum_cascades.schema import Section, check, plain_type
from einsum_cascades.yaml_source import Node
from hw_models.cpu.machine import Cpu
from hw_models.load import AnyMachine, kind_of, machine_of, read_machine_file
from hw_models.machine import Machine, Memory
from hw_models.machine import Node as MachineNode
from hw_models.machine_file import read_spatial
from hw_models.prices import node_prices
from mappers.presets.named import preset_named
from mappers.strategies import mapper_names, tables

DESCRIPTIONS: Final = ("kind", "name", "title", "device", "measured", "citation", "products", "value_bits")
"""Keys that describe a machine, and are no values of it."""


def machine_facts(name_or_path: str) -> dict[str, Any]:
    """Return what a machine is.

    Returns:
        ``machine``, ``kind``, ``title``, ``measured``, ``citation``, ``values`` by dotted key, ``about`` each key; of a
        spatial array its ``nodes``, parents first, and ``costs``: energies in J (of a value of an input, or in a
        register file), areas in mm² and leakage in W, as its file and the tables price it; both are empty for others.

    Raises:
        InputError: no such name or file, or a key or value that a machine cannot have.
    """
    file = read_machine_file(name_or_path)
    machine = machine_of(file)
    spatial = isinstance(machine, Machine)
    values, about = _spatial_values(file) if spatial else _plain_values(file, machine)
    return {
        "machine": machine.name,
        "kind": machine.kind,
        "title": machine.title,
        "measured": getattr(machine, "measured", ""),
        "citation": getattr(machine, "citation", ""),
        "values": values,
        "about": {key: about[key] for key in values},
        "nodes": [_node(node, machine) for node in machine.nodes] if isinstance(machine, Machine) else [],
        "costs": _costs(machine) if isinstance(machine, Machine) else {},
    }


def machine_text(name_or_path: str) -> str:
    """Return the text of a machine's file.

    Raises:
        InputError: as ``machine_facts``.
    """
    file = read_machine_file(name_or_path)
    machine_of(file)
    return file.source.text


def model_facts(name_or_path: str) -> dict[str, Any]:
    """Return what a model is, by name, from a YAML file or from a Hugging Face ``config.json``.

    Returns:
        ``model``, its sizes by name, ``about`` each, ``citation``, and ``note``: what is left out.

    Raises:
        InputError: no such name or file, or a key or value that a model cannot have.
    """
    model = load_model(name_or_path)
    about = _about(ModelSpec)
    sizes = {key: getattr(model, key) for key in about if key not in ("name", "citation")}
    return {
        "model": model.name,
        **sizes,
        "citation": model.citation,
        "note": model.note,
        "about": {key: about[key] for key in sizes},
    }


def model_text(name_or_path: str) -> str:
    """Return a model as the text of a YAML file that reads back to the same sizes.

    Raises:
        InputError: as ``model_facts``.
    """
    import json

    model: Model = load_model(name_or_path)
    lines = [f"name: {json.dumps(model.name, ensure_ascii=False)}"]
    lines += [f"citation: {json.dumps(model.citation, ensure_ascii=False)}"] if model.citation else []
    lines += [f"{key}: {getattr(model, key)}" for key in ModelSpec.model_fields if key not in ("name", "citation")]
    return "\n".join(lines) + "\n"


def mapper_facts(name: str) -> dict[str, Any]:
    """Return what a mapper does: its name, the kinds of machines it maps onto, a line about it, and all that it says.

    Raises:
        InputError: no mapper has that name.
    """
    known = tables()
    kinds = [kind for kind, table in known.items() if name in table]
    if not kinds:
        raise unknown("mapper", name, mapper_names())
    strategy: Any = known[kinds[0]][name]
    if isinstance(strategy, str):
        try:
            strategy = preset_named(name)
        except InputError as error:
            return {"mapper": name, "machines": kinds, "summary": error.message, "about": error.message}
    about = inspect.cleandoc(sys.modules[strategy.__module__].__doc__ or "").replace("``", "")
    shared = sum(
        getattr(s, "__module__", "") == strategy.__module__ for table in known.values() for s in table.values()
    )
    own = (inspect.getdoc(strategy) or "").partition("\n")[0]
    first = own if shared > 1 or not about else about.partition("\n")[0]
    return {"mapper": name, "machines": kinds, "summary": first, "about": about or own}


def _flat(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and values of a checked file."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _about(schema: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Return what each dotted key of a schema is."""
    found: dict[str, str] = {}
    for name, field in schema.model_fields.items():
        inner = plain_type(field.annotation)
        if issubclass(inner, BaseModel):
            found |= _about(inner, f"{prefix}{name}.")
        else:
            found[prefix + name] = field.description or ""
    return found


def _plain_values(file: Node, machine: AnyMachine) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of a CPU or a GPU by dotted key, and what each is."""
    spec: Section = check(kind_of(file).schema(), file)
    about = _about(type(spec))
    stated = dict(_flat(spec))
    if isinstance(machine, Cpu):
        about["products.best_flops_per_s"] = "Of one thread, at the size that is fastest, flop/s."
        stated["products.best_flops_per_s"] = max(machine.products.flops_per_s)
    return {k: stated[k] for k in about if stated.get(k) is not None and k not in DESCRIPTIONS}, about


def _spatial_values(file: Node) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a spatial array's file states and what is derived from it by dotted key, and what each is."""
    read = read_spatial(file)
    stated = {key.removeprefix("nodes.").replace(".dimensions.", ".") for key in _stated(file)}
    values = {
        key: value
        for key, value in read.numbers().items()
        if value is not None
        and (key in stated or key.startswith("bits.") or key.endswith(".cycles"))
        and not key.endswith(".in")
        and key not in DESCRIPTIONS
    }
    return values, dict(read.about)


def _stated(node: Node, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a file's values."""
    for name, part in node.value.items() if isinstance(node.value, dict) else ():
        if isinstance(part.value, dict):
            yield from _stated(part, f"{prefix}{name}.")
        else:
            yield prefix + name


def _node(node: MachineNode, machine: Machine) -> dict[str, Any]:
    """Return what a node of a machine is; None is without limit, or not priced."""
    memory = isinstance(node, Memory)
    found: dict[str, Any] = {
        "node": node.name,
        "kind": "memory" if memory else "array",
        "in": node.parent,
        "depth": len(machine.path(node.name)) - 1,
        "dimensions": dict(node.dimensions),
        "instances": machine.instances(node.name),
    }
    if isinstance(node, Memory):
        shared, reads, writes = node.rates
        return found | {"bytes": node.bytes, "bytes_per_s": shared or reads or writes}
    return found | {"registers": node.registers, "units": [work for work, _ in node.units]}


def _costs(machine: Machine) -> dict[str, float]:
    """Return what is paid: energy of a value moved and of an operation, area, leakage."""
    try:
        found = node_prices(machine)
    except InputError:
        return {}
    costs: dict[str, float] = {}
    for node in machine.nodes:
        price, registers = found.nodes[node.name], not isinstance(node, Memory)
        bits = machine.role_bits["accumulators" if registers else "inputs"]
        label = f"{node.name}.register_file" if registers else node.name
        costs |= {f"{label}.read_j": price.read_j_per_bit * bits, f"{label}.write_j": price.write_j_per_bit * bits}
    costs |= {f"{array}.{work}_j": joules for (array, work), joules in found.operations.items()}
    costs |= {f"{node.name}.area_mm2": found.nodes[node.name].area_mm2 for node in machine.nodes[1:]}
    costs |= {"chip.area_mm2": found.area_mm2, "chip.leak_w": found.leak_w}
    return {key: float(value) for key, value in costs.items()}

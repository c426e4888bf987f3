"""What there is to choose from: machines, models and mappers, each as plain data with where it comes from."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from einsum_cascades.errors import InputError, unknown
from einsum_cascades.models import Model, ModelSpec, load_model
from einsum_cascades.schema import Section, check, plain_type
from fusemax.sweep.names import DESCRIPTIONS, schema_of
from hw_models.architecture import Architecture
from hw_models.area import area
from hw_models.components import LEAK_CLOCK_HZ
from hw_models.cpu.machine import Cpu
from hw_models.energy import prices
from hw_models.load import Machine, machine_of, read_machine_file
from mappers.strategies import CPU_STRATEGIES, GPU_STRATEGIES, STRATEGIES, mapper_names

_STRATEGIES: Final[dict[str, Mapping[str, Any]]] = {
    "spatial-array": STRATEGIES,
    "cpu": CPU_STRATEGIES,
    "gpu": GPU_STRATEGIES,
}


def machine_facts(name_or_path: str) -> dict[str, Any]:
    """Return what a machine is.

    Returns:
        ``machine``, ``kind``, ``title``, ``measured``, ``citation``, ``values`` by dotted key, ``about`` each key, and
        ``costs``: of a spatial array energies in J, areas in mm² and leakage in W, as its tables price it; else empty.

    Raises:
        InputError: no such name or file, or a key or value that a machine cannot have.
    """
    file = read_machine_file(name_or_path)
    machine = machine_of(file)
    spec: Section = check(schema_of(file), file)
    about = _about(type(spec)) | {"products.best_flops_per_s": "Of one thread, at the size that is fastest, flop/s."}
    stated = dict(_flat(spec)) | _derived(machine)
    values = {key: stated[key] for key in about if stated.get(key) is not None and key not in DESCRIPTIONS}
    return {
        "machine": machine.name,
        "kind": machine.kind,
        "title": machine.title,
        "measured": getattr(machine, "measured", ""),
        "citation": getattr(machine, "citation", ""),
        "values": values,
        "about": {key: about[key] for key in values},
        "costs": _costs(machine) if isinstance(machine, Architecture) else {},
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
    kinds = [kind for kind, table in _STRATEGIES.items() if name in table]
    if not kinds:
        raise unknown("mapper", name, mapper_names())
    strategy = _STRATEGIES[kinds[0]][name]
    about = inspect.cleandoc(sys.modules[strategy.__module__].__doc__ or "").replace("``", "")
    shared = sum(s.__module__ == strategy.__module__ for table in _STRATEGIES.values() for s in table.values()) > 1
    own = (inspect.getdoc(strategy) or "").partition("\n")[0]
    return {"mapper": name, "machines": kinds, "summary": own if shared else about.partition("\n")[0], "about": about}


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


def _derived(machine: Machine) -> dict[str, Any]:
    """Return values that a file may leave out, as the machine has them."""
    if isinstance(machine, Architecture):
        return {
            "global_buffer.row_values": machine.global_buffer.row_values,
            "array_1d.columns": machine.array_1d.columns,
        }
    if isinstance(machine, Cpu):
        return {"products.best_flops_per_s": max(machine.products.flops_per_s)}
    return {}


def _costs(machine: Architecture) -> dict[str, float]:
    """Return what the component tables say: energy of a value moved and of an operation, area, leakage."""
    try:
        found, parts = prices(machine), area(machine)
    except InputError:
        return {}
    memories = {"dram": "dram", "global_buffer": "global_buffer"}
    memories |= {name: f"{name}.register_file" for name in ("array_2d", "array_1d")}
    costs = {}
    for memory, label in memories.items():
        costs[f"{label}.read_j"], costs[f"{label}.write_j"] = (1e-12 * pj for pj in found.memories[memory])
    costs |= {f"{array}.{work}_j": 1e-12 * pj for (array, work), pj in found.operations.items()}
    costs |= {f"{name}.area_mm2": 1e-6 * getattr(parts, f"{name}_um2") for name in ("array_2d", "array_1d")}
    costs |= {"global_buffer.area_mm2": 1e-6 * parts.global_buffer_um2, "chip.area_mm2": parts.chip_mm2}
    return costs | {"chip.leak_w": 1e-12 * found.leak_pj * LEAK_CLOCK_HZ}

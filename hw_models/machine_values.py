"""A machine from the values of its file by dotted key: references looked up, what is left out derived.

The values may be arrays with one per machine (a sweep's columns), and then so are the machine's numbers: a point and a
hundred thousand take the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from einsum_cascades.operators import WORK_CLASSES
from hw_models.components import dram_timing
from hw_models.dram_timing import FIGURES, DramTiming
from hw_models.links import Link
from hw_models.machine import ROLES, Array, Machine, Memory, Node, Number, Pricing, StatedCost, Unit
from hw_models.machine_schema import PORTS, Layout, Reference

Values: TypeAlias = Mapping[str, Any]
"""Values by dotted key; None is not stated."""
_COSTS: Final = ("read_j", "write_j", "leak_w", "area_mm2")
_DRAM: Final = Pricing("component", "dram")


def target(key: str, reference: str) -> str:
    """Return the key that a reference stands for; a bare name is a dimension of the node that names it."""
    return reference if "." in reference else f"{key.partition('.')[0]}.{reference}"


def numbers(layout: Layout, values: Values) -> dict[str, Any]:
    """Return all values by key, references looked up and what the file leaves out derived.

    Args:
        values: of a file that has been checked, or what takes their place.
    """
    found = {key: _looked_up(key, values) for key in values}
    for role in ROLES:
        if found.get(f"bits.{role}") is None:
            found[f"bits.{role}"] = found["value_bits"]
    for name, kind, _ in layout:
        if kind == "memory":
            if found[f"{name}.width_bits"] is None and found[f"{name}.row_values"] is not None:
                found[f"{name}.width_bits"] = found[f"{name}.row_values"] * found["bits.inputs"]
            continue
        for work in WORK_CLASSES:
            unit = f"{name}.units.{work}"
            if f"{unit}.component" in found and found[f"{unit}.cycles"] is None:
                found[f"{unit}.cycles"] = found[f"{unit}.actions"]
    return found


def _looked_up(key: str, values: Values) -> Any:
    value = values[key]
    while isinstance(value, Reference):
        key = target(key, value)
        value = values[key]
    return value


def machine_from(layout: Layout, values: Values) -> Machine:
    """Return the machine that a checked file's values describe, as ``numbers`` takes them."""
    found = numbers(layout, values)
    nodes: dict[str, Node] = {}
    for name, kind, dimensions in layout:
        own = _under(found, name)
        lengths = tuple((dimension, own[dimension]) for dimension in dimensions)
        nodes[name] = (
            _memory(name, own, lengths, found["frequency_hz"]) if kind == "memory" else _array(name, own, lengths)
        )
    bits = _under(found, "bits")
    return Machine(
        name=found["name"],
        nodes=tuple(_parents_first(nodes)),
        frequency_hz=found["frequency_hz"],
        technology_nm=found["technology_nm"],
        bits=tuple((key, value) for key, value in bits.items() if value is not None),
        overlap=found["overlap"],
        title=found["title"] or "",
        citation=found["citation"] or "",
    )


def _under(values: Values, section: str) -> dict[str, Any]:
    prefix = f"{section}."
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def _parents_first(nodes: Mapping[str, Node]) -> Iterable[Node]:
    """Yield nodes in the file's order, but each after its parent."""
    done: set[str] = set()
    for node in nodes.values():
        above = [node]
        while (parent := above[-1].parent) is not None and parent not in done:
            above.append(nodes[parent])
        for one in reversed(above):
            if one.name not in done:
                done.add(one.name)
                yield one


def _memory(name: str, own: Values, lengths: tuple[tuple[str, Number], ...], frequency_hz: Number) -> Memory:
    shared = own["bandwidth_bytes_per_s"]
    if isinstance(shared, str) and shared == PORTS:
        shared = own["ports"] * (own["width_bits"] / 8) * frequency_hz
    return Memory(
        name=name,
        parent=own["in"],
        bytes=own["bytes"],
        dimensions=lengths,
        width_bits=own["width_bits"],
        shared_bytes_per_s=shared,
        read_bytes_per_s=own["read_bytes_per_s"],
        write_bytes_per_s=own["write_bytes_per_s"],
        double_buffered=own["double_buffered"],
        banks=own["banks"],
        ports=own["ports"],
        pricing=_pricing(own),
        link=_link(own, lengths),
        latency_s=own.get("latency_s", 0.0),
        timing=_timing(own, shared),
    )


def _timing(own: Values, bytes_per_s: Number | None) -> DramTiming | None:
    stated = {figure: value for figure in FIGURES if (value := own.get(f"timing.{figure}")) is not None}
    preset = own.get("timing.preset")
    if preset is None and not stated:
        return None
    figures = {"channels": None} if preset is None else vars(dram_timing(preset))
    if bytes_per_s is not None:
        figures = {**figures, "channels": None}
    return DramTiming(**{**figures, **stated})


def _pricing(own: Values) -> Pricing:
    stated = StatedCost(*(own[cost] for cost in _COSTS))
    per_byte = own["energy_j_per_byte"]
    if own["priced_as"] is not None:
        found = Pricing("array", own["priced_as"])
    elif own["component"] is not None or own["in"] is None:
        found = _DRAM
    elif stated.complete or own["bytes"] is None or None not in (per_byte, stated.leak_w, stated.area_mm2):
        found = Pricing()
    else:
        found = Pricing("table", own["table"], own["cells"])
    return Pricing(found.by, found.name, found.cells, stated, per_byte)


def _array(name: str, own: Values, lengths: tuple[tuple[str, Number], ...]) -> Array:
    units = []
    for work in WORK_CLASSES:
        if (component := own.get(f"units.{work}.component")) is not None:
            keys = ("actions", "cycles", "depth", "energy_j", "area_mm2")
            units.append((work, Unit(component, *(own[f"units.{work}.{key}"] for key in keys))))
    return Array(
        name=name,
        parent=own["in"],
        dimensions=lengths,
        registers=own["registers"],
        register_file=StatedCost(*(own[f"register_file.{cost}"] for cost in _COSTS)),
        units=tuple(units),
        fill_cycles=own["fill"],
        drain_cycles=own["drain"],
        clocked=own["clocked"],
        link=_link(own, lengths),
    )


def _link(own: Values, lengths: tuple[tuple[str, Number], ...]) -> Link:
    mesh = tuple(pair for pair in lengths if pair[0] in own["link.mesh"])
    keys = ("multicast", "reduction", "bandwidth_bytes_per_s", "hop_j_per_byte")
    multicast, reduction, bandwidth, energy = (own[f"link.{key}"] for key in keys)
    return Link(multicast, reduction, bandwidth, energy, mesh)

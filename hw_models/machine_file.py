"""The file of a spatial-array machine, read and checked.

    kind: spatial-array
    name: mine
    frequency_hz: 940000000
    nodes:
      dram: {kind: memory, bandwidth_bytes_per_s: 400GiB/s}
      global_buffer: {kind: memory, in: dram, bytes: 16MiB, row_values: array_2d.columns}
      array_2d: {kind: array, in: global_buffer, dimensions: {rows: 256, columns: 256}, registers: 12, units: {…}}

The off-chip memory, which is in none, may have ``latency_s`` and ``timing``, for the timed simulator: the name of a
memory (``timing: hbm2``), or figures that stand before its own (``timing: {preset: hbm2, channels: 32, t_rfc: 350}``).
It has as many channels as ``bandwidth_bytes_per_s`` takes, and the clock that gives exactly this peak rate.

A whole number may be the key of another one (``array_2d.columns``); these are looked up after overrides are laid over
the file. Keys leave out ``nodes`` and ``dimensions``: ``array_2d.rows`` is ``nodes.array_2d.dimensions.rows``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel

from einsum_cascades.errors import InputError, all_of, unknown
from einsum_cascades.schema import Overrides, Section, check, leaves, plain_type
from einsum_cascades.yaml_source import Node
from hw_models.machine import Machine
from hw_models.machine_checks import faults_of, values_that_do_not_fit
from hw_models.machine_schema import NAME, NODE_KINDS, HeadSpec, Layout, reserved, section_of
from hw_models.machine_values import Values, machine_from, numbers

_LONG: Final = re.compile(r"^\s*(?:nodes\.)?(\w+)\.dimensions\.|^\s*nodes\.")
_TIMING: Final = re.compile(r"^(\s*\w+\.timing)(?=\s*(?:=|$))")
_INSTEAD: Final = (("row_values", "width_bits"), ("bandwidth_bytes_per_s", "read_bytes_per_s"))
_INSTEAD_TOO: Final = (*_INSTEAD, ("bandwidth_bytes_per_s", "write_bytes_per_s"))
"""Keys of which a node has one or the other: an override of one takes the place of the other."""


@dataclass(frozen=True)
class SpatialFile:
    """A file, checked.

    Attributes:
        layout: its nodes.
        values: by dotted key: the file's, overrides laid over them, and defaults; None is not stated.
        types: of all keys that may be set.
        about: what each key is.
    """

    layout: Layout
    values: Values
    types: Mapping[str, type]
    about: Mapping[str, str]

    def machine(self, columns: Mapping[str, Any] | None = None) -> Machine:
        """Return the machine.

        Args:
            columns: numbers that take the place of the file's, by dotted key; arrays have a value per machine. What
                refers to them follows them.
        """
        return machine_from(self.layout, {**self.values, **(columns or {})})

    def numbers(self, columns: Mapping[str, Any] | None = None) -> Values:
        """Return all values by dotted key, what refers to others looked up and what is left out derived."""
        return numbers(self.layout, {**self.values, **(columns or {})})


def read_spatial(node: Node, overrides: Overrides = (), *, whole_rows: bool = True) -> SpatialFile:
    """Return a machine's file, checked.

    Args:
        node: the file's tree.
        overrides: values to change, as ``{"array_2d.rows": "128"}`` or ``["array_2d.rows=128"]``.
        whole_rows: whether each memory must have room for what one access moves.

    Raises:
        InputError: values are missing, unknown or not what they should be, or the nodes are no tree; it tells of all.
    """
    overrides = _short(overrides)
    flat, layout, faults = _flattened(node, _keys(overrides))
    schema = section_of(layout, _homes(flat, layout), _tensors(flat, overrides))

    def further(tree: Mapping[str, Any], found: HeadSpec | None) -> Iterator[tuple[str, str, str]]:
        wrong = tuple(faults_of(tree, layout, _types(schema), whole=not faults))
        yield from wrong
        if found is not None and whole_rows and not wrong and not faults:
            yield from values_that_do_not_fit(layout, dict(_values(found)))

    try:
        spec = check(schema, flat, overrides, further)
    except InputError as error:
        faults.append(error)
    if faults:
        raise all_of(faults)
    return SpatialFile(layout, dict(_values(spec)), _types(schema), _about(schema))


def load_spatial(node: Node, overrides: Overrides = ()) -> Machine:
    """Return the machine that a file's tree describes.

    Raises:
        InputError: as ``read_spatial``.
    """
    return read_spatial(node, overrides).machine()


def machine_keys(node: Node) -> dict[str, type]:
    """Return the dotted keys of all values of a file that may be set, with their types: text for a choice of names.

    Raises:
        InputError: the file's nodes cannot be read.
    """
    flat, layout, faults = _flattened(node, ())
    if faults:
        raise all_of(faults)
    return leaves(section_of(layout, _homes(flat, layout), _tensors(flat, ())))


def _short(overrides: Overrides) -> Overrides:
    """Return overrides with their keys as short as they may be written."""

    def short(key: object) -> Any:
        if not isinstance(key, str):
            return key
        key = _LONG.sub(lambda m: f"{m[1]}." if m[1] else "", key, count=1)
        return _TIMING.sub(r"\1.preset", key, count=1)

    if isinstance(overrides, Mapping):
        return {short(key): value for key, value in overrides.items()}
    return overrides if isinstance(overrides, str) else [short(text) for text in overrides]


def _keys(overrides: Overrides) -> tuple[str, ...]:
    texts = [overrides] if isinstance(overrides, str) else overrides
    return tuple(str(text).partition("=")[0].strip() for text in texts)


def _homes(flat: Node, layout: Layout) -> tuple[str, ...]:
    """Return the memories that are in no other: one, in a file that is right."""
    nodes = flat.value if isinstance(flat.value, dict) else {}
    memories = {name: nodes[name].value for name, kind, _ in layout if kind == "memory"}
    return tuple(name for name, value in memories.items() if not isinstance(value, dict) or "in" not in value)


def _tensors(flat: Node, overrides: Overrides) -> tuple[str, ...]:
    """Return the tensors whose bits are stated."""
    bits = flat.value.get("bits") if isinstance(flat.value, dict) else None
    named = [*bits.value] if bits is not None and isinstance(bits.value, dict) else []
    named += [key.removeprefix("bits.") for key in _keys(overrides) if key.startswith("bits.")]
    tensors = dict.fromkeys(name for name in named if name not in ("inputs", "accumulators", "outputs"))
    return tuple(name for name in tensors if NAME.fullmatch(name) and name not in dir(BaseModel))


def _flattened(node: Node, overridden: tuple[str, ...]) -> tuple[Node, Layout, list[InputError]]:
    """Return a file's tree with nodes beside the head's keys and dimensions beside a node's, its nodes, and faults."""
    if not isinstance(node.value, dict):
        return node, (), []
    parts = {key: part for key, part in node.value.items() if key != "nodes"}
    keys = {key: part for key, part in node.keys.items() if key != "nodes"}
    faults: list[InputError] = []
    layout: list[tuple[str, str, tuple[str, ...]]] = []
    nodes = node.value.get("nodes")
    if nodes is None:
        faults.append(node.error("'nodes' is missing", "add 'nodes: ...': the memories and arrays by name"))
    elif not isinstance(nodes.value, dict) or not nodes.value:
        place = node.keys["nodes"]
        faults.append(place.error(f"nodes is {nodes.kind}", "a mapping of memories and arrays by name is expected"))
    else:
        for name, part in nodes.value.items():
            key = nodes.keys[name]
            if fault := _misnamed("node", name, key, reserved("")):
                faults.append(fault)
                continue
            kind, dimensions, found = _dimensions(name, key, part, overridden, faults)
            layout.append((name, kind, dimensions))
            parts[name], keys[name] = found, key
    return replace(node, value=parts, keys=keys), tuple(layout), faults


def _dimensions(
    name: str, key: Node, part: Node, overridden: tuple[str, ...], faults: list[InputError]
) -> tuple[str, tuple[str, ...], Node]:
    """Return a node's kind, the names of its dimensions, and its tree with these beside its other keys."""
    if not isinstance(part.value, dict):
        return "memory", (), part
    stated = part.value.get("kind")
    kind = str(stated.value) if stated is not None else ""
    if kind not in NODE_KINDS:
        if stated is not None:
            faults.append(unknown("kind of node", stated.value, NODE_KINDS, location=stated.location))
        else:
            faults.append(key.error(f"'{name}.kind' is missing", "add 'kind: memory' or 'kind: array'"))
        kind = "array" if "units" in part.value else "memory"
    dropped = {"dimensions", "kind"}  # a file's alone: no override changes what a node is
    for one, other in _INSTEAD_TOO:
        if one in part.value and other in part.value:
            hint = f"{one} or {other} is expected"
            faults.append(part.keys[other].error(f"{name} has both {one} and {other}", hint))
        dropped |= {b for a, b in ((one, other), (other, one)) if f"{name}.{a}" in overridden}
    parts = {k: p for k, p in part.value.items() if k not in dropped}
    keys = {k: p for k, p in part.keys.items() if k not in dropped}
    timing = parts.get("timing")
    if timing is not None and isinstance(timing.value, str):  # a preset's name
        parts["timing"] = replace(timing, value={"preset": timing}, keys={"preset": timing})
    lengths = part.value.get("dimensions")
    names: list[str] = []
    if lengths is not None and not isinstance(lengths.value, dict):
        hint = "a mapping such as {rows: 256, columns: 256} is expected"
        faults.append(lengths.error(f"{name}.dimensions is {lengths.kind}", hint))
    elif lengths is not None and isinstance(lengths.value, dict):
        for dimension, length in lengths.value.items():
            if fault := _misnamed("dimension", dimension, lengths.keys[dimension], reserved(kind)):
                faults.append(fault)
                continue
            names.append(dimension)
            parts[dimension], keys[dimension] = length, lengths.keys[dimension]
    return kind, tuple(names), replace(part, value=parts, keys=keys)


def _misnamed(what: str, name: str, key: Node, taken: frozenset[str]) -> InputError | None:
    if not NAME.fullmatch(name):
        return key.error(f"'{name[:60]}' cannot be the name of a {what}", "letters, digits and _ make a name")
    if name in taken:
        return key.error(f"'{name}' cannot be the name of a {what}", "it has a meaning of its own; take another name")
    return None


@lru_cache(maxsize=256)
def _types(schema: type[BaseModel]) -> Mapping[str, type]:
    return leaves(schema)


@lru_cache(maxsize=256)
def _about(schema: type[BaseModel]) -> Mapping[str, str]:
    return dict(_descriptions(schema))


def _values(spec: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, Section):
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _descriptions(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in schema.model_fields.items():
        inner = plain_type(field.annotation)
        if issubclass(inner, BaseModel):
            yield from _descriptions(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, field.description or ""

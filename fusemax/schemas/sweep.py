"""The JSON schema of a sweep's specification: its keys, and an axis of each option of ``evaluate``."""

from __future__ import annotations

from typing import Any

from einsum_cascades.load import RANK
from einsum_cascades.numbers import LARGEST
from einsum_cascades.sizes import PATTERNS, Unit
from fusemax.sweep.axes import AxisKind
from fusemax.sweep.names import CHOICES, WORKLOAD, machine_keys
from hw_models.load import architecture_names, read_machine_file

_NUMBER = {"type": "number"}


def sweep_schema() -> dict[str, Any]:
    """Return the schema."""
    names: dict[str, AxisKind] = {**CHOICES, **WORKLOAD}
    for machine in architecture_names():  # those of other machines may have any name
        names |= machine_keys(read_machine_file(machine))
    nodes = sorted({key.partition(".")[0] for key in names if "." in key})
    axes = {
        "description": "What varies: options of evaluate, ranks, keys of a machine's file.",
        "type": "object",
        "properties": {name: {"$ref": f"#/$defs/{_definition(name, kind)}"} for name, kind in names.items()},
        "patternProperties": {
            f"^{RANK.pattern}$": {"$ref": "#/$defs/count"},
            rf"^(?!(?:{'|'.join(nodes)})\.)[A-Za-z]\w*(?:\.\w+)+$": {"anyOf": _any()},
        },
        "required": ["cascade", "arch", "mapper"],
        "additionalProperties": False,
    }
    condition = {"type": "string", "minLength": 1}
    group = {"type": "array", "items": {"type": "string"}, "minItems": 2}
    properties = {
        "title": {"type": "string", "minLength": 1, "description": "What it is, in a line."},
        "axes": axes,
        "zip": {"description": "Axes that move together.", "type": "array", "items": group},
        "samples": _samples(),
        "filter": {
            "description": "Conditions that the points kept hold, such as area_mm2 <= 200.",
            "anyOf": [condition, {"type": "array", "items": condition}],
        },
        "files": {"description": "Digests of the files named.", "type": "object"},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": ["axes"],
        "additionalProperties": False,
        "$defs": {
            "name": _listed({"type": ["string", "number", "boolean"]}),
            "flag": _listed({"type": "boolean"}),
            "count": _numbers(_size("integer", "count")),
            "bytes": _numbers(_size("integer", "bytes")),
            "rate": _numbers(_size("number", "bytes", "(?:/s)?")),
            "number": _numbers({"anyOf": [_NUMBER, {"type": "string", "pattern": r"^(?:[0-9_]+|2\*\*[0-9]+)$"}]}),
        },
    }


def _any() -> list[dict[str, str]]:
    """A value of a key that only the machine's file knows."""
    return [{"$ref": f"#/$defs/{kind}"} for kind in ("name", "flag", "count", "bytes", "rate", "number")]


def _definition(name: str, kind: AxisKind) -> str:
    if kind == "whole":
        return "bytes" if "bytes" in name else "count"
    return "rate" if kind == "number" and "bytes" in name else kind


def _size(kind: str, unit: Unit, rate: str = "") -> dict[str, Any]:
    number = {"type": kind, "exclusiveMinimum": 0, "maximum": LARGEST if kind == "integer" else 1e18}
    return {"anyOf": [number, {"type": "string", "pattern": f"^{PATTERNS[unit]}{rate}$"}]}


def _listed(value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value, of a list of them, and of a list under ``values``."""
    many = {"type": "array", "items": value, "minItems": 1}
    form = {"type": "object", "properties": {"values": {"anyOf": [many, value]}}, "required": ["values"]}
    return {"anyOf": [value, many, {**form, "additionalProperties": False}]}


def _numbers(value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of numbers: listed, or a range of one of the forms."""

    def bounds(least: int) -> dict[str, Any]:
        return {"type": "array", "items": {"anyOf": [value, _NUMBER]}, "minItems": least, "maxItems": 3}

    form = {
        "type": "object",
        "properties": {
            "range": {**bounds(2), "description": "[start, stop, step]; [low, high] where points are sampled."},
            "log_range": {**bounds(2), "description": "[start, stop, n], evenly spaced by ratio; or with a factor."},
            "random": {**bounds(3), "description": "[low, high, n]: n values drawn."},
            "factor": {"type": "number", "exclusiveMinimum": 1},
            "multiple_of": _size("integer", "bytes"),
            "scale": {"enum": ["linear", "log"]},
            "seed": {"type": "integer", "minimum": 0},
        },
        "oneOf": [{"required": [key]} for key in ("range", "log_range", "random")],
        "additionalProperties": False,
    }
    return {"anyOf": [*_listed(value)["anyOf"], form]}


def _samples() -> dict[str, Any]:
    count = _size("integer", "count")
    return {
        "description": "Points drawn in place of the product.",
        "type": "object",
        "properties": {"sobol": count, "random": count, "seed": {"type": "integer", "minimum": 0}},
        "oneOf": [{"required": ["sobol"]}, {"required": ["random"]}],
        "additionalProperties": False,
    }

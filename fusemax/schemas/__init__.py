"""JSON schemas (draft 2020-12) of the files that users write, for editors: what keys there are, and what they take.

Those of machines and models come from the types that read them; those of a cascade, a mapping and a sweep say the shape,
and leave to the parser what only it can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from einsum_cascades.errors import unknown
from einsum_cascades.models import ModelSpec
from einsum_cascades.schema import Section
from fusemax.schemas.cascade import cascade_schema
from fusemax.schemas.mapping import mapping_schema
from fusemax.schemas.sweep import sweep_schema
from hw_models.load import KINDS, SPATIAL

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = "#/$defs/{model}"


def schema_kinds() -> dict[str, str]:
    """Return the kinds of files that there are schemas of, and what each kind is."""
    return {kind: about for kind, (about, _) in _KINDS.items()}


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON schema of a kind of file.

    Args:
        kind: one of ``schema_kinds()``.

    Raises:
        InputError: there is no such kind.
    """
    if kind not in _KINDS:
        raise unknown("kind of file", kind, _KINDS)
    about, make = _KINDS[kind]
    return {"$schema": DIALECT, **make(), "title": f"fusemax {kind}", "description": f"{about[0].upper()}{about[1:]}."}


def _section(spec: type[Section]) -> dict[str, Any]:
    return spec.model_json_schema(ref_template=_REFERENCE)


def _machine() -> dict[str, Any]:
    """Return the schema of any machine: its key ``kind`` says which of the others holds."""
    from pydantic.json_schema import models_json_schema

    schemas = {kind: of.schema() for kind, of in KINDS.items()}
    specs = [(spec, "validation") for spec in schemas.values()]
    _, found = models_json_schema(specs, ref_template=_REFERENCE)  # type: ignore[arg-type]
    stated = {"kind": {"enum": list(KINDS), "default": SPATIAL, "description": "What the machine is."}}
    chosen = []
    for kind, spec in schemas.items():
        test = {"properties": {"kind": {"const": kind}}, **({} if kind == SPATIAL else {"required": ["kind"]})}
        chosen.append({"if": test, "then": {"$ref": _REFERENCE.format(model=spec.__name__)}})
    return {"type": "object", "properties": stated, "allOf": chosen, "$defs": found["$defs"]}


_KINDS: Final[dict[str, tuple[str, Callable[[], dict[str, Any]]]]] = {
    "machine": ("a machine of any kind, for --arch", _machine),
    "spatial-array": ("a machine that is a spatial array", lambda: _section(KINDS["spatial-array"].schema())),
    "cpu": ("a machine that is a CPU", lambda: _section(KINDS["cpu"].schema())),
    "gpu": ("a machine that is a GPU", lambda: _section(KINDS["gpu"].schema())),
    "model": ("a transformer model, for --model", lambda: _section(ModelSpec)),
    "cascade": ("a cascade of Einsums, for --cascade", cascade_schema),
    "mapping": ("a mapping of one's own, for --mapping", mapping_schema),
    "sweep": ("a design space, for fusemax sweep", sweep_schema),
}

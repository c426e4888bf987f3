"""The JSON schema of a cascade's file; what an Einsum may say, the parser checks (``einsum_cascades/grammar.lark``)."""

from __future__ import annotations

from typing import Any

from einsum_cascades.load import MAX_EINSUMS, MAX_NAME, MAX_RANKS, RANK, TENSOR

_TEXT = {"type": "string", "minLength": 1}
_RANK = {"type": "string", "pattern": f"^{RANK.pattern}$", "maxLength": MAX_NAME}
_TENSOR = {"type": "string", "pattern": f"^{TENSOR.pattern}$", "maxLength": MAX_NAME}
_EINSUM = {
    "description": "An Einsum, such as AV[f, p] = A[m, p] * V[f, m].",
    "anyOf": [_TEXT, {"type": "object", "minProperties": 1, "maxProperties": 1}],  # '... :: ...' without quotes
}


def cascade_schema() -> dict[str, Any]:
    """Return the schema: the keys at the top, or under ``einsum`` as TeAAL has them."""
    about = {
        "name": {**_TEXT, "description": "For tables; the file's name if not given."},
        "title": {**_TEXT, "description": "What it is, in a line."},
        "citation": {**_TEXT, "description": "Where it comes from."},
    }
    needed = ["declaration", "expressions"]
    plain = {"properties": about | _parts(), "required": needed, "additionalProperties": False}
    inner = {"type": "object", "properties": _parts(), "required": needed, "additionalProperties": False}
    nested = {"properties": {**about, "einsum": inner}}
    return {"type": "object", "if": {"required": ["einsum"]}, "then": nested, "else": plain}


def _parts() -> dict[str, Any]:
    ranks = {"type": "array", "items": _RANK, "uniqueItems": True}
    return {
        "declaration": {
            "description": "The ranks of each tensor, such as Q: [E, P].",
            "type": "object",
            "propertyNames": _TENSOR,
            "additionalProperties": {**ranks, "maxItems": MAX_RANKS},
            "minProperties": 1,
        },
        "partition": {
            "description": "Ranks that are split, and their parts, outermost first, such as M: [M1, M0].",
            "type": ["object", "null"],
            "propertyNames": _RANK,
            "additionalProperties": {**ranks, "minItems": 2},
        },
        "views": {
            "description": "Tensors that are another one, tiled, such as BK: K.",
            "type": ["object", "null"],
            "propertyNames": _TENSOR,
            "additionalProperties": _TENSOR,
        },
        "init": _several(_EINSUM, "What is computed once, before the first iteration."),
        "expressions": _several(_EINSUM, "The Einsums.", empty=False),
        "final": _several(_EINSUM, "What is computed once, after the last iteration."),
        "stop": _several(_TEXT, "When an iterative rank stops, such as m1 >= M1."),
    }


def _several(item: dict[str, Any], about: str, *, empty: bool = True) -> dict[str, Any]:
    """Return the schema of a list, of a single item that stands for a list of one, and of nothing."""
    many = {"type": "array", "items": item, "maxItems": MAX_EINSUMS, **({} if empty else {"minItems": 1})}
    return {"description": about, "anyOf": [many, item, *([{"type": "null"}] if empty else [])]}

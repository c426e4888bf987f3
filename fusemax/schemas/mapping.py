"""The JSON schema of a mapping's file; what its tree may say, the parser checks (``einsum_cascades/loops/text.py``)."""

from __future__ import annotations

from typing import Any

from einsum_cascades.load import MAX_NAME, RANK
from einsum_cascades.loops.tree import INSTANCES
from einsum_cascades.numbers import LARGEST
from einsum_cascades.sizes import PATTERNS
from hw_models.accounting import ACCOUNTINGS

_TEXT = {"type": "string", "minLength": 1}


def mapping_schema() -> dict[str, Any]:
    """Return the schema: all but the tree may be left to the options of a command."""
    properties = {
        "cascade": {**_TEXT, "description": "What is mapped: a name of the library, or a file beside this one."},
        "machine": {**_TEXT, "description": "Onto what: a machine's name, or a file beside this one."},
        "accounting": {"enum": list(ACCOUNTINGS), "description": "How it is counted."},
        "set_arch": {
            "description": "Values of the machine that are changed, such as global_buffer.bytes=8MiB.",
            "type": "array",
            "items": {"type": "string", "pattern": "="},
        },
        "sizes": {
            "description": "The size of each rank; instances are batch times heads.",
            "type": "object",
            "propertyNames": {"pattern": f"^(?:{RANK.pattern}|{INSTANCES})$", "maxLength": MAX_NAME},
            "additionalProperties": {
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": LARGEST**2},
                    {"type": "string", "pattern": f"^{PATTERNS['count']}$"},
                ]
            },
        },
        "tree": {**_TEXT, "description": "The loop tree: a node to a line, its children indented."},
    }
    return {"type": "object", "properties": properties, "required": ["tree"], "additionalProperties": False}

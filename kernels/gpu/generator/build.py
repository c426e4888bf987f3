"""Generated text as functions: compiled once per text, with its lines where Triton looks for source."""

from __future__ import annotations

import importlib
import linecache
import os
from hashlib import sha256
from typing import Any

from kernels.gpu.code import Code, StreamCode
from kernels.gpu.generator.emit import Text


def built(text: Text, dialect: str) -> Code:
    """Return a text's functions.

    Args:
        text: what `kernels.gpu.generator.emit.emitted` gives.
        dialect: the one that it was given.
    """
    key = sha256(text.source.encode()).hexdigest()[:16]
    name = f"{__package__}.{dialect}_{key}"
    file = f"<{name}>"
    linecache.cache[file] = (len(text.source), None, text.source.splitlines(keepends=True), file)
    module: dict[str, Any] = {"__name__": name, "__file__": file}
    exec(compile(text.source, file, "exec"), module)
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    constant = (lambda x: x) if interpreted else importlib.import_module("triton.language").constexpr
    streams = []
    for number, facts in enumerate(text.streams):
        functions = {f: module[f"{f}_{number}"] for f in ("prepare", "score", "visible", "span", "factor")}
        flags = {f: getattr(facts, f) for f in ("softmax", "divides", "hides", "lower")}
        streams.append(constant(StreamCode(**functions, **flags, key=f"{key}_{number}")))
    return Code(tuple(streams), text.longest_last, key)

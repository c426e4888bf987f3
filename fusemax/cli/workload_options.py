"""The options that describe a workload, once for all commands that take one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, Final, TypeVar

from fusemax.cli import options
from fusemax.workload_spec import WorkloadSpec

_OPTIONS: Final = {
    "model": options.Model,
    "hf_config": options.HfConfig,
    "seq_len": options.SeqLen,
    "kv_len": options.KvLen,
    "batch": options.Batch,
    "heads": options.Heads,
    "head_dim": options.HeadDim,
    "value_dim": options.ValueDim,
    "sizes": options.Set,
}
"""The option of each field of a ``WorkloadSpec``."""
_Command = TypeVar("_Command", bound=Callable[..., Any])


def takes_workload(command: _Command) -> _Command:
    """Give a command with an argument ``workload`` the options that describe one in its place."""
    signature = inspect.signature(command, eval_str=True)
    named = [
        inspect.Parameter(f.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=_OPTIONS[f.name])
        for f in fields(WorkloadSpec)
    ]
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += named if parameter.name == "workload" else [parameter]

    @wraps(command)
    def with_options(**given: Any) -> Any:
        described = {name: given.pop(name) for name in _OPTIONS}
        sizes = options.parse_sizes(described.pop("sizes") or ()) or None
        return command(**given, workload=WorkloadSpec(**described, sizes=sizes))

    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options  # type: ignore[return-value]

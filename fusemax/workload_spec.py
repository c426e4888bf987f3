"""What describes a workload: the arguments of ``evaluate`` and the options of commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any

from einsum_cascades.errors import InputError, quoted

if TYPE_CHECKING:
    from einsum_cascades.models import Model

Name = str | PathLike[str]
Count = int | str
"""A whole number, or the text of one, such as ``64K``."""


@dataclass(frozen=True)
class WorkloadSpec:
    """A workload as a user describes it: by a model, by an attention layer's sizes, or rank by rank.

    Attributes:
        model: a published model's name, a YAML file, or a model; with ``seq_len``.
        hf_config: a Hugging Face ``config.json``; with ``seq_len``.
        seq_len, kv_len: queries P and keys M; keys default to queries.
        batch, heads, head_dim, value_dim: B, H, E and F; F defaults to E. Any size may be text, such as ``64K``.
        sizes: further rank sizes, which also replace a model's.
    """

    model: Name | Model | None = None
    hf_config: Name | None = None
    seq_len: Count | None = None
    kv_len: Count | None = None
    batch: Count | None = None
    heads: Count | None = None
    head_dim: Count | None = None
    value_dim: Count | None = None
    sizes: Mapping[str, Count] | None = None

    def __post_init__(self) -> None:
        if self.sizes is not None and not isinstance(self.sizes, Mapping):
            raise InputError(f"sizes is {quoted(self.sizes)}", hint="a mapping such as {'M': 4096} is expected")

    @property
    def given(self) -> dict[str, Any]:
        """What is given, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

"""The memories of a machine as loop trees see them. To be replaced by ``einsum_cascades.loops.levels``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Level:
    """One memory; the fields of ``einsum_cascades.loops.levels.Level``."""

    name: str
    parent: str | None = None
    dimensions: tuple[tuple[str, Any], ...] = ()
    multicast: bool = True
    reduction: bool = True
    capacity_bits: Any = None
    computes: bool = False
    double_buffered: bool = False

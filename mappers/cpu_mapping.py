"""A cascade mapped onto a CPU: its tiles, and what they make the CPU do."""

from __future__ import annotations

from dataclasses import dataclass

from hw_models.cpu.activity import CpuActivity


@dataclass(frozen=True, slots=True)
class CpuMapping:
    """A cascade mapped onto a CPU.

    Attributes:
        strategy: who made it.
        tiles: (rank, tile size) chosen, for people.
        activity: what the CPU does.
    """

    strategy: str
    tiles: tuple[tuple[str, int], ...]
    activity: CpuActivity

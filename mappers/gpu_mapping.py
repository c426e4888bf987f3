"""A cascade mapped onto a GPU: its kernel, its tiles, and what they make the GPU do."""

from __future__ import annotations

from dataclasses import dataclass

from hw_models.gpu.activity import GpuActivity


@dataclass(frozen=True, slots=True)
class GpuMapping:
    """A cascade mapped onto a GPU.

    Attributes:
        strategy: who made it.
        kernel: name of the kernel.
        tiles: (rank, tile size) chosen, for people.
        activity: what the GPU does.
    """

    strategy: str
    kernel: str
    tiles: tuple[tuple[str, int], ...]
    activity: GpuActivity

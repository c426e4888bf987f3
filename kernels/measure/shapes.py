"""The attentions that kernels are timed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Shape:
    """One attention: F = E = head_dim.

    Attributes:
        batch, heads, q_len, kv_len, head_dim: B, H, P, M, E.
        causal: whether query p sees only the keys m <= p + (M - P).
    """

    batch: int
    heads: int
    q_len: int
    kv_len: int
    head_dim: int
    causal: bool = False

    @property
    def flops(self) -> int:
        """Operations of both matrix products, a multiplication and an addition each; of masked scores none."""
        scores = self.q_len * self.kv_len
        if self.causal:
            scores = sum(max(0, self.kv_len - self.q_len + p + 1) for p in range(self.q_len))
        return 4 * self.batch * self.heads * scores * self.head_dim


SHAPES: Final = (
    Shape(1, 1, 1024, 1024, 64),
    Shape(2, 16, 256, 256, 64),
    Shape(1, 8, 512, 512, 128, causal=True),
    Shape(1, 12, 1024, 1024, 64, causal=True),
    Shape(4, 8, 384, 384, 96),
    Shape(1, 16, 512, 2048, 64),
    Shape(1, 8, 2048, 2048, 32),
    Shape(1, 4, 1024, 4096, 128, causal=True),
    Shape(1, 4, 4096, 4096, 64, causal=True),
    Shape(1, 2, 4096, 4096, 80),
    Shape(1, 1, 8192, 8192, 128),
    Shape(1, 1, 16384, 16384, 64, causal=True),
)
"""Shapes that the CPU model is compared on, and that are used for nothing else."""
QUICK_SHAPES: Final = tuple(shape for shape in SHAPES if shape.flops < 10**10)

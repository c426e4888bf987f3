"""Attention cascades on GPUs: Triton kernels, and what chooses among them.

Nothing here imports PyTorch or Triton before a kernel runs.
"""

from __future__ import annotations

from kernels.gpu.attention import CASCADES, attention

__all__ = ["CASCADES", "attention"]

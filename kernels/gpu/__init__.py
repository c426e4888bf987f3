"""Attention cascades on GPUs: Triton kernels, what chooses among them, and a generator of more.

Nothing here imports PyTorch or Triton before a kernel runs.
"""

from __future__ import annotations

from kernels.gpu.attention import CASCADES, attention
from kernels.gpu.generator.compiled import FusedKernel, compiled

__all__ = ["CASCADES", "FusedKernel", "attention", "compiled"]
